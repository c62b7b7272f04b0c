"""Killed at every named step of taking a receipt and of a release, twice in a row; when a hold is over."""

import concurrent.futures
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from device.vault.layout import open_layout
from device.vault.release import HoldClock, Releases, held_ns
from device.vault.trust import AgencyTrust
from docklink.messages import ClipState, SignedDocument
from evidence.attestations import read_tombstone
from evidence.clock import ClockSource, UtcMapping, parse_utc
from evidence.documents import LogHead, Receipt
from evidence.roles import Role
from evidence.signer import load_signer
from evidence.steps import RECEIPT_STEPS, RELEASE_STEPS
from tests.device.dockport.dockbench import HOUR_NS, NS_PER_S, Agency, DockBench, copy_tree
from tests.device.vault_recovery.rig import BOOT, DEVICE, Death

NOW = HoldClock(BOOT, UtcMapping(monotonic_ns=2000 * NS_PER_S, utc_ns=None, source=ClockSource.NONE))
OTHER_BOOT = "e" * 32


@pytest.fixture
def quick_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sync would leave is simulated here, so the disk need not be waited for."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("os.fdatasync", lambda _: None)


class Shelf:
    """A vault that is opened anew for each run, as by a start of the camera."""

    def __init__(self, agency: Agency, root: Path) -> None:
        self.agency = agency
        self.root = root
        self.logged: list[str] = []

    def run(self, work: Callable[[Releases], object]) -> None:
        layout = open_layout(self.root, DEVICE)
        try:
            key = load_signer(self.agency.directory / "camera", Role.CAMERA_EVIDENCE).public_key
            work(Releases(layout, key, lambda: AgencyTrust(self.agency.roots), self._post))
        finally:
            layout.close()

    def _post(
        self, kind: str, at_ns: int, detail: object = None, *, urgent: bool = False
    ) -> "concurrent.futures.Future[LogHead]":
        self.logged.append(kind)
        return concurrent.futures.Future()


@pytest.fixture
def source(agency: Agency, tmp_path: Path) -> tuple[Path, str, SignedDocument]:
    """A vault with one clip, its name, and a receipt for it."""
    made = DockBench(agency, tmp_path / "source", clips=1)
    signed = made.signed(made.receipt(made.names[0]))
    made.stop()
    return made.root, made.names[0], signed


def take(clip: str, signed: SignedDocument) -> Callable[[Releases], object]:
    return lambda releases: releases.accept(clip, signed.document, signed.cms)


def let_go(releases: Releases) -> None:
    releases.finish()
    releases.release(NOW, 0, lambda: False)


def state(shelf: Shelf, clip: str) -> ClipState | None:
    found: list[ClipState | None] = []
    shelf.run(lambda releases: found.append(releases.state_of(clip)))
    return found[0]


def lose_power(root: Path, before: set[int], synced: dict[int, int]) -> None:
    """Empty what was written since and never synced."""
    for path in root.rglob("*"):
        if path.is_file() and path.stat().st_ino not in before:
            os.truncate(path, min(path.stat().st_size, synced.get(path.stat().st_ino, 0)))


@pytest.mark.usefixtures("quick_syncs")
@pytest.mark.parametrize("power", [False, True], ids=["process-killed", "unsynced-lost"])
def test_a_receipt_killed_at_each_step_counts_whole_or_not_at_all(
    agency: Agency, tmp_path: Path, source: tuple[Path, str, SignedDocument], power: bool
) -> None:
    pristine, clip, signed = source
    shelf = Shelf(agency, tmp_path / "vault")
    for at in range(len(RECEIPT_STEPS) + 1):
        copy_tree(pristine, shelf.root)
        for _ in range(2):
            before = {path.stat().st_ino for path in shelf.root.rglob("*")}
            with Death(at) as death:
                shelf.run(take(clip, signed))
            if power and death.dead:
                lose_power(shelf.root, before, death.synced)
            published = (shelf.root / "clips" / clip / "receipt.json").exists()
            assert state(shelf, clip) is (ClipState.RELEASABLE if published else ClipState.SEALED)
        shelf.run(take(clip, signed))
        assert state(shelf, clip) is ClipState.RELEASABLE


def test_the_steps_are_those_of_the_registry(
    agency: Agency, tmp_path: Path, source: tuple[Path, str, SignedDocument]
) -> None:
    pristine, clip, signed = source
    shelf = Shelf(agency, tmp_path / "vault")
    copy_tree(pristine, shelf.root)
    with Death() as death:
        shelf.run(take(clip, signed))
    assert tuple(death.names) == RECEIPT_STEPS
    with Death() as death:
        shelf.run(let_go)
    removals = [index for index, name in enumerate(RELEASE_STEPS) if name.startswith("remove ")][:-1]
    assert tuple(death.names[: removals[0]]) == RELEASE_STEPS[: removals[0]]
    assert sorted(death.names) == sorted(RELEASE_STEPS)


@pytest.mark.usefixtures("quick_syncs")
@pytest.mark.parametrize("power", [False, True], ids=["process-killed", "unsynced-lost"])
def test_a_release_killed_at_each_step_leaves_a_whole_clip_or_a_good_tombstone(
    agency: Agency, tmp_path: Path, source: tuple[Path, str, SignedDocument], power: bool
) -> None:
    pristine, clip, signed = source
    shelf = Shelf(agency, pristine)
    shelf.run(take(clip, signed))
    whole = {path.name: path.read_bytes() for path in (pristine / "clips" / clip).iterdir()}
    shelf.root = tmp_path / "vault"
    for at in range(len(RELEASE_STEPS) + 1):
        copy_tree(pristine, shelf.root)
        for _ in range(2):
            before = {path.stat().st_ino for path in shelf.root.rglob("*")}
            with Death(at) as death:
                shelf.run(let_go)
            if power and death.dead:
                lose_power(shelf.root, before, death.synced)
            place = shelf.root / "clips" / clip
            if {path.name: path.read_bytes() for path in place.glob("*")} != whole:
                assert not place.exists(), f"killed at step {at}: half a clip under its name"
                read_tombstone(shelf.root / "tombstones" / clip, agency.roots)
        shelf.run(let_go)
        read_tombstone(shelf.root / "tombstones" / clip, agency.roots)
        assert [path.name for path in (shelf.root / "clips").iterdir()] == []
        assert [path.name for path in (shelf.root / "tombstones").iterdir()] == [clip]
        assert "released" in shelf.logged


def test_remains_without_a_tombstone_get_their_name_back(
    agency: Agency, tmp_path: Path, source: tuple[Path, str, SignedDocument]
) -> None:
    root, clip, _ = source
    (root / "clips" / clip).rename(root / "clips" / f".released-{clip}")
    shelf = Shelf(agency, root)
    shelf.run(lambda releases: releases.finish())
    assert state(shelf, clip) is ClipState.SEALED


def test_nothing_goes_whose_receipt_on_storage_is_not_good(
    agency: Agency, tmp_path: Path, source: tuple[Path, str, SignedDocument]
) -> None:
    root, clip, signed = source
    shelf = Shelf(agency, root)
    shelf.run(take(clip, signed))
    path = root / "clips" / clip / "receipt.json"
    path.write_bytes(path.read_bytes().replace(b'"stored"', b'"quarantined"'))
    shelf.run(let_go)
    assert (root / "clips" / clip / "clip.mp4.age").exists()
    assert state(shelf, clip) is ClipState.SEALED
    assert "integrity" in shelf.logged


def test_a_receipt_that_turns_bad_while_the_camera_runs_releases_nothing(
    agency: Agency, tmp_path: Path, source: tuple[Path, str, SignedDocument]
) -> None:
    root, clip, signed = source
    shelf = Shelf(agency, root)

    def work(releases: Releases) -> None:
        releases.accept(clip, signed.document, signed.cms)
        (root / "clips" / clip / "receipt.p7s").write_bytes(b"0")
        assert releases.release(NOW, 0, lambda: True) == ()

    shelf.run(work)
    assert (root / "clips" / clip / "clip.mp4.age").exists()


def test_a_hold_is_measured_by_the_clock_that_can_tell() -> None:
    receipt = msgspec.convert(
        {
            "type": "preroll-receipt-v1",
            "version": 1,
            "device": DEVICE,
            "epoch": "1" * 32,
            "generation": 1,
            "number": 1,
            "clip": f"notime-{DEVICE}-000001",
            "files": [{"name": name, "bytes": 1, "sha256": "0" * 64} for name in _NAMES],
            "verdict": "stored",
            "unreadable": [],
            "store": "s",
            "reread": "direct",
            "utc": "2026-11-22T04:00:00.000000Z",
            "boot": BOOT,
            "monotonic_ns": 100 * NS_PER_S,
            "custody": {"entries": 1, "head": "0" * 64},
        },
        Receipt,
    )
    later = parse_utc("2026-11-22T05:00:00.000000Z")

    def held(boot: str, utc_ns: int | None, source: ClockSource, error_ns: int | None = None) -> int | None:
        mapping = UtcMapping(monotonic_ns=160 * NS_PER_S, utc_ns=utc_ns, source=source, error_ns=error_ns)
        return held_ns(receipt, HoldClock(boot, mapping))

    assert held(BOOT, None, ClockSource.NONE) == 60 * NS_PER_S
    assert held(BOOT, parse_utc("2099-01-01T00:00:00.000000Z"), ClockSource.SYSTEM) == 60 * NS_PER_S
    assert held(OTHER_BOOT, later, ClockSource.DOCK, NS_PER_S) == HOUR_NS - NS_PER_S
    assert held(OTHER_BOOT, later, ClockSource.SYSTEM) is None
    assert held(OTHER_BOOT, None, ClockSource.NONE) is None


_NAMES = ("clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s")


def test_a_hold_goes_on_over_restarts_and_a_boot(bench: DockBench) -> None:
    name = bench.names[0]
    bench.give_receipt(name)
    bench.clocks.monotonic_ns += 71 * HOUR_NS
    bench.restart()
    bench.look()
    assert bench.clip().exists()
    bench.restart(boot=OTHER_BOOT)
    bench.clocks.monotonic_ns = 100 * HOUR_NS
    bench.clocks.utc_ns = parse_utc("2099-01-01T00:00:00.000000Z")
    bench.clocks.source = ClockSource.SYSTEM
    bench.look()
    assert bench.clip().exists(), "nobody vouches for that clock"
    client = bench.dock()
    bench.set_clock(client, parse_utc("2026-11-25T04:12:00.000000Z"))
    bench.look()
    assert bench.clip().exists(), "72 h are not over"
    bench.set_clock(client, parse_utc("2026-11-25T04:13:00.000000Z"))
    bench.look()
    assert not bench.clip().exists()


def test_space_that_is_needed_comes_from_the_oldest_releasable_clip(bench: DockBench) -> None:
    for name in reversed(bench.names):
        bench.give_receipt(name)
    bench.look()
    assert bench.clip(1).exists()
    released: list[str] = []
    needs = iter([True, False])
    now = HoldClock(bench.boot, bench.clock.read())
    released += bench.port.releases.release(now, 72 * HOUR_NS, lambda: next(needs))
    assert released == [bench.names[0]]
    assert bench.clip(2).exists()


def test_no_space_is_made_from_a_clip_without_a_receipt(bench: DockBench) -> None:
    bench.stop()
    bench.space_limit_bytes = 1 << 60
    bench.start()
    bench.give_receipt(bench.names[1])
    bench.look()
    assert bench.clip(1).exists()
    assert not bench.clip(2).exists()

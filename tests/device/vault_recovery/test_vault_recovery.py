"""The background runner: order, reports, alarms, standing aside, ending early; causes from the event log."""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest

from device.vault.eventlog import EventLog
from device.vault.layout import VaultLayout, open_layout
from device.vault.recovery import Load, VaultRecovery
from evidence.clock import ClockSource, UtcMapping
from evidence.documents import Ended, LogEvent, LogHead, Manifest, decode
from evidence.errors import EvidenceError
from evidence.storage import StorageError, publish_file
from tests.device.vault_recovery.rig import BOOT, DEVICE, FIRST_PTS_NS, Camera, Death

OTHER_BOOT = "1e" * 16


class Posts:
    """Collects events as the log's thread would; `power_on` is durable from the start."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, str | int | bool | None]]] = []
        self.powered_on: Future[LogHead] = Future()
        self.powered_on.set_result(LogHead(index=1, sha256="0" * 64))

    def __call__(
        self,
        kind: str,
        at_ns: int,
        detail: Mapping[str, str | int | bool | None] | None = None,
        *,
        urgent: bool = False,
    ) -> "Future[LogHead]":
        self.events.append((kind, detail or {}))
        return self.powered_on

    def of(self, kind: str) -> list[Mapping[str, str | int | bool | None]]:
        return [detail for found, detail in self.events if found == kind]


@pytest.fixture
def layout(camera: Camera) -> Iterator[Callable[[], VaultLayout]]:
    opened: list[VaultLayout] = []

    def open_it() -> VaultLayout:
        opened.append(open_layout(camera.root, DEVICE))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


def interrupt(camera: Camera, at: int = 16, log: LogHead | None = None) -> Path:
    before = set((camera.root / "clips").iterdir())
    with Death(at):
        camera.record(log=log)
    (clip,) = set((camera.root / "clips").iterdir()) - before
    return clip


def test_all_that_an_earlier_run_left_is_sealed_and_told(
    camera: Camera, layout: Callable[[], VaultLayout]
) -> None:
    clips = [interrupt(camera) for _ in range(3)]
    camera.record()
    (clips[1] / "manifest.json").write_bytes(b"{}")
    with (clips[2] / "journal.jsonl").open("r+b") as file:
        file.seek(300)
        file.write(b"X")
    posts = Posts()
    recovery = VaultRecovery(layout(), camera.signer, posts)
    names = [clip.name for clip in clips]
    assert [recovery.report.state_of(name) for name in names] == ["recovering", None, "recovering"]
    recovery.start(posts.powered_on)
    assert recovery.join(30)
    report = recovery.report
    assert report.recovered == tuple(names[:2])
    assert report.tampered == (names[2],)
    assert report.state_of(names[2]) == "tampered"
    assert (report.waiting, report.failed, report.rejected) == ((), (), 1)
    assert [detail["clip"] for detail in posts.of("recovered")] == names[:2]
    assert {(detail["clip"], detail["what"]) for detail in posts.of("integrity")} == {
        (names[1], "unsigned_manifest"),
        (names[2], "tampered"),
    }
    assert not (clips[2] / "manifest.json").exists()


def test_two_clips_with_one_number_are_a_fork(
    camera: Camera, make_camera: Callable[[str], Camera], layout: Callable[[], VaultLayout]
) -> None:
    twin = camera.root.with_name("twin")
    shutil.copytree(camera.root, twin)
    interrupt(camera)
    other = make_camera("twin").record(utc_ns=1_800_000_000_000_000_000)
    shutil.copytree(other, camera.root / "clips" / other.name)
    posts = Posts()
    recovery = VaultRecovery(layout(), camera.signer, posts)
    recovery.start(posts.powered_on)
    assert recovery.join(30)
    assert len(recovery.report.forks) == 1
    assert [detail["what"] for detail in posts.of("integrity")] == ["fork"]
    assert len(list((camera.root / "clips").glob("*/manifest.json"))) == 2


def test_it_waits_until_this_start_is_in_the_event_log(
    camera: Camera, layout: Callable[[], VaultLayout]
) -> None:
    clip = interrupt(camera)
    posts = Posts()
    recovery = VaultRecovery(layout(), camera.signer, posts)
    durable: Future[LogHead] = Future()
    recovery.start(durable)
    assert not recovery.join(0.1)
    assert not (clip / "manifest.json").exists()
    durable.set_result(LogHead(index=1, sha256="0" * 64))
    assert recovery.join(30)
    assert (clip / "manifest.json").exists()


def test_it_stands_still_while_a_clip_catches_up_and_ends_when_told(
    camera: Camera, layout: Callable[[], VaultLayout]
) -> None:
    clip = interrupt(camera)
    asked = threading.Event()

    def load() -> Load:
        asked.set()
        return Load(recording=True, caught_up=False)

    posts = Posts()
    recovery = VaultRecovery(layout(), camera.signer, posts, load=load)
    recovery.start(posts.powered_on)
    assert asked.wait(30)
    assert not recovery.join(0.1)
    recovery.close()
    assert not (clip / "manifest.json").exists()
    assert recovery.report.waiting == (clip.name,)


def test_a_card_that_fails_is_counted_and_the_next_start_goes_on(
    camera: Camera, layout: Callable[[], VaultLayout], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = interrupt(camera)
    opened = layout()

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    posts = Posts()
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        recovery = VaultRecovery(opened, camera.signer, posts)
        recovery.start(posts.powered_on)
        assert recovery.join(30)
    assert recovery.report.failed == (clip.name,)
    assert [detail["state"] for detail in posts.of("storage")] == ["error"]
    again = VaultRecovery(opened, camera.signer, posts)
    again.start(posts.powered_on)
    assert again.join(30)
    assert again.report.recovered == (clip.name,)


def test_a_full_card_costs_the_reserve(
    camera: Camera, layout: Callable[[], VaultLayout], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = interrupt(camera)
    given_up = threading.Event()

    def write_file(path: Path, data: bytes) -> None:
        if not given_up.is_set():
            raise StorageError("cannot write", OSError(28, "No space left on device"))
        publish_file(path, data)

    monkeypatch.setattr("evidence.seal.publish_file", write_file)
    posts = Posts()
    recovery = VaultRecovery(layout(), camera.signer, posts, give_up_reserve=given_up.set)
    recovery.start(posts.powered_on)
    assert recovery.join(30)
    assert recovery.report.recovered == (clip.name,)


class Log:
    """Writes the event log of a vault, one start after another."""

    def __init__(self, camera: Camera, layout: VaultLayout) -> None:
        self._camera = camera
        self._layout = layout

    def run(self, boot: str, *events: tuple[str, int, Mapping[str, str]]) -> LogHead:
        mapping = UtcMapping(monotonic_ns=1, utc_ns=None, source=ClockSource.NONE)
        log = EventLog(self._layout, self._camera.signer, boot, lambda: mapping)
        for kind, at_ns, detail in events:
            log.append([LogEvent(kind=kind, monotonic_ns=at_ns, detail={**detail})])
        log.close()
        assert log.head is not None
        return log.head


NONE: Mapping[str, str] = {}
BEFORE, AFTER = FIRST_PTS_NS - 1, FIRST_PTS_NS + 1
ON = ("power_on", BEFORE, NONE)
LOW = ("battery", BEFORE, {"state": "low"})
OK = ("battery", AFTER, {"state": "ok"})
NEXT = ("power_on", AFTER, NONE)


@pytest.mark.parametrize(
    ("during", "boot", "cause"),
    [
        ((ON, LOW), OTHER_BOOT, Ended.POWER_LOSS),
        ((ON, ("battery", AFTER, {"state": "critical"})), OTHER_BOOT, Ended.POWER_LOSS),
        ((ON,), OTHER_BOOT, Ended.UNKNOWN),
        ((ON, LOW, OK), OTHER_BOOT, Ended.UNKNOWN),
        ((ON, LOW, ("shutdown", AFTER, NONE)), OTHER_BOOT, Ended.UNKNOWN),
        ((ON, LOW), BOOT, Ended.UNKNOWN),
    ],
    ids=["low", "critical", "no-record", "charged-again", "shut-down", "same-boot"],
)
def test_power_loss_is_said_only_with_a_record_that_supports_it(
    camera: Camera,
    layout: Callable[[], VaultLayout],
    during: tuple[tuple[str, int, Mapping[str, str]], ...],
    boot: str,
    cause: Ended,
) -> None:
    opened = layout()
    log = Log(camera, opened)
    log.run(OTHER_BOOT[::-1], ("power_on", AFTER, NONE), ("battery", AFTER, {"state": "low"}))
    head = log.run(BOOT, *during)
    opened.close()
    clip = interrupt(camera, log=head)
    log.run(boot, NEXT)
    posts = Posts()
    recovery = VaultRecovery(layout(), camera.signer, posts)
    recovery.start(posts.powered_on)
    assert recovery.join(30)
    assert decode((clip / "manifest.json").read_bytes(), Manifest).ended is cause


def test_a_damaged_log_supports_nothing(camera: Camera, layout: Callable[[], VaultLayout]) -> None:
    opened = layout()
    log = Log(camera, opened)
    head = log.run(BOOT, ON, LOW)
    opened.close()
    clip = interrupt(camera, log=head)
    log.run(OTHER_BOOT, NEXT)
    segment = min((camera.root / "log").iterdir())
    segment.write_bytes(segment.read_bytes().replace(b'"low"', b'"LOW"'))
    posts = Posts()
    recovery = VaultRecovery(layout(), camera.signer, posts)
    recovery.start(posts.powered_on)
    assert recovery.join(30)
    assert decode((clip / "manifest.json").read_bytes(), Manifest).ended is Ended.UNKNOWN


def test_an_unreadable_vault_is_no_empty_one(camera: Camera, layout: Callable[[], VaultLayout]) -> None:
    opened = layout()
    opened.clips.rmdir()
    with pytest.raises(EvidenceError, match="cannot list"):
        VaultRecovery(opened, camera.signer, Posts())

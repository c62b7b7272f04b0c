"""What people and programs are shown of a dock: status, bars, and the custody log held against checkpoints."""

import json
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evidence.agency import AgencyFiles, SubjectKind, create_agency, issue_new
from evidence.roles import Role
from evidence.signer import load_signer
from host.badges import BadgeStatus
from host.bays import BayState, BayStatus
from host.control import BrokerStatus, CustodyStatus, DockStatus, QuarantineEntry, StoreStatus
from host.custody import CheckpointKeeper, CheckpointStatus, CopyStatus, CustodyLog
from host.offload import Notice
from host.store import format_store
from preroll.cli import root as command
from preroll.dock.lines import status_lines
from preroll.dock.view import follow

UTC = "2026-11-22T05:00:00.000000Z"
MIB = 1 << 20
BAY = BayStatus(
    "1",
    "tcp",
    state=BayState.OFFLOADING,
    device="cam0042",
    clip="20261122T035453Z-cam0042-000317",
    step="ciphertext",
    done_bytes=3 * MIB,
    clip_bytes=8 * MIB,
    queued=4,
    queued_bytes=30 * MIB,
)


def test_status_shows_what_an_operator_needs() -> None:
    copies = (CopyStatus("/mnt/stick", 900, "cannot list /mnt/stick"),)
    status = DockStatus(
        dock="dock7",
        utc=UTC,
        store=StoreStatus("dock7-a", "full", "0 bytes free", 5 * MIB, 100 * MIB, "locked"),
        bays=(BAY,),
        quarantine=(QuarantineEntry("c-1", "cam0042", ("digest",), released=False),),
        notices=(Notice(UTC, "fault", None, None, "no room", times=3),),
        custody_entries=1200,
        custody=CustodyStatus("ab" * 32, CheckpointStatus(1000, UTC, 200, copies=copies)),
        hotplug="udev does not run here",
        badges=(
            BadgeStatus("door", "/dev/ttyUSB0", "", 2),
            BadgeStatus("hall", "/dev/input/event3", "gone", 0),
        ),
        broker=BrokerStatus("online", "", 3, 1, 0),
    )
    text = "\n".join(status_lines(status))
    for words in (
        "store dock7-a: full, 5 MiB free of 100",
        "0 bytes free",
        "catalogue behind: locked",
        "1200 entries, head abababababababab; checkpoint at 1000",
        "200 since",
        "/mnt/stick: up to 900; cannot list",
        "udev does not run here",
        "door: 2 waiting for a camera",
        "hall: gone",
        "broker: online, 1 events lost",
        "bay 1: offloading, cam0042",
        "ciphertext 3 of 8 MiB",
        "queue: 4 clips, 30 MiB",
        "quarantine: c-1: digest",
        "no room (3 times)",
    ):
        assert words in text


@pytest.mark.parametrize("as_json", [True, False])
def test_a_running_dock_is_shown_as_it_changes(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    done, looks = threading.Event(), 0

    def bays() -> tuple[BayStatus, ...]:
        nonlocal looks
        looks += 1
        if looks > 3:
            done.set()
        return (BAY,)

    follow(bays, done, as_json=as_json)
    shown = capsys.readouterr().out
    if as_json:
        (line,) = shown.splitlines()  # what did not change is not said again
        assert json.loads(line)["done_bytes"] == 3 * MIB
    else:
        assert "3.1/8.4 MB" in shown
        assert "bay 1: offloading" in shown


@pytest.fixture
def agency(tmp_path: Path) -> AgencyFiles:
    made = create_agency("Test agency", tmp_path / "agency")
    issue_new(SubjectKind.DOCK, "dock7", tmp_path / "agency", tmp_path / "dock7")
    return made


@pytest.fixture
def store(tmp_path: Path, agency: AgencyFiles) -> Path:
    """A store with a log of five entries; a checkpoint of each but the last lies in `stick`."""
    root, stick = tmp_path / "store", tmp_path / "stick"
    format_store(root, "dock7-a")
    stick.mkdir()
    log = CustodyLog(root / "custody.jsonl", "dock7-a")
    signer = load_signer(tmp_path / "dock7", Role.DOCK_RECEIPT)
    keeper = CheckpointKeeper(log, "dock7-a", signer, root / "checkpoints", copies=[stick], every_entries=1)
    for number in range(5):
        log.append("docked", utc_ns=1_795_000_000_000_000_000 + number, device="cam0042")
        if number < 4:
            keeper.look(0, 1_795_000_000_000_000_000)
    log.close()
    return root


def check(store: Path, *more: str) -> Result:
    ca = store.parent / "agency" / "root" / "root.pem"
    words = [
        "dock",
        "custody",
        str(store),
        "--ca",
        str(ca),
        "--checkpoints",
        str(store.parent / "stick"),
        *more,
    ]
    return CliRunner().invoke(command, words, standalone_mode=False)


def test_a_log_is_held_against_checkpoints_kept_elsewhere(store: Path) -> None:
    done = check(store)
    assert (done.return_value or 0, done.output) == (
        0,
        "dock7-a: 5 entries, whole; 4 checkpoints agree, the last at 4\n",
    )
    facts = json.loads(check(store, "--json").output)
    assert (facts["good"], facts["covered"], facts["torn_bytes"]) == (True, 4, 0)


@pytest.mark.parametrize("forgery", ["cut", "rewritten", "altered"])
def test_a_log_that_was_cut_rewritten_or_altered_shows(store: Path, forgery: str) -> None:
    path = store / "custody.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    if forgery == "cut":
        path.write_bytes(b"".join(lines[:3]))
    elif forgery == "altered":
        path.write_bytes(b"".join(lines).replace(b"cam0042", b"cam0043", 1))
    else:
        path.unlink()
        log = CustodyLog(path, "dock7-a")
        for number in range(6):
            log.append("undocked", utc_ns=1_795_000_000_000_000_000 + number, device="cam0042")
        log.close()
    done = check(store, "--json")
    assert done.return_value == 3
    assert json.loads(done.output)["good"] is False
    assert check(store).return_value == 3


def test_without_a_checkpoint_nothing_is_told(store: Path) -> None:
    for path in (store.parent / "stick").iterdir():
        path.unlink()
    assert check(store).return_value == 5

"""Event logs that are fetched: only what is signed and follows what was kept."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from docklink.client import DockClient
from evidence.documents import LogEvent, LogLine, encode
from evidence.errors import EvidenceError
from evidence.lines import LineChain
from host.offload import DeviceLogs
from tests.host.store.conftest import BOOT, EPOCH

if TYPE_CHECKING:
    from tests.host.store.conftest import Pki


class Pages:
    """A camera that has nothing but an event log, three lines a page."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        self.asked: list[int] = []

    def log(self, after_index: int) -> bytes:
        self.asked.append(after_index)
        return b"".join(self.lines[after_index : after_index + 3])


def lines_of(pki: "Pki", count: int, *, device: str = "cam0042") -> list[bytes]:
    chain = LineChain(b"preroll-log-v1", pki.camera("cam0042"))
    return [
        chain.sign(
            encode(
                LogLine(
                    device=device,
                    epoch=EPOCH,
                    generation=1,
                    index=index,
                    previous=chain.previous,
                    boot=BOOT,
                    monotonic_ns=index,
                    utc=None,
                    events=(LogEvent("press", index, {}),),
                )
            )
        )
        for index in range(1, count + 1)
    ]


def take(directory: Path, pki: "Pki", pages: Pages) -> int:
    camera = cast("DockClient", pages)
    return DeviceLogs(directory).take(camera, "cam0042", EPOCH, pki.camera().public_key)


def test_goes_on_from_what_is_on_storage(tmp_path: Path, pki: "Pki") -> None:
    lines = lines_of(pki, 7)
    pages = Pages(lines[:4])
    assert take(tmp_path / "logs", pki, pages) == 4
    pages.lines = lines
    assert take(tmp_path / "logs", pki, pages) == 3
    assert pages.asked == [0, 3, 4, 4, 7]
    (kept,) = (tmp_path / "logs").iterdir()
    assert kept.read_bytes() == b"".join(lines)


def test_a_torn_line_is_fetched_again(tmp_path: Path, pki: "Pki") -> None:
    lines = lines_of(pki, 3)
    take(tmp_path / "logs", pki, Pages(lines))
    (kept,) = (tmp_path / "logs").iterdir()
    kept.write_bytes(kept.read_bytes()[:-5])
    assert take(tmp_path / "logs", pki, Pages(lines)) == 1
    assert kept.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("how", ["altered", "again", "another device", "torn", "another past"])
def test_what_is_no_log_is_not_kept(tmp_path: Path, pki: "Pki", how: str) -> None:
    lines = lines_of(pki, 4)
    take(tmp_path / "logs", pki, Pages(lines[:2]))
    pages = {
        "altered": [*lines[:2], lines[2].replace(b"press", b"brass")],
        "again": [*lines[:2], lines[1]],
        "another device": [*lines[:2], *lines_of(pki, 4, device="cam0043")[2:]],
        "torn": [*lines[:2], lines[2][:-1]],
        "another past": [*lines[:2], lines_of(pki, 3)[2]],
    }[how]
    with pytest.raises(EvidenceError):
        take(tmp_path / "logs", pki, Pages(pages))
    (kept,) = (tmp_path / "logs").iterdir()
    assert kept.read_bytes() == b"".join(lines[:2])

"""Power is really cut: what every other test of a cut rests on. It runs first."""

from collections.abc import Callable

import pytest

from hil_tests.board.protocol import Board, Capability
from hil_tests.report_run import POWER

Record = Callable[[str, object], None]

_LOST_BYTES = 4 * 1024 * 1024
"""Written, and in the page cache only: a kernel writes such back after seconds, or when it shuts down."""


@pytest.mark.needs(Capability.HARD_CUT)
def test_power_is_really_cut(board: Board, record_property: Record) -> None:
    before, card = board.boot_id, board.places.card
    script = f"echo kept > {card}/kept && sync && head -c {_LOST_BYTES} /dev/zero > {card}/lost"
    assert board.run("sh", "-c", script).status == 0
    written = int(board.run("stat", "--format=%s", f"{card}/lost").output)
    assert written == _LOST_BYTES, "what is to be lost was never written"
    board.cut_power()
    assert not board.is_on
    board.boot()
    board.mount_card()
    assert board.boot_id != before
    assert board.read(f"{card}/kept") == "kept\n"
    found = board.run("stat", "--format=%s", f"{card}/lost")
    left = int(found.output) if found.status == 0 else 0
    assert left == 0, f"{left} of {written} bytes that nobody synced outlived the cut"
    record_property(f"{POWER}Boot before", before)
    record_property(f"{POWER}Boot after", board.boot_id)
    record_property(f"{POWER}Synced file", "there, whole")
    record_property(f"{POWER}Unsynced bytes", f"{written - left:,} of {written:,} in the page cache lost")

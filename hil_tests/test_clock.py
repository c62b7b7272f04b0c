"""The wall clock jumps during a recording: the clip goes by the monotonic clock; the log tells of the jump."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from hil_tests.board.protocol import Board, Capability
from hil_tests.conftest import NewCamera

_HOUR_NS = 3_600 * 1_000_000_000
_YEAR_NS = 365 * 24 * _HOUR_NS
_SLACK_NS = 1_000_000_000


@pytest.mark.needs(Capability.INPUTS, Capability.LINE_TIMES, Capability.CLOCK)
def test_clock_set_back_and_forth_changes_no_duration(
    board: Board, new_camera: NewCamera, tmp_path: Path
) -> None:
    camera = new_camera()
    camera.start()
    camera.wait_ready()
    light = camera.record()
    now_ns = int(board.run("date", "+%s").output) * 1_000_000_000
    for utc_ns in (now_ns - _HOUR_NS, now_ns + _YEAR_NS):
        board.set_clock(utc_ns)
        marked = camera.tap()
        light = camera.wait_recording(since_ns=max(light.since_ns + 1, marked.before_ns))
    camera.end()
    camera.wait_sealed()
    assert camera.stop() == 0
    vault = camera.copy_vault(tmp_path)
    (name,) = vault.names
    assert vault.verify(name).keys() == {name}
    manifest = vault.manifest(name)
    lasted_ns = manifest["stop_ns"] - manifest["first_pts_ns"]
    assert abs(manifest["duration_ns"] - lasted_ns) < _SLACK_NS
    assert len(manifest["bookmarks"]) == 2
    assert manifest["gaps"] == []
    told = [event.detail for event in vault.events() if event.kind == "clock"]
    jumps = [_jump_ns(detail) for detail in told if detail["before"] and detail["after"]]
    assert [round(jump_ns / _HOUR_NS) for jump_ns in jumps] == [-1, 1 + 365 * 24], told


def _jump_ns(detail: dict[str, Any]) -> float:
    before, after = (dt.datetime.fromisoformat(detail[key]) for key in ("before", "after"))
    return (after - before).total_seconds() * 1e9

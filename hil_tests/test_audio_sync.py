"""Sound and picture of one moment lie at one time in a clip: clicks through the kernel's sound card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hil_tests.board.kernel import CHECKOUT
from hil_tests.board.protocol import Board, Capability
from hil_tests.conftest import NewCamera
from hil_tests.figures import write_figure
from hil_tests.sound_sync import click_times, open_clip, picture_times, sound_lateness

_LENGTH_S = 20
_BOUND_MS = 20.0
"""Sound may come so much before or after its picture; broadcasters allow 40 ms early, 60 ms late (EBU R37)."""
_LEAST = 5
_AROUND_NS = 300_000_000
"""How long before and after a standstill of the board a click is not judged."""
_EDGE_NS = 500_000_000
_CLICK_NS = 5_000_000
_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
_GUEST = CHECKOUT / "hil_tests" / "board" / "guest"

Spans = list[tuple[int, int]]


def stand_by(board: Board, seconds: float) -> Spans:
    """Wait so long; returns when the board stood still meanwhile, and last the time from begin to end."""
    done = board.run(board.places.python, "-B", str(_GUEST / "stalls.py"), str(seconds))
    assert done.status == 0, done.errors
    return [(int(start), int(end)) for start, end in (line.split() for line in done.output.splitlines())]


def heard_after(manifest: dict[str, Any], played: Sequence[int], stalls: Spans, media: Path) -> list[float]:
    """Return by how many milliseconds clicks come late; those in silences or near a standstill are left out."""
    begin_ns = manifest["start"]["trigger"]["edge_ns"] + _EDGE_NS
    end_ns = manifest["stop_ns"] - _EDGE_NS
    spans = [(each["start_ns"] - _CLICK_NS, each["end_ns"]) for each in manifest["silences"]]
    spans += [(start_ns - _AROUND_NS, end_ns + _AROUND_NS) for start_ns, end_ns in stalls]
    wanted = [
        at_ns
        for at_ns in played
        if begin_ns < at_ns < end_ns and not any(start <= at_ns <= end for start, end in spans)
    ]
    late = sound_lateness(wanted, picture_times(media), click_times(media))
    assert len(late) == len(wanted), f"{len(wanted)} clicks outside of {spans}, {len(late)} in the clip"
    return [late_ns / _NS_PER_MS for late_ns in late]


@pytest.mark.needs(Capability.INPUTS, Capability.LINE_TIMES, Capability.MICROPHONE)
def test_click_lies_at_the_picture_of_its_moment(board: Board, new_camera: NewCamera, tmp_path: Path) -> None:
    player = board.start("clicks", board.places.python, "-B", str(_GUEST / "clicks.py"), "1")
    player.wait_log("playing")
    camera = new_camera(microphone="alsa:hw:Loopback,0")
    camera.start()
    camera.wait_ready()
    camera.record()
    *stalls, watched = stand_by(board, _LENGTH_S)
    camera.hold()
    camera.wait_sealed()
    assert player.stop() == 0, player.log
    assert camera.stop() == 0

    vault = camera.copy_vault(tmp_path)
    (name,) = vault.verify()
    played = [int(line.split()[1]) for line in player.log.splitlines() if line.startswith("click ")]
    seen = [at_ns for at_ns in played if watched[0] <= at_ns <= watched[1]]
    media = open_clip(vault.path / "clips" / name, camera.keys.identity, tmp_path / "clip.mp4")
    late_ms = heard_after(vault.manifest(name), seen, stalls, media)
    stood_s = sum(end_ns - start_ns for start_ns, end_ns in stalls) / _NS_PER_S
    if len(late_ms) < _LEAST and stood_s > _LENGTH_S / 10:
        pytest.skip(f"board short of processor: it stood still for {stood_s:.1f} s of {_LENGTH_S} s")
    assert len(late_ms) >= _LEAST
    note = "a click's place in the sound, less that of the picture of the moment it was played; below 0: early"
    write_figure("sound after picture", "ms", late_ms, bound=_BOUND_MS, note=note)
    assert max(abs(each) for each in late_ms) <= _BOUND_MS

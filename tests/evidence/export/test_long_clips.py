"""Memory of the writer and of everyone who reads a clip does not grow with its length."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.evidence.export.conftest import Place

SCRIPT = Path(__file__).with_name("long_clip.py")
REPORT = Path(__file__).parents[3] / "docs" / "reports" / "long-clip.md"
STEPS = {
    "write": "write (the camera's writer, sealing included)",
    "verify": "verify",
    "verify_with_key": "verify with the identity: plaintext digest, all media decoded",
    "decrypt": "decrypt",
    "export": "export",
    "excerpt": "excerpt of half a minute near the end",
    "excerpt_of_all": "excerpt of everything",
}
GROWTH_BYTES = 6 * 1024 * 1024
"""What a heap wanders between two runs of one length. An index of FFmpeg's demuxer takes 40 MiB for 4 h."""


_PAGE = """\
# A clip of four hours

Written by `make long` (`tests/evidence/export/test_long_clips.py`). Time is simulated: 30 pictures and 47
frames of sound a second go through the real writer with times of their own, at 96 by 64 pixels, and `fdatasync`
is left out. Media may wait 4 s for its 64 KiB chunk here, not 200 ms, so that filling chunks does not make
gigabytes. Each step is a process of its own; the figure is its peak resident memory (`VmHWM`), interpreter and
libraries included. It must not be more than 6 MiB higher for the longer clip.

The clips have {short:.0f} and {long:.0f} MiB; the longer one holds 432,000 pictures and four hours of sound.

| step | 30 min: MiB | 4 h: MiB | 30 min: s | 4 h: s |
|---|---|---|---|---|
{rows}
"""


def measured(place: "Place", directory: Path, minutes: int) -> dict[str, dict[str, float]]:
    """Take all steps with a clip of that length, each in a process of its own."""
    directory.mkdir()
    for name in ("agency", "camera"):
        (directory / name).symlink_to(place.directory / name)
    found = {}
    for step in STEPS:
        command = [sys.executable, str(SCRIPT), step, str(directory), str(minutes)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{step}: {done.stderr}"
        found[step] = json.loads(done.stdout)
    clip_bytes = sum(path.stat().st_size for path in directory.glob("clips/*/*"))
    shutil.rmtree(directory)
    return found | {"clip": {"bytes": clip_bytes}}


def assert_flat(short: dict[str, dict[str, float]], long: dict[str, dict[str, float]]) -> None:
    for step in STEPS:
        grown = long[step]["peak_bytes"] - short[step]["peak_bytes"]
        assert grown < GROWTH_BYTES, f"{step} took {grown / 2**20:.1f} MiB more for the longer clip"


def test_memory_does_not_grow_with_the_length_of_a_clip(place: "Place", tmp_path: Path) -> None:
    assert_flat(measured(place, tmp_path / "short", 2), measured(place, tmp_path / "long", 12))


@pytest.mark.long
def test_a_clip_of_four_hours_takes_no_more_memory_than_one_of_half_an_hour(
    place: "Place", tmp_path: Path
) -> None:
    short, long = measured(place, tmp_path / "short", 30), measured(place, tmp_path / "long", 240)
    assert_flat(short, long)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(_report(short, long), encoding="utf-8")


def _report(short: dict[str, dict[str, float]], long: dict[str, dict[str, float]]) -> str:
    rows = [
        f"| {words} | {_mib(short[step])} | {_mib(long[step])} | {short[step]['seconds']:.1f} | "
        f"{long[step]['seconds']:.1f} |"
        for step, words in STEPS.items()
    ]
    sizes = [clip["clip"]["bytes"] / 2**20 for clip in (short, long)]
    return _PAGE.format(short=sizes[0], long=sizes[1], rows="\n".join(rows))


def _mib(step: dict[str, float]) -> str:
    return f"{step['peak_bytes'] / 2**20:.1f}"

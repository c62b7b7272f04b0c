"""Whether what a killed camera left is what it promised: pure functions over a clip as found, and the tally."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import msgspec

from device.capture.stamp import FrameStamp
from evidence.clock import parse_utc
from tests.campaign.clipdata import ClipData, decode_stamps
from tests.campaign.tally import Tally

__all__ = [
    "Claim",
    "check_chain",
    "check_lines",
    "check_pictures",
    "check_prft",
    "check_start",
    "claimed_frames",
    "clip_directories",
    "preevent_bytes",
]

_TICK_NS = 2 * 1_000_000_000 / 90_000  # media times are rounded to ticks of 1/90000 s, at both ends
_PRFT_NS = 1_000_000


def check_lines(clip: ClipData) -> None:
    """Hold each line against the samples that its bytes hold whole."""
    for line in clip.lines:
        within = clip.samples_within(line.plaintext_bytes)
        assert len(within) == line.frames, (
            f"line {line.line} says {line.frames} frames, {len(within)} are there"
        )
        if line.last_pts_ns is None:
            assert not within
            continue
        last_ns = max(sample.pts_ns for sample in within) + clip.start.first_pts_ns
        assert abs(last_ns - line.last_pts_ns) <= _TICK_NS, f"line {line.line}: another last picture"


def check_start(clip: ClipData, tally: Tally, window_ns: int) -> None:
    """Check that the clip begins with the keyframe that the press and the window ask for."""
    wanted_ns = clip.start.trigger.edge_ns - window_ns
    keyframes = [frame.pts_ns for frame in tally.offered if frame.keyframe]
    before = [pts_ns for pts_ns in keyframes if pts_ns <= wanted_ns]
    expected_ns = before[-1] if before else keyframes[0]
    assert clip.start.first_pts_ns == expected_ns, "the clip starts with another frame"


def check_pictures(clip: ClipData, tally: Tally, loop_frames: int | None) -> None:
    """Check that every sample decodes, and that the pictures are those offered, without a hole.

    `loop_frames` is after how many frames replayed footage begins again; `None` for the synthetic source.
    """
    times = [frame.pts_ns for frame in tally.offered]
    first = times.index(clip.start.first_pts_ns)
    stamps = decode_stamps(clip, clip.samples)
    assert len(stamps) == len(clip.samples), f"{len(stamps)} of {len(clip.samples)} samples decode"
    for index, (sample, stamp) in enumerate(zip(clip.samples, stamps, strict=True), first):
        _check_picture(sample.pts_ns + clip.start.first_pts_ns, stamp, index, times[index], loop_frames)
    assert not clip.samples or clip.samples[0].keyframe


def _check_picture(
    pts_ns: Fraction, stamp: FrameStamp | None, index: int, offered_ns: int, loop_frames: int | None
) -> None:
    assert abs(pts_ns - offered_ns) <= _TICK_NS, f"frame {index} is not where the camera had it"
    assert stamp is not None, f"frame {index} cannot be read"
    if loop_frames is None:
        assert stamp == FrameStamp(index, offered_ns)
    else:
        assert stamp.number == index % loop_frames


def check_prft(clip: ClipData) -> int:
    """Check the stamps of the fragments that begin before the press; return how many differences."""
    start = clip.start
    assert start.utc is not None
    press_utc_ns = parse_utc(start.utc) + start.trigger.edge_ns - start.monotonic_ns
    checked = 0
    ends = [prft.start for prft in clip.prfts[1:]]
    if clip.prfts:
        ends.append(len(clip.plaintext))
    for index, (prft, end) in enumerate(zip(clip.prfts, ends, strict=True)):
        samples = [sample for sample in clip.samples if prft.start < sample.start < end]
        if not samples or start.first_pts_ns + samples[0].pts_ns >= start.trigger.edge_ns:
            break
        assert prft.utc_ns < press_utc_ns, "a stamp of a pre-event fragment lies behind the press"
        assert prft.media_ns == samples[0].dts_ns
        if index + 1 < len(clip.prfts):
            duration_ns = sum(sample.duration_ns for sample in samples)
            difference_ns = clip.prfts[index + 1].utc_ns - prft.utc_ns
            assert abs(difference_ns - duration_ns) <= _PRFT_NS, "stamps differ by another time than the media"
            checked += 1
    return checked


def check_chain(clips: Sequence[ClipData]) -> None:
    """Check that numbers have no gap, and each line 0 names the digest of the one before."""
    previous: str | None = None
    for number, clip in enumerate(sorted(clips, key=lambda clip: clip.start.number), 1):
        assert clip.start.number == number, f"{number} expected, {clip.start.number} found"
        assert clip.start.previous_start == previous, f"clip {number} does not follow the one before"
        previous = clip.line0_sha256


def preevent_bytes(clip: ClipData) -> int:
    """Return how many bytes of picture were in the ring for this clip at its press."""
    before_ns = clip.start.trigger.edge_ns - clip.start.first_pts_ns
    return sum(sample.end - sample.start for sample in clip.samples if sample.pts_ns < before_ns)


class Claim(msgspec.Struct, frozen=True):
    """Frames by their number, both ends included."""

    first: int
    last: int


def claimed_frames(tally: Tally, edge_ns: int, window_ns: int, stop_ns: int) -> Claim:
    """Return the frames that a recording claims: from the keyframe before the window to the stop."""
    times = [frame.pts_ns for frame in tally.offered]
    keyframes = [index for index, frame in enumerate(tally.offered) if frame.keyframe]
    before = [index for index in keyframes if times[index] <= edge_ns - window_ns]
    last = max(index for index, pts_ns in enumerate(times) if pts_ns <= stop_ns)
    return Claim(before[-1] if before else keyframes[0], last)


def clip_directories(vault: Path) -> list[Path]:
    """Return the directories of a vault's clips by number; unfinished claims are none."""
    found = [path for path in (vault / "clips").iterdir() if not path.name.startswith(".")]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))

"""How far the sound of a clip is from its picture: clicks against the times drawn into the pictures."""

import bisect
from array import array
from collections.abc import Sequence
from pathlib import Path

import av

from device.capture.stamp import read_stamp
from evidence.age.keyfiles import parse_identities
from evidence.age.reader import decrypt_file

__all__ = ["click_times", "open_clip", "picture_times", "sound_lateness"]

_NS_PER_S = 1_000_000_000
_LOUD = 6_000  # of 20,000 in a click
_PAUSE_NS = 200_000_000
_NEAR_NS = 200_000_000


def open_clip(clip: Path, identity: Path, target: Path) -> Path:
    """Decrypt a clip's media."""
    with (clip / "clip.mp4.age").open("rb") as source, target.open("wb") as plain:
        decrypt_file(source, plain, parse_identities(identity.read_text(encoding="ascii")))
    return target


def picture_times(media: Path) -> list[tuple[int, int]]:
    """Return of every picture its CLOCK_MONOTONIC, as drawn into it, and its time in the file, nanoseconds."""
    found = []
    with av.open(media) as container:
        for picture in container.decode(video=0):
            stamp = read_stamp(picture)
            if stamp is not None and picture.pts is not None and picture.time_base is not None:
                found.append((stamp.monotonic_ns, int(picture.pts * picture.time_base * _NS_PER_S)))
    return found


def click_times(media: Path) -> list[int]:
    """Return when each click in the sound begins: time in the file, nanoseconds."""
    found: list[int] = []
    last_ns = -_NS_PER_S
    with av.open(media) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        for frame in container.decode(audio=0):
            if frame.pts is None or frame.time_base is None:
                raise ValueError(f"{media}: sound without a time")
            start_ns = int(frame.pts * frame.time_base * _NS_PER_S)
            for piece in resampler.resample(frame):
                samples = array("h", bytes(piece.planes[0])[: piece.samples * 2])
                for index, sample in enumerate(samples):
                    at_ns = start_ns + index * _NS_PER_S // 48_000
                    if abs(sample) > _LOUD:
                        if at_ns - last_ns > _PAUSE_NS:
                            found.append(at_ns)
                        last_ns = at_ns
    return found


def sound_lateness(
    played: Sequence[int], pictures: Sequence[tuple[int, int]], heard: Sequence[int]
) -> list[int]:
    """Return of each click by how many nanoseconds it comes after the picture of the moment it was played at.

    `played` is CLOCK_MONOTONIC; clicks outside of the pictures, or in a part without sound, are left out.
    """
    drawn = [monotonic_ns for monotonic_ns, _ in pictures]
    late = []
    for click_ns in played:
        place = bisect.bisect_right(drawn, click_ns) - 1
        if not 0 <= place < len(pictures) - 1:
            continue
        expected_ns = pictures[place][1] + click_ns - drawn[place]
        nearest = min(heard, key=lambda at_ns: abs(at_ns - expected_ns), default=None)
        if nearest is not None and abs(nearest - expected_ns) < _NEAR_NS:
            late.append(nearest - expected_ns)
    return late

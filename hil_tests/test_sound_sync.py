"""The judge of sound against picture finds by how much a clip is off, and which clicks are missing."""

from array import array
from fractions import Fraction
from pathlib import Path

import av
import pytest

from device.capture.drawing import SyntheticPicture
from device.capture.stamp import FrameStamp
from hil_tests.sound_sync import click_times, picture_times, sound_lateness

_RATE, _SAMPLES = 25, 48_000
_SECONDS = 3
_BEGAN_NS = 5_000_000_000_000
_CLICKS_MS = (400, 1010, 1733, 2310)
_NS_PER_MS = 1_000_000


def sound(late_ms: int, clicks_ms: tuple[int, ...]) -> "array[int]":
    samples = array("h", bytes(2 * _SAMPLES * _SECONDS))
    for click_ms in clicks_ms:
        start = (click_ms + late_ms) * _SAMPLES // 1000
        samples[start : start + 240] = array(
            "h", [20_000 if index // 8 % 2 else -20_000 for index in range(240)]
        )
    return samples


def film(path: Path, samples: "array[int]") -> Path:
    picture = SyntheticPicture(160, 96)
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=_RATE, options={"preset": "ultrafast", "bf": "0"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        audio = container.add_stream("aac", rate=_SAMPLES, layout="mono")
        assert isinstance(audio, av.AudioStream)
        for number in range(_RATE * _SECONDS):
            drawn = picture.draw(FrameStamp(number, _BEGAN_NS + number * 40 * _NS_PER_MS))
            drawn.pts, drawn.time_base = number, Fraction(1, _RATE)
            drawn.pict_type = av.video.frame.PictureType.NONE
            container.mux(video.encode(drawn))
        container.mux(video.encode(None))
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
        frame.sample_rate, frame.pts, frame.time_base = _SAMPLES, 0, Fraction(1, _SAMPLES)
        frame.planes[0].update(samples.tobytes())
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return path


@pytest.mark.parametrize("late_ms", [-60, 0, 45])
def test_lateness_is_found_to_a_millisecond(late_ms: int, tmp_path: Path) -> None:
    media = film(tmp_path / "clip.mp4", sound(late_ms, _CLICKS_MS))
    played = [_BEGAN_NS + click_ms * _NS_PER_MS for click_ms in _CLICKS_MS]
    late = sound_lateness(played, picture_times(media), click_times(media))
    assert [each / _NS_PER_MS for each in late] == pytest.approx([late_ms] * len(_CLICKS_MS), abs=1.5)


def test_click_that_is_missing_is_not_found(tmp_path: Path) -> None:
    media = film(tmp_path / "clip.mp4", sound(0, _CLICKS_MS[:2]))
    played = [_BEGAN_NS + click_ms * _NS_PER_MS for click_ms in _CLICKS_MS]
    assert len(sound_lateness(played, picture_times(media), click_times(media))) == 2

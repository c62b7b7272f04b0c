"""How sources are named and opened."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture.replay import ReplaySource
from device.capture.source import (
    CaptureError,
    SourceKind,
    SourceSpec,
    default_options,
    open_source,
    parse_source,
)
from device.capture.synthetic import SyntheticSource
from device.capture.v4l2 import V4l2Source


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("picamera", SourceSpec(SourceKind.PICAMERA)),
        ("synthetic", SourceSpec(SourceKind.SYNTHETIC)),
        ("replay:walk.mp4", SourceSpec(SourceKind.REPLAY, "walk.mp4")),
        ("replay:/a dir/b:c.mkv", SourceSpec(SourceKind.REPLAY, "/a dir/b:c.mkv")),
        ("v4l2:/dev/video0", SourceSpec(SourceKind.V4L2, "/dev/video0")),
        ("v4l2:/dev/v4l/by-id/usb-cam-index0", SourceSpec(SourceKind.V4L2, "/dev/v4l/by-id/usb-cam-index0")),
    ],
)
def test_names_are_read_and_written(text: str, spec: SourceSpec) -> None:
    assert parse_source(text) == spec
    assert str(spec) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown camera"),
        ("webcam", "expected picamera, synthetic, replay:FILE or v4l2:/dev/videoN, found 'webcam'"),
        ("Synthetic", "unknown camera"),
        ("picamera:1", "picamera takes nothing after its name"),
        ("synthetic:", "synthetic takes nothing after its name"),
        ("replay", "replay without a FILE"),
        ("replay:", "replay without a FILE"),
        ("v4l2", "v4l2 without a /dev/videoN"),
        ("v4l2:video0", "not a video device"),
        ("v4l2:/dev/../etc/passwd", "not a video device"),
    ],
)
def test_other_names_are_refused_with_what_would_do(text: str, message: str) -> None:
    with pytest.raises(CaptureError) as caught:
        parse_source(text)
    assert message in str(caught.value)


@given(st.text(max_size=30))
def test_a_name_is_either_read_back_as_written_or_refused(text: str) -> None:
    try:
        spec = parse_source(text)
    except CaptureError:
        return
    assert str(spec) == text


def test_each_name_opens_its_source(plain_footage: Path) -> None:
    assert isinstance(open_source(parse_source("synthetic")), SyntheticSource)
    assert isinstance(open_source(parse_source(f"replay:{plain_footage}")), ReplaySource)
    webcam = open_source(parse_source("v4l2:/dev/video7"))
    assert isinstance(webcam, V4l2Source)
    assert webcam.name == "v4l2:/dev/video7"
    with pytest.raises(CaptureError, match="cannot replay"):
        open_source(parse_source("replay:/nowhere/at/all.mp4"))


def test_a_real_camera_films_in_full_hd_and_the_demo_small() -> None:
    assert default_options(SourceSpec(SourceKind.PICAMERA)).width == 1920
    assert default_options(SourceSpec(SourceKind.SYNTHETIC)).width == 640


def test_naming_a_source_loads_no_codec() -> None:
    code = (
        "import sys; from device.capture import source, pacing, stall; source.parse_source('synthetic');"
        "print(sorted({'av', 'numpy', 'picamera2'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

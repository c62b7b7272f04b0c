"""Point 5: silence of every kind holds no fragment back, and the manifest says when and why it was silent."""

import itertools
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from device.capture.sound.microphone import MicrophoneError, PcmBlock
from device.capture.sound.synthetic import SyntheticMicrophone
from device.recording import writer
from device.service import ServiceParts
from evidence.frames import EncodedFrame, Track
from evidence.media.clipstream import MediaWriter
from evidence.media.fmp4 import Fragment

if TYPE_CHECKING:
    from tests.system.conftest import Camera, MakeCamera, Opened

    SoundClip = Callable[..., Opened]

NS_PER_S = 1_000_000_000
FRAME_NS = 40_000_000
AAC_NS = 21_333_334
WITHIN_NS = 100_000_000


class Muxed(msgspec.Struct, frozen=True):
    """A fragment as it left the muxer: the end of its last picture, and how far the picture put in had come."""

    end_ns: int
    put_in_ns: int


class Unpluggable(SyntheticMicrophone):
    """A synthetic microphone with a plug."""

    def __init__(self) -> None:
        super().__init__()
        self.pulled = threading.Event()

    def open(self) -> None:
        if self.pulled.is_set():
            raise MicrophoneError("no microphone", found="it was pulled", remedy="plug it in")
        super().open()

    def read(self, stop: threading.Event) -> PcmBlock | None:
        if self.pulled.is_set():
            raise MicrophoneError("microphone lost", found="it was pulled", remedy="plug it in")
        return super().read(stop)


@pytest.fixture
def muxed(monkeypatch: pytest.MonkeyPatch) -> list[Muxed]:
    """What leaves the muxer, told by the hook that the clip's writer has there itself."""
    found: list[Muxed] = []

    class Watched(MediaWriter):
        def __init__(self, first: EncodedFrame, *args: Any, **kwargs: Any) -> None:
            tell = kwargs["on_fragment"]
            self.put_in_ns = first.dts_ns

            def heard(fragment: Fragment) -> None:
                if fragment.pts_ns:
                    found.append(Muxed(max(fragment.pts_ns) + FRAME_NS, self.put_in_ns))
                tell(fragment)

            super().__init__(first, *args, **{**kwargs, "on_fragment": heard})

        def write(self, frame: EncodedFrame) -> None:
            if frame.track is Track.VIDEO:
                self.put_in_ns = frame.pts_ns + FRAME_NS
            super().write(frame)

    monkeypatch.setattr(writer, "MediaWriter", Watched)
    return found


def film(camera: "Camera", *, before: float, after: float) -> None:
    camera.wait_filled(before)
    camera.start()
    camera.run_for(after)


def assert_prompt(muxed: list[Muxed]) -> None:
    assert len(muxed) >= 3
    assert max(one.put_in_ns - one.end_ns for one in muxed) <= WITHIN_NS


def spans_of(camera: "Camera") -> list[tuple[str, int, int]]:
    (clip,) = camera.clips()
    return [(str(span.cause), span.start_ns, span.end_ns) for span in clip.manifest.silences]


def test_the_seconds_before_the_press_are_silent_by_policy_and_the_rest_is_heard(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip", muxed: list[Muxed]
) -> None:
    camera = make_camera(1.5)
    film(camera, before=2.2, after=0.8)
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    manifest = clip.manifest
    assert_sound_clip(clip)
    assert_prompt(muxed)
    ((cause, start_ns, end_ns),) = spans_of(camera)
    assert (cause, start_ns) == ("policy_before_press", manifest.first_pts_ns)
    edge_ns = manifest.start.trigger.edge_ns
    assert edge_ns <= end_ns <= edge_ns + AAC_NS


def test_sound_before_the_press_where_policy_wants_it(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip", muxed: list[Muxed]
) -> None:
    camera = make_camera(1.0, policy="sound_before_press = true\n")
    film(camera, before=1.8, after=0.2)
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    assert_sound_clip(clip)
    assert_prompt(muxed)
    silent_ns = sum(end - start for _, start, end in spans_of(camera))
    assert silent_ns <= AAC_NS  # less than one frame, where the clip begins within one
    assert not [cause for cause, _, _ in spans_of(camera) if cause == "policy_before_press"]


@pytest.mark.parametrize("microphone", ["none", "alsa:no-such-card"])
def test_without_a_microphone_the_camera_films_on(
    microphone: str, make_camera: "MakeCamera", assert_sound_clip: "SoundClip", muxed: list[Muxed]
) -> None:
    camera = make_camera(1.0, microphone=microphone)
    film(camera, before=1.8, after=0.8)
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    manifest, opened = clip.manifest, assert_sound_clip(clip)
    assert_prompt(muxed)
    edge_ns, end_ns = manifest.start.trigger.edge_ns, manifest.first_pts_ns + manifest.duration_ns
    assert spans_of(camera) == [
        ("policy_before_press", manifest.first_pts_ns, edge_ns),
        ("no_microphone", edge_ns, end_ns),
    ]
    assert opened.sound_frames * AAC_NS >= manifest.duration_ns - AAC_NS  # a track all the same
    states = [event.detail["state"] for event in camera.log_events("microphone")]
    assert states == ([] if microphone == "none" else ["absent"])


def test_policy_without_sound_is_silent_from_end_to_end(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip", muxed: list[Muxed]
) -> None:
    camera = make_camera(0.8, policy="sound = false\n")
    film(camera, before=1.2, after=0.2)
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    manifest = clip.manifest
    assert_sound_clip(clip)
    assert_prompt(muxed)
    end_ns = manifest.first_pts_ns + manifest.duration_ns
    assert spans_of(camera) == [("policy_off", manifest.first_pts_ns, end_ns)]


def test_a_microphone_that_is_pulled_and_plugged_in_again(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip", muxed: list[Muxed]
) -> None:
    microphone = Unpluggable()
    camera = make_camera(1.0, parts=ServiceParts(microphone=microphone))
    film(camera, before=1.8, after=0.8)
    pulled_ns = time.monotonic_ns()
    microphone.pulled.set()
    camera.run_for(1.0)
    microphone.pulled.clear()
    camera.wait(lambda: not microphone.pulled.is_set() and microphone._first_ns is not None, "sound again")
    camera.run_for(0.8)
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    manifest = clip.manifest
    assert_sound_clip(clip)
    assert_prompt(muxed)
    spans = spans_of(camera)
    assert [cause for cause, _, _ in spans] == ["policy_before_press", "microphone_lost"]
    _, start_ns, end_ns = spans[1]
    states = [(event.detail["state"], event.monotonic_ns) for event in camera.log_events("microphone")]
    assert [state for state, _ in states] == ["present", "lost", "present"]
    # Silent from the last sample before the plug was pulled to the first one after, to a frame of sound.
    assert abs(start_ns - pulled_ns) <= 4 * AAC_NS
    assert abs(start_ns - states[1][1]) <= 2 * AAC_NS
    assert abs(end_ns - states[2][1]) <= 2 * AAC_NS
    assert manifest.gaps == ()  # the picture never noticed


def test_silences_of_a_clip_never_overlap(make_camera: "MakeCamera", muxed: list[Muxed]) -> None:
    microphone = Unpluggable()
    microphone.pulled.set()  # there is none when the camera starts
    camera = make_camera(0.8, parts=ServiceParts(microphone=microphone))
    film(camera, before=1.2, after=0.4)
    microphone.pulled.clear()
    camera.wait(lambda: microphone._first_ns is not None, "sound")
    camera.run_for(0.6)
    camera.stop()
    camera.shut_down()
    spans = spans_of(camera)
    assert [cause for cause, _, _ in spans] == ["policy_before_press", "no_microphone"]
    assert all(before[2] <= after[1] for before, after in itertools.pairwise(spans))
    assert_prompt(muxed)

"""Point 3: a clip holds the very frames that it should, told by the numbers drawn into them."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from device.recording.machine import State

if TYPE_CHECKING:
    from tests.system.conftest import HeldBack, MakeCamera, Opened

    SoundClip = Callable[..., Opened]

NS_PER_S = 1_000_000_000
FRAME_NS = 40_000_000


def assert_ends_at(stop_ns: int, last_ns: int) -> None:
    """The last picture shows the stop; later ones are there only if they were written before it was told."""
    assert stop_ns - FRAME_NS < last_ns < stop_ns + NS_PER_S


def test_a_clip_runs_from_before_the_window_to_the_stop(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip"
) -> None:
    camera = make_camera(2.0)
    camera.wait_filled(2.8)
    camera.start()
    camera.run_for(0.5)
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    manifest, opened = clip.manifest, assert_sound_clip(clip)
    assert manifest.preevent.shortfall is None
    assert manifest.preevent.delivered_ns >= 2 * NS_PER_S
    assert opened.stamps[0].monotonic_ns <= manifest.start.trigger.edge_ns - 2 * NS_PER_S
    assert manifest.stop_ns is not None
    last_ns = opened.stamps[-1].monotonic_ns
    assert_ends_at(manifest.stop_ns, last_ns)
    assert str(manifest.ended) == "stopped"


def test_two_triggers_at_once_are_one_clip_that_the_gripped_press_does_not_stop(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip"
) -> None:
    camera = make_camera(1.0)
    camera.wait_filled(1.8)
    camera.board.trigger("holster", active=True)
    camera.board.press()
    camera.wait_state(State.RECORDING)
    camera.run_for(1.2)  # gripped for more than twice the hold time
    assert camera.state is State.RECORDING
    camera.board.release()
    camera.run_for(0.2)
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    manifest = clip.manifest
    assert manifest.start.trigger.source == "holster"
    assert [trigger.source for trigger in manifest.triggers] == ["button"]
    assert 0 <= manifest.triggers[0].edge_ns - manifest.start.trigger.edge_ns < NS_PER_S
    assert manifest.bookmarks == ()
    assert_sound_clip(clip)


def test_the_trigger_that_comes_second_is_in_the_manifest(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip"
) -> None:
    camera = make_camera(1.0)
    camera.wait_filled(1.5)
    camera.board.press()
    camera.board.trigger("holster", active=True)
    camera.wait_state(State.RECORDING)
    camera.run_for(0.8)
    assert camera.state is State.RECORDING
    camera.board.release()
    camera.run_for(0.1)
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    assert clip.manifest.start.trigger.source == "button"
    assert [trigger.source for trigger in clip.manifest.triggers] == ["holster"]
    assert_sound_clip(clip)


def test_a_press_soon_after_the_start_has_all_there_is_and_says_why_not_more(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip"
) -> None:
    camera = make_camera(30.0)
    camera.wait_filled(1.5)
    camera.start()
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    manifest, opened = clip.manifest, assert_sound_clip(clip)
    assert opened.numbers[0] == 0
    assert str(manifest.preevent.shortfall) == "just_started"
    edge_ns = manifest.start.trigger.edge_ns
    assert manifest.preevent.delivered_ns == edge_ns - opened.stamps[0].monotonic_ns
    assert manifest.preevent.requested_ns == 30 * NS_PER_S


def test_presses_before_the_first_keyframe_open_one_clip_with_it(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip", held_back_source: "Callable[[], HeldBack]"
) -> None:
    from device.service import ServiceParts

    source = held_back_source()
    camera = make_camera(2.0, parts=ServiceParts(source=source))
    camera.wait_state(State.STARTING)
    camera.board.press()
    camera.wait_state(State.PENDING)
    camera.board.trigger("holster", active=True)
    camera.wait(lambda: len(camera.log_events("press")) == 2, "both presses in the log")
    source.let_go()
    camera.wait_state(State.RECORDING)
    camera.run_for(0.8)
    assert camera.state is State.RECORDING  # the press that started it is still down
    camera.board.release()
    camera.run_for(0.1)
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    manifest, opened = clip.manifest, assert_sound_clip(clip)
    assert opened.numbers[0] == 0
    assert manifest.start.trigger.source == "button"
    assert manifest.start.trigger.edge_ns < manifest.first_pts_ns
    assert [trigger.source for trigger in manifest.triggers] == ["holster"]
    assert (manifest.preevent.delivered_ns, str(manifest.preevent.shortfall)) == (0, "just_started")
    outcomes = [event.detail["outcome"] for event in camera.log_events("press")]
    assert outcomes[:2] == ["pending", "pending"]


def test_twenty_clips_back_to_back(make_camera: "MakeCamera", assert_sound_clip: "SoundClip") -> None:
    camera = make_camera(1.0, hold_s="0.5")
    camera.wait_filled(1.4)
    for _ in range(20):
        camera.start()
        camera.hold()
    camera.wait_ended(20)
    camera.shut_down()
    clips = camera.clips()
    manifests = [clip.manifest for clip in clips]
    assert [manifest.number for manifest in manifests] == list(range(1, 21))
    assert manifests[0].start.previous_start is None
    for before, after in itertools.pairwise(manifests):
        assert after.start.previous_start == before.start_sha256
        assert after.start.trigger.edge_ns > (before.stop_ns or 0)
    opened = [assert_sound_clip(clip) for clip in clips]
    overlaps = sum(set(one.numbers) & set(two.numbers) != set() for one, two in itertools.pairwise(opened))
    assert overlaps == 19  # each takes the second before it again, from the same ring
    starts = [event.detail["clip"] for event in camera.log_events("start")]
    assert starts == [manifest.clip for manifest in manifests]


def test_a_stop_waits_for_its_confirmation_and_goes_on_without_it(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip"
) -> None:
    camera = make_camera(1.0, policy="confirm_stop = true\nconfirm_s = 1.0\n")
    camera.wait_filled(1.2)
    camera.start()
    camera.hold()
    camera.wait_state(State.CONFIRMING)
    camera.wait_state(State.RECORDING)  # nobody confirmed
    camera.hold()
    camera.wait_state(State.CONFIRMING)
    camera.tap()
    camera.wait_ended(1)
    camera.shut_down()
    (clip,) = camera.clips()
    opened, manifest = assert_sound_clip(clip), clip.manifest
    assert str(manifest.ended) == "stopped"
    presses = [event for event in camera.log_events("press") if event.detail["outcome"] == "confirm"]
    assert [press.monotonic_ns for press in presses] == [manifest.stop_ns]
    assert manifest.bookmarks == ()
    # The second of the first, unconfirmed stop is in the clip.
    assert opened.stamps[-1].monotonic_ns - manifest.start.trigger.edge_ns > 1.5 * NS_PER_S


def test_a_short_press_while_recording_is_a_bookmark_in_the_manifest(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip"
) -> None:
    camera = make_camera(0.5)
    camera.wait_filled(0.8)
    camera.start()
    camera.run_for(0.2)
    camera.tap()
    camera.run_for(0.2)
    camera.tap()
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    assert_sound_clip(clip)
    presses = [event for event in camera.log_events("press") if event.detail["outcome"] == "bookmark"]
    assert list(clip.manifest.bookmarks) == [press.monotonic_ns for press in presses]
    assert len(presses) == 2


def test_the_time_limit_ends_a_clip_and_the_next_press_opens_another(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip"
) -> None:
    camera = make_camera(0.5, policy="limit_minutes = 0.02\n")
    camera.wait_filled(0.8)
    camera.start()
    camera.wait_ended(1)
    camera.start()
    camera.stop()
    camera.shut_down()
    first, second = camera.clips()
    manifest, opened = first.manifest, assert_sound_clip(first)
    assert str(manifest.ended) == "time_limit"
    assert manifest.stop_ns == manifest.start.trigger.edge_ns + int(1.2 * NS_PER_S)
    assert_ends_at(manifest.stop_ns, opened.stamps[-1].monotonic_ns)
    assert str(second.manifest.ended) == "stopped"
    assert_sound_clip(second)


def test_a_battery_at_its_last_level_ends_the_clip_and_refuses_the_next_press(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip"
) -> None:
    from device.controls.patterns import IndicatorState, Signal
    from device.recording.events import BatteryLevel

    camera = make_camera(0.5)
    camera.wait_filled(0.8)
    camera.start()
    camera.run_for(0.2)
    camera.service.recorder.post(BatteryLevel(percent=10, low=True, critical=False))
    camera.wait(lambda: IndicatorState.RECORDING_BATTERY_LOW in camera.witness.states, "the amber light")
    assert camera.state is State.RECORDING
    camera.service.recorder.post(BatteryLevel(percent=2, low=True, critical=True))
    camera.wait_ended(1)
    camera.wait_state(State.BLOCKED)
    camera.tap()
    camera.wait(lambda: Signal.REFUSED in camera.witness.kinds(), "a refusal")
    camera.service.recorder.post(BatteryLevel(percent=40, low=False, critical=False))  # on the charger
    camera.wait_state(State.READY)
    camera.shut_down()
    (clip,) = camera.clips()
    assert str(clip.manifest.ended) == "low_battery"
    assert_sound_clip(clip)
    assert [event.detail["reason"] for event in camera.log_events("refusal")] == ["battery at its last level"]


def test_a_shutdown_seals_the_open_clip(make_camera: "MakeCamera", assert_sound_clip: "SoundClip") -> None:
    camera = make_camera(0.5)
    camera.wait_filled(0.8)
    camera.start()
    camera.run_for(0.4)
    camera.shut_down("SIGTERM")
    (clip,) = camera.clips()
    assert str(clip.manifest.ended) == "shutdown"
    assert_sound_clip(clip)
    kinds = [event.kind for line in camera.log_lines() for event in line.events]
    assert kinds.index("shutdown") < kinds.index("stop")

"""A whole session: clips stored, verified, signed for, confirmed; what is wrong is told apart."""

from typing import TYPE_CHECKING

from docklink.messages import ClipState, HealthEntry, WearerAssignment
from evidence.check import Finding, check_sealed_clip
from host.bays import CameraStatus
from host.offload import Step
from tests.host.offload.fakecamera import FakeCamera

if TYPE_CHECKING:
    from tests.host.offload.conftest import OffloadBench


def test_clips_are_stored_verified_and_released(bench: "OffloadBench") -> None:
    made = [
        bench.clips.make(1),
        bench.clips.make(2, previous_start=None, chunks=40),
        bench.clips.make(3, empty=True),
    ]
    camera = FakeCamera(bench.pki, made)
    _, port = bench.serve(camera)
    report = bench.session(port)
    assert [each.ending for each in report.outcomes] == [Step.STORED] * 3
    assert (report.stored, report.waiting, report.error) == (3, 0, None)
    for clip in made:
        checked = check_sealed_clip(bench.place(clip), bench.pki.trust.roots)
        assert checked.finding in (Finding.AUTHENTIC, Finding.INCOMPLETE)
        assert camera.states[clip.key.clip] is ClipState.RELEASABLE
        assert camera.receipts[clip.key.clip].store == "dock7-a"
        assert bench.kinds(clip) == ["clip_stored", "receipt_accepted"]
    assert report.completeness is not None
    assert report.completeness.missing == ()
    assert report.completeness.held == 3


def test_a_second_session_does_nothing_again(bench: "OffloadBench") -> None:
    clip = bench.clips.make(1)
    camera = FakeCamera(bench.pki, [clip])
    _, port = bench.serve(camera)
    bench.session(port)
    served = dict(camera.served_bytes)
    assert bench.session(port).outcomes == ()
    assert camera.served_bytes == served
    assert bench.kinds(clip) == ["clip_stored", "receipt_accepted"]


def test_urgent_first_then_oldest(bench: "OffloadBench") -> None:
    made = [bench.clips.make(number) for number in (1, 2, 3)]
    camera = FakeCamera(bench.pki, made)
    camera.urgent = {made[2].key.clip}
    _, port = bench.serve(camera)
    report = bench.session(port)
    assert [each.clip for each in report.outcomes] == [made[index].key.clip for index in (2, 0, 1)]


def test_what_is_not_sealed_waits(bench: "OffloadBench") -> None:
    made = [bench.clips.make(1), bench.clips.make(2)]
    camera = FakeCamera(bench.pki, made)
    camera.states[made[1].key.clip] = ClipState.RECORDING
    camera.recording = True
    _, port = bench.serve(camera)
    report = bench.session(port)
    assert [each.clip for each in report.outcomes] == [made[0].key.clip]
    assert report.completeness is not None
    assert report.completeness.waiting == (2,)
    assert report.completeness.missing == ()


def test_a_wearer_is_told(bench: "OffloadBench") -> None:
    camera = FakeCamera(bench.pki, [])
    _, port = bench.serve(camera)
    assignment = WearerAssignment("w-7f3a", "2026-11-22T08:00:00.000000Z", "2026-11-22T20:00:00.000000Z")
    assert bench.session(port, wearer=assignment).wearer_told
    assert camera.wearers == [assignment]


def test_what_the_camera_says_is_failing_is_shown_and_an_alarm_is_announced(bench: "OffloadBench") -> None:
    camera = FakeCamera(bench.pki, [])
    low = HealthEntry("storage", "warning", "61 minutes left")
    dead = HealthEntry("microphone", "alarm", "no sound since 08:00")
    camera.health = (low, dead)
    _, port = bench.serve(camera)
    report = bench.session(port)
    assert CameraStatus.of(report.device, 0, None).health == (low, dead)
    told = [each.detail for each in bench.station.notices if each.kind == "camera_alarm"]
    assert told == ["microphone: no sound since 08:00"]

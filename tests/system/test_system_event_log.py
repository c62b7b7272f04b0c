"""The event log of a whole camera: what is durable before what, and a chain that survives every start."""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from device.controls.patterns import Signal
from device.recording.machine import State
from device.service import ServiceParts
from evidence.storage import AppendFile, PosixAppendFile

if TYPE_CHECKING:
    from tests.system.conftest import MakeCamera


class SlowLogFile:
    """A file whose syncs wait while the card is held; says how many bytes are known to be on storage."""

    def __init__(self, inner: AppendFile, card: "HeldCard") -> None:
        self._inner = inner
        self._card = card

    @property
    def size_bytes(self) -> int:
        return self._inner.size_bytes

    def append(self, data: bytes | memoryview) -> None:
        self._inner.append(data)
        self._card.appended += bytes(data)

    def sync(self) -> None:
        self._card.waiting.set()
        assert self._card.go.wait(60)
        self._inner.sync()
        self._card.synced_at[len(self._card.appended)] = time.monotonic_ns()

    def close(self) -> None:
        self._inner.close()


class HeldCard:
    """The card that the event log lies on."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.waiting = threading.Event()
        self.appended = b""
        self.synced_at: dict[int, int] = {}

    def __call__(self, path: Path) -> AppendFile:
        file = PosixAppendFile(path)
        return SlowLogFile(file, self) if path.parent.name == "log" else file

    def synced_ns(self, words: bytes) -> int:
        """When the line with these words was on storage."""
        end = self.appended.index(b"\n", self.appended.index(words)) + 1
        return min(at_ns for size, at_ns in self.synced_at.items() if size >= end)


def test_a_whole_shift_is_in_the_log_in_order(make_camera: "MakeCamera") -> None:
    camera = make_camera(0.6)
    camera.wait_filled(0.8)
    camera.start()
    camera.run_for(0.2)
    camera.tap()
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    events = [event for line in camera.log_lines() for event in line.events]
    story = [
        (event.kind, event.detail.get("outcome"))
        for event in events
        if event.kind in {"power_on", "press", "start", "stop", "shutdown"}
    ]
    assert story == [
        ("power_on", None),
        ("press", "start"),
        ("start", None),
        ("press", "noted"),
        ("press", "bookmark"),
        ("press", "noted"),
        ("press", "stop"),
        ("stop", None),
        ("shutdown", None),
    ]
    by_kind = {event.kind: event for event in events}
    assert by_kind["start"].detail["clip"] == by_kind["stop"].detail["clip"] == clip.manifest.clip
    assert by_kind["stop"].detail == {"clip": clip.manifest.clip, "ended": "stopped", "sealed": True}
    assert by_kind["start"].monotonic_ns == clip.manifest.start.trigger.edge_ns
    # Line 0 names a line of the log that was on storage before it.
    head = clip.manifest.start.log
    assert head is not None
    assert head.index <= len(camera.log_lines())


def test_a_refusal_is_on_storage_before_its_light(make_camera: "MakeCamera") -> None:
    from device.recording.events import BatteryLevel

    card = HeldCard()
    camera = make_camera(0.6, parts=ServiceParts(open_file=card))
    camera.wait_filled(0.8)
    camera.service.recorder.post(BatteryLevel(percent=1, low=True, critical=True))
    camera.wait_state(State.BLOCKED)
    camera.wait(lambda: b'"critical"' in card.appended, "the level in the log")
    camera.wait(lambda: len(card.appended) in card.synced_at, "the log at rest")
    card.waiting.clear()
    card.go.clear()
    camera.board.press()
    assert card.waiting.wait(60)
    camera.run_for(0.4)
    assert Signal.REFUSED not in camera.witness.kinds()  # the line is not on storage yet
    card.go.set()
    camera.wait(lambda: Signal.REFUSED in camera.witness.kinds(), "a refusal")
    camera.board.release()
    ((_, shown_ns),) = [said for said in camera.witness.signals if said[0] is Signal.REFUSED]
    assert card.synced_ns(b'"refusal"') <= shown_ns
    camera.shut_down()
    assert len(camera.log_events("refusal")) == 1


def test_a_log_that_hangs_keeps_nobody_in_the_dark(make_camera: "MakeCamera") -> None:
    from device.recording.events import BatteryLevel

    card = HeldCard()
    camera = make_camera(0.6, parts=ServiceParts(open_file=card))
    camera.wait_filled(0.8)
    camera.service.recorder.post(BatteryLevel(percent=1, low=True, critical=True))
    camera.wait_state(State.BLOCKED)
    card.go.clear()
    camera.board.press()
    camera.wait(lambda: Signal.REFUSED in camera.witness.kinds(), "a refusal all the same")
    assert not card.go.is_set()
    camera.board.release()
    card.go.set()
    camera.shut_down()
    assert len(camera.log_events("refusal")) == 1


def test_no_press_waits_for_the_log(make_camera: "MakeCamera") -> None:
    card = HeldCard()
    camera = make_camera(0.6, parts=ServiceParts(open_file=card))
    camera.wait_filled(0.8)
    card.go.clear()
    camera.start()
    camera.hold()
    camera.wait_ended(1)
    assert not card.go.is_set()
    card.go.set()
    camera.shut_down()
    (clip,) = camera.clips()
    assert clip.sealed
    assert str(clip.check().finding) == "authentic"
    assert [event.detail["clip"] for event in camera.log_events("stop")] == [clip.manifest.clip]


def test_the_chain_goes_on_over_starts_and_torn_tails(make_camera: "MakeCamera") -> None:
    for torn in (b'{"l":{"type":"prer', b"\0" * 700, b""):
        camera = make_camera(0.4)
        camera.wait_filled(0.5)
        camera.start()
        camera.stop()
        camera.shut_down()
        newest = max((camera.vault / "log").iterdir())
        with newest.open("ab") as file:
            file.write(torn)
    lines = camera.log_lines()  # verifies signatures and chain over all three files
    assert sum(event.kind == "power_on" for line in lines for event in line.events) == 3
    assert len(list((camera.vault / "log").iterdir())) == 3
    assert len({line.boot for line in lines}) == 1
    manifests = [clip.manifest for clip in camera.clips()]
    assert [manifest.number for manifest in manifests] == [1, 2, 3]
    assert [manifest.start.previous_start for manifest in manifests][1:] == [
        manifest.start_sha256 for manifest in manifests[:2]
    ]

"""The firmware on a virtual board as `preroll device run` runs it, with a record kept outside the board.

`python -m hil_tests.powercut.camera RECORD CONFIG`. RECORD lies on the host: what is written there is the
host's at once, whatever happens to the board. The firmware itself is not changed: its frame source, recorder
and named steps of storage are listened to.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import msgspec

import device.service
from device.capture.source import FrameSink, FrameSource, SourceOptions, SourceSpec, SourceState, open_source
from device.recording.events import ClipEnded, ClipFailed, ClipProgress
from device.recording.recorder import Recorder
from device.vault.layout import VaultLayout
from device.vault.recovery import VaultRecovery
from evidence.documents import LogHead
from evidence.frames import EncodedFrame, Span, Track, VideoFormat
from evidence.steps import Operation, set_step_hook, step_name
from evidence.storage import PosixAppendFile
from hil_tests.powercut.marks import Marker
from hil_tests.powercut.record import Kind, Told

__all__ = ["main"]

_encoder = msgspec.json.Encoder()
_LOOK_S = 0.02
_PAUSE_S = 0.1


class _Own(msgspec.Struct):
    """The clip of this boot, and whether it is sealed."""

    clip: str = ""
    sealed: bool = False


_own = _Own()
_pauses: set[str] = set()
_record = -1
_ends_recovered = False
_marker: Marker | None = None


def _tell(told: Told) -> None:
    """Write one line, whole."""
    os.write(_record, _encoder.encode(told) + b"\n")


class _ToldSink:
    """Notes every video frame that the encoder hands to its output, before anything else is done with it."""

    def __init__(self, sink: FrameSink) -> None:
        self._sink = sink

    def frame(self, frame: EncodedFrame) -> None:
        if frame.track is Track.VIDEO:
            late_ns = time.monotonic_ns() - frame.pts_ns
            _tell(Told(Kind.FRAME, frame.pts_ns, flag=frame.keyframe, late_ns=late_ns))
        self._sink.frame(frame)

    def gap(self, gap: Span) -> None:
        _tell(Told(Kind.GAP, time.monotonic_ns()))
        self._sink.gap(gap)


class _ToldSource:
    """The source itself, whose frames are noted on their way."""

    def __init__(self, inner: FrameSource) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def nominal_format(self) -> VideoFormat | None:
        return self._inner.nominal_format

    def start(self, sink: FrameSink, on_state: Callable[[SourceState], None]) -> None:
        self._inner.start(_ToldSink(sink), on_state)

    def stop(self) -> None:
        self._inner.stop()

    def force_keyframe(self) -> None:
        self._inner.force_keyframe()


class _ToldRecorder(Recorder):
    """The recorder itself; what its writers say is noted as well."""

    def _take_writer(self, event: ClipProgress | ClipEnded | ClipFailed) -> None:
        now_ns = time.monotonic_ns()
        match event:
            case ClipProgress():
                _tell(Told(Kind.PROGRESS, event.at_ns, event.clip, flag=event.caught_up))
                _own.clip = event.clip
            case ClipEnded():
                _tell(Told(Kind.ENDED, now_ns, event.clip, flag=event.sealed))
                _own.sealed = event.sealed
                if _marker is not None and event.sealed:
                    _marker.mark(f"sealed:{event.clip}")
            case ClipFailed():
                _tell(Told(Kind.FAILED, now_ns, event.clip, detail=event.reason))
        super()._take_writer(event)


class _ToldRecovery(VaultRecovery):
    """Recovery itself; when it begins and which clips wait for it is noted."""

    def start(self, powered_on: "Future[LogHead]") -> None:
        _tell(Told(Kind.RECOVERY, time.monotonic_ns(), detail=",".join(self.report.waiting)))
        super().start(powered_on)
        if _ends_recovered:
            threading.Thread(target=self._end, name="end-recovered", daemon=True).start()

    def _end(self) -> None:
        """Stop the camera once all is recovered and no release is half done."""
        self.join()
        while _half_released(self._layout):
            time.sleep(_LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)


def _half_released(layout: VaultLayout) -> bool:
    """Whether a clip that has a tombstone, or is on its way to have one, is still there."""
    try:
        stones = {path.name for path in layout.tombstones.iterdir()}
        clips = {path.name for path in layout.clips.iterdir()}
    except FileNotFoundError:  # listed while it is made
        return False
    return bool(stones & clips) or any(name.startswith((".making-", ".released-")) for name in stones | clips)


def _open_told(spec: SourceSpec, options: SourceOptions | None = None) -> FrameSource:
    return _ToldSource(open_source(spec, options))


def _mark_syncs(marker: Marker) -> None:
    """Mark in the card's write log what the firmware takes for durable, right after it may."""
    sync = PosixAppendFile.sync

    def told(self: PosixAppendFile) -> None:
        sync(self)
        fd = self._fd  # its name now, which it may not have had when it was made
        marker.mark(f"synced:{os.fstat(fd).st_size}:{Path(f'/proc/self/fd/{fd}').readlink()}")

    setattr(PosixAppendFile, "sync", told)  # noqa: B010 - a method is assigned to on purpose


def _step(operation: Operation, path: Path) -> None:
    name = step_name(operation, path)
    _tell(Told(Kind.STEP, time.monotonic_ns(), path.parent.name, detail=name))
    if name in _pauses and (_own.sealed or path.parent.name == _own.clip):
        _pauses.remove(name)
        time.sleep(_PAUSE_S)


def main(record: Path, config: str, *, ends_recovered: bool = False) -> None:
    """Run the camera until it is stopped, or until power is cut; `ends_recovered`: until all is recovered."""
    global _record, _marker, _ends_recovered  # noqa: PLW0603 - one of each a process
    _ends_recovered = ends_recovered
    _record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    set_step_hook(_step)
    _pauses.update(os.environ.get("POWERCUT_PAUSES", "").split(","))
    if name := os.environ.get("POWERCUT_LOGGED"):
        _marker = Marker(name)
        _mark_syncs(_marker)
    vars(device.service).update(Recorder=_ToldRecorder, VaultRecovery=_ToldRecovery, open_source=_open_told)
    from preroll.commands.device import run  # noqa: PLC0415 - after what it uses has been listened to

    run.main(args=["--config", config], prog_name="preroll device run")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

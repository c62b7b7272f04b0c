"""A camera process: the real firmware on bench pins, pressed by a script.

`python -m tests.campaign.camera SPEC` runs it. What happens is told on standard output, one JSON object a line,
as it happens; which frames came, in a tally (tally.py). Nothing of that passes through the vault.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import device.service
from device.capture.source import FrameSink, FrameSource, SourceState, open_source
from device.config import load_config
from device.controls.bench_board import BenchBoard
from device.recording.events import ClipEnded, ClipFailed, ClipProgress
from device.recording.machine import RECORDING_STATES, State
from device.recording.recorder import Recorder
from device.service import DeviceService, ServiceParts
from evidence.clock import ClockSource, UtcMapping
from evidence.frames import EncodedFrame, Span, VideoFormat
from evidence.storage import AppendFile, CardBehaviour, PosixAppendFile, SlowCardFile
from tests.campaign.tally import TallyWriter

__all__ = ["CameraSpec", "Step"]

_TAP_S = 0.1
_TICK_S = 0.005
_PATIENCE_S = 120.0
_NS_PER_S = 1_000_000_000


class Step(msgspec.Struct, frozen=True):
    """What is next: `tap`, `hold` to stop, `fill` or `wait` seconds, `sealed` clips, `recovered`, `hang`."""

    do: str
    value: float = 0.0


class CameraSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a camera.

    `card_bytes_per_s` is the sequential rate of a slow card, 0 for the disk as it is. `leak` names a file into
    which a faulty camera writes one frame, for a detector to find; `leak_kept` says whether it stays.
    """

    config: str
    tally: str
    steps: tuple[Step, ...]
    noise: int = 0
    canary: bytes = b""
    card_bytes_per_s: int = 0
    leak: str = ""
    leak_kept: bool = True


def tell(kind: str, **facts: object) -> None:
    """Report one event; whole lines, whatever happens next."""
    os.write(1, msgspec.json.encode({"event": kind, **facts}) + b"\n")


class _ToldSink:
    """Passes everything on to the ring, and counts it."""

    def __init__(self, sink: FrameSink, spec: CameraSpec) -> None:
        self._sink = sink
        self._tally = TallyWriter(Path(spec.tally))
        self._spec = spec

    def frame(self, frame: EncodedFrame) -> None:
        self._tally.offered(frame)
        self._sink.frame(frame)
        self._tally.appended()
        if self._spec.leak:
            path = Path(self._spec.leak)
            path.write_bytes(frame.data)
            if not self._spec.leak_kept:
                path.unlink()

    def gap(self, gap: Span) -> None:
        self._sink.gap(gap)


class _ToldSource:
    """A frame source whose frames are counted on their way."""

    def __init__(self, inner: FrameSource, spec: CameraSpec) -> None:
        self._inner = inner
        self._spec = spec

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def nominal_format(self) -> VideoFormat | None:
        return self._inner.nominal_format

    def start(self, sink: FrameSink, on_state: Callable[[SourceState], None]) -> None:
        self._inner.start(_ToldSink(sink, self._spec), on_state)

    def stop(self) -> None:
        self._inner.stop()

    def force_keyframe(self) -> None:
        self._inner.force_keyframe()


class _ToldRecorder(Recorder):
    """The recorder itself; what its writers say is reported beside."""

    def _take_writer(self, event: ClipProgress | ClipEnded | ClipFailed) -> None:
        match event:
            case ClipProgress():
                tell("progress", clip=event.clip, at_ns=event.at_ns, caught_up=event.caught_up)
            case ClipEnded():
                tell("ended", clip=event.clip, sealed=event.sealed)
            case ClipFailed():
                tell("failed", clip=event.clip, reason=event.reason)
        super()._take_writer(event)


def _mapping() -> UtcMapping:
    """UTC as the machine has it, known in any case: `prft` is part of what is checked."""
    return UtcMapping(
        monotonic_ns=time.monotonic_ns(), utc_ns=time.time_ns(), source=ClockSource.SYSTEM, error_ns=None
    )


class _Hand:
    """Does one step after the other."""

    def __init__(self, service: DeviceService, board: BenchBoard) -> None:
        self._service = service
        self._board = board
        self._hold_ns = int(service.config.policy.hold_s * _NS_PER_S)
        self._ended = 0

    def do(self, step: Step) -> None:
        recorder, ring = self._service.recorder, self._service.ring
        match step.do:
            case "tap":
                stats = ring.stats()
                tell("press", at_ns=time.monotonic_ns(), bytes=stats.held_bytes, held_ns=stats.held_ns)
                self._board.press()
                time.sleep(_TAP_S)
                self._board.release()
            case "hold":
                self._wait(lambda: recorder.status.state in RECORDING_STATES)
                tell("stop", at_ns=time.monotonic_ns() + self._hold_ns)
                self._board.press()
                self._wait(lambda: recorder.status.state not in RECORDING_STATES)
                tell("stopped", at_ns=time.monotonic_ns())
                self._board.release()
            case "fill":
                self._wait(lambda: ring.stats().held_ns >= step.value * _NS_PER_S)
                self._wait(lambda: recorder.status.state is State.READY)
            case "wait":
                time.sleep(step.value)
            case "sealed":
                self._wait(lambda: recorder.status.clips_ended >= step.value)
            case "recovered":
                if not self._service.recovery.join(_PATIENCE_S):
                    raise TimeoutError("recovery takes too long")
            case _:
                time.sleep(_PATIENCE_S)
                raise TimeoutError("nobody killed this process")

    def _wait(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > give_up:
                raise TimeoutError("the camera did not get there")
            time.sleep(_TICK_S)


def _parts(spec: CameraSpec, config: Any, board: BenchBoard) -> ServiceParts:
    options = msgspec.structs.replace(config.source_options, noise=spec.noise, canary=spec.canary)
    source = _ToldSource(open_source(config.source, options), spec)
    if not spec.card_bytes_per_s:
        return ServiceParts(factory=board.factory, source=source, read_mapping=_mapping)
    card = CardBehaviour(rate_bytes_per_s=spec.card_bytes_per_s)

    def on_card(path: Path) -> AppendFile:
        return SlowCardFile(PosixAppendFile(path), card)

    return ServiceParts(factory=board.factory, source=source, read_mapping=_mapping, open_file=on_card)


def main(spec: CameraSpec) -> None:
    """Run one camera to the end of its script."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    vars(device.service)["Recorder"] = _ToldRecorder  # the same class, reporting
    config = load_config(Path(spec.config))
    board = BenchBoard(config.controls)
    service = DeviceService(config, Path(spec.config).parent, _parts(spec, config, board))
    tell("built")
    thread = threading.Thread(target=service.run, name="firmware")
    with contextlib.ExitStack() as closing:
        closing.callback(board.close)
        closing.callback(thread.join)
        closing.callback(service.stop, "the script is over")
        thread.start()
        hand = _Hand(service, board)
        for step in spec.steps:
            hand.do(step)
    tell("over")


if __name__ == "__main__":
    main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=CameraSpec))

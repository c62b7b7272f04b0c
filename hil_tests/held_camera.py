"""The firmware with a camera that can be held back: SIGUSR1 stops its frames, SIGUSR2 lets them flow.

`python -P held_camera.py --config FILE [--held]`, on the board, with the project's interpreter. Held frames
hang in the source's own thread, as they do behind a driver that hangs; with `--held` from the first one on. All
else is the firmware as it is.
"""

import logging
import signal
import sys
import threading
from pathlib import Path

from device.capture.source import FrameSink, SourceOptions, StateListener
from device.capture.synthetic import SyntheticSource
from device.config import load_config
from device.service import DeviceService, ServiceParts
from evidence.frames import EncodedFrame, Span

__all__: list[str] = []


class _HeldSink:
    """Passes frames on while they may flow."""

    def __init__(self, sink: FrameSink, flows: threading.Event) -> None:
        self._sink = sink
        self._flows = flows

    def frame(self, frame: EncodedFrame) -> None:
        self._flows.wait()
        self._sink.frame(frame)

    def gap(self, gap: Span) -> None:
        self._sink.gap(gap)


class _HeldSource(SyntheticSource):
    """A synthetic camera behind such a sink."""

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(options)
        self.flows = threading.Event()

    def start(self, sink: FrameSink, on_state: StateListener) -> None:
        super().start(_HeldSink(sink, self.flows), on_state)


def _main(file: Path, *, held: bool) -> None:
    logging.basicConfig(level=logging.WARNING)
    config = load_config(file)
    source = _HeldSource(config.source_options)
    if not held:
        source.flows.set()
    signal.signal(signal.SIGUSR1, lambda *_: source.flows.clear())
    signal.signal(signal.SIGUSR2, lambda *_: source.flows.set())
    service = DeviceService(config, file.parent, ServiceParts(source=source))
    service.stop_on_signals()
    service.run()


if __name__ == "__main__":
    _main(Path(sys.argv[sys.argv.index("--config") + 1]), held="--held" in sys.argv)

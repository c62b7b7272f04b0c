"""A camera process that a soak drives: the real firmware on bench pins, told on standard input what to do.

`python -m tests.campaign.soak_camera CONFIG`. It says `port N` once docks can come. A line is one order, and is
answered when it is done: `record FRAMES BOOKMARKS` (`recorded`), `idle SECONDS` (`idle`), `end` (`over`).
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from device.config import load_config
from device.controls.bench_board import BenchBoard
from device.dockport.dockport import DockPort
from device.health.memory import guard_memory
from device.recording.machine import State
from device.service import DeviceService, ServiceParts

_PATIENCE_S = 120.0
_TICK_S = 0.005
_TAP_S = 0.08
_NS_PER_S = 1_000_000_000


def _tell(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def _wait(condition: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(f"waited {_PATIENCE_S:g} s in vain: {what}")
        time.sleep(_TICK_S)


class _Finger:
    """Presses the button, and looks at what comes of it."""

    def __init__(self, service: DeviceService, board: BenchBoard) -> None:
        self._service = service
        self._board = board

    def record(self, frames: int, bookmarks: int) -> None:
        """Press, let so many frames reach storage, with short presses in between, hold, wait for the seal."""
        recorder = self._service.recorder
        ended = recorder.status.clips_ended
        self._tap()
        _wait(lambda: recorder.status.state is State.RECORDING, "a clip")
        for share in range(1, bookmarks + 2):
            self._wait_frames(frames * share // (bookmarks + 1))
            if share <= bookmarks:
                self._tap()
        self._board.press()
        _wait(lambda: recorder.status.clips_ended > ended, "the end of the clip")
        self._board.release()
        time.sleep(_TAP_S)
        _wait(lambda: recorder.status.state is State.READY, "a camera that is ready again")

    def _wait_frames(self, count: int) -> None:
        _wait(lambda: self._service.recorder.status.frames >= count, "frames on storage")

    def _tap(self) -> None:
        self._board.press()
        time.sleep(_TAP_S)
        self._board.release()
        time.sleep(_TAP_S)


def _obey(service: DeviceService, board: BenchBoard) -> None:
    finger = _Finger(service, board)
    _wait(lambda: service.dock is not None and service.dock.opened.is_set(), "the dock's port")
    assert service.dock is not None
    port = service.dock.port
    assert isinstance(port, DockPort)
    assert port.tcp is not None
    window_ns = service.policy.current.document.window_ns
    _wait(lambda: service.ring.stats().held_ns >= window_ns, "a full ring")
    _tell(f"port {port.tcp.number}")
    for line in sys.stdin:
        match line.split():
            case ["record", frames, bookmarks]:
                finger.record(int(frames), int(bookmarks))
                _tell("recorded")
            case ["idle", seconds]:
                time.sleep(float(seconds))
                _tell("idle")
            case _:
                return


def main() -> None:
    """Run until the last order."""
    file = Path(sys.argv[1])
    config = load_config(file)
    guard = guard_memory()
    board = BenchBoard(config.controls)
    parts = ServiceParts(factory=board.factory, memory_trouble=guard.reason)
    service = DeviceService(config, file.parent, parts)

    def drive() -> None:
        try:
            _obey(service, board)
        finally:
            service.stop("the soak is over")

    threading.Thread(target=drive, name="soak", daemon=True).start()
    service.run()
    board.close()
    _tell("over")


if __name__ == "__main__":
    main()

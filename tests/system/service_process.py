"""A camera as a service: the firmware in a process of its own, guarded, watched, and made to fail on order.

`python -m tests.system.service_process CONFIG CANARY-IN-HEX`. It says `filled` on standard output once the ring
holds the canary, `recording` once a clip reaches storage; then it does what standard input says: `stop`,
`crash` (SIGSEGV) or `hang` (the main loop stands still, and only a watchdog can tell).
"""

import ctypes
import os
import sys
import threading
import time
from pathlib import Path

import msgspec

from device.capture.synthetic import SyntheticSource
from device.config import load_config
from device.controls.bench_board import BenchBoard
from device.health.memory import guard_memory
from device.recording.machine import State
from device.service import DeviceService, ServiceParts
from preroll.notify import ServiceManager
from preroll.watchdog import Watchdog


def wait_for(condition: object) -> None:
    assert callable(condition)
    while not condition():
        time.sleep(0.01)


def tell(word: str) -> None:
    os.write(1, f"{word}\n".encode())


def act(service: DeviceService, board: BenchBoard) -> None:
    wait_for(lambda: service.ring.stats().held_ns > 600_000_000)
    tell("filled")
    board.press()
    wait_for(lambda: service.recorder.status.frames > 0)
    time.sleep(0.1)
    board.release()
    tell("recording")
    order = sys.stdin.readline().strip()
    if order == "crash":
        ctypes.string_at(0)
    elif order == "hang":
        service.recorder._take = lambda _event: threading.Event().wait()  # type: ignore[assignment,method-assign]
    else:
        service.stop(order)


def main() -> None:
    file = Path(sys.argv[1])
    config, canary = load_config(file), bytes.fromhex(sys.argv[2])
    guard = guard_memory()
    tell("guarded" if guard.good else guard.reason)
    board = BenchBoard(config.controls)
    options = msgspec.structs.replace(config.source_options, canary=canary)
    parts = ServiceParts(factory=board.factory, source=SyntheticSource(options), memory_trouble=guard.reason)
    service = DeviceService(config, file.parent, parts)
    manager = ServiceManager()
    watchdog = Watchdog(manager, service.progress)
    manager.tell("READY=1")
    watchdog.start()
    threading.Thread(target=act, args=(service, board), daemon=True).start()
    assert service.recorder.status.state is State.STARTING
    service.run()
    watchdog.close()
    board.close()
    os._exit(0)  # the test looks at what is left behind, not at the interpreter's end


if __name__ == "__main__":
    main()

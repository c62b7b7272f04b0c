"""`preroll device run` on the real camera stack, with a bench's button.

`python -m hil_tests.camera.firmware CONFIG`. Standard input takes `press`, `release` and `status`; each is
answered by one line of JSON. SIGTERM stops it, as on a camera. Only the pins are a bench's (`BenchBoard`).
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import device.service
from device.capture.picamera import PicameraSource
from device.config import load_config
from device.controls.bench_board import BenchBoard
from hil_tests.camera.offpi import put_in_place
from hil_tests.camera.stillness import take_priority
from hil_tests.camera.usage import read_usage
from preroll.cli import main

__all__ = ["Watched"]


class Watched(device.service.DeviceService):
    """The service as it is, found again by the bench."""

    running: "Watched | None" = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        Watched.running = self


def _answer(board: BenchBoard, order: str) -> dict[str, Any]:
    service = Watched.running
    if service is None:
        return {"state": "not yet"}
    if order == "press":
        board.press()
    elif order == "release":
        board.release()
    source, status, stats = service.source, service.recorder.status, service.ring.stats()
    assert isinstance(source, PicameraSource)
    usage = read_usage()
    return {
        "state": str(status.state),
        "clips_ended": status.clips_ended,
        "clip_frames": status.frames,
        "held_ns": stats.held_ns,
        "newest_pts_ns": stats.newest_pts_ns,
        "frames_taken": stats.frames_taken,
        "gaps": stats.gaps,
        "restarts": source.restarts,
        "encoder": source.encoder_name,
        "rss_kib": usage.rss_kib,
        "descriptors": usage.descriptors,
        "threads": usage.threads,
        "cpu_s": usage.cpu_s,
        "nice": os.nice(0),
    }


def _obey(board: BenchBoard, out: int) -> None:
    for line in sys.stdin:
        os.write(out, json.dumps(_answer(board, line.strip())).encode() + b"\n")
    os.kill(os.getpid(), signal.SIGTERM)  # the bench is gone: nobody else would end this


def _run(file: Path) -> None:
    take_priority()
    put_in_place()
    board = BenchBoard(load_config(file).controls)
    device.service.gpio_factory = lambda: board.factory
    device.service.DeviceService = Watched  # type: ignore[misc]  # so that the bench finds the running one
    out = os.dup(1)  # answers have a line of their own; what else is printed goes to the log
    os.dup2(2, 1)
    threading.Thread(target=_obey, args=(board, out), name="bench", daemon=True).start()
    sys.argv = ["preroll", "device", "run", "--config", str(file)]
    main()


if __name__ == "__main__":
    _run(Path(sys.argv[1]))

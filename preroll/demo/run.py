"""The demo: the camera's real firmware on pins that are pressed by the space bar or by a script."""

import threading
import time
from pathlib import Path

import msgspec

from device.controls.bench_board import BenchBoard
from device.controls.patterns import Line
from device.service import DeviceService, ServiceParts
from evidence.documents import Manifest
from evidence.errors import EvidenceError
from preroll.demo.keyboard import SpaceBar
from preroll.demo.proof import Opened, check, open_clip
from preroll.demo.script import Do, Script
from preroll.demo.stage import Stage
from preroll.demo.view import Scene, View

__all__ = ["DemoResult", "run_demo"]

_NS_PER_S = 1_000_000_000
_PATIENCE_NS = 20 * _NS_PER_S
_MARGIN_NS = _NS_PER_S  # the ring shows what has arrived; the encoder still holds the last frames
_TICK_S = 0.05


class DemoResult(msgspec.Struct, frozen=True):
    """What the demo ended with."""

    clip: Path
    output: Path
    manifest: Manifest
    checks: tuple[tuple[str, str, str], ...]
    opened: Opened
    authentic: bool
    decodes: bool


class _Hand:
    """Puts script and space bar together: the button is down while either presses it."""

    def __init__(self, board: BenchBoard, bar: SpaceBar | None) -> None:
        self._board = board
        self._bar = bar
        self._scripted = False
        self._down = False
        self.touched = False

    def update(self, orders: list[Do]) -> None:
        for order in orders:
            self._scripted = order is Do.PRESS
        self.touched = self._bar.is_down() if self._bar else False
        down = self._scripted or self.touched
        if down and not self._down:
            self._board.press()
        elif self._down and not down:
            self._board.release()
        self._down = down


def run_demo(stage: Stage, *, record_s: float, view: View, bar: SpaceBar | None = None) -> DemoResult:
    """Record one clip, then prove and open it.

    Raises:
        EvidenceError, DeviceError: a part of the camera could not be opened, or no clip was sealed.
    """
    board = BenchBoard(stage.config.controls)
    service = DeviceService(stage.config, stage.directory, ServiceParts(factory=board.factory))
    thread = threading.Thread(target=service.run, name="firmware")
    thread.start()
    try:
        _play(service, board, view, bar, record_s)
    finally:
        service.stop("the demo is over")
        thread.join()
        board.close()
        view.close()
    ended = service.recorder.last_ended
    if ended is None or not ended.sealed:
        raise EvidenceError("the demo recorded no clip", expected="one sealed clip", found="none")
    return _prove(stage, stage.directory / stage.config.device.vault / "clips" / ended.clip)


def _play(service: DeviceService, board: BenchBoard, view: View, bar: SpaceBar | None, record_s: float) -> None:
    """Let the hand play its part; returns when the clip has been stopped and sealed."""
    window_s = service.config.policy.window_s
    window_ns = int(window_s * _NS_PER_S)
    script = Script(
        window_ns=window_ns + _MARGIN_NS,
        record_ns=int(record_s * _NS_PER_S),
        hold_ns=int(service.config.policy.hold_s * _NS_PER_S),
        patience_ns=_PATIENCE_NS if bar else 0,
    )
    hand = _Hand(board, bar)
    begin_ns = time.monotonic_ns()
    tick = threading.Event()
    while not (script.over and service.recorder.status.clips_ended):
        now_ns = time.monotonic_ns()
        stats, status = service.ring.stats(), service.recorder.status
        hand.update(script.step(now_ns, held_ns=stats.held_ns, state=status.state, touched=hand.touched))
        waits_ns = script.waits_ns(now_ns)
        view.show(
            Scene(
                elapsed_s=(now_ns - begin_ns) / _NS_PER_S,
                window_s=window_s,
                held_s=stats.held_ns / _NS_PER_S,
                held_bytes=stats.held_bytes,
                recorder=status,
                lit=_lit(service, board),
                waits_s=None if waits_ns is None else waits_ns / _NS_PER_S,
            )
        )
        tick.wait(_TICK_S)  # the pace of the picture, not a wait for something to happen


def _lit(service: DeviceService, board: BenchBoard) -> frozenset[Line]:
    lights = service.config.controls.lights
    pins = {
        Line.RED: lights.red_pin,
        Line.GREEN: lights.green_pin,
        Line.BUZZER: lights.buzzer_pin,
        Line.VIBRATION: lights.vibration_pin,
    }
    return frozenset(line for line, pin in pins.items() if pin >= 0 and board.is_high(pin) != lights.active_low)


def _prove(stage: Stage, clip: Path) -> DemoResult:
    report = check(clip, stage.root)
    manifest = report.manifest
    if manifest is None:
        raise EvidenceError("the clip's manifest cannot be read", found=clip.name)
    opened_directory = stage.directory / "opened"
    opened_directory.mkdir(exist_ok=True)
    output = opened_directory / f"{clip.name}.mp4"
    opened = open_clip(clip, stage.identity, output, manifest)
    return DemoResult(
        clip=clip,
        output=output,
        manifest=manifest,
        checks=tuple((found.name, str(found.outcome), found.detail) for found in report.checks),
        opened=opened,
        authentic=str(report.finding) == "authentic",
        decodes=not opened.defects,
    )

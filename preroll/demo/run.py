"""The demo from its first frame to the opened clip: camera, dock and cable put together, and watched."""

import time
from contextlib import ExitStack
from pathlib import Path

import msgspec

from device.recording.machine import RECORDING_STATES
from evidence.documents import Manifest
from evidence.findings import Check, Finding
from preroll.demo.acts import Act, Playbill, Turn
from preroll.demo.cable import Cable
from preroll.demo.camera import DemoCamera
from preroll.demo.dockside import ClipPlaces, DemoDock, Movement
from preroll.demo.errors import DemoError
from preroll.demo.keyboard import SpaceBar
from preroll.demo.messages import NO_BROKER, MessageProof, Post
from preroll.demo.proof import Opened, StoreProof, open_clip, prove_store
from preroll.demo.stage import Stage
from preroll.demo.view import Scene, View

__all__ = ["PATIENCE_S", "DemoResult", "run_demo"]

PATIENCE_S = 120.0
_TICK_S = 0.05
_REPORT_S = 20.0


class DemoResult(msgspec.Struct, frozen=True):
    """What the demo ended with; `clip` lies in the store, `output` is what opening it gave.

    `messages` is what subscribers got over MQTT, `None` where no broker is installed: that is no good end.
    """

    clip: Path
    output: Path
    manifest: Manifest
    checks: tuple[Check, ...]
    authentic: bool
    released: bool
    decodes: bool
    acts: tuple[Turn, ...]
    opened: Opened
    store: StoreProof
    messages: MessageProof | None

    @property
    def good(self) -> bool:
        """Whether everything is as it has to be."""
        told = self.messages is not None and not self.messages.defects
        return self.authentic and self.released and self.decodes and told and not self.store.defects


def run_demo(
    stage: Stage,
    *,
    record_s: float,
    view: View,
    playbill: Playbill,
    bar: SpaceBar | None = None,
    patience_s: float = PATIENCE_S,
) -> DemoResult:
    """Record one clip, dock, and prove what came of it.

    Args:
        stage: where things lie.
        record_s: seconds after the press.
        view: shows how it goes; closed at the end.
        playbill: takes the acts that are reached; it says how far the demo came, whatever ends it.
        bar: a second hand on the button.
        patience_s: without any progress for so long, camera or dock are given up.

    Raises:
        DemoError: camera or dock came no further, or no clip was sealed.
        EvidenceError, DeviceError: a part of camera or dock could not be opened.
    """
    with ExitStack() as stack:
        stack.callback(view.close)
        post = Post.of(stage)
        if post is not None:
            stack.callback(post.close)
        house = _House(view, playbill, patience_s, post)
        house.reach(Act.FILM)
        dock = DemoDock(post.stage if post else stage)
        stack.callback(dock.close)
        cable = Cable(stage.camera_line, stage.dock_line)
        stack.callback(cable.close)
        camera = DemoCamera(stage, record_s, bar)
        stack.callback(camera.close)
        house.film(camera)
        places = ClipPlaces.of(stage, camera.clip)
        cable.plug()
        dock.begin()
        house.dock(camera, dock, places)
        house.report(camera, dock)
        dock.close()  # while the camera still stands there: the log says `undocked`
        cable.unplug()
        camera.close()
        return _prove(stage, places, house, post)


class _House:
    """The watch over all parts: it shows them, moves the acts on, and loses patience."""

    def __init__(self, view: View, playbill: Playbill, patience_s: float, post: Post | None = None) -> None:
        self._view = view
        self._post = post
        self._playbill = playbill
        self._patience_s = patience_s
        self._begin_s = time.monotonic()
        self._scene: Scene | None = None
        self._mark: object = None
        self._moved_s = self._begin_s

    def film(self, camera: DemoCamera) -> None:
        """Let the hand play its part; returns when the clip has been stopped and sealed."""
        while not camera.sealed:
            waits_s = camera.act()
            camera.check()
            state = camera.service.recorder.status.state
            if state in RECORDING_STATES:
                self.reach(Act.RECORD)
            self._show_parts(camera, waits_s=waits_s)
            self._require_movement(camera.movement, f"the camera is {state}")
            time.sleep(_TICK_S)

    def dock(self, camera: DemoCamera, dock: DemoDock, places: ClipPlaces) -> None:
        """Watch the dock until it has nothing left to do with the clip."""
        movement = Movement()
        docked = False
        self.reach(Act.DOCK)
        while self._playbill.current is not Act.REPORT:
            camera.check()
            dock.check()
            bay = dock.bay
            docked = docked or bay.device is not None
            self.reach(places.act(docked=docked))
            self._show_parts(camera, dock)
            self._require_movement(
                (self._playbill.current, movement.mark(bay)), bay.detail or f"the bay is {bay.state}"
            )
            time.sleep(_TICK_S)

    def report(self, camera: DemoCamera, dock: DemoDock) -> None:
        """Let a late subscriber come, and watch until it sees what the live one sees, or for too long."""
        end_s = self._now_s() + _REPORT_S
        while self._post is not None and not self._post.agrees() and self._now_s() < end_s:
            self._show_parts(camera, dock)
            time.sleep(_TICK_S)
        self._show_parts(camera, dock)
        self.reach(Act.VERIFY)

    def reach(self, act: Act) -> None:
        """Begin an act, and show that."""
        if self._playbill.reach(act, self._now_s()):
            self._show_acts()

    def end(self) -> tuple[Turn, ...]:
        """End the last act; returns all of them."""
        self._playbill.close(self._now_s())
        self._show_acts()
        return self._playbill.turns

    def _now_s(self) -> float:
        return time.monotonic() - self._begin_s

    def _show_acts(self) -> None:
        """Show the last scene again, under the act that is on now."""
        if self._scene is not None:
            scene = msgspec.structs.replace(
                self._scene, elapsed_s=self._now_s(), act=self._playbill.current, turns=self._playbill.turns
            )
            self._view.show(scene)

    def _show_parts(
        self, camera: DemoCamera, dock: DemoDock | None = None, *, waits_s: float | None = None
    ) -> None:
        service = camera.service
        stats = service.ring.stats()
        self._scene = Scene(
            elapsed_s=self._now_s(),
            act=self._playbill.current,
            turns=self._playbill.turns,
            window_s=service.config.policy.window_s,
            held_s=stats.held_ns / 1e9,
            held_bytes=stats.held_bytes,
            recorder=service.recorder.status,
            lit=camera.lit,
            waits_s=waits_s,
            bay=dock.bay if dock else None,
            broker=self._post.broker.make.name if self._post else NO_BROKER,
            messages=self._post.live.messages if self._post else (),
        )
        self._view.show(self._scene)

    def _require_movement(self, mark: object, found: str) -> None:
        now_s = time.monotonic()
        if mark != self._mark:
            self._mark, self._moved_s = mark, now_s
        elif now_s - self._moved_s > self._patience_s:
            raise DemoError(
                f"the demo got no further than `{self._playbill.current}`",
                expected=f"progress within {self._patience_s:g} s",
                found=found,
                remedy="on a slow machine, give more with --patience",
            )


def _prove(stage: Stage, places: ClipPlaces, house: _House, post: Post | None) -> DemoResult:
    proof = prove_store(stage, places)
    messages = None if post is None else post.finish(places.in_store.name, proof.store.receipt.custody)
    house.reach(Act.OPEN)
    opened_directory = stage.directory / "opened"
    opened_directory.mkdir(exist_ok=True)
    output = opened_directory / f"{places.in_store.name}.mp4"
    opened = open_clip(places.in_store, stage.identity, output, proof.manifest)
    return DemoResult(
        clip=places.in_store,
        output=output,
        manifest=proof.manifest,
        checks=proof.checks,
        authentic=proof.finding is Finding.AUTHENTIC,
        released=places.tombstone.is_dir() and not places.on_camera.exists(),
        decodes=not opened.defects,
        acts=house.end(),
        opened=opened,
        store=proof.store,
        messages=messages,
    )

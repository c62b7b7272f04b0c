"""The dock of the demo: the host's real agent in a thread, and how far it has come with the demo's clip."""

import threading
from pathlib import Path

import msgspec

from evidence.errors import ExplainedError
from host.agent import DockAgent
from host.bays import BayStatus
from preroll.demo.acts import Act
from preroll.demo.interrupts import join
from preroll.demo.stage import CAMERA_ID, Stage

__all__ = ["ClipPlaces", "DemoDock", "Movement"]


class ClipPlaces(msgspec.Struct, frozen=True):
    """Where one clip is, or what is left of it, on either side."""

    on_camera: Path
    tombstone: Path
    """What the camera keeps of it."""
    in_store: Path
    shown: Path
    """What the dock keeps of the tombstone."""

    @classmethod
    def of(cls, stage: Stage, clip: str) -> "ClipPlaces":
        """Return the places of a clip by its name."""
        return cls(
            on_camera=stage.vault / "clips" / clip,
            tombstone=stage.vault / "tombstones" / clip,
            in_store=stage.store / "clips" / CAMERA_ID / clip,
            shown=stage.store / "tombstones" / CAMERA_ID / clip,
        )

    def act(self, *, docked: bool) -> Act:
        """Say how far the clip has come; `REPORT` when the dock has nothing left to do with it."""
        if not docked:
            return Act.DOCK
        if not (self.in_store / "receipt.json").exists():
            return Act.OFFLOAD
        if not (self.tombstone.is_dir() or (self.on_camera / "receipt.json").exists()):
            return Act.RECEIPT
        if self.on_camera.exists() or not (self.tombstone.is_dir() and self.shown.is_dir()):
            return Act.RELEASE
        return Act.REPORT


class Movement:
    """What a bay has done that it had not done before; a session that fails again and again is no movement."""

    def __init__(self) -> None:
        self._steps: set[tuple[str | None, str | None]] = set()
        self._bytes: dict[str, int] = {}

    def mark(self, bay: BayStatus) -> tuple[int, int]:
        """Take a look; the value changes only when something new has happened."""
        self._steps.add((bay.clip, bay.step))
        if bay.clip:
            self._bytes[bay.clip] = max(self._bytes.get(bay.clip, 0), bay.done_bytes)
        return len(self._steps), sum(self._bytes.values())


class DemoDock:
    """The agent. Made before anything is filmed, so that a store that cannot be used is known then."""

    def __init__(self, stage: Stage) -> None:
        """Open store, catalogue and custody log.

        Raises:
            EvidenceError: keys or store cannot be used, or another agent has the store.
        """
        self._agent = DockAgent(stage.dock)
        self._error: ExplainedError | None = None
        self._thread = threading.Thread(target=self._run, name="dock")
        self._begun = False

    @property
    def bay(self) -> BayStatus:
        """How the one bay stands."""
        return self._agent.bays[0].status

    def begin(self) -> None:
        """Let it look for cameras."""
        self._begun = True
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the agent, if anything did.

        Raises:
            EvidenceError: what it was.
        """
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End it, and close all that it opened; more than once does no harm."""
        self._agent.stop()
        if not self._begun:
            self._begun = True
            self._thread.start()  # an agent closes what it has opened at the end of its run
        join(self._thread)

    def _run(self) -> None:
        try:
            self._agent.run()
        except ExplainedError as error:
            self._error = error

"""The camera's look at itself, once a second: changes go to the recorder, the whole is kept for a dock."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from device.health.config import HealthConfig
from device.health.levels import BatteryJudge
from device.health.picture import PictureWatch
from device.health.readings import (
    SYS,
    BatteryReading,
    read_battery,
    read_temperature_millicelsius,
    read_throttling,
)
from device.health.report import HealthJudge
from device.health.storagewatch import StorageWatch
from device.recording.events import BatteryLevel, HealthLevel, HealthNote, StorageLevel
from evidence.clock import UtcMapping

__all__ = ["HealthParts", "HealthReport", "HealthWatch"]

_log = logging.getLogger(__name__)
_NS_PER_S = 1_000_000_000


class HealthParts(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at beside the kernel's figures.

    `microphone` gives its state and whether it is too quiet, `troubles` lines of parts that are well if empty.
    """

    storage: StorageWatch
    picture: PictureWatch
    newest_ns: Callable[[], int | None]
    clock: Callable[[], UtcMapping]
    microphone: Callable[[], tuple[str, bool]]
    troubles: Callable[[], dict[str, str]]


class HealthReport(msgspec.Struct, frozen=True):
    """How the camera is now; `notes` are those that are not `ok`."""

    battery: BatteryReading | None = None
    temperature_millicelsius: int | None = None
    notes: tuple[HealthNote, ...] = ()


class HealthWatch:
    """A thread that looks once a period. `report` and `looked_ns` may be read from any thread."""

    def __init__(
        self,
        config: HealthConfig,
        parts: HealthParts,
        post: Callable[[StorageLevel | BatteryLevel | HealthNote], None],
        *,
        now_ns: Callable[[], int],
        root: Path = SYS,
        period_s: float = 1.0,
    ) -> None:
        self._config = config
        self._parts = parts
        self._post = post
        self._now_ns = now_ns
        self._root = root
        self._period_s = period_s
        self._battery = BatteryJudge(config)
        self._judge = HealthJudge(config)
        self._last_battery: BatteryLevel | None = None
        self._notes: dict[str, HealthNote] = {}
        self._frozen = False
        self.report = HealthReport()
        self.looked_ns = now_ns()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    @property
    def storage_frozen(self) -> bool:
        """Whether storage does not answer."""
        return self._frozen

    def start(self) -> None:
        """Look once, at once, and then once a period."""
        self._parts.storage.start()
        self.look()
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._parts.storage.close()

    def look(self) -> None:
        """Look at everything once; waits for nothing."""
        now_ns = self._now_ns()
        self._parts.picture.look(self._parts.newest_ns(), now_ns)
        self._look_at_storage(now_ns)
        battery = read_battery(self._root)
        if battery is not None:
            self._take_battery(self._battery.judge(battery, now_ns))
        temperature = read_temperature_millicelsius(self._root)
        for note in self._judged(temperature):
            self._take_note(note)
        notes = tuple(note for note in self._notes.values() if note.level is not HealthLevel.OK)
        self.report = HealthReport(battery, temperature, notes)
        self.looked_ns = now_ns

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            self.look()

    def _judged(self, temperature: int | None) -> list[HealthNote]:
        judge, parts = self._judge, self._parts
        return [
            judge.temperature(temperature),
            judge.throttling(read_throttling(self._root)),
            judge.card(parts.storage.card),
            judge.clock(parts.clock()),
            judge.microphone(*parts.microphone()),
            *(judge.fact(part, trouble) for part, trouble in parts.troubles().items()),
        ]

    def _look_at_storage(self, now_ns: int) -> None:
        """Say that storage is frozen; that it answers again, it says itself."""
        silent_ns = self._parts.storage.silent_ns(now_ns)
        frozen = silent_ns > self._config.storage_silent_s * _NS_PER_S
        if frozen and not self._frozen:
            reason = f"storage has not answered for {silent_ns / _NS_PER_S:.0f} s"
            self._post(StorageLevel(free_bytes=0, usable_bytes=0, blocked=True, reason=reason))
        self._frozen = frozen

    def _take_battery(self, level: BatteryLevel) -> None:
        if level != self._last_battery:
            self._last_battery = level
            self._post(level)

    def _take_note(self, note: HealthNote) -> None:
        if self._notes.get(note.part, HealthNote(note.part, HealthLevel.OK)) == note:
            return
        self._notes[note.part] = note
        log = _log.info if note.level is HealthLevel.OK else _log.warning
        log("health: %s %s %s", note.part, note.level, note.detail)
        self._post(note)

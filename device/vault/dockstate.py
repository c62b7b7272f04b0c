"""What docks told the camera and a restart must not make it forget: the time floor, and who wears it.

`dock.json` of the vault. Nothing in it is needed to record: damaged, it is reported and begun anew.
"""

import threading
from typing import Annotated

import msgspec

from device.vault.layout import VaultLayout
from evidence.clock import ClockSource, UtcMapping, format_utc, parse_utc
from evidence.decoding import json_decoder
from evidence.documents.fields import Utc, Wearer
from evidence.errors import EvidenceError
from evidence.storage import publish_file

__all__ = ["DockMemory", "Shift"]

_FORMAT = 1


class Shift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wears the camera, from when to when."""

    wearer: Wearer
    start_utc: Utc
    end_utc: Utc


class _Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Annotated[int, msgspec.Meta(ge=_FORMAT, le=_FORMAT)] = _FORMAT
    time_floor_utc: Utc | None = None
    shift: Shift | None = None


class DockMemory:
    """Kept in memory, written through. Thread-safe. `damage` says what was wrong with the file, or is empty."""

    def __init__(self, layout: VaultLayout) -> None:
        """Read the file, if there is one."""
        self._path = layout.root / "dock.json"
        self._lock = threading.Lock()
        self.damage = ""
        self._facts = self._read()

    @property
    def time_floor_utc_ns(self) -> int:
        """The latest time that an authenticated source told, nanoseconds since 1970; 0 if none did."""
        floor = self._facts.time_floor_utc
        return 0 if floor is None else parse_utc(floor)

    @property
    def shift(self) -> Shift | None:
        """The last assignment, over or not."""
        return self._facts.shift

    def wearer_at(self, mapping: UtcMapping) -> str | None:
        """Return who wears the camera then; nobody while UTC is unknown, for the shift may be over."""
        shift = self._facts.shift
        if shift is None or mapping.utc_ns is None or mapping.source is ClockSource.NONE:
            return None
        if parse_utc(shift.start_utc) <= mapping.utc_ns < parse_utc(shift.end_utc):
            return shift.wearer
        return None

    def raise_time_floor(self, utc_ns: int) -> None:
        """Remember a time, if it is later than the floor.

        Raises:
            StorageError: it cannot be written; the old floor stays.
        """
        with self._lock:
            if utc_ns > self.time_floor_utc_ns:
                self._write(msgspec.structs.replace(self._facts, time_floor_utc=format_utc(utc_ns)))

    def assign(self, shift: Shift | None) -> None:
        """Remember an assignment, or its end.

        Raises:
            StorageError: it cannot be written; the old one stays.
        """
        with self._lock:
            self._write(msgspec.structs.replace(self._facts, shift=shift))

    def _read(self) -> _Facts:
        try:
            facts = json_decoder(_Facts).decode(self._path.read_bytes())
            for utc in (
                facts.time_floor_utc,
                *((facts.shift.start_utc, facts.shift.end_utc) if facts.shift else ()),
            ):
                if utc is not None:
                    parse_utc(utc)
        except FileNotFoundError:
            return _Facts()
        except OSError as error:
            self.damage = f"{self._path.name} cannot be read: {error.strerror}"
            return _Facts()
        except (msgspec.MsgspecError, UnicodeDecodeError, EvidenceError) as error:
            self.damage = f"{self._path.name} is damaged: {error}"
            return _Facts()
        return facts

    def _write(self, facts: _Facts) -> None:
        publish_file(self._path, msgspec.json.encode(facts))
        self._facts = facts

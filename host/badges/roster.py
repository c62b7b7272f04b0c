"""The file that maps badges to pseudonyms: TOML, `[badges]` with `"NUMBER" = "PSEUDONYM"` (docs/dock.md).

It is read again whenever it has changed, so that a badge can be added while the agent runs.
"""

import tomllib
from pathlib import Path

import msgspec

from evidence.decoding import json_decoder
from evidence.documents.fields import Wearer
from host.badges.errors import BadgeError

__all__ = ["Roster"]

_LIMIT_BYTES = 4 << 20


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    badges: dict[str, Wearer]


json_decoder(_File)  # several readers' threads convert into it


class Roster:
    """Pseudonyms by badge. What is wrong with the file is said without a badge's number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._badges: dict[str, str] = {}

    def wearer(self, badge: str) -> str | None:
        """Return the pseudonym of a badge, if it is in the file.

        Raises:
            BadgeError: the file cannot be read, or is not one of badges.
        """
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp != self._stamp:
                self._badges = self._read()
                self._stamp = stamp
        except OSError as error:
            raise BadgeError(
                f"cannot read the badges in {self._path.name}", found=error.strerror or ""
            ) from error
        return self._badges.get(badge)

    def _read(self) -> dict[str, str]:
        with self._path.open("rb") as file:
            data = file.read(_LIMIT_BYTES + 1)
        wrong = BadgeError(
            f"{self._path.name} is no file of badges",
            expected='TOML with [badges] and lines like "0004571234" = "w-7f3a"',
            found="something else, or a pseudonym that is not 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`",
        )
        if len(data) > _LIMIT_BYTES:
            raise wrong
        try:
            return msgspec.convert(tomllib.loads(data.decode("utf-8")), _File).badges
        except (ValueError, RecursionError):  # of TOML, UTF-8 and msgspec; their words may quote a number
            raise wrong from None

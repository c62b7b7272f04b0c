"""Identity files as commands are given them; no error quotes one."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from evidence.errors import EvidenceError

if TYPE_CHECKING:
    from evidence.age import Identity

__all__ = ["read_identities"]

_LIMIT_BYTES = 1 << 24


def read_identities(names: Iterable[str]) -> "list[Identity]":
    """Read identity files, all of their lines.

    Raises:
        AgeKeyError: one is unreadable, too long, or holds no identity.
    """
    from evidence.age import AgeKeyError, parse_identities

    identities: list[Identity] = []
    for name in names:
        try:
            with Path(name).open("rb") as file:
                content = file.read(_LIMIT_BYTES + 1)
            if len(content) > _LIMIT_BYTES:
                raise AgeKeyError("not an identity file", expected="at most 16 MiB", found="more")
            identities += parse_identities(content.decode())
        except (OSError, UnicodeDecodeError) as error:
            found = error.strerror or "" if isinstance(error, OSError) else "bytes that are not UTF-8"
            raise AgeKeyError(
                f"unusable identity file {name}", found=found
            ) from None  # it could quote the file
        except EvidenceError as error:
            raise AgeKeyError(
                f"{name}: {error.what}", expected=error.expected, found=error.found, remedy=error.remedy
            ) from error
    return identities

"""What can be wrong with an age file, one class an answer.

The classes follow the answers of the command line: not authentic (`AgeHeaderError`, `AgeArmorError`,
`AgeChunkError`), authentic as far as it goes (`AgeTruncatedError`), cannot tell (`AgeNoIdentityError`).
"""

from evidence.errors import EvidenceError

__all__ = [
    "AgeArmorError",
    "AgeChunkError",
    "AgeError",
    "AgeHeaderError",
    "AgeKeyError",
    "AgeNoIdentityError",
    "AgeStateError",
    "AgeTruncatedError",
]


class AgeError(EvidenceError):
    """The base; `plaintext_bytes` is what had been authenticated and released before the error."""

    def __init__(self, what: str, *, expected: str = "", found: str = "", remedy: str = "") -> None:
        super().__init__(what, expected=expected, found=found, remedy=remedy)
        self.plaintext_bytes = 0


class AgeKeyError(AgeError):
    """A recipient, an identity or a passphrase cannot be used; its text is never quoted."""


class AgeHeaderError(AgeError):
    """The header is malformed or its MAC is wrong."""


class AgeArmorError(AgeError):
    """The ASCII armor is not canonical."""


class AgeChunkError(AgeError):
    """A chunk before the last fails authentication, or data follows the final chunk."""


class AgeTruncatedError(AgeError):
    """The file ends before its final chunk, or only its last chunk fails."""


class AgeNoIdentityError(AgeError):
    """No given identity or passphrase opens the file."""


class AgeStateError(AgeError):
    """A writer or reader was called out of turn: closed, broken, or asked for an empty final chunk."""

"""Recipients and identities as text: one by one, and files with one a line.

Lines that are empty or start with `#` are skipped, as `age` does. No error quotes an identity.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from evidence.age.errors import AgeKeyError
from evidence.age.keys import Identity, PublicIdentity, Recipient
from evidence.age.x25519 import X25519Identity, X25519Recipient

__all__ = [
    "check_one_kind",
    "generate_identity",
    "identity_file_text",
    "parse_identities",
    "parse_identity",
    "parse_recipient",
    "parse_recipients",
]

_MAX_FILE_CHARACTERS = 1 << 24

Key = TypeVar("Key", Recipient, Identity)


def generate_identity(*, post_quantum: bool = False) -> PublicIdentity:
    """Make a new identity: X25519, or the post-quantum hybrid."""
    if post_quantum:
        from evidence.age.hybrid import HybridIdentity  # noqa: PLC0415 -- HPKE only for those who use it

        return HybridIdentity.generate()
    return X25519Identity.generate()


def identity_file_text(identity: PublicIdentity, *, created_utc: str) -> str:
    """Return the identity file that `age-keygen` would write; a secret. `created_utc` is RFC 3339."""
    return f"# created: {created_utc}\n# public key: {identity.recipient()}\n{identity.secret_text()}\n"


def parse_recipient(text: str) -> Recipient:
    """Read `age1…` (X25519) or `age1pq1…` (post-quantum hybrid).

    Raises:
        AgeKeyError: it is neither, or its checksum is wrong.
    """
    if text.startswith("age1pq1"):
        from evidence.age.hybrid import HybridRecipient  # noqa: PLC0415 -- HPKE only for those who use it

        return HybridRecipient.parse(text)
    if text.startswith(("age1tag1", "age1tagpq1")):
        raise AgeKeyError(
            "tagged recipients are not supported", expected="age1… or age1pq1…", found="a hardware key"
        )
    if text.startswith("age1"):
        return X25519Recipient.parse(text)
    raise AgeKeyError("not an age recipient", expected="age1… or age1pq1…", found="another text")


def parse_identity(text: str) -> Identity:
    """Read `AGE-SECRET-KEY-1…` (X25519) or `AGE-SECRET-KEY-PQ-1…` (post-quantum hybrid).

    Raises:
        AgeKeyError: it is neither, or its checksum is wrong.
    """
    if text.startswith("AGE-SECRET-KEY-PQ-1"):
        from evidence.age.hybrid import HybridIdentity  # noqa: PLC0415 -- HPKE only for those who use it

        return HybridIdentity.parse(text)
    if text.startswith("AGE-SECRET-KEY-1"):
        return X25519Identity.parse(text)
    raise AgeKeyError(
        "not an age identity", expected="AGE-SECRET-KEY-1… or AGE-SECRET-KEY-PQ-1…", found="another text"
    )


def parse_recipients(text: str) -> list[Recipient]:
    """Read a recipients file.

    Raises:
        AgeKeyError: a line is no recipient (the line is named), or there is none.
    """
    return [_on_line(number, parse_recipient, line) for number, line in _lines(text, "recipient")]


def parse_identities(text: str) -> list[Identity]:
    """Read an identity file.

    Raises:
        AgeKeyError: a line is no identity (the line is named, not quoted), or there is none.
    """
    return [_on_line(number, parse_identity, line) for number, line in _lines(text, "identity")]


def check_one_kind(recipients: Sequence[Recipient]) -> None:
    """Check that there is a recipient and that all are of one kind.

    A file that is wrapped for X25519 too is no safer than X25519: the hybrid kind would promise too much.

    Raises:
        AgeKeyError: there is none, or kinds are mixed.
    """
    kinds = sorted({recipient.kind for recipient in recipients})
    if len(kinds) != 1:
        raise AgeKeyError(
            "an age file needs recipients of one kind",
            expected="all X25519 or all mlkem768x25519",
            found=" and ".join(kinds) or "none",
        )


def _lines(text: str, what: str) -> list[tuple[int, str]]:
    if len(text) > _MAX_FILE_CHARACTERS:
        raise AgeKeyError(f"not a file of {what} lines", expected="at most 16 MiB", found="more")
    lines = [(number, line.removesuffix("\r")) for number, line in enumerate(text.split("\n"), start=1)]
    wanted = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not wanted:
        raise AgeKeyError(f"not a file of {what} lines", expected=f"at least one {what}", found="none")
    return wanted


def _on_line(number: int, parse: Callable[[str], Key], line: str) -> Key:
    try:
        return parse(line)
    except AgeKeyError as error:
        raise AgeKeyError(
            f"line {number}: {error.what}", expected=error.expected, found=error.found, remedy=error.remedy
        ) from error

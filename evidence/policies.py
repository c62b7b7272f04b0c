"""What a configuration has to keep to beyond its types: asked by who signs, who sends and who takes one."""

from collections.abc import Sequence

import msgspec

from evidence.age.errors import AgeError
from evidence.age.keyfiles import parse_recipients
from evidence.age.keys import Recipient
from evidence.documents import Config, decode
from evidence.errors import EvidenceError

__all__ = ["CheckedConfig", "ConfigFieldError", "check_config", "recipients_of"]

_NS_PER_S = 1_000_000_000
_HOLD_NS = (_NS_PER_S // 2, 30 * _NS_PER_S)
_CONFIRM_NS = (_NS_PER_S, 60 * _NS_PER_S)


class ConfigFieldError(EvidenceError):
    """A configuration cannot be used; `field` is what is wrong in it."""

    def __init__(self, field: str, *, expected: str, found: str) -> None:
        self.field = field
        super().__init__(field, expected=expected, found=found)


class CheckedConfig(msgspec.Struct, frozen=True):
    """A configuration that a camera can take, with its recipients ready for use."""

    document: Config
    recipients: tuple[Recipient, ...]


def check_config(content: bytes) -> CheckedConfig:
    """Read `config.json` and check what its types do not say; who signed it is another question.

    Raises:
        ConfigFieldError: the field that is wrong, and why; `document` where it is no such document.
    """
    try:
        document = decode(content, Config)
    except EvidenceError as error:
        _, found, path = error.found.rpartition("`$")
        field = path.rstrip("`").lstrip(".") if found else ""
        raise ConfigFieldError(
            field or "document", expected="the fields of a policy", found=error.found or error.expected
        ) from error
    gestures = document.gestures
    for field, value, (least, most) in (
        ("gestures.hold_ns", gestures.hold_ns, _HOLD_NS),
        ("gestures.confirm_ns", gestures.confirm_ns, _CONFIRM_NS),
    ):
        if not least <= value <= most:
            raise ConfigFieldError(field, expected=f"{least} to {most}", found=str(value))
    return CheckedConfig(document, recipients_of(document.recipients))


def recipients_of(texts: Sequence[str]) -> tuple[Recipient, ...]:
    """Read recipients: at least one, all of one kind.

    Raises:
        ConfigFieldError: they are not.
    """
    try:
        recipients = tuple(parse_recipients("\n".join(texts)))
    except AgeError as error:
        raise ConfigFieldError("recipients", expected="age recipients", found=str(error)) from error
    kinds = sorted({recipient.kind for recipient in recipients})
    if len(kinds) != 1:
        raise ConfigFieldError("recipients", expected="all of one kind", found=" and ".join(kinds) or "none")
    return recipients

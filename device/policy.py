"""The policy in force: made from `[policy]` of the TOML until a dock has pushed a signed one."""

import hashlib
from pathlib import Path

import msgspec

from device.config import ConfigError, DeviceConfig
from evidence.age.errors import AgeError
from evidence.age.keyfiles import parse_recipients
from evidence.age.keys import Recipient
from evidence.documents import Config, ConfigRef, Gestures, Sound, encode

__all__ = ["Policy", "load_policy"]

_NS_PER_S = 1_000_000_000


class Policy(msgspec.Struct, frozen=True):
    """A policy document, what line 0 says of it, and its recipients ready for use."""

    document: Config
    reference: ConfigRef
    recipients: tuple[Recipient, ...]


def load_policy(config: DeviceConfig, directory: Path) -> Policy:
    """Make the policy of version 0 from the TOML; a relative `recipients_file` is looked for in `directory`.

    Raises:
        ConfigError: the recipients cannot be read, there is none, or they are of two kinds.
    """
    policy = config.policy
    text = "\n".join(policy.recipients)
    where = "policy.recipients"
    if policy.recipients_file:
        where = f"policy.recipients_file {policy.recipients_file}"
        text = _read(directory / policy.recipients_file, where)
    try:
        recipients = tuple(parse_recipients(text))
    except AgeError as error:
        raise ConfigError(f"{where}: {error}") from error
    kinds = {recipient.kind for recipient in recipients}
    if len(kinds) != 1:
        raise ConfigError(
            where,
            expected="at least one recipient, all of one kind",
            found=" and ".join(sorted(kinds)) or "none",
            remedy="an agency's recipients are in its identity/recipients.txt",
        )
    document = Config(
        version=0,
        devices=(config.device.id,),
        recipients=tuple(str(recipient) for recipient in recipients),
        window_ns=int(policy.window_s * _NS_PER_S),
        sound=Sound(recording=policy.sound, before_press=policy.sound_before_press),
        gestures=Gestures(
            hold_ns=int(policy.hold_s * _NS_PER_S),
            confirm_stop=policy.confirm_stop,
            confirm_ns=int(policy.confirm_s * _NS_PER_S),
        ),
        limit_ns=int(policy.limit_minutes * 60 * _NS_PER_S),
        reminder_ns=int(policy.reminder_s * _NS_PER_S),
        stealth=policy.stealth,
        hold_ns=int(policy.keep_released_hours * 3600 * _NS_PER_S),
        revocations=(),
    )
    reference = ConfigRef(version=0, sha256=hashlib.sha256(encode(document)).hexdigest())
    return Policy(document, reference, recipients)


def _read(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise ConfigError(where, expected="a readable file", found=error.strerror or "") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            where, expected="age recipients, one a line", found="bytes that are not text"
        ) from error

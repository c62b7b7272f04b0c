"""The policy in force: made from `[policy]` of the TOML until a dock has pushed a signed one."""

import hashlib
import logging
from pathlib import Path

import msgspec

from device.config import ConfigError, DeviceConfig
from device.errors import DeviceError
from device.identity import RECIPIENTS
from device.vault.configstore import read_config
from evidence.age.errors import AgeError
from evidence.age.keyfiles import parse_recipients
from evidence.age.keys import Recipient
from evidence.documents import Config, ConfigRef, Gestures, Sound, encode
from evidence.errors import EvidenceError
from evidence.policies import ConfigFieldError, check_config

__all__ = ["Policy", "PolicyError", "load_policy", "policy_of", "policy_of_toml"]

_log = logging.getLogger(__name__)

_NS_PER_S = 1_000_000_000


class PolicyError(DeviceError):
    """A policy document cannot be used; `field` is what is wrong in it."""

    def __init__(self, field: str, *, expected: str, found: str) -> None:
        self.field = field
        super().__init__(field, expected=expected, found=found)


class Policy(msgspec.Struct, frozen=True):
    """A policy document, what line 0 says of it, and its recipients ready for use; `pushed` by a dock."""

    document: Config
    reference: ConfigRef
    recipients: tuple[Recipient, ...]
    pushed: bool = False


def load_policy(config: DeviceConfig, directory: Path) -> Policy:
    """Return the policy in force: what a dock pushed, else version 0 from the TOML.

    The signature of a pushed one is not looked at here, because that takes X.509, and frames shall not wait for
    it: `device.policycheck` does before a clip can begin. One that is damaged is reported, and the TOML's
    holds: a camera records in any case. Relative paths start at `directory`.

    Raises:
        ConfigError: the recipients cannot be read, there is none, or they are of two kinds.
    """
    return _pushed_policy(config, directory) or policy_of_toml(config, directory)


def policy_of(content: bytes, device: str) -> Policy:
    """Read a policy document for a device and check what its types do not say.

    Raises:
        PolicyError: the field that is wrong, and why.
    """
    try:
        checked = check_config(content)
    except ConfigFieldError as error:
        raise PolicyError(error.field, expected=error.expected, found=error.found) from error
    document = checked.document
    if device not in document.devices:
        raise PolicyError("devices", expected=device, found=", ".join(document.devices)[:200])
    reference = ConfigRef(version=document.version, sha256=hashlib.sha256(content).hexdigest())
    return Policy(document, reference, checked.recipients)


def _pushed_policy(config: DeviceConfig, directory: Path) -> Policy | None:
    try:
        pushed = read_config(directory / config.device.vault)
        if pushed is None:
            return None
        return msgspec.structs.replace(policy_of(pushed.document, config.device.id), pushed=True)
    except (EvidenceError, PolicyError) as error:
        _log.error("the configuration that a dock pushed is not used: %s", error)
        return None


def policy_of_toml(config: DeviceConfig, directory: Path) -> Policy:
    """Return version 0, from the TOML and an enrolment.

    Raises:
        ConfigError: as `load_policy`.
    """
    policy = config.policy
    text = "\n".join(policy.recipients)
    where = "policy.recipients"
    if policy.recipients_file:
        where = f"policy.recipients_file {policy.recipients_file}"
        text = _read(directory / policy.recipients_file, where)
    elif not policy.recipients:
        enrolled = directory / config.device.keys / RECIPIENTS
        where = f"{enrolled}, as policy names no recipients"
        text = _read(enrolled, where)
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

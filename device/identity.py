"""Whether the camera belongs to an agency, and as whom: what a start looks at before anything else.

An identity is a directory of files: `evidence.*` and `link.*` (key, and chain in PEM), `anchors.pem`, and,
where a dock has enrolled the camera, `recipients.txt` and `enrolment.json`. While `enrolment.new` is there, the
others are still to be written from it (`device.dockport.enrolstore`).
"""

import logging
import re
from pathlib import Path
from typing import Annotated

import msgspec

from device.config import ConfigError, DeviceConfig
from evidence.decoding import json_decoder
from evidence.documents.fields import DeviceId, Digest
from evidence.roles import Role

__all__ = [
    "FACTS",
    "RECIPIENTS",
    "WAITING",
    "EnrolmentFacts",
    "board_serial",
    "has_identity",
    "identified",
    "read_facts",
]

_log = logging.getLogger(__name__)
FACTS = "enrolment.json"
RECIPIENTS = "recipients.txt"
WAITING = "enrolment.new"
_SERIAL = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BOARD_SERIAL = Path("/sys/firmware/devicetree/base/serial-number")
_FORMAT = 1
_IDENTITY = tuple(
    f"{role.file_stem}.{kind}" for role in (Role.CAMERA_EVIDENCE, Role.CAMERA_LINK) for kind in ("key", "pem")
)


class EnrolmentFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`enrolment.json`: as whom, by whom, and what both ends showed to people."""

    format: Annotated[int, msgspec.Meta(ge=_FORMAT, le=_FORMAT)]
    device: DeviceId
    serial: str | None
    camera_fingerprint: Digest
    agency_fingerprint: Digest


def has_identity(keys: Path) -> bool:
    """Say whether the camera belongs to someone: any file of an identity counts, even if others are missing.

    A camera whose keys are damaged must not be free for the next one who comes.
    """
    return any((keys / name).exists() for name in (*_IDENTITY, FACTS, WAITING))


def read_facts(keys: Path) -> EnrolmentFacts | None:
    """Return what an enrolment has left, `None` if there was none.

    Raises:
        ConfigError: it is there and cannot be used.
    """
    path = keys / FACTS
    try:
        return json_decoder(EnrolmentFacts).decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot use {path}",
            expected="the facts of an enrolment",
            found=str(error),
            remedy="name the camera's id in its TOML",
        ) from error


def identified(config: DeviceConfig, keys: Path) -> DeviceConfig:
    """Return the configuration with the camera's id, which an enrolment may have given to it.

    Raises:
        ConfigError: there is no id, or the TOML names another one than the enrolment.
    """
    named = config.device.id
    try:
        facts = read_facts(keys)
    except ConfigError as error:
        if not named:
            raise
        _log.error("%s", error)  # the id is known without it: nothing to stop recording for
        return config
    if facts is None:
        if not named:
            raise ConfigError(
                "the camera has no id",
                expected="device.id in its TOML, or an enrolment",
                remedy="enrol it with `preroll dock enrol`",
            )
        return config
    if named and named != facts.device:
        raise ConfigError(
            "the camera is enrolled under another id",
            expected=facts.device,
            found=f"{named} in its TOML",
            remedy="correct device.id",
        )
    return msgspec.structs.replace(config, device=msgspec.structs.replace(config.device, id=facts.device))


def board_serial(config: DeviceConfig, source: Path = _BOARD_SERIAL) -> str | None:
    """Return the number by which people and USB know this board: `device.serial`, else what the board says."""
    if config.device.serial:
        return config.device.serial
    try:
        text = source.read_text(encoding="ascii").rstrip("\x00\n")
    except (OSError, UnicodeDecodeError):
        return None  # no Raspberry Pi
    return text if _SERIAL.fullmatch(text) else None

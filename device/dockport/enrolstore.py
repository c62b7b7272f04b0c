"""Keeping a new identity: all of it or nothing, whichever step is the last one.

Files in two directories cannot appear at once. So everything first goes into one, `enrolment.new` beside the
keys, whose rename into place is the moment from which the camera belongs to the agency; the others are written
from it, at once or at the next start, and it goes last.
"""

import contextlib
import shutil
from pathlib import Path

import msgspec

from device.identity import FACTS, RECIPIENTS, WAITING, EnrolmentFacts
from device.vault.configstore import PushedConfig, publish_config
from device.vault.layout import format_vault
from evidence.decoding import json_decoder
from evidence.errors import EvidenceError
from evidence.roles import Role
from evidence.storage import StorageError, make_directory, publish_file, remove_file, sync_directory

__all__ = ["SCRATCH", "NewIdentity", "commit_identity", "settle_identity"]

SCRATCH = "enrolment"
"""Directory beside the keys with the key that TLS shows until then."""


class NewIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that makes a camera one of an agency; keys and chains in PEM."""

    facts: EnrolmentFacts
    evidence_key: bytes
    evidence_chain: bytes
    link_key: bytes
    link_chain: bytes
    anchors: bytes
    recipients: tuple[str, ...]
    config: PushedConfig | None

    def __repr__(self) -> str:
        """Name it without its keys."""
        return f"NewIdentity({self.facts.device!r})"


def commit_identity(keys: Path, identity: NewIdentity) -> None:
    """Make a checked identity the camera's, durably; `settle_identity` then puts its files in place.

    Raises:
        StorageError: it cannot be kept; the camera belongs to nobody, as before.
    """
    if not keys.is_dir():
        keys.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # made by somebody else in between: as good
            make_directory(keys)
        sync_directory(keys.parent)
    publish_file(keys / WAITING, msgspec.json.encode(identity))


def settle_identity(keys: Path, vault: Path) -> bool:
    """Put the files of an identity that was committed in place; returns whether there was one waiting.

    Raises:
        EvidenceError: what waits is damaged.
        DeviceError: there is no vault, and none can be made.
        StorageError: storage refuses; the next start tries again.
    """
    waiting = keys / WAITING
    try:
        identity = json_decoder(NewIdentity).decode(waiting.read_bytes())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"cannot read {WAITING}", error) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EvidenceError(f"{waiting} is damaged", expected="a new identity") from error
    if not (vault / "vault.json").exists():
        format_vault(vault, identity.facts.device)
    if (vault / "link.pem").exists():  # renewed under the identity before this one
        remove_file(vault / "link.pem")
        sync_directory(vault)
    if identity.config is not None:
        publish_config(vault, identity.config)
    for name, data in _files(identity):
        publish_file(keys / name, data)
    _clear(keys)
    return True


def _files(identity: NewIdentity) -> tuple[tuple[str, bytes], ...]:
    evidence, link = Role.CAMERA_EVIDENCE.file_stem, Role.CAMERA_LINK.file_stem
    return (
        ("anchors.pem", identity.anchors),
        (RECIPIENTS, "".join(f"{each}\n" for each in identity.recipients).encode("ascii")),
        (f"{link}.key", identity.link_key),
        (f"{link}.pem", identity.link_chain),
        (f"{evidence}.key", identity.evidence_key),
        (f"{evidence}.pem", identity.evidence_chain),
        (FACTS, msgspec.json.encode(identity.facts)),
    )


def _clear(keys: Path) -> None:
    try:
        if (keys / SCRATCH).exists():
            shutil.rmtree(keys / SCRATCH)
    except OSError as error:
        raise StorageError(f"cannot remove {SCRATCH}", error) from error
    remove_file(keys / WAITING)
    sync_directory(keys)

"""The signed configuration that a dock pushed: `config.json` and `config.p7s` of the vault, replaced together.

Two files cannot be renamed at once: so both first go into one, `config.new`, whose presence means that the two
are still to be written from it. Whatever step is the last one, a reader gets the old pair or the new one.
"""

from pathlib import Path

import msgspec

from evidence.decoding import json_decoder
from evidence.errors import EvidenceError
from evidence.storage import StorageError, publish_file, remove_file, sync_directory

__all__ = ["PushedConfig", "publish_config", "read_config", "settle_config"]

_LIMIT_BYTES = 4 * 1024 * 1024


class PushedConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A configuration in its exact bytes, and its detached signature."""

    document: bytes
    cms: bytes


def read_config(root: Path) -> PushedConfig | None:
    """Return what was pushed last, `None` before the first push; whoever wants to believe it verifies it.

    Raises:
        EvidenceError: it is damaged.
        StorageError: it is there and cannot be read.
    """
    waiting = _read(root / "config.new")
    if waiting is not None:
        try:
            return json_decoder(PushedConfig).decode(waiting)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise EvidenceError("config.new is damaged", expected="a signed configuration") from error
    document = _read(root / "config.json")
    if document is None:
        return None
    return PushedConfig(document, _read(root / "config.p7s") or b"")


def publish_config(root: Path, config: PushedConfig) -> None:
    """Replace the configuration, durably: after a crash it is the old one or this one.

    Raises:
        StorageError: storage refuses. Until `config.new` is there the old one holds, from then on this one.
    """
    publish_file(root / "config.new", msgspec.json.encode(config))
    settle_config(root)


def settle_config(root: Path) -> None:
    """Finish a replacement that was cut short.

    Raises:
        EvidenceError: what waits is damaged.
        StorageError: storage refuses.
    """
    waiting = root / "config.new"
    if not waiting.exists():
        return
    config = read_config(root)
    assert config is not None  # it is there
    publish_file(root / "config.p7s", config.cms)
    publish_file(root / "config.json", config.document)
    remove_file(waiting)
    sync_directory(root)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path.name}", error) from error

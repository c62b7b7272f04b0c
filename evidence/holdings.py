"""What lies where: telling a clip, a vault and a store apart, and listing what they hold (docs/formats.md)."""

import re
from pathlib import Path
from typing import Annotated

import msgspec

from evidence.decoding import json_decoder
from evidence.documents import ClipStart, decode
from evidence.documents.fields import StoreId
from evidence.errors import EvidenceError

__all__ = [
    "Holdings",
    "HoldingsError",
    "StoreFacts",
    "claimed_start",
    "clip_number",
    "find_holdings",
    "load_store",
]

_CLIP_FILES = ("manifest.json", "manifest.p7s", "journal.jsonl", "clip.mp4.age")
_NAME = re.compile(r"(?:notime|[0-9]{8}T[0-9]{6}Z)-[a-z0-9-]{1,32}-([0-9]{6,18})")
_LINE_LIMIT_BYTES = 1 << 20
_FORMAT = 1


class HoldingsError(EvidenceError):
    """A path is neither clip nor vault nor store, or its facts cannot be read."""


class StoreFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`store.json`."""

    format: Annotated[int, msgspec.Meta(ge=_FORMAT, le=_FORMAT)]
    store: StoreId


class Holdings(msgspec.Struct, frozen=True):
    """What one path holds; `root` is `None` for a clip that stands alone, `store` but for a store."""

    root: Path | None
    store: str | None
    clips: tuple[Path, ...]
    tombstones: tuple[Path, ...] = ()
    heads: tuple[Path, ...] = ()
    disposals: tuple[Path, ...] = ()


def find_holdings(path: Path) -> Holdings:
    """List what a path holds: itself if it is a clip, else what lies in a vault or store of that root.

    Directories whose name starts with a dot are work under way (claims, deletions), and no clips.

    Raises:
        HoldingsError: it is neither, or its `store.json` cannot be read.
        OSError: a directory cannot be listed.
    """
    if not path.is_dir():
        raise HoldingsError(f"no directory {path}", expected="a clip, a vault or a store")
    if (path / "clips").is_dir():
        return Holdings(
            root=path,
            store=load_store(path).store if (path / "store.json").exists() else None,
            clips=(*_clips(path / "clips"), *_clips(path / "quarantine")),
            tombstones=_clips(path / "tombstones"),
            heads=tuple(sorted(path.glob("heads/*/*.json"))),
            disposals=tuple(sorted(path.glob("disposals/*.json"))),
        )
    if _is_clip(path):
        return Holdings(root=None, store=None, clips=(path,))
    raise HoldingsError(
        f"{path} is neither clip nor vault nor store", expected="a clip's files, or a directory `clips`"
    )


def load_store(root: Path) -> StoreFacts:
    """Read `store.json`.

    Raises:
        HoldingsError: it is missing or unusable.
    """
    try:
        return json_decoder(StoreFacts).decode((root / "store.json").read_bytes())
    except OSError as error:
        raise HoldingsError(f"{root} is no store", expected="store.json", found=error.strerror or "") from error
    except msgspec.MsgspecError as error:
        raise HoldingsError(f"cannot use {root / 'store.json'}", found=ascii(str(error)[:120])) from error


def claimed_start(directory: Path) -> ClipStart | None:
    """Read what the first line of a journal claims, its signature unverified; `None` if it says nothing.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        with (directory / "journal.jsonl").open("rb") as file:
            line = file.readline(_LINE_LIMIT_BYTES)
        return decode(json_decoder(_Line).decode(line).l, ClipStart)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, EvidenceError):
        return None


def clip_number(name: str) -> int | None:
    """Return the number in a clip's name, or `None` if it is no such name."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


class _Line(msgspec.Struct):
    l: msgspec.Raw  # noqa: E741 - the name is the format's
    s: str


def _clips(directory: Path) -> tuple[Path, ...]:
    """List clips directly below (a vault) or below a directory for each device (a store), by name."""
    if not directory.is_dir():
        return ()
    found: list[Path] = []
    for child in sorted(directory.iterdir()):
        if child.name.startswith(".") or not child.is_dir():
            continue
        if _is_clip(child):
            found.append(child)
        else:
            found += [
                each for each in sorted(child.iterdir()) if each.is_dir() and not each.name.startswith(".")
            ]
    return tuple(found)


def _is_clip(path: Path) -> bool:
    return _NAME.fullmatch(path.name) is not None or any((path / name).is_file() for name in _CLIP_FILES)

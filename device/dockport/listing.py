"""Lists of clips, tombstones and log lines, page by page, without reading any ciphertext."""

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from device.dockport.camera import DockedCamera
from device.vault.release import Releases
from device.vault.tombstones import read_tombstone_files
from docklink.api import PAGE_LIMIT_BYTES
from docklink.messages import (
    ClipEntry,
    ClipPage,
    ClipState,
    SignedDocument,
    TombstoneEntry,
    TombstonePage,
    encode_message,
)
from docklink.service import Lines
from evidence.decoding import json_decoder
from evidence.errors import EvidenceError
from evidence.eventlog import log_segments
from evidence.lines import LINE_LIMIT_BYTES
from evidence.recover import read_start

__all__ = ["Listing"]

_log = logging.getLogger(__name__)
EntryT = TypeVar("EntryT")


class _Indexed(msgspec.Struct):
    index: int


class _Line(msgspec.Struct):
    l: _Indexed  # noqa: E741  # the format's own name


class Listing:
    """What a dock can see without fetching a file."""

    def __init__(self, camera: DockedCamera, releases: Releases) -> None:
        self._camera = camera
        self._releases = releases
        self._layout = camera.vault.layout

    def clips(self, after: str | None) -> ClipPage:
        """List clips and what was released, by number."""
        names = {*_names(self._layout.clips), *_names(self._layout.tombstones)}
        entries, more = _page(names, after, self._clip)
        return ClipPage(entries, more)

    def tombstones(self, after: str | None) -> TombstonePage:
        """List tombstones by number; of a clip that still has its name it is not valid yet."""
        names = set(_names(self._layout.tombstones)) - set(_names(self._layout.clips))
        entries, more = _page(names, after, self._tombstone)
        return TombstonePage(entries, more)

    def waiting(self) -> int:
        """Count the clips that no store has signed for."""
        states = (self._releases.state_of(name) for name in _names(self._layout.clips))
        return sum(1 for state in states if state not in (None, ClipState.RELEASABLE, ClipState.RELEASED))

    def lines(self, after_index: int) -> Lines:
        """Return lines that are on storage, from the one after an index on."""
        head = self._camera.log.head
        data = bytearray()
        if head is not None:
            for line in self._lines_after(after_index, head.index):
                data += line
                if len(data) >= PAGE_LIMIT_BYTES:
                    break
        return Lines(bytes(data))

    def _lines_after(self, after: int, upto: int) -> Iterator[bytes]:
        """Yield lines by their index; what has none, because a card damaged it, is for the dock to miss."""
        paths = [segment.path for segment in log_segments(self._layout.log)]
        begin = 0
        for number in range(len(paths) - 1, 0, -1):
            first = next(_lines_of(paths[number]), None)
            if first is not None and first[0] <= after + 1:
                begin = number
                break
        for path in paths[begin:]:
            for index, line in _lines_of(path):
                if after < index <= upto:
                    yield line

    def _clip(self, name: str) -> ClipEntry | None:
        state = self._releases.state_of(name)
        if state is None:
            return None
        here = state is not ClipState.RELEASED
        facts = self._releases.shelf.clip(name) if here else self._releases.shelf.tombstone(name)
        if facts is not None:
            return ClipEntry(
                clip=name,
                epoch=facts.place.epoch,
                number=facts.place.number,
                state=state,
                bytes=facts.bytes if here else 0,
                manifest_sha256=facts.files["manifest.json"].sha256,
                urgent=facts.urgent,
            )
        if not here:
            _log.error("the tombstone %s is not one that this camera made", name)
            return None
        directory = self._layout.clips / name
        try:
            start = read_start(directory, self._camera.signer.public_key)
        except EvidenceError as error:
            _log.error("%s is not listed: %s", name, error)  # recovery has raised the alarm
            return None
        media = directory / "clip.mp4.age"
        size = media.stat().st_size if media.is_file() else 0
        return ClipEntry(name, start.epoch, start.number, state, size, None, False)

    def _tombstone(self, name: str) -> TombstoneEntry | None:
        try:
            files = read_tombstone_files(self._layout.tombstones / name)
        except EvidenceError as error:
            _log.error("the tombstone %s: %s", name, error)
            return None
        return TombstoneEntry(
            clip=name,
            start=files["journal.jsonl"],
            manifest=SignedDocument(files["manifest.json"], files["manifest.p7s"]),
            receipt=SignedDocument(files["receipt.json"], files["receipt.p7s"]),
        )


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _by_number(name: str) -> tuple[int, str]:
    number = name.rpartition("-")[2]
    return (int(number) if number.isdigit() else 0), name


def _page(
    names: Iterable[str], after: str | None, make: Callable[[str], EntryT | None]
) -> tuple[tuple[EntryT, ...], bool]:
    """Make entries until the page is full; whether there are more names."""
    left = sorted(
        (name for name in names if after is None or _by_number(name) > _by_number(after)), key=_by_number
    )
    entries: list[EntryT] = []
    size = 0
    for place, name in enumerate(left, 1):
        entry = make(name)
        if entry is None:
            continue
        entries.append(entry)
        size += len(encode_message(entry))
        if size >= PAGE_LIMIT_BYTES:
            return tuple(entries), place < len(left)
    return tuple(entries), False


def _lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        while line := file.readline(LINE_LIMIT_BYTES + 1):
            if not line.endswith(b"\n"):
                return  # torn, or a line that is still being written
            try:
                yield json_decoder(_Line).decode(line).l.index, line
            except (msgspec.MsgspecError, UnicodeDecodeError):
                _log.error("the event log's %s holds a line that cannot be read", path.name)

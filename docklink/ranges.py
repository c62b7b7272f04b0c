"""Which bytes of a file an HTTP request asks for (RFC 9110, sections 13 and 14), without I/O.

One range a request; several, or what is no range at all, are ignored as the standard allows: the whole file is
the answer. The entity tag of a file is its SHA-256, so it is strong, and the same on every camera and store.
"""

import re

import msgspec

__all__ = ["Selection", "content_range", "entity_tag", "select"]

_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


class Selection(msgspec.Struct, frozen=True):
    """Status 200, 206, 304 or 416, and the bytes from `start` up to, and without, `stop`."""

    status: int
    start: int = 0
    stop: int = 0


def entity_tag(sha256: str) -> str:
    """Return the entity tag of a file with that digest."""
    return f'"{sha256}"'


def select(
    size_bytes: int, tag: str, *, range_: str | None, if_range: str | None, if_none_match: str | None
) -> Selection:
    """Decide what to send.

    Args:
        size_bytes: of the file.
        tag: its entity tag.
        range_: the header `Range`, if there is one.
        if_range: the header `If-Range`; if it is another tag, the whole file is sent.
        if_none_match: the header `If-None-Match`; if the tag is in it, nothing is sent.
    """
    if if_none_match is not None and _names(if_none_match, tag):
        return Selection(304)
    whole = Selection(200, 0, size_bytes)
    if range_ is None or (if_range is not None and if_range.strip() != tag):
        return whole
    match = _RANGE.fullmatch(range_.strip())
    return whole if match is None else _select_part(size_bytes, *match.groups())


def _select_part(size_bytes: int, first: str, last: str, suffix: str | None) -> Selection:
    if suffix is not None:
        length = min(int(suffix), size_bytes)
        return Selection(206, size_bytes - length, size_bytes) if length else Selection(416)
    start = int(first)
    if last and int(last) < start:
        return Selection(200, 0, size_bytes)
    if start >= size_bytes:
        return Selection(416)
    return Selection(206, start, min(int(last) + 1, size_bytes) if last else size_bytes)


def content_range(text: str) -> tuple[int, int, int] | None:
    """Read `Content-Range` of a 206: start, stop (excluded), size of the file; `None` if it is bad."""
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None:
        return None
    start, last, size_bytes = (int(each) for each in match.groups())
    return (start, last + 1, size_bytes) if start <= last < size_bytes else None


def _names(header: str, tag: str) -> bool:
    tags = [each.strip().removeprefix("W/") for each in header.split(",")]
    return tag in tags or "*" in tags

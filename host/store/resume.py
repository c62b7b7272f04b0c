"""From which byte a fetch goes on: what a partial file really holds, judged by the journal's intervals.

A length proves nothing: after a power cut a file may have its full size and hold zeros or stale blocks. So the
file is read from storage, stretch by stretch, and the last stretch whose digest matches is where to go on.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from evidence.documents import ClipEnd, Manifest, SyncPoint

__all__ = ["Stretch", "StretchSource", "resume_point", "stretches"]

_READ_BYTES = 1024 * 1024


class Stretch(msgspec.Struct, frozen=True):
    """The ciphertext from the end of the stretch before up to `end`, with its digest."""

    end: int
    sha256: str


class StretchSource(Protocol):
    """What is read: any file from its start."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from its start; returns how many bytes, 0 at the end."""


def stretches(points: Iterable[SyncPoint | ClipEnd], manifest: Manifest) -> Iterator[Stretch]:
    """Yield what the journal says of the ciphertext, then what the manifest says of an unattested end."""
    end = 0
    for point in points:
        end = point.ciphertext_bytes
        yield Stretch(end, point.interval)
    rest = manifest.unattested
    if rest is not None and rest.start == end:
        yield Stretch(end + rest.bytes, rest.sha256)


def resume_point(source: StretchSource, expected: Iterable[Stretch]) -> int:
    """Return how many bytes from the start are what they should be, at the boundary of a stretch.

    Memory: one buffer of 1 MiB.

    Raises:
        StorageError: storage does not give the bytes (the caller starts anew, or reports the storage).
    """
    buffer = memoryview(bytearray(_READ_BYTES))
    good = 0
    for stretch in expected:
        digest, left = hashlib.sha256(), stretch.end - good
        while left > 0 and (count := source.readinto(buffer[: min(left, len(buffer))])):
            digest.update(buffer[:count])
            left -= count
        if left or digest.hexdigest() != stretch.sha256:
            break
        good = stretch.end
    return good

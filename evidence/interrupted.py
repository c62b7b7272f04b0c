"""What is to be done about a clip that was not sealed: rules without I/O (formats.md, "Interrupted clips").

All of it is a function of line 0, the journal's good lines, the event log up to the first start after the clip,
and the sizes of what is present. So whoever applies it, and however often it was cut short before, comes to the
same bytes.
"""

from collections.abc import Iterable

import msgspec

from evidence.age.envelope import NONCE_BYTES
from evidence.age.stream import SEALED_CHUNK_BYTES, TAG_BYTES
from evidence.documents import Blob, ClipStart, Ended, LogLine
from evidence.manifest import JournalSummary

__all__ = [
    "UNATTESTED_LIMIT_BYTES",
    "UNATTESTED_LIMIT_NS",
    "RecoveryPlan",
    "interruption_cause",
    "payload_start",
    "plan_recovery",
    "unattested_limit_bytes",
]

UNATTESTED_LIMIT_BYTES = 8 * 1024 * 1024
UNATTESTED_LIMIT_NS = 4_000_000_000
_LOW_BATTERY = frozenset({"low", "critical"})


class RecoveryPlan(msgspec.Struct, frozen=True):
    """What happens to `clip.mp4.age` before the clip is sealed.

    `keep_bytes` is the size that it keeps, `None` where it is not there or does not stay; what lies beyond goes
    to `tail.bin`. `remove` says that the file holds nothing and goes.
    """

    keep_bytes: int | None
    remove: bool = False


def payload_start(header: Blob | None) -> int | None:
    """Return where the first chunk of an age file starts, `None` while its header is not known whole."""
    return None if header is None else header.bytes + NONCE_BYTES


def unattested_limit_bytes(summary: JournalSummary) -> int:
    """Return how many bytes may follow the last good line and stay in `clip.mp4.age`.

    None behind the last line of an orderly end, which names the whole file. Else 4 s at the mean rate of what
    is attested, but at least one chunk and at most 8 MiB; 8 MiB where nothing is attested.
    """
    if summary.end is not None:
        return 0
    attested = summary.attested()
    if not attested.duration_ns:
        return UNATTESTED_LIMIT_BYTES
    by_time = attested.ciphertext_bytes * UNATTESTED_LIMIT_NS // attested.duration_ns
    return min(UNATTESTED_LIMIT_BYTES, max(SEALED_CHUNK_BYTES, by_time))


def plan_recovery(
    summary: JournalSummary, ciphertext_bytes: int | None, header: Blob | None, *, header_cut: bool = False
) -> RecoveryPlan:
    """Say what to do with a ciphertext of this size, all of whose attested bytes are there.

    `header` are the figures of its age header, `None` if there is no whole one; `header_cut` says that what
    there is is the beginning of one.
    """
    if ciphertext_bytes is None:
        return RecoveryPlan(keep_bytes=None)
    if summary.last is None and _holds_nothing(ciphertext_bytes, header, header_cut=header_cut):
        return RecoveryPlan(keep_bytes=None, remove=True)
    attested_bytes = summary.attested().ciphertext_bytes
    limit = unattested_limit_bytes(summary)
    if ciphertext_bytes <= attested_bytes + limit:
        return RecoveryPlan(keep_bytes=ciphertext_bytes)
    return RecoveryPlan(keep_bytes=_cut_at(attested_bytes, limit, payload_start(header)))


def interruption_cause(start: ClipStart, log: Iterable[LogLine]) -> Ended:
    """Say why a clip has no last line, as far as the event log supports it.

    `log` are verified lines without a gap, from the clip's boot on; reading ends at the first start after the
    clip. The cause is `power_loss` if that start is of another boot, no shutdown was logged between, and the
    last that was logged of the battery before is that it is low. Everything else is `unknown`: a process
    that died, a kernel that hung, a log that is damaged.
    """
    low = False
    for line in log:
        for event in line.events:
            if event.kind == "power_on":
                if _is_later(start, line, event.monotonic_ns):
                    return Ended.POWER_LOSS if low and line.boot != start.boot else Ended.UNKNOWN
                low = False
            elif event.kind == "shutdown" and _is_later(start, line, event.monotonic_ns):
                return Ended.UNKNOWN
            elif event.kind == "battery":
                low = event.detail.get("state") in _LOW_BATTERY
    return Ended.UNKNOWN


def _is_later(start: ClipStart, line: LogLine, at_ns: int) -> bool:
    """Whether an event came after line 0: by the clock within its boot, by the log's order beyond."""
    if line.boot == start.boot:
        return at_ns > start.monotonic_ns
    return line.index > (start.log.index if start.log else 0)


def _holds_nothing(ciphertext_bytes: int, header: Blob | None, *, header_cut: bool) -> bool:
    """Whether a file without a sync point ends before the first byte that could decrypt to anything."""
    first_chunk = payload_start(header)
    if first_chunk is None:
        return header_cut
    return ciphertext_bytes <= first_chunk + TAG_BYTES


def _cut_at(attested_bytes: int, limit: int, first_chunk: int | None) -> int:
    """Cut behind the last whole chunk within the limit, so that all that stays can be decrypted."""
    base = max(attested_bytes, first_chunk or 0)
    chunks = (attested_bytes + limit - base) // SEALED_CHUNK_BYTES
    return base + chunks * SEALED_CHUNK_BYTES if chunks > 0 else attested_bytes + limit

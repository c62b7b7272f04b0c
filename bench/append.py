"""What the encoder's thread waits for while the real writer flushes to a slow card, beside two plain deques.

The machinery is that of `bench.ring_append`; here the ring's consumer is the camera's own writer, and frames
come more often than a camera's, so that the 99.9th percentile is more than the worst of a few. The seconds
that are flushed first are 30 frames a second, as filmed.
"""

import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

from bench.footage import NS_PER_S
from bench.report import Goal, Section, Table
from bench.rig import Rig
from bench.ring_append import (
    BatchSource,
    Case,
    Consumer,
    CopiedDeque,
    Figures,
    HeldDeque,
    PrerollRing,
    at,
    flusher,
    measure,
    pooled,
)
from device.buffer.cursor import Cursor
from device.recording.events import ClipEnded, ClipFailed, ClipProgress
from evidence.documents.fields import Ended
from evidence.storage import CardBehaviour

__all__ = ["append_bench", "real_writer"]

_RATE = 240
_ROUNDS = 3
_CARD = CardBehaviour(rate_bytes_per_s=20_000_000, stall_ns=200_000_000)
_GOAL_LOCK_MS = 0.5
_GOAL_RETURNED_MS = 10.0

_IDLE = "ring, nobody reads"
_PLAIN = "real writer, Python's defaults"
_TUNED = "real writer, as in the camera"
_CASES = (
    Case(_IDLE, PrerollRing, 1, flushes=False, frozen=True),
    Case(_PLAIN, PrerollRing, 5),
    Case("real writer, frozen", PrerollRing, 5, frozen=True),
    Case(_TUNED, PrerollRing, 1, frozen=True),
    Case("real writer, frozen, busy thread", PrerollRing, 5, busy=True, frozen=True),
    Case("real writer, as in the camera, busy thread", PrerollRing, 1, busy=True, frozen=True),
    Case("deque, copied at the press", CopiedDeque, 5),
    Case("deque, lock held while flushing", HeldDeque, 5),
)


def real_writer(rig: Rig) -> Consumer:
    """Return a consumer that writes a clip from a cursor until it has caught up, and ends and seals it."""

    def consume(source: BatchSource) -> int:
        cursor = cast("Cursor", source)
        clip = rig.make_clip(cursor, cursor.at_ns)
        clip.start()
        rig.wait_for(lambda event: isinstance(event, ClipProgress) and event.caught_up)
        clip.end(Ended.STOPPED, time.monotonic_ns())
        rig.wait_for(lambda event: isinstance(event, ClipEnded | ClipFailed))
        return rig.counts.bytes

    return consume


def append_bench(units: list[tuple[bytes, bool]], *, seconds: float, rate: int = _RATE) -> Section:
    """Measure all cases, round robin, in about so many seconds together."""
    each_s = seconds / len(_CASES) / _ROUNDS
    parts: dict[int, list[Figures]] = {number: [] for number in range(len(_CASES))}
    key = next(data for data, keyframe in units if keyframe)
    before_s = sys.getswitchinterval()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, Rig(Path(folder), _CARD) as rig:
        stall_s = _CARD.stall_ns / NS_PER_S / _CARD.stall_every_syncs
        plain = flusher(Path(folder) / "plain", 1, stall_s, _CARD.rate_bytes_per_s)
        real = real_writer(rig)
        try:
            for _ in range(_ROUNDS):
                for number, case in enumerate(_CASES):
                    sys.setswitchinterval(case.interval_ms / 1000)
                    consumer = (real if case.make is PrerollRing else plain) if case.flushes else None
                    if case.frozen:
                        gc.freeze()
                    figures = measure(case.make, each_s, consumer, busy=case.busy, key=key, rate=rate)
                    gc.unfreeze()
                    parts[number].append(figures)
                    rig.clear()
        finally:
            sys.setswitchinterval(before_s)
    return _section([(case, pooled(parts[number])) for number, case in enumerate(_CASES)], rate)


def _section(rows: list[tuple[Case, Figures]], rate: int) -> Section:
    by_name = {case.name: figures for case, figures in rows}
    base = at(by_name[_TUNED].own_ms, 0.999)
    columns = ("", "switch, ms", "appends", "flushes", "in lock: p50, ms", "p99.9, ms", "most, ms")
    table = Table(
        f"{rate} appends a second; a card of {_CARD.rate_bytes_per_s / 1e6:.0f} MB/s with stalls of 200 ms",
        (*columns, "returned: p50, ms", "p99.9, ms", "most, ms", "own: p99.9, ms", "ratio"),
        tuple(_row(case, figures, base) for case, figures in rows),
    )
    tuned, idle = by_name[_TUNED], by_name[_IDLE]
    longest, late = tuned.lock_ms[-1], at(tuned.returned_ms, 0.999)
    goals = (
        Goal(
            "longest time inside the lock",
            f"at most {_GOAL_LOCK_MS} ms",
            f"{longest:.3f} ms; with nobody reading {idle.lock_ms[-1]:.3f} ms",
            longest <= _GOAL_LOCK_MS,
        ),
        Goal(
            "from runnable to returned, p99.9",
            f"at most {_GOAL_RETURNED_MS:.0f} ms",
            f"{late:.2f} ms; with nobody reading {at(idle.returned_ms, 0.999):.2f} ms",
            late <= _GOAL_RETURNED_MS,
        ),
    )
    return Section(
        name="append",
        title="The encoder's thread while the seconds are flushed",
        method=(
            "One thread appends on time, as an encoder would, while clip after clip is written from the "
            "ring by the camera's own writer and sealed. *In lock*: how long the ring's lock is held, "
            "by either side. *Returned*: from when the frame was due (the thread became runnable) to "
            "when the append had returned, the wait for the GIL included; *own* leaves out what the "
            "kernel says the thread waited for a processor. *Switch*: `sys.setswitchinterval`. "
            "*Frozen*: `gc.freeze`, so that no collection looks through all that is loaded; the camera "
            "sets both. *Busy thread*: one more that never gives the GIL up before it must. *Ratio*: "
            "own p99.9, by that of the camera's row. For the peers a shorter writer does the same work "
            "from a plain deque. Frames come more often than a camera's, at the same bit rate, so that "
            "p99.9 is no single event."
        ),
        tables=(table,),
        goals=goals,
    )


def _row(case: Case, figures: Figures, base: float) -> tuple[str, ...]:
    lock, returned, own = figures.lock_ms, figures.returned_ms, figures.own_ms
    return (
        case.name,
        f"{case.interval_ms:g}",
        str(figures.appends),
        str(figures.flushes),
        f"{at(lock, 0.5):.4f}",
        f"{at(lock, 0.999):.3f}",
        f"{lock[-1]:.3f}",
        f"{at(returned, 0.5):.3f}",
        f"{at(returned, 0.999):.2f}",
        f"{returned[-1]:.2f}",
        f"{at(own, 0.999):.2f}",
        f"{at(own, 0.999) / base:.1f}",
    )

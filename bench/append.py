"""What the encoder's thread waits for while the real writer flushes to a slow card, beside two plain deques.

The machinery is that of `bench.ring_append`; here the ring's consumer is the camera's own writer, and frames
come more often than a camera's, so that the 99.9th percentile is more than the worst of a few. The seconds
that are flushed first are 30 frames a second, as filmed.
"""

import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

from bench.footage import NS_PER_S
from bench.instructions import append_instructions
from bench.report import Bar, Goal, Plot, Section, Table
from bench.rig import Rig, scratch
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


_CONTROL = """
import json, sys, time
seconds, rate = float(sys.argv[1]), int(sys.argv[2])
start = time.monotonic() + 1 / rate
late = []
for number in range(int(seconds * rate)):
    due = start + number / rate
    time.sleep(max(0.0, due - time.monotonic()))
    late.append((time.monotonic() - due) * 1000)
print(json.dumps(late))
"""
"""A process that only sleeps and wakes, in the same seconds: what the machine does to anyone."""


@contextmanager
def _control(seconds: float, rate: int, late_ms: list[float]) -> Iterator[None]:
    """Run the control meanwhile, and add by how much it woke late."""
    arguments = [sys.executable, "-c", _CONTROL, str(seconds), str(rate)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        yield
        late_ms += json.loads(process.communicate()[0])


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


def append_bench(
    units: list[tuple[bytes, bool]], *, seconds: float, rate: int = _RATE, count_instructions: bool = True
) -> Section:
    """Measure all cases, round robin, in about so many seconds together."""
    each_s = seconds / len(_CASES) / _ROUNDS
    parts: dict[str, list[Figures]] = {case.name: [] for case in _CASES}
    controls: dict[str, list[float]] = {case.name: [] for case in _CASES}
    key = next(data for data, keyframe in units if keyframe)
    before_s = sys.getswitchinterval()
    with scratch() as folder, Rig(Path(folder), _CARD) as rig:
        stall_s = _CARD.stall_ns / NS_PER_S / _CARD.stall_every_syncs
        plain = flusher(Path(folder) / "plain", 1, stall_s, _CARD.rate_bytes_per_s)
        real = real_writer(rig)
        try:
            for case in _CASES * _ROUNDS:
                sys.setswitchinterval(case.interval_ms / 1000)
                consumer = (real if case.make is PrerollRing else plain) if case.flushes else None
                if case.frozen:
                    gc.freeze()
                with _control(each_s, rate, controls[case.name]):
                    figures = measure(case.make, each_s, consumer, busy=case.busy, key=key, rate=rate)
                parts[case.name].append(figures)
                gc.unfreeze()
                rig.clear()
        finally:
            sys.setswitchinterval(before_s)
    rows = [_Row(case, pooled(parts[case.name]), sorted(controls[case.name])) for case in _CASES]
    return _section(rows, rate, append_instructions() if count_instructions else None)


_METHOD = (
    "One thread appends on time, as an encoder would, while clip after clip is written from the "
    "ring by the camera's own writer and sealed. *In lock*: how long the ring's lock is held, "
    "by either side; *own* beside it: the longest that a thread computed while it held it, the rest being "
    "time in which the kernel or the interpreter let another one run. *Returned*: from when "
    "the frame was due (the thread became runnable) to when the append had returned, the wait for "
    "the GIL included; *own* leaves out what the kernel says the thread waited for "
    "a processor. *Switch*: `sys.setswitchinterval`. "
    "*Frozen*: `gc.freeze`, so that no collection looks through all that is loaded; the camera "
    "sets both. *Busy thread*: one more that never gives the GIL up before it must. *Ratio*: "
    "own p99.9, by that of the camera's row. For the peers a shorter writer does the same work "
    "from a plain deque. Frames come more often than a camera's, at the same bit rate, so that "
    "p99.9 is no single event."
)


class _Row(NamedTuple):
    """One case, and how late the control was in the same seconds."""

    case: Case
    figures: Figures
    control_ms: list[float]


def _section(rows: list[_Row], rate: int, instructions: float | None) -> Section:
    by_name = {row.case.name: row for row in rows}
    tuned, idle = by_name[_TUNED], by_name[_IDLE]
    base = at(tuned.figures.own_ms, 0.999)
    columns = ("", "switch, ms", "appends", "flushes", "in lock: p50, ms", "p99.9, ms", "most, ms")
    table = Table(
        f"{rate} appends a second; a card of {_CARD.rate_bytes_per_s / 1e6:.0f} MB/s with stalls of 200 ms",
        (
            *columns,
            "own: most, ms",
            "returned: p50, ms",
            "p99, ms",
            "p99.9, ms",
            "own: p99.9, ms",
            "control: p99.9, ms",
            "ratio",
        ),
        tuple(_cells(row, base) for row in rows),
    )
    longest, late = tuned.figures.lock_ms[-1], at(tuned.figures.returned_ms, 0.999)
    goals = (
        Goal(
            "longest time inside the lock",
            f"at most {_GOAL_LOCK_MS} ms",
            f"{longest:.3f} ms; with nobody reading {idle.figures.lock_ms[-1]:.3f} ms",
            longest <= _GOAL_LOCK_MS,
            reason=_why_held(tuned.figures),
        ),
        Goal(
            "from runnable to returned, p99.9",
            f"at most {_GOAL_RETURNED_MS:.0f} ms",
            f"{late:.2f} ms; a process that only wakes, meanwhile: {at(tuned.control_ms, 0.999):.2f} ms",
            late <= _GOAL_RETURNED_MS,
            reason=_why_late(tuned),
        ),
    )
    return Section(
        name="append",
        title="The encoder's thread while the seconds are flushed",
        method=_METHOD,
        tables=(table,),
        goals=goals,
        notes=(_counted(instructions),),
        plots=(
            Plot(
                "append",
                "Encoder's thread: from runnable to returned, p99.9",
                "milliseconds, logarithmic",
                tuple(
                    Bar(f"{row.case.name}, {row.case.interval_ms:g} ms", at(row.figures.returned_ms, 0.999))
                    for row in rows
                ),
                logarithmic=True,
                goal=_GOAL_RETURNED_MS,
            ),
        ),
    )


def _why_held(figures: Figures) -> str:
    """Say why a hold was long, if it was not for what is done in it."""
    own_ms = figures.lock_own_ms[-1]
    if own_ms > _GOAL_LOCK_MS:
        return (
            f"A thread computed for {own_ms:.3f} ms while it held the lock, by a clock that takes interrupts, "
            "and what a hypervisor gave to others, for the thread's own."
        )
    return (
        f"No thread computed for longer than {own_ms:.3f} ms while it held the lock. In the longest hold it "
        "had lost its processor or the interpreter to another: more threads want to run than there are cores."
    )


def _why_late(row: _Row) -> str:
    """Say why appends came back late, if the machine was as late for others."""
    late, control = at(row.figures.returned_ms, 0.999), at(row.control_ms, 0.999)
    if 2 * control < late:
        return ""
    return (
        "A process that waits for no lock and no interpreter, and only sleeps until its time has come, woke "
        f"{control:.2f} ms late at p99.9 in the same seconds (most: {row.control_ms[-1]:.2f} ms; of the "
        f"appends: {row.figures.returned_ms[-1]:.2f} ms)."
    )


def _counted(instructions: float | None) -> str:
    if instructions is None:
        return "Instructions of an append were not counted: valgrind is not installed."
    return f"An append alone takes {instructions:,.0f} instructions (`valgrind --tool=callgrind`)."


def _cells(row: _Row, base: float) -> tuple[str, ...]:
    case, figures, control = row
    lock, returned, own = figures.lock_ms, figures.returned_ms, figures.own_ms
    return (
        case.name,
        f"{case.interval_ms:g}",
        str(figures.appends),
        str(figures.flushes),
        f"{at(lock, 0.5):.4f}",
        f"{at(lock, 0.999):.3f}",
        f"{lock[-1]:.3f}",
        f"{figures.lock_own_ms[-1]:.3f}",
        f"{at(returned, 0.5):.3f}",
        f"{at(returned, 0.99):.2f}",
        f"{at(returned, 0.999):.2f}",
        f"{at(own, 0.999):.2f}",
        f"{at(control, 0.999):.2f}",
        f"{at(own, 0.999) / base:.1f}",
    )

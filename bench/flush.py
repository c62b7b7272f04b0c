"""From the press to thirty durable seconds: the real writer on a real ring, while frames keep coming."""

import os
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from bench.footage import NS_PER_S, FrameStream
from bench.report import Goal, Section, Table, spread
from bench.rig import Rig, as_in_the_camera, scratch
from device.buffer.ring import Ring
from device.recording.events import ClipEnded, ClipFailed, ClipProgress
from evidence.documents.fields import Ended
from evidence.storage import AppendFile, CardBehaviour, PosixAppendFile, SlowCardFile

__all__ = ["Flush", "Live", "flush_bench", "flush_once", "plain_once"]

_MIB = 1024 * 1024
_RING_BYTES = 96 * _MIB
_MARGIN_S = 3  # the ring keeps a margin beyond its window
_GOAL_SHARE = 0.8
_PEER_S = 30.0  # picamera2's CircularOutput2 writes its seconds at the pace at which they were filmed
_GOAL_SOONER = 100.0
_GOLDEN = 0.618  # spreads the instants of the press evenly over a fragment, whatever the number of runs


class Live:
    """Appends to a ring at the frames' own pace until it is stopped; a context manager."""

    def __init__(self, ring: Ring, stream: FrameStream, first: int, start_ns: int) -> None:
        self._ring = ring
        self._stream = stream
        self._number = first
        self._due_ns = start_ns
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live")

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(max(0, self._due_ns - time.monotonic_ns()) / NS_PER_S):
            for frame in self._stream.frames(self._number, self._due_ns - self._stream.frame_ns):
                self._ring.frame(frame)
            self._number += 1
            self._due_ns += self._stream.frame_ns


class Flush(msgspec.Struct, frozen=True):
    """What one press came to; times in seconds from the edge."""

    first_s: float
    durable_s: float
    caught_up_s: float
    cpu_s: float
    preevent_bytes: int
    preevent_s: float
    syncs: int
    signatures: int
    largest_interval_bytes: int
    lost_frames: int
    """Pictures that begin up to the stop and are not in the clip."""

    def share(self, rate_bytes_per_s: float) -> float:
        """Return the flush's rate as a share of another one."""
        return self.preevent_bytes / self.durable_s / rate_bytes_per_s


def flush_once(
    rig: Rig, stream: FrameStream, *, window_s: int = 30, phase: float = 0.5, live_s: float = 0.0
) -> Flush:
    """Press once: a full ring, live frames, a clip; ends it when the writer has caught up.

    `phase` is where between two keyframes the press comes, 0 to 1; `live_s` how long the clip goes on after.
    """
    ring = Ring(window_s * NS_PER_S, _RING_BYTES)
    rate = round(NS_PER_S / stream.frame_ns)
    count = (window_s + _MARGIN_S) * rate + round(phase * rate)
    now_ns = time.monotonic_ns()
    stream.fill(ring.frame, count, now_ns)
    with Live(ring, stream, count, now_ns + stream.frame_ns):
        time.sleep(0.05)  # let the live thread get going; the press is not at its first breath
        cpu_s = time.process_time()
        edge_ns = time.monotonic_ns()
        cursor = ring.open_cursor(edge_ns)
        first_pts_ns = cursor.first_pts_ns
        assert first_pts_ns is not None
        frames = (edge_ns - first_pts_ns) // stream.frame_ns
        size = cursor.pending_bytes
        thread = rig.make_clip(cursor, edge_ns)
        thread.start()
        first_ns = rig.wait_for(lambda event: isinstance(event, ClipProgress) and event.frames > 0)
        durable_ns = rig.wait_for(lambda event: isinstance(event, ClipProgress) and event.frames >= frames)
        cpu_s = time.process_time() - cpu_s
        counts = rig.counts
        syncs, signatures = counts.syncs, counts.signatures
        caught_ns = rig.wait_for(lambda event: isinstance(event, ClipProgress) and event.caught_up)
        time.sleep(live_s)
        stop_ns = time.monotonic_ns()
        thread.end(Ended.STOPPED, stop_ns)
        thread.join()
        ended: list[int] = []

        def over(event: ClipProgress | ClipEnded | ClipFailed) -> bool:
            if isinstance(event, ClipEnded):
                ended.append(event.frames)
            return isinstance(event, ClipEnded)

        rig.wait_for(over)
    rig.clear()
    taken = (stop_ns - first_pts_ns) // stream.frame_ns + 1  # pictures that begin up to the stop
    return Flush(
        first_s=(first_ns - edge_ns) / NS_PER_S,
        durable_s=(durable_ns - edge_ns) / NS_PER_S,
        caught_up_s=(caught_ns - edge_ns) / NS_PER_S,
        cpu_s=cpu_s,
        preevent_bytes=size,
        preevent_s=cursor.available_ns / NS_PER_S,
        syncs=syncs,
        signatures=signatures,
        largest_interval_bytes=counts.largest_interval_bytes,
        lost_frames=taken - ended[0],
    )


def plain_once(directory: Path, units: Sequence[bytes], card: CardBehaviour | None) -> float:
    """Write the same bytes in plain and in one go, one sync at the end; returns bytes a second.

    The least that storage can be asked for, and the measure of its sequential rate.
    """
    path = directory / "plain"
    file: AppendFile = PosixAppendFile(path)
    if card is not None:
        file = SlowCardFile(file, card)
    begin = time.monotonic()
    for unit in units:
        file.append(unit)
    file.sync()
    seconds = time.monotonic() - begin
    size = file.size_bytes
    file.close()
    path.unlink()
    return size / seconds


_CARDS = (
    ("this machine's disk", None),
    ("card, 20 MB/s", CardBehaviour(rate_bytes_per_s=20_000_000, stall_ns=0)),
    ("card, 10 MB/s", CardBehaviour(rate_bytes_per_s=10_000_000, stall_ns=0)),
    ("card, 10 MB/s, stalls of 200 ms", CardBehaviour(rate_bytes_per_s=10_000_000, stall_ns=200_000_000)),
)


def flush_bench(stream: FrameStream, *, seconds: float) -> Section:
    """Measure all cards, round robin, for about so many seconds."""
    rounds = max(1, min(9, round(seconds / 13)))  # a round takes some 13 s: 36 MiB on each card
    found: dict[str, list[Flush]] = {name: [] for name, _ in _CARDS}
    plain: dict[str, list[float]] = {name: [] for name, _ in _CARDS}
    payload = [stream.frame(number, 0).data for number in range(31 * round(NS_PER_S / stream.frame_ns))]
    with scratch() as folder, Rig(Path(folder)) as rig, as_in_the_camera():
        for number in range(rounds):
            for name, card in _CARDS:
                rig.card = card
                plain[name].append(plain_once(Path(folder), payload, card))
                os.sync()
                found[name].append(flush_once(rig, stream, phase=number * _GOLDEN % 1))
    return _section(found, plain)


def _section(found: dict[str, list[Flush]], plain: dict[str, list[float]]) -> Section:
    rows = []
    goals = []
    for name, card in _CARDS:
        runs, peer = found[name], plain[name]
        shares = [run.share(rate) for run, rate in zip(runs, peer, strict=True)]
        rows.append(
            (
                name,
                spread([run.first_s * 1000 for run in runs], 0),
                spread([run.durable_s * 1000 for run in runs], 0),
                spread([run.caught_up_s * 1000 for run in runs], 0),
                spread([run.cpu_s * 1000 for run in runs], 0),
                spread([rate / 1e6 for rate in peer], 0),
                spread(shares),
                str(round(statistics.median(run.syncs for run in runs))),
                str(round(statistics.median(run.signatures for run in runs))),
                f"{max(run.largest_interval_bytes for run in runs) / _MIB:.2f}",
            )
        )
        goals += _goals(name, card, runs, shares)
    least_s = min(run.preevent_s for runs in found.values() for run in runs)
    goals.append(Goal("pre-event seconds delivered", "at least 30.0 s", f"{least_s:.3f} s", least_s >= 30))
    lost = max(run.lost_frames for runs in found.values() for run in runs)
    goals.append(Goal("pictures lost at a clean stop, slow cards included", "0", str(lost), lost == 0))
    largest = max(run.largest_interval_bytes for runs in found.values() for run in runs) / _MIB
    goals.append(
        Goal("ciphertext between two sync points", "at most 4 MiB", f"{largest:.2f} MiB", largest <= 4)
    )
    columns = ("storage", "first, ms", "durable, ms", "caught up, ms", "CPU, ms", "plain, MB/s", "of it")
    table = Table(
        "From the edge to the first frames durable, to all pre-event frames durable, and to caught up",
        (*columns, "syncs", "signatures", "interval, MiB"),
        tuple(rows),
    )
    return Section(
        name="flush",
        title="Press to thirty seconds durable",
        method=(
            "The real writer on a real ring with 33 s of 1080p30 at 10 Mbit/s, encrypted, with its "
            "sound track, signed and synced, while frames keep coming. *durable*: the sync point that "
            "covers the last frame before the press. *plain*: the same bytes in one file, in plain, "
            "with a single sync at the end, in the same round; *of it*: the flush's rate as a share of "
            "that. Cards are simulated: a sync takes as long as the card needs for the bytes. Instants "
            "of the press are spread over the GOP. The interpreter is set as in the camera "
            "(`sys.setswitchinterval`, `gc.freeze`)."
        ),
        tables=(table,),
        goals=tuple(goals),
    )


def _goals(name: str, card: CardBehaviour | None, runs: list[Flush], shares: list[float]) -> list[Goal]:
    if card is None:
        times = [_PEER_S / run.durable_s for run in runs]
        middle = statistics.median(times)
        what = f"{name}: sooner than an output that writes 30 s in 30 s"
        return [Goal(what, f"{_GOAL_SOONER:.0f} times", f"{spread(times, 0)} times", middle >= _GOAL_SOONER)]
    limits = [run.preevent_bytes / _GOAL_SHARE / card.rate_bytes_per_s + 1 for run in runs]
    late = [run.caught_up_s - limit for run, limit in zip(runs, limits, strict=True)]
    goal = f"ring / {_GOAL_SHARE} of the card's rate + 1 s = {statistics.median(limits):.2f} s"
    caught = spread([run.caught_up_s for run in runs])
    goals = [Goal(f"{name}: press to caught up", goal, f"{caught} s", statistics.median(late) <= 0)]
    if not card.stall_ns:
        share = statistics.median(shares)
        goals.insert(
            0, Goal(f"{name}: share of its rate", f"{_GOAL_SHARE}", spread(shares), share >= _GOAL_SHARE)
        )
    return goals

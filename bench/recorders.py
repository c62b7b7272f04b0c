"""From the press to the file, what a kill loses and what a stop loses, beside the recorders that others offer.

Each recorder runs in a process of its own, in real time; those of a batch run side by side.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, median

import av
import av.error
import msgspec

from bench.footage import NS_PER_S, Scene, kept_footage
from bench.recorder_kinds import KINDS
from bench.recorder_probe import Slot, Tally
from bench.report import Bar, Goal, Plot, Section, Table, spread
from bench.rig import scratch
from bench.ring_append import at
from evidence.age import parse_identities
from evidence.documents import ClipStart
from evidence.journal import JournalReader
from evidence.roles import Role
from evidence.salvage import salvage_clip
from evidence.signer import load_signer

__all__ = ["Outcome", "Rate", "recorder_bench", "recovered_frames", "run_batch"]

OURS = "preroll"
PEER = "CircularOutput2 + PyavOutput"
_START_S = 90.0  # a loaded machine
_END_S = 60.0
_KILL_S = 20.0
_GOAL_SOONER, _MOST_S, _MEAN_S = 100.0, 1.0, 0.5
_GOLDEN = 0.618  # spreads the instants of the kills over a fragment


class Rate(msgspec.Struct, frozen=True):
    """A bit rate, and the picture that an encoder gives at it."""

    name: str
    scene: Scene


RATES = (
    Rate("10 Mbit/s", Scene(seconds=10)),
    Rate("2 Mbit/s", Scene(seconds=10, width=640, height=360, bitrate_bps=2_000_000)),
    Rate("0.2 Mbit/s", Scene(seconds=10, width=320, height=180, rate=30, bitrate_bps=200_000)),
)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one recording; times in seconds."""

    kind: str
    written_s: float | None
    """From the press until all that was held had been written (ours: durable); `None` if it never was."""
    preevent_s: float
    taken_s: float
    """From the first picture that was to be recorded to the end of the last."""
    lost_s: float
    cpu_s: float
    calls_ms: tuple[float, ...]


class _Running:
    """One recorder's process."""

    def __init__(self, directory: Path, kind: str, footage: Path, frame_ns: int, *, kill: bool) -> None:
        directory.mkdir()
        self.kind = kind
        self.directory = directory
        self.frame_ns = frame_ns
        self.tally = Tally(directory / "tally", create=True)
        arguments = [kind, str(footage), str(frame_ns), str(directory), str(directory / "tally")]
        self._errors = (directory / "errors").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.recorder_probe", *arguments, "kill" if kill else "full"],
            start_new_session=True,  # so that a kill reaches ffmpeg too
            stdout=self._errors,
            stderr=self._errors,
        )

    def wait_for_press(self) -> None:
        """Wait until it was pressed."""
        give_up = time.monotonic() + _START_S
        while not self.tally[Slot.PRESS]:
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"{self.kind} did not start: {self._said()}")
            time.sleep(0.05)

    def kill_at(self, after_press_s: float) -> None:
        """Kill it so long after its press."""
        due_s = self.tally[Slot.PRESS] / NS_PER_S + after_press_s
        time.sleep(max(0.0, due_s - time.monotonic()))
        self.kill()

    def wait(self) -> None:
        """Wait for its end."""
        if self._process.wait(_END_S) != 0:
            raise RuntimeError(f"{self.kind} failed: {self._said()}")

    def kill(self) -> None:
        """Kill it, and whatever it started, with signal 9."""
        with contextlib.suppress(ProcessLookupError):  # it was quicker
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._errors.close()

    def outcome(self) -> Outcome:
        """Look at what is left of it."""
        tally = self.tally
        end_ns = tally[Slot.STOP] or tally[Slot.NEWEST_END]
        first_ns = tally[Slot.FIRST] or tally[Slot.PRESS] - 30 * NS_PER_S
        kept_ns = recovered_frames(self.kind, self.directory) * self.frame_ns
        press_ns, written_ns = tally[Slot.PRESS], tally[Slot.WRITTEN]
        return Outcome(
            kind=self.kind,
            written_s=(written_ns - press_ns) / NS_PER_S if written_ns else None,
            preevent_s=(press_ns - first_ns) / NS_PER_S,
            taken_s=(end_ns - first_ns) / NS_PER_S,
            lost_s=max(0, end_ns - first_ns - kept_ns) / NS_PER_S,
            cpu_s=tally[Slot.CPU] / NS_PER_S,
            calls_ms=tuple(call_ns / 1e6 for call_ns in tally.calls_ns()),
        )

    def _said(self) -> str:
        lines = (self.directory / "errors").read_text("utf-8", "replace").splitlines()
        return lines[-1] if lines else "nothing"


def recovered_frames(kind: str, directory: Path) -> int:
    """Count the pictures that a recording still holds: ours by its last sync point, if the media agrees."""
    if kind == OURS:
        (clip,) = (directory / "vault" / "clips").iterdir()
        plain = io.BytesIO()
        salvage_clip(clip, plain, parse_identities((directory / "agency/identity/identity.txt").read_text()))
        return min(_attested(directory, clip), _pictures(plain))
    return sum(_pictures(path) for path in sorted(directory.glob("*.mp4")) + sorted(directory.glob("*.h264")))


def _attested(directory: Path, clip: Path) -> int:
    frames = 0
    with (clip / "journal.jsonl").open("rb") as file:
        key = load_signer(directory / "keys", Role.CAMERA_EVIDENCE).public_key
        for line in JournalReader(file, key):
            frames = 0 if isinstance(line.document, ClipStart) else line.document.frames
    return frames


def _pictures(media: Path | io.BytesIO) -> int:
    if isinstance(media, io.BytesIO):
        media.seek(0)
    source = str(media) if isinstance(media, Path) else media
    try:
        with av.open(source, "r") as container:
            whole = [packet for packet in container.demux(video=0) if packet.size and not packet.is_corrupt]
            return len(whole)
    except (av.error.InvalidDataError, av.error.EOFError):
        return 0  # an MP4 without its index: nobody can play it


@contextlib.contextmanager
def _started(kinds: Sequence[str], rate: Rate, directory: Path, *, kill: bool) -> Iterator[list[_Running]]:
    footage = kept_footage(rate.scene)
    running: list[_Running] = []
    try:
        for number, kind in enumerate(kinds):
            running.append(_Running(directory / str(number), kind, footage, rate.scene.frame_ns, kill=kill))
        yield running
    finally:
        for each in running:
            each.kill()


def run_batch(
    kinds: Sequence[str], rate: Rate, directory: Path, *, kill_s: float | None = None
) -> list[Outcome]:
    """Run recorders side by side until all they held is written, or until they are killed."""
    directory.mkdir()
    with _started(kinds, rate, directory, kill=kill_s is not None) as running:
        for each in running:
            each.wait_for_press()
        order = sorted(running, key=lambda each: each.tally[Slot.PRESS])
        for number, each in enumerate(order):
            if kill_s is None:
                each.wait()
            else:
                each.kill_at(kill_s + number * _GOLDEN % 1)
    return [each.outcome() for each in running]


def recorder_bench(*, seconds: float) -> Section:
    """Run all peers once to the end and, at each rate, until they are killed; ours several times."""
    peers = [kind for kind in KINDS if kind != OURS]
    short = seconds < _KILL_S
    ours = 2 if short else 4
    killed: dict[str, list[Outcome]] = {}
    with scratch() as folder:
        full = run_batch(peers, RATES[0], Path(folder) / "full")
        for number in range(ours):  # the peers take 30 s and run side by side; ours is over in a moment
            full += run_batch([OURS], RATES[0], Path(folder) / f"full-{number}")
        for number, rate in enumerate(RATES[:1] if short else RATES):
            place = Path(folder) / f"kill-{number}"
            killed[rate.name] = run_batch([*[OURS] * ours, *peers], rate, place, kill_s=_KILL_S)
    return _section(full, killed)


def _section(full: list[Outcome], killed: dict[str, list[Outcome]]) -> Section:
    kinds = [OURS, *(kind for kind in KINDS if kind != OURS)]
    rows = [_full_row(kind, [run for run in full if run.kind == kind]) for kind in kinds]
    columns = ("", "pre-event, s", "press to written, s", "lost at a stop, s", "CPU a frame, us")
    calls = ("call: p50, ms", "p99, ms", "most, ms")
    tables = [Table("Press and clean stop at 10 Mbit/s", (*columns, *calls), tuple(rows))]
    tables.append(
        Table(
            "Footage lost at kill -9, 20 s after the press, s",
            ("", *killed),
            tuple(
                (kind, *(_lost([run for run in runs if run.kind == kind]) for runs in killed.values()))
                for kind in kinds
            ),
        )
    )
    return Section(
        name="recorders",
        title="Press, kill and stop beside other recorders",
        method=(
            "Each recorder in a process of its own, in real time, with 33 s behind it when it is pressed; the "
            "peers side by side, ours one run after the other, and all together for the kills. "
            "*Press to written*: until all taken before it has gone to the file; ours: until a sync point "
            "covers it, on this machine's disk. The peers write in plain and never sync: what they "
            "have written survives a kill and not a power cut, so the table of kills flatters them. *Lost*: "
            "from the last picture that the file still gives (ours: that the journal attests) to the last one "
            "that the encoder gave. *Call*: how long the encoder's thread was in the call, from the press on. "
            "The interpreter is set as in the camera, for all. "
            "*CPU a frame*: of the whole process from the press to the stop, with the encoder's stand-in; the "
            "peers have written few of their frames by then. ffmpeg's own CPU is not in it."
        ),
        tables=tuple(tables),
        goals=_goals(full, killed),
        plots=(_plot(full), _kill_plot(kinds, killed)),
    )


def _full_row(kind: str, runs: list[Outcome]) -> tuple[str, ...]:
    calls = sorted(call for run in runs for call in run.calls_ms)
    written = [run.written_s for run in runs if run.written_s is not None]
    frames = [run.taken_s * 30 for run in runs]
    return (
        kind,
        spread([run.preevent_s for run in runs]),
        spread(written) if written else "never",
        spread([run.lost_s for run in runs]),
        spread([run.cpu_s / count * 1e6 for run, count in zip(runs, frames, strict=True)], 0),
        f"{at(calls, 0.5):.3f}",
        f"{at(calls, 0.99):.2f}",
        f"{calls[-1]:.2f}",
    )


def _lost(runs: list[Outcome]) -> str:
    text = spread([run.lost_s for run in runs])
    return f"{text}, all of it" if all(run.lost_s >= run.taken_s for run in runs) else text


def _goals(full: list[Outcome], killed: dict[str, list[Outcome]]) -> tuple[Goal, ...]:
    ours = [run.written_s for run in full if run.kind == OURS and run.written_s is not None]
    peer = [run.written_s for run in full if run.kind == PEER and run.written_s is not None]
    sooner = [median(peer) / each for each in ours] if peer and ours else [0.0]
    lost = [run.lost_s for runs in killed.values() for run in runs if run.kind == OURS]
    stopped = max(run.lost_s for run in full if run.kind == OURS)
    given = min(run.preevent_s for runs in (full, *killed.values()) for run in runs if run.kind == OURS)
    return (
        Goal(
            f"press to 30 s durable: sooner than {PEER}",
            f"{_GOAL_SOONER:.0f} times",
            f"{spread(sooner, 0)} times",
            median(sooner) >= _GOAL_SOONER,
        ),
        Goal("lost at a kill, most", f"at most {_MOST_S} s", f"{max(lost):.2f} s", max(lost) <= _MOST_S),
        Goal(
            "lost at a kill, mean",
            f"at most {_MEAN_S} s",
            f"{mean(lost):.2f} s",
            mean(lost) <= _MEAN_S,
        ),
        Goal("lost at a clean stop", "0", f"{stopped:.3f} s", stopped == 0),
        Goal("pre-event seconds delivered", "at least 30.0 s", f"{given:.2f} s", given >= 30),
    )


def _plot(full: list[Outcome]) -> Plot:
    bars = [Bar(run.kind, run.written_s) for run in full if run.written_s is not None]
    names = dict.fromkeys(bar.label for bar in bars)
    return Plot(
        "press-to-written",
        "Press to thirty seconds written (ours: durable and encrypted)",
        "seconds, logarithmic",
        tuple(Bar(name, median(bar.value for bar in bars if bar.label == name)) for name in names),
        logarithmic=True,
    )


def _kill_plot(kinds: list[str], killed: dict[str, list[Outcome]]) -> Plot:
    lost = {
        kind: [run.lost_s for runs in killed.values() for run in runs if run.kind == kind] for kind in kinds
    }
    bars = tuple(Bar(kind, median(each), min(each), max(each)) for kind, each in lost.items())
    return Plot("lost-at-kill", "Footage lost at kill -9, 20 s after the press", "seconds", bars)

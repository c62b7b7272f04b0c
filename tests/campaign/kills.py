"""The kill campaign: cameras that are killed at random instants, one after the other on the same vault.

Each camera of a chain first records a short clip, which shows that the vault left by the one killed before it
works; then it fills its ring, is pressed, and is killed.
"""

import enum
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from evidence.check import Finding, check_sealed_clip
from evidence.storage import CardBehaviour
from tests.campaign.camera import CameraSpec, Step
from tests.campaign.clipdata import ClipData, read_clip
from tests.campaign.judgement import (
    check_chain,
    check_lines,
    check_pictures,
    check_prft,
    check_start,
    clip_directories,
    preevent_bytes,
)
from tests.campaign.stage import Keys, Picture, write_config
from tests.campaign.tally import Tally, read_tally

__all__ = [
    "LOSS_LIMIT_NS",
    "ROOT",
    "SEED",
    "Group",
    "Kill",
    "Phase",
    "disk_rate",
    "run_campaign",
    "unattested_limit_ns",
]

ROOT = Path(__file__).parents[2]
SEED = 20261122
LOSS_LIMIT_NS = 1_000_000_000
_NS_PER_S = 1_000_000_000
_CHAIN_KILLS = 10
_PARALLEL = 2
_SHORT_WINDOW_S, _SHORT_SHARE = 10, 0.2  # so often the ring is not full yet; a long one costs too much to waste
_AIMS = ("flush", "live", "end")


class Phase(enum.StrEnum):
    """How far a clip had come when its camera was killed, as the disk and the camera's reports have it."""

    CLAIM = "claim"  # pressed, no clip yet
    FLUSH = "flush"  # the writer had not caught up with the ring
    LIVE = "live"
    STOP = "stop"  # stopped, no last line yet
    SEAL = "seal"  # last line there, no manifest yet
    SEALED = "sealed"


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Kills of one kind. `flush_s` is about how long the flush takes, so that kills fall into it."""

    mbit: str
    picture: Picture
    window_s: float
    card_bytes_per_s: int = 0
    flush_s: float
    kills: int
    loop_frames: int | None = None

    @property
    def name(self) -> str:
        """What the report calls it."""
        card = f"card of {self.card_bytes_per_s / 1e6:.0f} MB/s" if self.card_bytes_per_s else "disk"
        return f"{self.mbit} Mbit/s, {self.window_s:g} s, {card}"


def unattested_limit_ns(group: Group) -> int:
    """Return how much may lie behind the last sync point: a card's stall comes on top of what may be lost."""
    return LOSS_LIMIT_NS + (CardBehaviour().stall_ns if group.card_bytes_per_s else 0)


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """What one kill came to. Times in nanoseconds; `None` where there is nothing to measure.

    `lost_ns`: from the last picture that decodes to the last that the ring had (or the stop);
    `unattested_ns`: the same from the last sync point. `caught_up_ns`: from the press to the writer's having
    caught up; `preevent_bytes`: picture that the flush had to carry.
    """

    group: str
    phase: Phase
    caught_up: bool
    lost_ns: int | None
    unattested_ns: int | None
    caught_up_ns: int | None
    preevent_bytes: int
    frames: int
    lines: int
    prft_checked: int


class _Run(msgspec.Struct, frozen=True):
    """What is known of one camera process after its end."""

    tally: Tally
    events: tuple[dict[str, Any], ...]
    killed_ns: int

    def last(self, kind: str) -> dict[str, Any] | None:
        return next((event for event in reversed(self.events) if event["event"] == kind), None)


class _Chain:
    """Cameras killed on one vault."""

    def __init__(self, directory: Path, group: Group, keys: Keys, seed: int) -> None:
        self._directory = directory
        self._group = group
        self._keys = keys
        self._random = random.Random(seed)
        self._public_key = keys.signer.public_key
        self._identities = keys.identities
        directory.mkdir()
        self._config = write_config(directory, keys, group.picture, group.window_s)
        self._clips: dict[str, ClipData] = {}
        self._runs = 0

    def run(self, kills: int, first: int) -> list[Kill]:
        try:
            done = [self._kill(_AIMS[(first + index) % len(_AIMS)]) for index in range(kills)]
            self._survive()
        except Exception as error:
            error.add_note(f"{self._group.name}: run {self._runs} in {self._directory}")
            raise
        shutil.rmtree(self._directory)
        return done

    def _kill(self, aim: str) -> Kill:
        record_s = 0.8 + self._group.flush_s
        steps = [*self._opening(), *self._filling(), Step("tap")]
        if aim == "end":
            steps += [Step("wait", record_s), Step("hold")]
        run = self._camera([*steps, Step("hang")], "stop" if aim == "end" else "press", self._delay_s(aim))
        return self._judge(run)

    def _survive(self) -> None:
        """Let a last camera record, recover all that was killed, and end in good order."""
        self._judge_opening(self._camera([*self._opening(), Step("recovered")], None, 0.0))
        for clip in self._clips.values():
            report = check_sealed_clip(clip.directory, self._keys.roots)
            assert report.finding in {Finding.AUTHENTIC, Finding.INCOMPLETE}, report
            assert report.manifest is not None
            frames = clip.attested.frames if clip.attested else 0
            assert report.manifest.attested.frames == frames, "recovery attests something else"

    @staticmethod
    def _opening() -> list[Step]:
        return [Step("tap"), Step("wait", 0.4), Step("hold"), Step("sealed", 1)]

    def _filling(self) -> list[Step]:
        if self._group.window_s <= _SHORT_WINDOW_S and self._random.random() < _SHORT_SHARE:
            return [Step("wait", self._random.uniform(0, 0.5))]  # uptime shorter than the window
        return [Step("fill", self._group.window_s + 1 + self._random.uniform(0, 0.9))]

    def _delay_s(self, aim: str) -> float:
        flush_s = self._group.flush_s
        if aim == "flush":
            return self._random.uniform(0, flush_s)
        if aim == "live":
            return self._random.uniform(flush_s, flush_s + 2.5)
        return self._random.uniform(-0.1, 0.45)

    def _camera(self, steps: Sequence[Step], kill_after: str | None, delay_s: float) -> _Run:
        """Run a camera, and kill it so long after its second press or stop."""
        self._runs += 1
        tally, spec = self._directory / f"tally-{self._runs}", self._directory / f"spec-{self._runs}.json"
        facts = CameraSpec(
            config=str(self._config),
            tally=str(tally),
            steps=tuple(steps),
            noise=self._group.picture.noise,
            card_bytes_per_s=self._group.card_bytes_per_s,
        )
        spec.write_bytes(msgspec.json.encode(facts))
        command = [sys.executable, "-m", "tests.campaign.camera", str(spec)]
        errors = self._directory / f"errors-{self._runs}"
        with (
            errors.open("wb") as stderr,
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr) as process,
        ):
            try:
                events, killed_ns = _follow(process, kill_after, delay_s)
            finally:
                process.kill()
        if kill_after is None:
            assert process.returncode == 0, errors.read_text()
        return _Run(read_tally(tally), tuple(events), killed_ns)

    def _judge_opening(self, run: _Run) -> list[Path]:
        """Check the clip that the camera sealed first; return what else is new in the vault."""
        new = [path for path in clip_directories(self._directory / "vault") if path.name not in self._clips]
        assert new, "the first clip is missing"
        opening, rest = self._read(new[0]), new[1:]
        report = check_sealed_clip(opening.directory, self._keys.roots)
        assert report.finding is Finding.AUTHENTIC, report
        check_lines(opening)
        check_pictures(opening, run.tally, self._group.loop_frames)
        check_chain([*self._clips.values()])
        return rest

    def _judge(self, run: _Run) -> Kill:
        rest = self._judge_opening(run)
        assert len(rest) <= 1
        press = run.last("press")
        assert press is not None
        if not rest:
            return self._result(Phase.CLAIM, run, None)
        clip = self._read(rest[0])
        check_chain([*self._clips.values()])
        check_lines(clip)
        check_start(clip, run.tally, int(self._group.window_s * _NS_PER_S))
        check_pictures(clip, run.tally, self._group.loop_frames)
        if (clip.directory / "manifest.json").exists():
            report = check_sealed_clip(clip.directory, self._keys.roots)
            assert report.finding is Finding.AUTHENTIC, report
            phase = Phase.SEALED
        elif clip.ended:
            phase = Phase.SEAL
        elif self._stop_ns(run) is not None:
            phase = Phase.STOP
        else:
            phase = Phase.LIVE if _caught_up_ns(run, clip) is not None else Phase.FLUSH
        return self._result(phase, run, clip)

    def _result(self, phase: Phase, run: _Run, clip: ClipData | None) -> Kill:
        newest_ns = run.tally.newest_pts_ns
        assert newest_ns is not None
        stop_ns = self._stop_ns(run)
        until_ns = newest_ns if stop_ns is None else min(newest_ns, stop_ns)
        lost_ns = unattested_ns = caught_up_ns = None
        if clip is not None:
            first_ns = clip.start.first_pts_ns
            attested_ns = clip.attested.last_pts_ns if clip.attested else None
            caught_up_ns = _caught_up_ns(run, clip)
            if clip.samples:
                lost_ns = max(0, until_ns - first_ns - int(max(sample.pts_ns for sample in clip.samples)))
            if attested_ns is not None:
                unattested_ns = max(0, until_ns - attested_ns)
        kill = Kill(
            group=self._group.name,
            phase=phase,
            caught_up=caught_up_ns is not None,
            lost_ns=lost_ns,
            unattested_ns=unattested_ns,
            caught_up_ns=caught_up_ns,
            preevent_bytes=preevent_bytes(clip) if clip else 0,
            frames=len(clip.samples) if clip else 0,
            lines=len(clip.lines) + 1 if clip else 0,
            prft_checked=check_prft(clip) if clip else 0,
        )
        if kill.caught_up:
            assert kill.lost_ns is not None
            assert kill.lost_ns <= LOSS_LIMIT_NS, f"{kill.lost_ns / 1e9:.3f} s of footage are lost"
            assert kill.unattested_ns is not None
            limit_ns = unattested_limit_ns(self._group)
            assert kill.unattested_ns <= limit_ns, f"{kill.unattested_ns / 1e9:.3f} s are not attested"
        return kill

    def _stop_ns(self, run: _Run) -> int | None:
        """When the clip that was open at the kill had been stopped, `None` if it had not."""
        stops = [event["at_ns"] for event in run.events if event["event"] == "stop"]
        press = run.last("press")
        assert press is not None
        later = [at_ns for at_ns in stops if press["at_ns"] < at_ns <= run.killed_ns]
        return later[0] if later else None

    def _read(self, directory: Path) -> ClipData:
        clip = read_clip(directory, self._public_key, self._identities)
        # What later checks need of it is its line 0.
        self._clips[directory.name] = msgspec.structs.replace(clip, plaintext=b"", samples=(), prfts=())
        return clip


def run_campaign(groups: Sequence[Group], directory: Path, keys: Keys, seed: int = SEED) -> list[Kill]:
    """Run all groups, two cameras at a time, the longest first.

    Raises:
        AssertionError: a camera left what it must not; the directory of its chain is kept.
    """
    jobs = []
    for number, group in enumerate(groups):
        for first in range(0, group.kills, _CHAIN_KILLS):
            kills = min(_CHAIN_KILLS, group.kills - first)
            chain = _Chain(directory / f"chain-{number}-{first}", group, keys, seed + 1000 * number + first)
            jobs.append((group.window_s * kills, chain, kills, first))
    jobs.sort(key=lambda job: -job[0])
    with ThreadPoolExecutor(_PARALLEL) as pool:
        futures = [pool.submit(chain.run, kills, first) for _, chain, kills, first in jobs]
        try:
            return [kill for future in futures for kill in future.result()]
        finally:
            pool.shutdown(cancel_futures=True)


def disk_rate(directory: Path) -> float:
    """Measure how fast the disk takes 32 MiB in synced pieces of 1 MiB, bytes a second."""
    path, piece = directory / "rate", os.urandom(1 << 20)
    begin = time.monotonic()
    with path.open("wb", buffering=0) as file:
        for _ in range(32):
            file.write(piece)
            os.fdatasync(file.fileno())
    seconds = time.monotonic() - begin
    path.unlink()
    return 32 * len(piece) / seconds


def _follow(
    process: subprocess.Popen[bytes], kill_after: str | None, delay_s: float
) -> tuple[list[dict[str, Any]], int]:
    """Read reports, and kill so long after the second one of a kind; all reports, and when it was killed."""
    assert process.stdout is not None
    events: list[dict[str, Any]] = []
    wanted = 2
    for line in process.stdout:
        event = msgspec.json.decode(line)
        events.append(event)
        wanted -= event["event"] == kill_after
        if not wanted:
            break
    else:
        assert kill_after is None, "the camera ended by itself"
        return events, time.monotonic_ns()
    time.sleep(max(0.0, delay_s + (events[-1]["at_ns"] - time.monotonic_ns()) / _NS_PER_S))
    killed_ns = time.monotonic_ns()
    process.kill()
    process.wait()
    return events + [msgspec.json.decode(line) for line in process.stdout], killed_ns


def _caught_up_ns(run: _Run, clip: ClipData) -> int | None:
    """From the edge to the writer's report that it had caught up, if it had come by the kill."""
    for event in run.events:
        if event["event"] == "progress" and event["clip"] == clip.start.clip and event["caught_up"]:
            return int(event["at_ns"]) - clip.start.trigger.edge_ns
    return None

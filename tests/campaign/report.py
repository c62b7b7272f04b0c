"""The kill campaign's report: what was lost, at which bit rate, in which phase."""

import os
import platform
import shutil
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.campaign.kills import ROOT, SEED, Group, Kill, Phase, disk_rate

__all__ = ["build", "caught_up_goal_s", "machine", "table", "write_report"]

_GOAL_SHARE = 0.8
_GOAL_MARGIN_S = 1.0
_GROUP = "bit rate, window, storage"
_LOSSES = (
    _GROUP,
    "kills",
    "after catching up",
    "lost, median",
    "p99",
    "worst",
    "not attested, median",
    "p99",
    "worst",
)
_CATCHES = (
    _GROUP,
    "pre-event MiB, median",
    "caught up after, median",
    "worst",
    "goal of the worst",
    "over the goal",
)

_TEXT = """\
# Kill campaign

The camera's firmware ran in processes of its own and was killed with SIGKILL at seeded random instants: during
the flush of the pre-event seconds, while live, while stopping, and while sealing. After each kill, what lay on
disk was checked without the writer's help, and the next camera started on the same vault.

- Command: `make long` (`pytest -m long tests/campaign`); seed {seed}
- Build: {build}
- Machine: {machine}; disk {disk:.0f} MB/s in synced pieces of 1 MiB
- A *card* is simulated: syncs as slow as its rate, and every 8th 200 ms more
- Kills: {kills}, of them {flush} before the writer had caught up with the ring

Checked after every kill, without exception: each line of the journal is signed and chained (a torn last line is
allowed), its byte counts and interval digests are those of the file; every chunk up to the last sync point
authenticates and holds as many frames as the line says; all pictures that are there decode, are the ones that
the camera handed to the ring (times, and the numbers drawn into them), and have no hole from the keyframe that
the press asked for on; `prft` stamps before the press differ by the media time within 1 ms ({prft} differences)
and lie before the press; the next camera takes the next number, names the right predecessor, and records a
clip that `evidence.check` finds authentic. The last camera of each vault recovers all that were killed; they
then pass the same check, complete or not, and attest the same frames.

## Footage lost

Seconds from the last picture that decodes to the last that the ring had (or to the stop), for kills after the
writer had caught up. *Not attested* counts from the last sync point, where what a power cut leaves for certain
ends. Limit: 1.0 s; what is not attested, on the card, 0.2 s more for its stall.

{losses}

## Where they were killed

{places}

`claim`: pressed, no clip yet. `flush`: not caught up yet. `stop`: stopped, no last line.
`seal`: last line, no manifest.

## From the press to caught up

Goal: bytes in the ring / (0.8 of the sequential rate) + 1 s.

{catches}
"""


def caught_up_goal_s(kill: Kill, rate_bytes_per_s: float) -> float:
    """Return within how many seconds the writer should have caught up."""
    return kill.preevent_bytes / (_GOAL_SHARE * rate_bytes_per_s) + _GOAL_MARGIN_S


def write_report(path: Path, groups: Sequence[Group], kills: Sequence[Kill], scratch: Path) -> None:
    """Write the report."""
    disk = disk_rate(scratch)
    of = {group.name: [kill for kill in kills if kill.group == group.name] for group in groups}
    whole = {**of, "all": list(kills)}
    rates = {group.name: group.card_bytes_per_s or disk for group in groups}
    text = _TEXT.format(
        seed=SEED,
        build=build(),
        machine=machine(),
        disk=disk / 1e6,
        kills=len(kills),
        flush=sum(kill.phase is Phase.FLUSH for kill in kills),
        prft=sum(kill.prft_checked for kill in kills),
        losses=table(_LOSSES, (_losses(name, some) for name, some in whole.items())),
        places=table((_GROUP, *Phase), (_places(name, some) for name, some in whole.items())),
        catches=table(_CATCHES, (_catches(name, some, rates[name]) for name, some in of.items())),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _losses(name: str, kills: Sequence[Kill]) -> list[str]:
    live = [kill for kill in kills if kill.caught_up]
    lost = [kill.lost_ns for kill in live if kill.lost_ns is not None]
    attested = [kill.unattested_ns for kill in live if kill.unattested_ns is not None]
    return [name, str(len(kills)), str(len(live)), *_spread(lost), *_spread(attested)]


def _spread(values_ns: Sequence[int]) -> list[str]:
    """Median, p99 (nearest rank) and worst, in seconds."""
    if not values_ns:
        return ["none"] * 3
    ordered = sorted(values_ns)
    p99 = ordered[-(-len(ordered) * 99 // 100) - 1]
    return [f"{value / 1e9:.3f}" for value in (statistics.median(ordered), p99, ordered[-1])]


def _places(name: str, kills: Sequence[Kill]) -> list[str]:
    count = Counter(kill.phase for kill in kills)
    return [name, *(str(count[phase]) for phase in Phase)]


def _catches(name: str, kills: Sequence[Kill], rate: float) -> list[str]:
    caught = [(kill.caught_up_ns / 1e9, kill) for kill in kills if kill.caught_up_ns is not None]
    if not caught:
        return [name, *["none"] * 5]
    worst_s, worst = max(caught, key=lambda pair: pair[0])
    over = sum(seconds > caught_up_goal_s(kill, rate) for seconds, kill in caught)
    mib = statistics.median(kill.preevent_bytes for _, kill in caught) / (1 << 20)
    median_s = statistics.median(seconds for seconds, _ in caught)
    times = (f"{seconds:.3f} s" for seconds in (median_s, worst_s, caught_up_goal_s(worst, rate)))
    return [name, f"{mib:.2f}", *times, f"{over} of {len(caught)}"]


def build() -> str:
    """Name the build by its commit."""
    git = shutil.which("git")
    if git is None:
        return "unknown (no git)"
    found = subprocess.run(
        [git, "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def machine() -> str:
    """Describe the machine."""
    kernel = platform.release().split("-")[0]
    python = platform.python_version()
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {kernel}, Python {python}"

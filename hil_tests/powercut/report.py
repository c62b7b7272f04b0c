"""The report of the power cuts: what was lost, where the cuts fell, what was never broken."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from hil_tests.powercut.results import Aim, ChainResult, Cut, Phase, Way
from hil_tests.powercut.samples import kolmogorov_smirnov
from tests.campaign.report import machine, table

__all__ = ["LOSS_LIMIT_NS", "STARVED_NS", "write_report"]

LOSS_LIMIT_NS = 1_000_000_000
STARVED_NS = 200_000_000
"""A board whose frames come later than this had no processor: what it loses says nothing about the firmware."""
_PLAIN = "SIGKILL, boards that never stood still"

_TEXT = """\
# Power cuts

A virtual board, a user-mode Linux kernel with a real file system on its card, ran `preroll device run` and had
its power cut at seeded random instants, in two ways:

- **{kill}**: to the kernel and all that belongs to it at once, so that its page cache is gone. It booted
  again on the same card, the vault was copied as the file system's journal left it, and the firmware went on:
  it recovered, was pressed, and was cut again.
- **{copy}**: the kernel's processes were stopped (SIGSTOP), the card's image copied, and they went
  on. All that a board loses with its power is in those processes' memory: page cache, queues of the
  device-mapper, what the programs hold. So the copy is the card as SIGKILL at that instant leaves it, but for
  one thing: a write that is under way when the signal comes ends whole before the stop, where SIGKILL may end
  it between two pages. Each copy was put into a second board: mounted by its kernel, the vault copied, the
  firmware run until it had recovered all, every clip verified, the card taken out and its file system checked.
  Of these recoveries some were copied in turn, and those recovered. The second board stays on from card to
  card; the firmware is forked from a process that has loaded it, which is what makes a copy cheap.

That both ways are one is tested (`pytest hil_tests/powercut -k copy`: a copy is the image of a board that is
killed while it stands still, byte for byte, and a board that was stopped goes on) and compared below.

Instants are random within the part of a life that they are meant for. Parts that are short are met by steps of
storage, named before they happen: the seal, receipt, release and deletion of a copied life rest for 0.1 s at a
few steps drawn from all, and are copied there.

- Command: `make powercut-long`, which goes on where its results end; seed {seed}. (`python -m
  hil_tests.powercut` says how to run it in pieces and to add results of other runs.)
- Build: {build}
- Machine: {machine}; cards in memory{plain_cards}
- Cuts: {cuts} in {chains} chains, {kills} by SIGKILL and {copies} by copy; {pressed} with a clip open or just
  sealed; {starved_cuts} on boards short of processor (below)
- Of a board, a cut took {seconds:.1f} s in chains with copies{plain_seconds}
- A board stood still for {stop_median:.1f} ms at the median, {stop_worst:.0f} ms at most
- Clips of chains: {clips}, sealed in the end {sealed}, delivered to a dock {delivered}
- Faults: {faults}

Checked after every cut: no clip that was there before is lost, unless a dock has a good copy and gave a
receipt; no sealed manifest has changed; numbers have no gap and each line 0 names its predecessor; every line
of the journal is signed, chained, and agrees with the bytes; all pictures that are there decode, are those that
the encoder handed over (time, and the number drawn into each), and are contiguous from the clip's first frame,
also in cuts during the flush; no receipt without a copy in the store that verifies, which for a copied card was
there at its instant. Recovery (of each copied card, and at the end of each chain) seals everything, attests
what was attested before, and the file system's own checker finds nothing. On a card with 0 bytes free recovery
may find no room: then nothing is lost, and it seals once there is some.

The frames that the encoder handed to its output are noted outside the board, each before anything else is done
with it.

## Seconds lost

From the last picture that decodes to the last frame that the encoder had handed to its output (or to the stop),
for cuts after the writer had caught up with the ring. *Not attested* counts from the last sync point. Target:
worst at most 1.0 s.

{losses}

{bound}

*Late syncs*: writes to the card take 20 ms and flushes 60 ms more (dm-delay), so that cuts fall between the two
syncs of a sync point; what was on its way is gone. *Short of processor*: cuts of boards whose frames came more
than {starved:.1f} s late in the last second; they are in no other row.

## One way against the other

Seconds lost in cuts that were meant for the live part and fell there, boards short of processor left out:

{ways}

{compared}

## During the flush

Before the writer has caught up with the ring, the bound does not hold yet: {flush} cuts fell there. What was
kept was contiguous from the clip's first frame in each of them; it was nothing in {nothing} of them, and
{kept:.2f} s at the median.

## Where the cuts fell

{places}

`start`: the firmware had not got to its vault. `recovery`: clips of earlier cuts were not all sealed yet.
`press`: pressed, no clip yet (on a full card: none to come). `stop`: stopped, no last line. `seal`: last line,
no manifest. `offload` to `deletion`: by the last step of storage that had begun.

## Lost flushes and wrong orders

A cut takes the page cache; what was handed to the card without a flush survives in the host's cache. So the
card's write log (dm-log-writes) of a whole life, from recovery of a clip that was cut to the seal of the next,
is replayed to flush boundaries and to states in which unflushed writes are lost, each for itself, or torn. In
each state e2fsck replays the journal and finds nothing else, all that holds after a cut holds, what the
firmware had synced is there (it marks the log after each sync), and recovery seals everything. Short form:
`make powercut`; 100 states at each bit rate: `pytest -m long hil_tests/powercut -k write_log`.
`hil_tests/mutations` shows that a missing fdatasync and a wrong order of syncs are noticed.

## A press that no log has

Chain 9 of an earlier run (late syncs at 10 Mbit/s) ended before its first cut: no clip came of its press. The
event log on its card has no press of any outcome, so no edge had reached the firmware; writer and dm-delay had
nothing to do. Two causes of that have been found since. lgpio, through which the firmware then took its edges,
could be deaf to a line from its claim on (docs/controls.md). And of a press between two ticks of its kernel a
virtual board tells the opening alone, which the firmware now takes for a press; a board that is short of
processor, or stands still for a copy, has its ticks 0.1 s apart and more. The button is held until frames show
ticks. A time-out among the faults above with no press in the log of its card, of a build before 7d2b528, is of
one of these kinds.

## What this does not show

The card is a file on the host: how a real card behaves while its supply falls is for a real bench. Deliveries
to the dock use clips of 0.2 Mbit/s, because the board's console line to the host stalls on larger ones. A board
whose card was copied has stood still for some milliseconds each time; that shows as frames that came late.
"""


def write_report(path: Path, results: Sequence[ChainResult]) -> None:
    """Write the report of all chains."""
    cuts = [cut for result in results for cut in result.cuts]
    flush = [cut for cut in cuts if cut.phase is Phase.FLUSH]
    frames = [cut.frames / 30 for cut in flush]
    stops_ms = [cut.stop_ns / 1e6 for cut in cuts if cut.way is Way.COPY]
    faults = [
        f"chain {result.plan.number} ({result.plan.group}): {result.fault.splitlines()[0][:100]}"
        for result in results
        if result.fault
    ]
    text = _TEXT.format(
        seed=results[0].plan.seed // 10_000 if results else "none",
        build=_builds(results, copies=True) + _builds(results, copies=False),
        machine=machine(),
        kill=Way.KILL,
        copy=Way.COPY[0].upper() + Way.COPY[1:],
        cuts=len(cuts),
        kills=sum(cut.way is Way.KILL for cut in cuts),
        copies=len(stops_ms),
        stop_median=statistics.median(stops_ms) if stops_ms else 0,
        stop_worst=max(stops_ms, default=0),
        ways=table(_WAY_HEAD, _way_rows(results)),
        compared=_compared(results),
        chains=len(results),
        seconds=_seconds([result for result in results if result.plan.copies]),
        **_of_plain([result for result in results if not result.plan.copies]),
        starved_cuts=sum(cut.late_ns >= STARVED_NS for cut in cuts),
        pressed=sum(cut.lines > 0 for cut in cuts),
        clips=sum(result.clips for result in results),
        sealed=sum(result.sealed for result in results if not result.fault),
        delivered=sum(result.delivered for result in results),
        faults="; ".join(faults) or "none",
        losses=table(_LOSS_HEAD, _loss_rows(results)),
        bound=_bound(cuts),
        starved=STARVED_NS / 1e9,
        flush=len(flush),
        nothing=sum(not cut.frames for cut in flush),
        kept=statistics.median(frames) if frames else 0,
        places=table(("cuts on", *Phase), _place_rows(results)),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _of_plain(results: Sequence[ChainResult]) -> dict[str, str]:
    """Return what the head says of chains whose boards never stood still; nothing where there are none."""
    if not results:
        return {"plain_cards": "", "plain_seconds": ""}
    return {
        "plain_cards": ", of boards that never stood still on disk",
        "plain_seconds": f", {_seconds(results):.1f} s in those without",
    }


def _builds(results: Sequence[ChainResult], *, copies: bool) -> str:
    names = dict.fromkeys(result.build for result in results if result.plan.copies is copies)
    if copies or not names:
        return ", ".join(names)
    return f"; boards that never stood still, an earlier run: {', '.join(names)}"


def _seconds(results: Sequence[ChainResult]) -> float:
    return sum(result.seconds for result in results) / max(1, sum(len(result.cuts) for result in results))


_LOSS_HEAD = (
    "bit rate, card",
    "cuts",
    "after catching up",
    *("lost, median", "p99", "worst"),
    *("not attested, median", "p99", "worst"),
)


def _groups(results: Sequence[ChainResult]) -> dict[str, list[Cut]]:
    names = sorted({result.plan.group for result in results}, key=lambda name: (float(name.split()[0]), name))
    return {name: [cut for each in results if each.plan.group == name for cut in each.cuts] for name in names}


def _loss_rows(results: Sequence[ChainResult]) -> Iterable[list[str]]:
    whole = [cut for result in results for cut in result.cuts]
    for name, cuts in {**_groups(results), "all": whole}.items():
        yield _losses(name, [cut for cut in cuts if cut.late_ns < STARVED_NS])
    yield _losses("short of processor", [cut for cut in whole if cut.late_ns >= STARVED_NS])


def _losses(name: str, cuts: Sequence[Cut]) -> list[str]:
    live = [cut for cut in cuts if cut.caught_up]
    lost = [cut.lost_ns for cut in live if cut.lost_ns is not None]
    unattested = [cut.unattested_ns for cut in live if cut.unattested_ns is not None]
    return [name, str(len(cuts)), str(len(live)), *_spread(lost), *_spread(unattested)]


def _spread(values_ns: Sequence[int]) -> list[str]:
    """Median, p99 (nearest rank) and worst, in seconds."""
    if not values_ns:
        return ["none"] * 3
    ordered = sorted(values_ns)
    p99 = ordered[-(-len(ordered) * 99 // 100) - 1]
    return [f"{value / 1e9:.3f}" for value in (statistics.median(ordered), p99, ordered[-1])]


_WAY_HEAD = ("way", "cuts", "lost, median", "p99", "worst", "not attested, median", "p99", "worst")


def _live(results: Sequence[ChainResult]) -> dict[str, list[Cut]]:
    """Return comparable cuts by their way; boards that never stood still are a way of their own."""
    found: dict[str, list[Cut]] = {name: [] for name in (str(Way.COPY), str(Way.KILL), _PLAIN)}
    for result in results:
        for cut in result.cuts:
            if (cut.aim, cut.phase) == (Aim.LIVE, Phase.LIVE) and cut.caught_up and cut.late_ns < STARVED_NS:
                found[str(cut.way) if result.plan.copies else _PLAIN].append(cut)
    return found


def _way_rows(results: Sequence[ChainResult]) -> Iterable[list[str]]:
    for name, cuts in _live(results).items():
        if name == _PLAIN and not cuts:
            continue
        _, count, _, *spreads = _losses(name, cuts)
        yield [name, count, *spreads]


def _compared(results: Sequence[ChainResult]) -> str:
    """Say whether the ways differ, by Kolmogorov and Smirnov's test of two samples."""
    found = _live(results)
    copies, kills = (
        [cut.lost_ns for cut in cuts if cut.lost_ns is not None]
        for cuts in (found[Way.COPY], found[Way.KILL] + found[_PLAIN])
    )
    if not copies or not kills:
        return "There are not enough of them to compare."
    distance, chance = kolmogorov_smirnov(copies, kills)
    return (
        f"Copies against kills, all of them: the distance of Kolmogorov and Smirnov is {distance:.3f};\n"
        f"two samples of one distribution are as far apart or farther with a probability of {chance:.2f}\n"
        "(asymptotic; cuts of one life are not independent)."
    )


def _bound(cuts: Sequence[Cut]) -> str:
    lost = [
        cut.lost_ns for cut in cuts if cut.caught_up and cut.late_ns < STARVED_NS and cut.lost_ns is not None
    ]
    over = sum(value > LOSS_LIMIT_NS for value in lost)
    if over:
        return f"The target was missed in {over} of {len(lost)} cuts."
    return f"The target was reached in all {len(lost)} of these cuts."


def _place_rows(results: Sequence[ChainResult]) -> Iterable[list[str]]:
    whole = [cut for result in results for cut in result.cuts]
    for name, cuts in {**_groups(results), "all": whole}.items():
        count = Counter(cut.phase for cut in cuts)
        yield [name, *(str(count[phase]) for phase in Phase)]

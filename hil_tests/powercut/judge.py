"""Whether what a cut left on the card is what the camera promises; what was lost, and where the cut fell."""

import copy
import hashlib
from pathlib import Path

import msgspec

from evidence.attestations import read_tombstone
from evidence.check import check_sealed_clip
from evidence.documents import ClipEnd
from evidence.findings import Finding
from evidence.roles import Role
from evidence.steps import RECEIPT_STEPS, RELEASE_STEPS
from hil_tests.powercut.record import Kind, Record
from hil_tests.powercut.results import Aim, Cut, Phase, Way
from hil_tests.powercut.stage import LOOP_FRAMES, Stage
from tests.campaign.clipdata import ClipData, read_clip
from tests.campaign.judgement import check_chain, check_lines, check_pictures, check_start, clip_directories
from tests.campaign.tally import OfferedFrame, Tally

__all__ = ["Judge", "Left", "manifest_of", "tally_of"]

_NS_PER_S = 1_000_000_000
_GOOD = {Finding.AUTHENTIC, Finding.INCOMPLETE}
_RELEASE_NAMES = frozenset(RELEASE_STEPS)
_RECEIPT_NAMES = frozenset(RECEIPT_STEPS)
_GOING = RELEASE_STEPS.index("rename clip")
_DELETION_NAMES = frozenset(RELEASE_STEPS[_GOING:])


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """A vault as it lay on the card after a cut, and what was known on the host; times on the board's clock.

    `pressed_ns`, `stopped_ns`: when the button went down, and when it had been held long enough to stop, 0 if
    it had not. `stored` names the clips that the dock's store had at that instant, if that is not now.
    """

    vault: Path
    record: Record
    aim: Aim
    pressed_ns: int = 0
    stopped_ns: int = 0
    stored: frozenset[str] | None = None
    way: Way = Way.KILL
    stop_ns: int = 0


class _Known(msgspec.Struct, kw_only=True):
    """A clip that was there after an earlier cut."""

    clip: ClipData
    frames: int
    manifest: str = ""


class Judge:
    """Holds every cut of a chain against the promises, and remembers what must not be lost.

    `store` is the dock's, on a machine whose power was not cut.
    """

    def __init__(self, stage: Stage, window_s: float, store: Path | None = None) -> None:
        agency = stage.agency
        self._public_key = agency.signer("camera", Role.CAMERA_EVIDENCE).public_key
        self._identities = stage.identities
        self._roots = agency.roots
        self._window_ns = int(window_s * _NS_PER_S)
        self._store = store
        self._stored: frozenset[str] | None = None
        self._clips: dict[str, _Known] = {}
        self.sealed: set[str] = set()
        self.delivered: set[str] = set()

    def branch(self) -> "Judge":
        """Return a judge that knows what this one does, for a copy of the card that goes its own way."""
        branched = copy.copy(self)
        branched.__dict__["_clips"] = {name: copy.copy(known) for name, known in self._clips.items()}
        branched.sealed, branched.delivered = set(self.sealed), set(self.delivered)
        return branched

    @property
    def settled(self) -> list[str]:
        """Names of clips that were sealed at an earlier cut: their bytes are looked at again at the end."""
        return [name for name, known in self._clips.items() if known.manifest]

    @property
    def known(self) -> list[str]:
        """Names of the clips seen so far."""
        return list(self._clips)

    def cut(self, left: Left) -> Cut:
        """Judge one cut.

        Raises:
            AssertionError: a promise is broken.
            EvidenceError: something is not what the camera signed.
        """
        self._stored = left.stored
        return msgspec.structs.replace(self._cut(left), way=left.way, stop_ns=left.stop_ns)

    def kept(self, vault: Path) -> None:
        """See that nothing is lost on a card on which recovery may have found no room.

        Raises:
            AssertionError: something is.
        """
        self._check_kept(vault, {path.name: path for path in _clips(vault)})

    def _cut(self, left: Left) -> Cut:
        found = {path.name: path for path in _clips(left.vault)}
        self._check_kept(left.vault, found)
        new = [path for name, path in found.items() if name not in self._clips] + self._gone(left.vault, found)
        assert len(new) <= 1, f"{len(new)} clips of one press"
        if not new:
            return self._without_clip(left, found)
        assert left.pressed_ns, f"{new[0].name}: a clip that nobody asked for"
        clip = read_clip(new[0], self._public_key, self._identities)
        tally = tally_of(left.record)
        check_lines(clip)
        check_start(clip, tally, self._window_ns)
        check_pictures(clip, tally, LOOP_FRAMES)
        if manifest_of(new[0]):
            self.sealed.add(new[0].name)
            report = check_sealed_clip(new[0], self._roots)
            assert report.finding is Finding.AUTHENTIC, report
            assert clip.ended, "sealed in its own boot, and not ended"
        frames = clip.attested.frames if clip.attested else 0
        kept = msgspec.structs.replace(clip, plaintext=b"", samples=(), prfts=())
        self._clips[clip.directory.name] = _Known(clip=kept, frames=frames)
        self._check_kept(left.vault, found)
        check_chain([known.clip for known in self._clips.values()])
        return self._with_clip(left, clip, tally)

    def end(self, vault: Path) -> None:
        """Judge the card after a start has recovered all: whole clips, all sealed, no number missing.

        Raises:
            AssertionError: a promise is broken.
        """
        found = {path.name: path for path in _clips(vault)}
        self._check_kept(vault, found)
        for name, known in self._clips.items():
            if name not in found:
                continue
            report = check_sealed_clip(found[name], self._roots)
            assert report.finding in _GOOD, report
            assert report.manifest is not None
            assert report.manifest.attested.frames == known.frames, "recovery attests something else"
            self.sealed.add(name)

    def _check_kept(self, vault: Path, found: dict[str, Path]) -> None:
        """See that no clip is lost, no sealed one has changed, and the store has what has a receipt."""
        for name, known in self._clips.items():
            stone = vault / "tombstones" / name
            if name not in found:
                assert stone.is_dir(), f"{name} is lost"
                read_tombstone(stone, self._roots)
                self._check_copy(name)
                continue
            if (found[name] / "receipt.json").exists():
                self._check_copy(name)
            manifest = manifest_of(found[name])
            assert not known.manifest or manifest == known.manifest, f"{name}: the sealed manifest has changed"
            known.manifest = manifest
            if manifest:
                self.sealed.add(name)

    def _gone(self, vault: Path, found: dict[str, Path]) -> list[Path]:
        """Return the store's copies of clips that came and went between two cuts."""
        stones = [path.name for path in (vault / "tombstones").glob("[!.]*")]
        names = [name for name in stones if name not in self._clips and name not in found]
        for name in names:
            self._check_copy(name)
        assert not names or self._store is not None
        return [path for name in names for path in (self._store or vault).glob(f"clips/*/{name}")]

    def _check_copy(self, name: str) -> None:
        assert self._store is not None, f"{name}: a receipt, and no dock was there"
        if name in self.delivered:
            return
        assert self._stored is None or name in self._stored, f"{name}: a receipt before the store had its copy"
        places = list((self._store / "clips").glob(f"*/{name}"))
        assert len(places) == 1, f"{name} has a receipt, and the store {len(places)} copies"
        report = check_sealed_clip(places[0], self._roots)
        assert report.finding in _GOOD, report
        self.delivered.add(name)

    def _without_clip(self, left: Left, found: dict[str, Path]) -> Cut:
        if left.pressed_ns:
            phase = Phase.PRESS
        elif not any(left.record.of(Kind.RECOVERY)):
            phase = Phase.START
        elif any(not manifest_of(path) for path in found.values()):
            phase = Phase.RECOVERY
        else:
            phase = Phase.IDLE
        return Cut(aim=left.aim, phase=phase, late_ns=_late_ns(left.record))

    def _with_clip(self, left: Left, clip: ClipData, tally: Tally) -> Cut:
        newest_ns = tally.newest_pts_ns
        assert newest_ns is not None
        stopped = bool(left.stopped_ns) and newest_ns > left.stopped_ns
        until_ns = left.stopped_ns if stopped else newest_ns
        if isinstance(clip.attested, ClipEnd):  # stopped by the hand, or by a card that was full
            until_ns = min(newest_ns, clip.attested.stop_ns)
        caught_up = any(
            event.flag and event.clip == clip.directory.name for event in left.record.of(Kind.PROGRESS)
        )
        lost_ns = unattested_ns = None
        if clip.samples:
            last_ns = clip.start.first_pts_ns + int(max(sample.pts_ns for sample in clip.samples))
            lost_ns = max(0, until_ns - last_ns)
        if clip.attested and clip.attested.last_pts_ns is not None:
            unattested_ns = max(0, until_ns - clip.attested.last_pts_ns)
        if manifest_of(clip.directory):
            phase = _delivering(left.record) if self._store else Phase.SEALED
        elif clip.ended:
            phase = Phase.SEAL
        elif stopped:
            phase = Phase.STOP
        else:
            phase = Phase.LIVE if caught_up else Phase.FLUSH
        return Cut(
            aim=left.aim,
            phase=phase,
            caught_up=caught_up,
            lost_ns=lost_ns,
            unattested_ns=unattested_ns,
            frames=len(clip.samples),
            lines=len(clip.lines) + 1,
            late_ns=_late_ns(left.record),
        )


def _clips(vault: Path) -> list[Path]:
    return clip_directories(vault) if (vault / "clips").is_dir() else []


def manifest_of(clip: Path) -> str:
    """Return the digest of a sealed clip's manifest, or nothing."""
    path = clip / "manifest.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def tally_of(record: Record) -> Tally:
    offered = tuple(OfferedFrame(event.at_ns, event.flag) for event in record.of(Kind.FRAME))
    return Tally(offered, len(offered))


def _late_ns(record: Record) -> int:
    frames = list(record.of(Kind.FRAME))
    return max((event.late_ns for event in frames if event.at_ns > frames[-1].at_ns - _NS_PER_S), default=0)


def _delivering(record: Record) -> Phase:
    """Return how far the delivery had come, by the last step of storage that belongs to it."""
    phase = Phase.OFFLOAD
    ended = False
    for event in record.events:
        ended = ended or event.kind is Kind.ENDED
        if event.kind is not Kind.STEP or not ended:
            continue
        if event.detail in _RECEIPT_NAMES and "receipt" in event.detail:
            phase = Phase.RECEIPT
        elif event.detail in {"make-directory tombstone", "rename tombstone", "sync-directory tombstone"}:
            phase = Phase.RELEASE
        elif event.detail == "rename clip" or event.detail.startswith("remove "):
            phase = Phase.DELETION
    return phase

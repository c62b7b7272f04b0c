"""Judges cards as the write log leaves them: file system, vault, clips; then recovery, and everything again.

No board is needed: e2fsck replays the file system's journal as a mount does, debugfs reads the files, and the
firmware's own recovery runs on them in this process.
"""

import shutil
import subprocess
from concurrent.futures import Future
from pathlib import Path

import msgspec

from device.vault.layout import is_blank, open_layout
from device.vault.recovery import VaultRecovery
from evidence.check import check_sealed_clip
from evidence.documents import LogHead
from evidence.findings import Finding
from evidence.roles import Role
from hil_tests.board.card import find_tool, sparse_copy
from hil_tests.board.protocol import BoardError
from hil_tests.powercut.judge import manifest_of, tally_of
from hil_tests.powercut.record import Record
from hil_tests.powercut.stage import LOOP_FRAMES, VAULT, Stage
from hil_tests.powercut.writelog import Entry, Replay, State, WriteLog
from tests.campaign.clipdata import ClipData, read_clip
from tests.campaign.judgement import check_chain, check_lines, check_pictures, clip_directories
from tests.device.vault_recovery.rig import DEVICE

__all__ = ["Logged", "StateJudge"]

_PATIENCE_S = 60.0
_PREFIX = f"{VAULT}/"


class Logged(msgspec.Struct, frozen=True):
    """A camera's life in a write log: the card before it, the log, and the records of the boots, oldest first.

    `mbit` is the bit rate of its footage.
    """

    base: Path
    log: Path
    records: tuple[Record, ...]
    mbit: str


class StateJudge:
    """Goes through the states of one log in order; what was durable once must be there ever after."""

    def __init__(self, stage: Stage, logged: Logged, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._log = WriteLog(logged.log)
        self._image = directory / "card.img"
        sparse_copy(logged.base, self._image)
        self._replay = Replay(self._log, self._image)
        agency = stage.agency
        self._signer = agency.signer("camera", Role.CAMERA_EVIDENCE)
        self._roots, self._identities = agency.roots, stage.identities
        self._tallies = [tally_of(record) for record in logged.records]
        self._clips: set[str] = set()
        self._manifests: dict[str, str] = {}

    @property
    def log(self) -> WriteLog:
        """The log itself."""
        return self._log

    def judge(self, state: State) -> int:
        """Judge one state; returns how many clips it held.

        Raises:
            AssertionError: a promise is broken.
            EvidenceError: something is not what the camera signed.
        """
        try:
            return self._judge(state)
        except Exception as error:
            error.add_note(f"{state} of {len(self._log.entries)} entries, in {self._directory}")
            raise

    def _judge(self, state: State) -> int:
        self._replay.advance(state.index)
        card = self._directory / "state.img"
        sparse_copy(self._image, card)
        self._replay.apply_kept(card, state)
        vault = _extract(card, self._directory / "state")
        durable = self._log.entries[: state.index]
        _check_durable(vault, durable)
        if is_blank(vault):
            return 0
        clips = [self._read(path) for path in clip_directories(vault)]
        check_chain(clips)
        self._check_kept(vault, clips, certain=not state.kept)
        for name in (entry.mark.partition(":")[2] for entry in durable if entry.mark.startswith("sealed:")):
            report = check_sealed_clip(vault / "clips" / name, self._roots)
            assert report.finding is Finding.AUTHENTIC, report
        self._recover(vault, clips)
        card.unlink()
        return len(clips)

    def _read(self, directory: Path) -> ClipData:
        clip = read_clip(directory, self._signer.public_key, self._identities)
        check_lines(clip)
        first_ns = clip.start.first_pts_ns
        tally = next(each for each in self._tallies if any(f.pts_ns == first_ns for f in each.offered))
        check_pictures(clip, tally, LOOP_FRAMES)
        return clip

    def _check_kept(self, vault: Path, clips: list[ClipData], *, certain: bool) -> None:
        """Hold the state against earlier ones; only what a flush made certain counts for later ones."""
        names = {clip.directory.name for clip in clips}
        assert names >= self._clips, f"lost: {self._clips - names}"
        found = {name: manifest_of(vault / "clips" / name) for name in names}
        for name, manifest in self._manifests.items():
            assert found[name] == manifest, f"{name}: the sealed manifest is gone, or another"
        if certain:
            self._clips |= names
            self._manifests |= {name: manifest for name, manifest in found.items() if manifest}

    def _recover(self, vault: Path, clips: list[ClipData]) -> None:
        layout = open_layout(vault, DEVICE)
        started: Future[LogHead] = Future()
        started.set_result(LogHead(index=0, sha256="0" * 64))
        recovery = VaultRecovery(layout, self._signer, lambda *_args, **_kwargs: started)
        recovery.start(started)
        assert recovery.join(_PATIENCE_S)
        layout.close()
        assert not recovery.report.tampered, recovery.report
        assert not recovery.report.failed, recovery.report
        for clip in clips:
            report = check_sealed_clip(clip.directory, self._roots)
            assert report.finding in {Finding.AUTHENTIC, Finding.INCOMPLETE}, report
            assert report.manifest is not None
            frames = clip.attested.frames if clip.attested else 0
            assert report.manifest.attested.frames == frames, "recovery attests something else"


def _check_durable(vault: Path, entries: tuple[Entry, ...]) -> None:
    """See that every file of a clip is as long as the firmware had synced it."""
    synced: dict[str, int] = {}
    for entry in entries:
        if entry.mark.startswith("synced:"):
            _, count, file = entry.mark.split(":", 2)
            synced[file.removeprefix(_PREFIX)] = int(count)
    for path, size in synced.items():
        place, _, name = path.rpartition("/")
        if not place.startswith("clips/.") and name in {"journal.jsonl", "clip.mp4.age"}:
            found = (vault / path).stat().st_size if (vault / path).exists() else -1
            assert found >= size, f"{path}: {size} bytes were synced, {found} are there"


def _extract(card: Path, target: Path) -> Path:
    """Let the file system's journal be replayed, check the rest, and copy the vault out."""
    _run("e2fsck", "-y", "-E", "journal_only", str(card))
    _run("e2fsck", "-f", "-n", str(card))
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    _run("debugfs", "-R", f"rdump /vault {target}", str(card))
    return target / "vault"


def _run(program: str, *arguments: str) -> None:
    tool = find_tool(program)
    if tool is None:
        raise BoardError(f"{program} is missing; scripts/system-packages hil installs it")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1} if "journal_only" in arguments else done.returncode == 0, (
        f"{program} {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    )

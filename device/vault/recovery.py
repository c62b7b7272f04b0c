"""Seals what an earlier run left unsealed: in the background, while a press already opens the next clip.

Nothing here is waited for, and nothing here takes the vault's lock: a new number needs line 0 of the one before
and no more. The thread keeps the interpreter's ordinary priority on purpose: one that the scheduler may put off
while it holds the interpreter's lock would put off the recorder with it. It stands aside by resting: as long as
it worked while the camera is idle, almost always while a clip is open, and altogether while one catches up.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Protocol

import msgspec

from device.vault.layout import VaultLayout
from evidence.documents import ClipStart, Ended, LogHead, Manifest
from evidence.errors import EvidenceError
from evidence.eventlog import LogReader, LogSegment, first_entry, log_segments
from evidence.interrupted import interruption_cause
from evidence.recover import Recovered, read_start, recover_clip
from evidence.signer import Signer
from evidence.storage import StorageError

__all__ = ["Load", "RecoveryReport", "VaultRecovery"]

_log = logging.getLogger(__name__)

_Detail = Mapping[str, str | int | bool | None]
_BUSY_BYTES_PER_S = 4 * 1024 * 1024
_LONGEST_REST_S = 0.5
_SHORTEST_REST_S = 0.005
_WAIT_S = 0.2


class PostLog(Protocol):
    """Takes an event for the event log (`LogThread.post`)."""

    def __call__(
        self, kind: str, at_ns: int, detail: _Detail | None = None, *, urgent: bool = False
    ) -> "Future[LogHead]":
        """Log an event."""


class Load(msgspec.Struct, frozen=True):
    """What the camera does meanwhile: whether a clip is open, and whether it has caught up with the ring."""

    recording: bool = False
    caught_up: bool = True


class RecoveryReport(msgspec.Struct, frozen=True):
    """What came of it so far; `tampered` and `failed` name clips that stay unsealed."""

    waiting: tuple[str, ...]
    recovered: tuple[str, ...] = ()
    tampered: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    forks: tuple[str, ...] = ()
    rejected: int = 0
    tails: int = 0

    def state_of(self, clip: str) -> str | None:
        """Return `recovering` or `tampered` for a clip that is, `None` for any other."""
        if clip in self.waiting:
            return "recovering"
        return "tampered" if clip in self.tampered else None


class _StoppedError(Exception):
    """The camera shuts down: what is half done is done again at the next start."""


class VaultRecovery:
    """Goes once through the clips that were there when it was made; `start` begins, `close` ends it early."""

    def __init__(
        self,
        layout: VaultLayout,
        signer: Signer,
        post_log: PostLog,
        *,
        load: Callable[[], Load] = Load,
        give_up_reserve: Callable[[], None] = lambda: None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Take the clips that lie in the vault now.

        Raises:
            StorageError: the vault cannot be read.
        """
        self._layout = layout
        self._signer = signer
        self._post_log = post_log
        self._load = load
        self._give_up_reserve = give_up_reserve
        self._now_ns = now_ns
        self._worked_since_ns = now_ns()
        self._owed_s = 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._clips = _clips_of(layout.clips)
        unsealed = tuple(path.name for path in self._clips if not (path / "manifest.json").is_file())
        self._report = RecoveryReport(waiting=unsealed)
        self._starts: dict[tuple[str, int], str] = {}
        self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)
        self._powered_on: Future[LogHead] | None = None

    @property
    def report(self) -> RecoveryReport:
        """What came of it so far; from any thread."""
        with self._lock:
            return self._report

    def start(self, powered_on: "Future[LogHead]") -> None:
        """Begin once this start is in the event log: the cause of an interruption depends on it."""
        self._powered_on = powered_on
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until all clips have been looked at; whether they have, which before `start` they have not."""
        if self._thread.ident is None:
            return False
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        """End soon; a clip that is half recovered stays unsealed until the next start."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._wait_for_start()
            for directory in self._clips:
                self._pace(0)
                self._look_at(directory)
        except _StoppedError:
            _log.info("recovery ends early; the next start goes on")

    def _wait_for_start(self) -> None:
        assert self._powered_on is not None  # `start` set it
        while not self._stop.is_set():
            done, _ = wait([self._powered_on], _WAIT_S)
            if done:
                break
        if self._stop.is_set() or self._powered_on.cancelled():
            raise _StoppedError

    def _look_at(self, directory: Path) -> None:
        """Recover one clip; what is wrong with it is counted, logged, and keeps none of the others waiting."""
        name = directory.name
        try:
            self._note_start(directory)
            self._take(self._recover(directory))
        except StorageError as error:
            _log.error("recovering %s: %s", name, error)
            self._note(failed=(*self.report.failed, name))
            self._post("storage", {"state": "error", "clip": name, "detail": str(error)[:200]})
        except EvidenceError as error:
            self._note(tampered=(*self.report.tampered, name))
            self._alarm(name, "tampered", str(error))
        self._note(waiting=tuple(waiting for waiting in self.report.waiting if waiting != name))

    def _note_start(self, directory: Path) -> None:
        """See whether another clip has the same place in the numbering."""
        start = read_start(directory, self._signer.public_key)
        other = self._starts.setdefault((start.epoch, start.number), directory.name)
        if other != directory.name:
            self._note(forks=(*self.report.forks, directory.name))
            self._alarm(directory.name, "fork", f"{other} has the same number")

    def _recover(self, directory: Path) -> Recovered:
        """Recover a clip; a full storage costs the reserve, once."""
        try:
            return self._recover_once(directory)
        except StorageError as error:
            if not error.full:
                raise
        self._give_up_reserve()
        return self._recover_once(directory)

    def _recover_once(self, directory: Path) -> Recovered:
        return recover_clip(
            directory,
            signer=self._signer,
            rejected=self._layout.rejected,
            cause=self._cause,
            pace=self._pace,
        )

    def _take(self, recovered: Recovered) -> None:
        manifest = recovered.manifest
        if recovered.rejected:
            self._note(rejected=self.report.rejected + 1)
            self._alarm(recovered.clip, "unsigned_manifest", ", ".join(recovered.rejected))
        if manifest is None:
            return
        if manifest.tail is not None:
            self._note(tails=self.report.tails + 1)
            self._alarm(recovered.clip, "tail", f"{manifest.tail.bytes} bytes beyond the limit, in tail.bin")
        self._note(recovered=(*self.report.recovered, recovered.clip))
        _log.info("recovered %s: %s, %d frames", manifest.clip, manifest.ended, manifest.frames)
        self._post("recovered", _described(manifest))

    def _cause(self, start: ClipStart) -> Ended:
        try:
            segments = self._segments_of(start)
        except OSError as error:
            raise StorageError("cannot read the event log", error) from error
        reader = LogReader(segments, self._signer.public_key, whole=False)
        cause = interruption_cause(start, (entry.line for entry in reader))
        return Ended.UNKNOWN if reader.defects else cause

    def _segments_of(self, start: ClipStart) -> list[LogSegment]:
        """Return the files of the log from the clip's boot on, found from the end."""
        segments = log_segments(self._layout.log)
        index = start.log.index if start.log else 0
        for count in range(len(segments) - 1, -1, -1):
            first = first_entry(segments[count], self._signer.public_key)
            if first is not None and first.line.index <= index and first.line.boot != start.boot:
                return segments[count:]
        return segments

    def _pace(self, size: int) -> None:
        """Rest after a piece of work; short rests are saved up."""
        load = self._load()
        worked_s = (self._now_ns() - self._worked_since_ns) / 1e9
        self._owed_s += size / _BUSY_BYTES_PER_S if load.recording else worked_s
        self._worked_since_ns = self._now_ns()
        if self._owed_s >= _SHORTEST_REST_S:
            self._stop.wait(min(self._owed_s, _LONGEST_REST_S))
            self._owed_s = 0.0
        if self._stop.is_set():
            raise _StoppedError
        while load.recording and not load.caught_up:
            if self._stop.wait(_WAIT_S):
                raise _StoppedError
            load = self._load()
        self._worked_since_ns = self._now_ns()

    def _alarm(self, clip: str, what: str, detail: str) -> None:
        _log.error("%s: %s: %s", clip, what, detail)
        self._post("integrity", {"clip": clip, "what": what, "detail": detail[:500]}, urgent=True)

    def _post(self, kind: str, detail: _Detail, *, urgent: bool = False) -> None:
        self._post_log(kind, self._now_ns(), detail, urgent=urgent)

    def _note(self, **changes: object) -> None:
        with self._lock:
            self._report = msgspec.structs.replace(self._report, **changes)


def _clips_of(directory: Path) -> list[Path]:
    """List directories of clips, by number."""
    try:
        found = [path for path in directory.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError as error:
        raise StorageError("cannot list the clips", error) from error
    clips = (path for path in found if not path.name.startswith("."))  # a claim, or what a release left
    return sorted(clips, key=lambda path: (path.name.rpartition("-")[2].zfill(18), path.name))


def _described(manifest: Manifest) -> dict[str, str | int | bool | None]:
    return {
        "clip": manifest.clip,
        "ended": str(manifest.ended),
        "complete": manifest.complete,
        "frames": manifest.frames,
        "duration_ns": manifest.duration_ns,
        "unattested_bytes": manifest.unattested.bytes if manifest.unattested else 0,
        "tail_bytes": manifest.tail.bytes if manifest.tail else 0,
        "torn_bytes": manifest.journal.torn_bytes,
    }

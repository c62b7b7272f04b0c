"""The real writer on a bench: keys, a policy and a vault in a directory, files and signer that count."""

import contextlib
import gc
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from device.buffer.cursor import Cursor
from device.config import parse_config
from device.health.clock import read_boot_id, read_mapping
from device.policy import load_policy
from device.recording.events import ClipEnded, ClipFailed, ClipProgress
from device.recording.writer import ClipThread, WriterContext
from device.vault.layout import format_vault, open_layout
from device.vault.vault import Vault
from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.roles import Role
from evidence.signer import Signer, load_signer
from evidence.storage import AppendFile, CardBehaviour, PosixAppendFile, SlowCardFile

__all__ = ["CAMERA_ID", "CONFIG", "Counts", "Rig", "as_in_the_camera", "compiled", "scratch", "write_keys"]

CAMERA_ID = "cam-bench"
CONFIG = """\
[device]
id = "cam-bench"
vault = "vault"
keys = "keys"

[camera]
source = "synthetic"

[sound]
microphone = "none"

[policy]
recipients_file = "agency/identity/recipients.txt"
window_s = 30.0
sound_before_press = true
"""
_NS_PER_MS = 1_000_000
_SWITCH_S = 0.001


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Make a directory on the disk that is to be measured: under `build/`, because `/tmp` may be memory."""
    build = Path("build")
    build.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=build.resolve())


@contextlib.contextmanager
def as_in_the_camera() -> Iterator[None]:
    """Set the interpreter as `device.service` does: turns of 1 ms, nothing loaded is ever collected."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before_s)


def write_keys(directory: Path) -> None:
    """Make an agency in `agency/` and a camera's keys in `keys/`."""
    create_agency("Bench agency", directory / "agency")
    issue_new(SubjectKind.CAMERA, CAMERA_ID, directory / "agency", directory / "keys")


def compiled(directory: Path) -> dict[str, str]:
    """Return the environment of a camera whose modules are compiled once, as its package installs them.

    A checkout need not have that: `PYTHONDONTWRITEBYTECODE` would let each start compile all sources again.
    """
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "GPIOZERO_PIN_FACTORY": "mock", "PYTHONPYCACHEPREFIX": str(directory / "pycache")}


class Counts:
    """What a clip cost in syncs, signatures and bytes, and how long the thread that asked was at it."""

    def __init__(self) -> None:
        self.media_syncs = 0
        self.syncs = 0
        self.signatures = 0
        self.bytes = 0
        self.largest_interval_bytes = 0
        self.sign_cpu_ns = 0
        self.storage_cpu_ns = 0


class _CountingSigner:
    """A `Signer` that counts."""

    def __init__(self, inner: Signer, counts: Callable[[], Counts]) -> None:
        self._inner = inner
        self._counts = counts
        self.public_key = inner.public_key
        self.chain = inner.chain

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign."""
        begin_ns = time.thread_time_ns()
        signature = self._inner.sign_digest(digest)
        counts = self._counts()
        counts.sign_cpu_ns += time.thread_time_ns() - begin_ns
        counts.signatures += 1
        return signature


class _CountingFile:
    """An `AppendFile` that counts."""

    def __init__(self, inner: AppendFile, counts: Counts, *, media: bool) -> None:
        self._inner = inner
        self._counts = counts
        self._media = media
        self._unsynced = 0

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return self._inner.size_bytes

    def append(self, data: bytes | memoryview) -> None:
        """Write."""
        begin_ns = time.thread_time_ns()
        self._inner.append(data)
        counts = self._counts
        counts.storage_cpu_ns += time.thread_time_ns() - begin_ns
        counts.bytes += len(data)
        self._unsynced += len(data)

    def sync(self) -> None:
        """Sync."""
        begin_ns = time.thread_time_ns()
        self._inner.sync()
        counts = self._counts
        counts.storage_cpu_ns += time.thread_time_ns() - begin_ns
        counts.syncs += 1
        if self._media:
            counts.media_syncs += 1
            counts.largest_interval_bytes = max(counts.largest_interval_bytes, self._unsynced)
        self._unsynced = 0

    def close(self) -> None:
        """Close."""
        self._inner.close()


class Rig:
    """Starts real clip writers on a real vault. One clip at a time; a context manager that closes the vault.

    Args:
        directory: an empty one on the disk to be measured.
        card: how slow the card is; `None` is the disk itself.
    """

    def __init__(self, directory: Path, card: CardBehaviour | None = None) -> None:
        self.directory = directory
        self.counts = Counts()
        self.card = card
        self.now_ns: Callable[[], int] = time.monotonic_ns
        self.rest: Callable[[threading.Event, float], object] = threading.Event.wait
        self._events: list[tuple[int, ClipProgress | ClipEnded | ClipFailed]] = []
        self._posted = threading.Condition()
        write_keys(directory)
        config = parse_config(CONFIG, "bench")
        format_vault(directory / "vault", CAMERA_ID)
        self._layout = open_layout(directory / "vault", CAMERA_ID)
        self.signer = load_signer(directory / "keys", Role.CAMERA_EVIDENCE)
        self.context = WriterContext(
            vault=Vault(self._layout, self.open_file),
            signer=_CountingSigner(self.signer, lambda: self.counts),
            policy=load_policy(config, directory),
            boot=read_boot_id(),
            firmware="bench",
            rate=config.source_options.rate,
            read_mapping=read_mapping,
            log_head=lambda: None,
            post=self._post,
            now_ns=lambda: self.now_ns(),  # noqa: PLW0108  # whatever it is by then
            rest=lambda event, seconds: self.rest(event, seconds),  # noqa: PLW0108  # as above
        )

    def __enter__(self) -> Self:
        """Return the rig."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the vault."""
        self._layout.close()

    def open_file(self, path: Path) -> AppendFile:
        """Create a file as the card of this rig would have it."""
        file: AppendFile = PosixAppendFile(path)
        if self.card is not None:
            file = SlowCardFile(file, self.card)
        return _CountingFile(file, self.counts, media=path.suffix == ".age")

    def make_clip(self, cursor: Cursor, edge_ns: int) -> ClipThread:
        """Make a writer that is not started yet, with all counters at zero."""
        self.counts = Counts()
        self._events = []
        return ClipThread(self.context, "button", edge_ns, cursor)

    def wait_for(
        self, wanted: Callable[[ClipProgress | ClipEnded | ClipFailed], bool], timeout_s: float = 120.0
    ) -> int:
        """Wait for an event of the running clip; returns when it was posted (CLOCK_MONOTONIC, ns).

        Raises:
            RuntimeError: the clip failed, ended, or took too long.
        """
        seen = 0
        with self._posted:
            while True:
                while len(self._events) == seen:
                    if not self._posted.wait(timeout_s):
                        raise RuntimeError("the clip makes no progress")
                at_ns, event = self._events[seen]
                seen += 1
                if wanted(event):
                    return at_ns
                if not isinstance(event, ClipProgress):
                    raise RuntimeError(f"the clip is over too early: {event}")  # noqa: TRY004  # no wrong type

    def clear(self) -> None:
        """Remove all clips, so that the disk doesn't fill."""
        for clip in self._layout.clips.iterdir():
            shutil.rmtree(clip)

    def _post(self, event: ClipProgress | ClipEnded | ClipFailed) -> None:
        with self._posted:
            self._events.append((time.monotonic_ns(), event))
            self._posted.notify_all()

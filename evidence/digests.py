"""SHA-256 beside the thread that writes: what a flush has to hash is hashed on another core meanwhile.

Live, a fragment every half second, hashing in place costs less than waking a thread for it. In a flush each
second counts: three digests are the most that is computed, on a processor without SHA instructions by far.
"""

import hashlib
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["DigestThread", "SideDigest"]

_WORTH_BYTES = 128 * 1024  # less than that is done sooner than a thread has woken

Data = bytes | bytearray | memoryview
_Job = tuple[Callable[[Data], object], Data, threading.Lock]


class DigestThread:
    """A thread that hashes for others; it is started by its first job and ends with `close`."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, update: Callable[[Data], object], data: Data, busy: threading.Lock) -> None:
        """Call `update` with the data soon, and release `busy`, which the caller holds, when that is done."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="clip-digests", daemon=True)
            self._thread.start()
        self._jobs.put((update, data, busy))

    def close(self) -> None:
        """End the thread once it has done what it was given. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            thread.join()

    def _run(self) -> None:
        while job := self._jobs.get():
            update, data, busy = job
            try:
                update(data)
            finally:
                del job, data  # the memory may be used again
                busy.release()


class SideDigest:
    """A SHA-256 that may be computed in a `DigestThread`; the order of the updates is that of the calls."""

    def __init__(self, thread: DigestThread) -> None:
        self._thread = thread
        self._digest = hashlib.sha256()
        self._busy = threading.Lock()

    def update(self, data: Data, *, aside: bool = False) -> None:
        """Take data; `aside`: in the other thread, and the data must stay as they are until `wait`."""
        self._busy.acquire()
        if aside and len(data) >= _WORTH_BYTES:
            self._thread.put(self._digest.update, data, self._busy)
            return
        self._digest.update(data)
        self._busy.release()

    def wait(self) -> None:
        """Wait until all that was taken is in the digest."""
        with self._busy:
            return

    def hexdigest(self) -> str:
        """Return the digest of all that was taken."""
        with self._busy:
            return self._digest.hexdigest()

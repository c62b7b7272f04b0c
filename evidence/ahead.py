"""Work that a second thread does behind the one that gives it, in the order given, and so far behind only.

A flush muxes and encrypts in one thread while what is ready is hashed, written, synced and attested in another:
the same steps on storage in the same order as without it, and two cores at work.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue

from evidence.errors import EvidenceError, ExplainedError

__all__ = ["WorkThread"]

Job = Callable[[], object]


class WorkThread:
    """A thread that does jobs one by one; it is started by the first and ends with `close`.

    A job that fails is the last that is done: its error is raised at each later `put` and `wait`, and what was
    given after it is dropped.
    """

    def __init__(self, name: str, limit: int) -> None:
        """Take the thread's name, and how many jobs may be given and not done."""
        self._name = name
        self._limit = limit
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        self._make_room(limit)
        self._thread: threading.Thread | None = None
        self._error: ExplainedError | None = None

    def put(self, job: Job) -> None:
        """Give a job; waits while as many as the limit says are not done.

        Raises:
            ExplainedError: what a job before this one raised.
        """
        self._room.get()
        if self._error is not None:
            self._make_room()
            raise self._error
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def wait(self) -> None:
        """Wait until all that was given is done.

        Raises:
            ExplainedError: what a job raised.
        """
        for _ in range(self._limit):
            self._room.get()
        self._make_room(self._limit)
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread once it has done what it was given. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            thread.join()

    def _run(self) -> None:
        ended = False
        try:
            while job := self._jobs.get():
                try:
                    self._do(job)
                finally:
                    del job  # what it holds is free before anybody hears that it is done
                    self._make_room()
            ended = True
        finally:
            if not ended:  # an error of the program, which the thread's hook logs: nobody waits for the dead
                self._error = EvidenceError(f"the thread {self._name} failed", remedy="see the system's log")
                self._make_room(self._limit)

    def _do(self, job: Job) -> None:
        if self._error is not None:
            return
        try:
            job()
        except ExplainedError as error:
            self._error = error

    def _make_room(self, count: int = 1) -> None:
        for _ in range(count):
            self._room.put(None)

"""The desk: threads that read badges, and what follows from badges and from cameras that come and go."""

import queue
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from host.badges.errors import BadgeError
from host.badges.machine import Aim, Claim, Claims, Movement
from host.badges.readers import BadgeReader
from host.badges.roster import Roster
from host.bays.status import BayStatus

__all__ = ["BadgeDesk", "BadgeStatus", "Post"]

_POLL_S = 1.0
_RETRY_S = 5.0
_JOIN_S = 10.0


class Post(msgspec.Struct, frozen=True):
    """One reader, whose badges it knows, and what they are after."""

    name: str
    reader: BadgeReader
    roster: Roster
    aim: Aim


class BadgeStatus(msgspec.Struct, frozen=True):
    """A reader now: whether it works, and how many that showed a badge wait for a camera."""

    reader: str
    device: str
    error: str
    waiting: int


class BadgeDesk:
    """One thread a reader, and one that assigns.

    `assign` gets camera, wearer, the length of the shift in nanoseconds, and the movement that met the claim.
    It runs in a thread of the desk, so that a bay, which tells of its camera here, never waits for storage.
    """

    def __init__(
        self,
        posts: Sequence[Post],
        assign: Callable[[str, str, int, Movement | None], object],
        announce: Callable[[str], object],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._posts = tuple(posts)
        self._assign = assign
        self._announce = announce
        self._monotonic_ns = monotonic_ns
        self._claims = Claims()
        self._lock = threading.Lock()
        self._errors: dict[str, str] = {}
        self._in_bay: dict[str, str] = {}
        self._met: queue.SimpleQueue[tuple[Claim, str, Movement | None] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._read, args=(post,), name=f"badge-{post.name}", daemon=True)
            for post in self._posts
        ]
        self._threads.append(threading.Thread(target=self._assign_all, name="badges", daemon=True))

    @property
    def status(self) -> tuple[BadgeStatus, ...]:
        """All readers."""
        with self._lock:
            waiting = self._claims.waiting
            return tuple(
                BadgeStatus(
                    reader=post.name,
                    device=post.reader.name,
                    error=self._errors.get(post.name, ""),
                    waiting=sum(each.aim is post.aim for each in waiting),
                )
                for post in self._posts
            )

    def start(self) -> None:
        """Start reading."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._stopping.set()
        for post in self._posts:
            post.reader.close()
        self._met.put(None)
        for thread in self._threads:
            if thread.ident is not None:  # else it was never started
                thread.join(_JOIN_S)

    def bay_changed(self, status: BayStatus) -> None:
        """Hear how a bay stands; returns at once."""
        with self._lock:
            before = self._in_bay.get(status.bay)
            if status.device == before:
                return
            if before is not None:
                self._moved(Movement.UNDOCKED, status.bay, before)
                del self._in_bay[status.bay]
            if status.device is not None:
                self._in_bay[status.bay] = status.device
                self._moved(Movement.DOCKED, status.bay, status.device)

    def _moved(self, movement: Movement, bay: str, device: str) -> None:
        met = self._claims.moved(movement, bay, device, self._monotonic_ns())
        if met is not None:
            self._met.put((*met, movement))

    def _read(self, post: Post) -> None:
        while not self._stopping.is_set():
            try:
                badge = post.reader.read(_POLL_S)
                self._works(post)
                if badge is not None:
                    self._shown(post, badge)
            except BadgeError as error:
                self._fails(post, str(error))
                self._stopping.wait(_RETRY_S)
            self._expire(post)

    def _shown(self, post: Post, badge: str) -> None:
        wearer = post.roster.wearer(badge)
        if wearer is None:
            self._announce(f"a badge that is in no list was shown at {post.name}")
            return
        with self._lock:
            met = self._claims.badge(wearer, post.aim, self._monotonic_ns())
        if met is not None:
            self._met.put((*met, None))

    def _expire(self, post: Post) -> None:
        with self._lock:
            gone = self._claims.expire(self._monotonic_ns())
        for claim in gone:
            self._announce(f"{claim.wearer} showed a badge, and no camera came for it ({post.name})")

    def _works(self, post: Post) -> None:
        with self._lock:
            self._errors.pop(post.name, None)

    def _fails(self, post: Post, error: str) -> None:
        if self._stopping.is_set():
            return
        with self._lock:
            known = self._errors.get(post.name) == error
            self._errors[post.name] = error
        if not known:
            self._announce(error)

    def _assign_all(self) -> None:
        while (met := self._met.get()) is not None:
            claim, device, movement = met
            self._assign(device, claim.wearer, claim.aim.shift_ns, movement)

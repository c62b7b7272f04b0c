"""The publisher: a thread of its own between the agent and the broker. Nothing in the agent waits for it.

What the agent tells is put down (events in the outbox, on disk; states in memory, the latest of each topic) and
the thread is woken. The thread alone speaks with the broker.
"""

import contextlib
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from evidence.storage import StorageError
from host.control import BrokerStatus
from host.publish.core import Core
from host.publish.drafts import draft_event
from host.publish.errors import OutboxError, PublishError
from host.publish.follower import Follower, follow_pages
from host.publish.linking import Link
from host.publish.outbox import Outbox
from host.publish.payloads import (
    BayPayload,
    CameraPayload,
    DataValue,
    InfoPayload,
    decode_payload,
)
from host.publish.phases import Phase, Timing
from host.publish.projection import checked, later_of, topic_of
from host.publish.signals import (
    Abort,
    Acknowledge,
    Action,
    Announce,
    Changed,
    Connect,
    Disconnect,
    Forget,
    Loaded,
    LoadReplay,
    LoadWaiting,
    NoteSession,
    OpenSession,
    Publish,
    Replayed,
    SessionOpened,
    Signal,
    Start,
    Stop,
    Subscribe,
    Tick,
    Unsubscribe,
    Written,
)
from host.publish.standing import Standing, keep_standing
from host.publish.takeup import Estate
from host.publish.topics import Topics

__all__ = ["Publisher"]

_logger = logging.getLogger(__name__)
_ROUND_S = 1.0
_FLUSH_S = 0.2
_FLUSH_COUNT = 64
_EXPIRE_NS = 3600 * 1_000_000_000
_STANDING_NS = 10 * 1_000_000_000
_PAGES = 4
_NS_PER_S = 1e9


class Publisher:
    """One dock's messages. `event`, `show` and `retire` are for any thread and never wait for the broker."""

    def __init__(
        self,
        outbox: Outbox,
        topics: Topics,
        link: Link,
        *,
        follower: Follower | None = None,
        bays: tuple[str, ...] = (),
        retired: tuple[str, ...] = (),
        timing: Timing | None = None,
        on_trouble: Callable[[str], object] = _logger.warning,
        now_ns: Callable[[], int] = time.monotonic_ns,
        now_utc_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Take up what an earlier run left behind: cameras are shown again, what is gone is cleared.

        `bays` are those of the configuration, `retired` the cameras that are no more; `follower` makes events
        of a custody log.

        Raises:
            OutboxError: the outbox cannot be used.
        """
        self._outbox = outbox
        self._topics = topics
        self._link = link
        self._follower = follower
        self._on_trouble = on_trouble
        self._now_ns = now_ns
        self._now_utc_ns = now_utc_ns
        self._lock = threading.Lock()
        self._shown: dict[str, BayPayload | CameraPayload | InfoPayload] = {}
        self._changes: dict[str, tuple[bytes, bool]] = {}
        self._written = self._stop_asked = False
        self._lost = self._lost_told = 0
        self._dropped_told = outbox.announced
        self._acknowledged: list[int] = []
        self._flush_ns: int | None = None
        self._expire_ns = self._standing_ns = 0
        self._standing: Standing | None = None
        kept = outbox.retained()
        self._remembered = set(kept)
        self._core = Core(topics, outbox.open_session(), outbox.series, timing, random.random)
        estate = Estate(topics, frozenset(bays), frozenset(retired))
        for topic, payload in kept.items():
            if (said := estate.take_up(topic, payload)) is not None:
                self._changes[topic] = said, True
                if said:
                    self._shown[topic] = decode_payload(said, CameraPayload)
        self._wake_lock = threading.Lock()
        self._open = True
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        if outbox.follows and outbox.held().last == 0:
            self.event("outbox_replaced", data={"before": outbox.follows, "generation": outbox.generation})
        self._keep_standing()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def status(self) -> BrokerStatus:
        """How it stands."""
        core = self._core
        return BrokerStatus(core.phase.value, core.detail, core.session.number, self._lost, core.flow.skipped)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Say `stopped` and end; `join` waits for it."""
        self._stop_asked = True
        self._wake()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; returns whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def event(
        self,
        kind: str,
        *,
        device: str | None = None,
        clip: str | None = None,
        detail: str = "",
        data: dict[str, DataValue] | None = None,
    ) -> int | None:
        """Write an event to disk; it is published from there. Returns its number; `None` if it is lost."""
        try:
            draft = draft_event(
                self._topics.dock,
                self._outbox.series,
                self._now_utc_ns(),
                kind,
                device=device,
                clip=clip,
                detail=detail,
                data=data,
            )
            number = self._outbox.append(draft.kind, draft.utc_ns, draft.write)
        except PublishError as error:
            with self._lock:
                self._lost += 1
            _logger.error("an event %s is lost: %s", kind, error)  # noqa: TRY400 - the error says all in one line
            return None
        self._written = True
        self._wake()
        return number

    def follow(self, pages: int = 1) -> None:
        """Make events of what is new in the custody log; the publisher's thread looks at what more there is."""
        if self._follower is not None and follow_pages(self._follower, self._on_trouble, pages):
            self._written = True
            self._wake()

    def show(self, payload: BayPayload | CameraPayload | InfoPayload, *, urgent: bool = True) -> None:
        """Show a bay, a camera or the dock; what differs only in `utc` from what is shown changes nothing."""
        try:
            topic = topic_of(self._topics, payload)
            data = checked(payload)
        except PublishError as error:
            self._on_trouble(str(error))
            return
        with self._lock:
            before = self._shown.get(topic)
            if isinstance(payload, CameraPayload) and isinstance(before, CameraPayload):
                payload = later_of(before, payload)
                data = checked(payload)
            if type(before) is type(payload) and msgspec.structs.replace(before, utc=payload.utc) == payload:
                return
            self._shown[topic] = payload
            was_urgent = topic in self._changes and self._changes[topic][1]
            self._changes[topic] = data, urgent or was_urgent
        self._wake()

    def present(self, topic: str, payload: bytes) -> None:
        """Retain a payload of another format, of a topic outside; it is cleared if a later run does not."""
        with self._lock:
            self._changes[topic] = payload, True
        self._wake()

    def retire(self, topic: str) -> None:
        """Clear one of this dock's topics: a camera or a bay that is no more."""
        with self._lock:
            self._shown.pop(topic, None)
            self._changes[topic] = b"", True
        self._wake()

    def close(self) -> None:
        """Release what is left once the thread has ended."""
        with self._wake_lock:
            self._open = False
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _run(self) -> None:
        self._remember(self._topics.state, None)
        self._apply(Start())
        try:
            while self._core.phase is not Phase.STOPPED:
                for signal in self._link.wait(self._wake_read, self._timeout_s()):
                    self._apply(signal)
                self._link.keep_alive()
                self.follow(_PAGES)
                self._take_changes()
                self._upkeep()
                self._apply(Tick())
        finally:
            self._flush()
            self._keep_standing()
            self._link.abort()

    def _timeout_s(self) -> float:
        due_ns = self._core.next_due_ns()
        most_s = _FLUSH_S if self._acknowledged else _ROUND_S
        return most_s if due_ns is None else min(most_s, max(0.0, (due_ns - self._now_ns()) / _NS_PER_S))

    def _wake(self) -> None:
        with self._wake_lock, contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
            if self._open:
                os.write(self._wake_write, b"\0")

    def _take_changes(self) -> None:
        """Hand over what the agent told since the last round."""
        with contextlib.suppress(BlockingIOError):  # nobody woke us: time did, or the broker
            os.read(self._wake_read, 65_536)
        with self._lock:
            changes, self._changes = self._changes, {}
            written, self._written = self._written, False
        for topic, (payload, urgent) in changes.items():
            keep = payload if payload and topic.startswith(f"{self._topics.root}/camera/") else None
            if payload and (keep is not None or topic not in self._remembered):
                self._remember(topic, keep)
            self._apply(Changed(topic, payload, urgent))
        if written:
            self._apply(Written())
        if self._stop_asked:
            self._apply(Stop())

    def _remember(self, topic: str, payload: bytes | None) -> None:
        try:
            self._outbox.remember(topic, payload)
            self._remembered.add(topic)
        except OutboxError as error:
            self._on_trouble(str(error))

    def _apply(self, signal: Signal) -> None:
        """Put a signal through the core, and do what it asks for, until nothing follows."""
        signals = deque([signal])
        while signals:
            for action in self._core.handle(signals.popleft(), self._now_ns(), self._now_utc_ns()):
                answer = self._do(action)
                if answer is not None:
                    signals.append(answer)

    def _do(self, action: Action) -> Signal | None:
        match action:
            case Connect():
                self._link.open(action)
            case Disconnect():
                self._link.disconnect()
            case Abort():
                self._link.abort()
            case Publish():
                self._link.publish(action)
            case Subscribe():
                self._link.subscribe(action)
            case Unsubscribe():
                self._link.unsubscribe(action.filters)
            case Acknowledge():
                self._acknowledged.append(action.number)
            case Announce():
                self._on_trouble(action.detail)
            case _:
                return self._do_on_disk(action)
        return None

    def _do_on_disk(
        self, action: LoadWaiting | LoadReplay | Forget | NoteSession | OpenSession
    ) -> Signal | None:
        try:
            match action:
                case LoadWaiting():
                    self._flush()
                    return Loaded(action.after, self._outbox.waiting(action.after, action.count))
                case LoadReplay():
                    self._flush()
                    events = self._outbox.acknowledged(action.first, action.last, action.count)
                    return Replayed(action.first, events)
                case Forget():
                    self._outbox.forget(action.topic)
                    self._remembered.discard(action.topic)
                    with self._lock:
                        self._shown.pop(action.topic, None)
                case NoteSession():
                    self._outbox.note_session(action.number)
                case OpenSession():
                    session = self._outbox.open_session(action.above)
                    return SessionOpened(session.number, session.nonce)
        except OutboxError as error:
            self._on_trouble(str(error))
            if isinstance(action, LoadWaiting):
                return Loaded(action.after, ())
            if isinstance(action, LoadReplay):
                return Replayed(action.first, ())
        return None

    def _upkeep(self) -> None:
        """Write acknowledgements down in batches, forget what is old, tell of what was dropped."""
        now_ns = self._now_ns()
        if self._acknowledged and (
            len(self._acknowledged) >= _FLUSH_COUNT or self._flush_ns is None or now_ns >= self._flush_ns
        ):
            self._flush()
            self._flush_ns = now_ns + int(_FLUSH_S * _NS_PER_S)
        if now_ns >= self._expire_ns:
            self._expire_ns = now_ns + _EXPIRE_NS
            with self._explained():
                self._outbox.expire(self._now_utc_ns())
        if now_ns >= self._standing_ns:
            self._standing_ns = now_ns + _STANDING_NS
            self._keep_standing()
        self._tell_dropped()

    def _keep_standing(self) -> None:
        """Keep, beside the outbox, what has to be known if that is lost."""
        try:
            standing = self._outbox.standing()
            if standing != self._standing:
                keep_standing(self._outbox.path, standing)
                self._standing = standing
        except (OutboxError, StorageError) as error:
            self._on_trouble(str(error))

    def _flush(self) -> None:
        if self._acknowledged:
            with self._explained():
                self._outbox.acknowledge(self._acknowledged, self._now_utc_ns())
                self._acknowledged.clear()

    def _tell_dropped(self) -> None:
        """Announce events that were dropped at the outbox's bound, or that no disk took."""
        if self._outbox.dropped == self._dropped_told and self._lost == self._lost_told:
            return
        lost = self._lost
        with self._explained():
            dropped = self._outbox.take_dropped()
            detail = f"{dropped} events dropped at the outbox's bound, {lost - self._lost_told} not written"
            self._lost_told, self._dropped_told = lost, self._outbox.dropped
            self._on_trouble(detail)
            self.event("events_dropped", detail=detail, data={"dropped": dropped, "lost": lost})

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OutboxError as error:
            self._on_trouble(str(error))

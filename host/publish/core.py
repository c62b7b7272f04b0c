"""The publisher's core: signals in, actions out, time as an argument (`host.publish.phases` has the table).

It owns what the broker should know, and who may say it: one session of one dock. Nothing here reads a clock, a
file or a socket.
"""

from collections.abc import Callable

from evidence.clock import format_utc
from host.publish.cameras import CameraClaims
from host.publish.errors import PayloadError
from host.publish.flow import Flow
from host.publish.payloads import (
    DockState,
    ReplayRequest,
    Session,
    StatePayload,
    decode_payload,
    encode_payload,
)
from host.publish.phases import Event, Phase, Timing, next_phase
from host.publish.signals import (
    Abort,
    Action,
    Announce,
    Changed,
    Connect,
    Connected,
    Disconnect,
    Loaded,
    Lost,
    NoteSession,
    OpenSession,
    Publish,
    Received,
    Replayed,
    SessionOpened,
    Settled,
    Signal,
    Start,
    Stop,
    Subscribe,
    Subscribed,
    Tick,
    Token,
    TokenKind,
    Unsubscribe,
    Written,
)
from host.publish.topics import Topics

__all__ = ["Core"]

_CONNECTED = (Phase.GREETING, Phase.ONLINE, Phase.CLOSING)


class Core:
    """One publisher. `jitter` returns a number from 0 to 1; `series` is that of the outbox."""

    def __init__(
        self,
        topics: Topics,
        session: Session,
        series: str,
        timing: Timing | None = None,
        jitter: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self.phase = Phase.IDLE
        self.detail = ""
        self._topics = topics
        self._session = session
        self._series = series
        self._timing = timing or Timing()
        self._jitter = jitter
        self._flow = Flow(topics, series, self._timing)
        self._claims = CameraClaims(topics)
        self._failures = 0
        self._told = ""
        self._online_ns: int | None = None
        self._deadline_ns: int | None = None
        self._answered_ns: int | None = None
        self._answer_owed = False
        self._greet_ns: int | None = None
        self._heard = False
        self._said = 0
        self._said_stopped = False
        self._now_ns = 0
        self._utc_ns = 0
        self._actions: list[Action] = []

    @property
    def session(self) -> Session:
        """The session under way."""
        return self._session

    @property
    def flow(self) -> Flow:
        """What is on its way, and what was refused."""
        return self._flow

    def handle(self, signal: Signal, now_ns: int, utc_ns: int) -> tuple[Action, ...]:
        """Take a signal at a time (monotonic, and UTC for payloads); return what is to be done, in order."""
        self._now_ns, self._utc_ns = now_ns, utc_ns
        self._actions = []
        self._take(signal)
        self._on_time()
        if self.phase in (Phase.ONLINE, Phase.CLOSING):
            self._actions += self._flow.pump(now_ns, closing=self.phase is Phase.CLOSING)
            self._close_down()
        return tuple(self._actions)

    def next_due_ns(self) -> int | None:
        """Say when a `Tick` is wanted, `None` for never."""
        due = [self._deadline_ns, self._greet_ns if self.phase is Phase.GREETING else None]
        if self.phase is Phase.ONLINE:
            due.append(self._flow.due_ns())
            if self._answer_owed:
                due.append((self._answered_ns or 0) + self._timing.answer_ns)
        elif self.phase is Phase.CLOSING and not self._said_stopped and self._deadline_ns is not None:
            due += [self._flow.retained.due_ns(), self._deadline_ns - self._timing.close_ns // 2]
        return min((each for each in due if each is not None), default=None)

    def _take(self, signal: Signal) -> None:  # noqa: C901, PLR0912 - one line a signal is the clearest table
        match signal:
            case Start():
                if self._move(Event.START):
                    self._connect()
            case Stop():
                self._stop()
            case Tick():
                return
            case Connected():
                self._connected(signal)
            case Lost():
                self._lost(signal)
            case Subscribed():
                self._subscribed(signal)
            case Received():
                self._received(signal)
            case Settled():
                self._settled(signal)
            case Changed():
                self._changed(signal)
            case Written():
                self._flow.events.written()
            case Loaded():
                self._flow.events.loaded(signal.after, signal.events)
            case Replayed():
                self._flow.replays.loaded(signal.first, signal.events)
            case SessionOpened():
                self._session = Session(signal.number, signal.nonce)

    def _move(self, event: Event) -> bool:
        """Change the phase as the table says; returns whether it did."""
        before, self.phase = self.phase, next_phase(self.phase, event)
        return before is not self.phase

    def _on_time(self) -> None:
        """Do what is due."""
        if self._greet_ns is not None and self._now_ns >= self._greet_ns and self._move(Event.SUBSCRIBED):
            self._greet_ns = self._deadline_ns = None
            self._say(DockState.ONLINE)
        if self._deadline_ns is not None and self._now_ns >= self._deadline_ns:
            self._deadline_ns = None
            if self._move(Event.DUE):
                self._connect()
            elif self.phase in (Phase.CONNECTING, Phase.GREETING):
                self._actions.append(Abort())
                self._lost(Lost("the broker does not answer"))
            elif self.phase is Phase.CLOSING:
                self._actions.append(Abort())  # `stopped` did not arrive: then `offline` is the truth
                self._move(Event.SETTLED)
        if self.phase is Phase.ONLINE and self._answer_owed and self._may_answer():
            self._answer()

    def _connect(self) -> None:
        self._deadline_ns = self._now_ns + self._timing.connect_ns
        will = StatePayload(dock=self._topics.dock, state=DockState.OFFLINE, session=self._session, utc=None)
        self._actions.append(Connect(self._topics.state, encode_payload(will)))

    def _connected(self, signal: Connected) -> None:
        if not self._move(Event.CONNECTED):
            return
        self._greet_ns, self._heard = None, False
        self._flow.connected(signal)
        self._actions.append(Subscribe((self._topics.state, self._topics.replay), self._claims.filters()))

    def _subscribed(self, signal: Subscribed) -> None:
        for each in signal.refused:
            self._actions.append(Announce(f"the broker does not let this dock subscribe to {each}"))
        if self.phase is Phase.GREETING and self._greet_ns is None:
            # What is retained may come before or after this answer. If it is a twin's, no birth overwrites it.
            self._greet_ns = self._now_ns + (0 if self._heard else self._timing.grace_ns)

    def _lost(self, signal: Lost) -> None:
        stopping = self.phase is Phase.CLOSING
        if not self._move(Event.LOST) or stopping:
            return
        timing = self._timing
        if signal.too_large:
            self._actions += self._flow.broke()
        if self._online_ns is not None and self._now_ns - self._online_ns >= timing.stable_ns:
            self._failures, self._told = 0, ""
        self._online_ns = None
        first, longest = (
            (timing.refused_first_ns, timing.refused_longest_ns)
            if signal.refused
            else (timing.retry_first_ns, timing.retry_longest_ns)
        )
        wait_ns = min(longest, first * 2 ** min(self._failures, 16))
        self._failures += 1
        self._deadline_ns = self._now_ns + int(wait_ns * (0.5 + 0.5 * self._jitter()))
        self.detail = signal.reason
        if signal.reason != self._told:
            self._told = signal.reason
            self._actions.append(Announce(f"the broker: {signal.reason}"))

    def _received(self, signal: Received) -> None:
        if self.phase not in _CONNECTED:
            return
        if signal.topic == self._topics.state:
            self._heard_state(signal.payload)
        elif signal.topic == self._topics.replay:
            self._asked(signal.payload)
        else:
            cleared = self._claims.heard(signal.topic, signal.payload)
            if cleared is not None:
                self._flow.retained.change(cleared, b"")

    def _heard_state(self, payload: bytes) -> None:
        """Compare sessions: a smaller one is a ghost, a greater one a twin."""
        self._heard = True
        if self._greet_ns is not None:
            self._greet_ns = self._now_ns
        try:
            heard = decode_payload(payload, StatePayload)
        except PayloadError:
            heard = None  # cleared, or nonsense: the truth is said again
        if heard is not None and heard.session > self._session:
            self._heard_greater(heard)
        elif self.phase is Phase.ONLINE and (
            heard is None or (heard.session, heard.state) != (self._session, DockState.ONLINE)
        ):
            self._answer_owed = True

    def _heard_greater(self, heard: StatePayload) -> None:
        number = heard.session.number
        leave = self._leave()
        if heard.state is DockState.STOPPED and self._move(Event.OUTLIVED):
            # It ended cleanly, and its broker session is ours now: this dock's disk was replaced.
            self._actions += [leave, OpenSession(number)]
            self._deadline_ns = self._now_ns
            return
        if self._move(Event.TWIN):
            self._deadline_ns = None
            self.detail = (
                f"another agent is on the broker as dock {self._topics.dock}, session {number} above "
                f"{self._session.number}: this one publishes nothing any more; offload goes on. "
                "Give one of them another id, or restart this one once the other has ended"
            )
            self._actions += [leave, NoteSession(number), Announce(self.detail)]

    def _leave(self) -> Action:
        """Leave nothing behind that is not true: after a birth, the will has to follow."""
        return Disconnect() if self.phase is Phase.GREETING else Abort()

    def _may_answer(self) -> bool:
        return self._answered_ns is None or self._now_ns >= self._answered_ns + self._timing.answer_ns

    def _answer(self) -> None:
        self._answer_owed = False
        self._answered_ns = self._now_ns
        self._say(DockState.ONLINE)

    def _asked(self, payload: bytes) -> None:
        try:
            request = decode_payload(payload, ReplayRequest)
        except PayloadError as error:
            self._flow.replays.refused += 1
            self._actions.append(Announce(f"a request for a replay: {error}"))
            return
        reason = self._flow.replays.ask(request, self._series)
        if reason:
            self._actions.append(Announce(f"a request for a replay is refused: {reason}"))

    def _settled(self, signal: Settled) -> None:
        if self.phase not in _CONNECTED:
            return
        if signal.token.kind is not TokenKind.STATE:
            self._actions += self._flow.settled(signal, self._now_ns)
        elif signal.refusal:
            self._actions.append(Announce(f"the broker does not take {self._topics.state}: {signal.refusal}"))
        elif self.phase is Phase.CLOSING:
            if self._said_stopped and signal.token.number == self._said and self._move(Event.SETTLED):
                self._deadline_ns = None
                self._actions.append(Disconnect())
        elif self._online_ns is None:
            self._online_ns = self._now_ns
            self.detail = ""

    def _changed(self, signal: Changed) -> None:
        self._flow.retained.change(signal.topic, signal.payload, urgent=signal.urgent)
        changed = self._claims.changed(signal.topic, signal.payload)
        if changed is not None and self.phase in (Phase.GREETING, Phase.ONLINE):
            self._actions.append(Subscribe(foreign=(changed,)) if signal.payload else Unsubscribe((changed,)))

    def _stop(self) -> None:
        """End; asked for again and again. What has begun to connect says `stopped` before it goes.

        Dropping a connection that the broker has taken would leave `offline` behind.
        """
        if self._move(Event.STOP):
            closing = self.phase is Phase.CLOSING
            self._deadline_ns = self._now_ns + self._timing.close_ns if closing else None
        elif self.phase in (Phase.CONNECTING, Phase.GREETING) and self._deadline_ns is not None:
            self._deadline_ns = min(self._deadline_ns, self._now_ns + self._timing.close_ns)

    def _close_down(self) -> None:
        """Say `stopped` once everything else has arrived, or half of the time is over."""
        if self.phase is not Phase.CLOSING or self._said_stopped or self._deadline_ns is None:
            return
        if self._flow.settled_all or self._now_ns >= self._deadline_ns - self._timing.close_ns // 2:
            self._said_stopped = True
            self._say(DockState.STOPPED)

    def _say(self, state: DockState) -> None:
        payload = StatePayload(
            dock=self._topics.dock, state=state, session=self._session, utc=format_utc(self._utc_ns)
        )
        self._said += 1
        token = Token(TokenKind.STATE, self._topics.state, self._said)
        self._actions.append(Publish(token, self._topics.state, encode_payload(payload), retain=True))

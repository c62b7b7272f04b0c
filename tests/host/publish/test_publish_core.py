"""The publisher's core without a broker: sessions, births, twins, ghosts, limits."""

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.publish.core import Core
from host.publish.outbox import StoredEvent
from host.publish.payloads import (
    CameraPayload,
    DockState,
    EventPayload,
    ReplayRequest,
    Session,
    StatePayload,
    decode_payload,
    encode_payload,
)
from host.publish.phases import TABLE, Event, Phase, Timing, next_phase
from host.publish.signals import (
    Abort,
    Acknowledge,
    Action,
    Announce,
    Changed,
    Connect,
    Connected,
    Forget,
    Loaded,
    LoadReplay,
    LoadWaiting,
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
    TokenKind,
    Written,
)
from host.publish.topics import Topics

S = 1_000_000_000
TOPICS = Topics("preroll", "north", "dock7")
SERIES = "00000000000000aa"
OURS = Session(5, "00000000000000bb")
SMALLER = Session(4, "ffffffffffffffff")
GREATER = Session(5, "00000000000000bc")
TIMING = Timing(window=4, grace_ns=0)


class Bench:
    """A core, and an outbox as a list."""

    def __init__(self, timing: Timing = TIMING) -> None:
        self.core = Core(TOPICS, OURS, SERIES, timing)
        self.now_ns = 0
        self.waiting: dict[int, StoredEvent] = {}
        self.had: dict[int, StoredEvent] = {}
        self.published: list[Publish] = []
        self.last = 0

    def put(self, signal: Signal, *, after_ns: int = 0) -> list[Action]:
        self.now_ns += after_ns
        queue, done = [signal], []
        while queue:
            for action in self.core.handle(queue.pop(0), self.now_ns, self.now_ns):
                done.append(action)
                match action:
                    case LoadWaiting():
                        found = [each for number, each in sorted(self.waiting.items()) if number > action.after]
                        queue.append(Loaded(action.after, tuple(found[: action.count])))
                    case LoadReplay():
                        again = [e for n, e in sorted(self.had.items()) if action.first <= n <= action.last]
                        queue.append(Replayed(action.first, tuple(again[: action.count])))
                    case Acknowledge():
                        self.had[action.number] = self.waiting.pop(action.number)
                    case Publish():
                        self.published.append(action)
        return done

    def event(self, detail: str = "") -> list[Action]:
        self.last += 1
        payload = EventPayload(
            dock="dock7",
            series=SERIES,
            number=self.last,
            utc="2026-01-01T00:00:00.000000Z",
            kind="fault",
            detail=detail,
        )
        self.waiting[self.last] = StoredEvent(self.last, "fault", encode_payload(payload))
        return self.put(Written())

    def online(self, connected: Connected | None = None) -> None:
        self.put(Start())
        self.put(connected or Connected())
        self.put(Subscribed())
        self.settle()

    def reconnect(self) -> None:
        """Lose the connection with all that is on its way, and have another one."""
        self.published.clear()
        self.put(Lost("cut"))
        self.put(Tick(), after_ns=100 * S)
        self.put(Connected())
        self.put(Subscribed())

    def settle(self) -> None:
        """Let the broker acknowledge everything that is on its way."""
        while self.published:
            self.put(Settled(self.published.pop(0).token))

    def numbers(self) -> list[int]:
        return [each.token.number for each in self.published if each.token.kind is TokenKind.EVENT]


def state(session: Session, how: DockState) -> Received:
    payload = StatePayload(dock="dock7", state=how, session=session, utc=None)
    return Received(TOPICS.state, encode_payload(payload))


def kinds(actions: Iterable[Action]) -> list[str]:
    return [type(each).__name__ for each in actions]


def said(actions: Iterable[Action]) -> list[DockState]:
    return [
        decode_payload(each.payload, StatePayload).state
        for each in actions
        if isinstance(each, Publish) and each.topic == TOPICS.state
    ]


def camera(index: int, *, bay: str | None = None, device: str = "cam1") -> bytes:
    return encode_payload(
        CameraPayload(
            device=device,
            utc="2026-01-01T00:00:00.000000Z",
            as_of=(1, index),
            bay=bay,
            firmware="1",
            recorder="ready",
            battery_percent=None,
            charging=None,
            free_bytes=0,
            total_bytes=0,
            clock_error_ns=None,
            waiting=0,
            missing=0,
            wearer=None,
        )
    )


def test_birth_comes_after_what_is_retained_and_before_all_else() -> None:
    bench = Bench()
    bench.put(Changed(TOPICS.bay("1"), b"{}"))
    will = next(each for each in bench.put(Start()) if isinstance(each, Connect))
    assert decode_payload(will.will_payload, StatePayload) == StatePayload(
        dock="dock7", state=DockState.OFFLINE, session=OURS, utc=None
    )
    assert kinds(bench.put(Connected())) == ["Subscribe"]
    assert said(bench.put(state(SMALLER, DockState.OFFLINE))) == []
    actions = bench.put(Subscribed())
    assert [each.topic for each in actions if isinstance(each, Publish)] == [TOPICS.state, TOPICS.bay("1")]


def test_retained_state_is_said_again_on_every_connect() -> None:
    bench = Bench()
    bench.put(Changed(TOPICS.bay("1"), b"{1}"))
    bench.online()
    bench.put(Lost("gone"))
    bench.put(Tick(), after_ns=TIMING.retry_first_ns)
    bench.put(Connected())
    actions = bench.put(Subscribed())
    assert [each.topic for each in actions if isinstance(each, Publish)] == [TOPICS.state, TOPICS.bay("1")]


@pytest.mark.parametrize(
    "heard",
    [
        state(SMALLER, DockState.OFFLINE),
        state(OURS, DockState.OFFLINE),
        Received(TOPICS.state, b""),
        Received(TOPICS.state, b"\xff{"),
    ],
    ids=["smaller", "own will", "cleared", "nonsense"],
)
def test_a_ghost_is_answered_at_most_once_in_ten_seconds_and_in_the_end(heard: Received) -> None:
    bench = Bench()
    bench.online()
    assert said(bench.put(heard)) == [DockState.ONLINE]
    assert said(bench.put(heard, after_ns=S)) == []
    assert bench.core.next_due_ns() == TIMING.answer_ns
    assert said(bench.put(Tick(), after_ns=9 * S)) == [DockState.ONLINE]
    assert said(bench.put(state(OURS, DockState.ONLINE), after_ns=20 * S)) == []


@pytest.mark.parametrize("how", [DockState.ONLINE, DockState.OFFLINE], ids=str)
def test_a_twin_is_left_the_field_and_people_are_told(how: DockState) -> None:
    bench = Bench()
    bench.online()
    actions = bench.put(state(GREATER, how))
    assert kinds(actions) == ["Abort", "NoteSession", "Announce"]  # its birth is revoked by its will
    assert NoteSession(5) in actions
    assert bench.core.phase is Phase.YIELDED
    assert bench.event() == []
    assert bench.put(Tick(), after_ns=10**15) == []
    assert bench.put(Stop()) == []


def test_a_twin_that_is_seen_in_time_is_not_overwritten() -> None:
    bench = Bench(msgspec.structs.replace(TIMING, grace_ns=S))
    bench.put(Start())
    bench.put(Connected())
    assert said(bench.put(Subscribed())) == []
    assert "Disconnect" in kinds(bench.put(state(GREATER, DockState.ONLINE)))
    assert bench.core.phase is Phase.YIELDED
    for heard in (True, False):
        alone = Bench(msgspec.structs.replace(TIMING, grace_ns=S))
        alone.put(Start())
        alone.put(Connected())
        alone.put(Subscribed())
        assert alone.core.next_due_ns() == S
        birth = alone.put(state(SMALLER, DockState.OFFLINE)) if heard else alone.put(Tick(), after_ns=S)
        assert said(birth) == [DockState.ONLINE]


def test_a_greater_session_that_has_stopped_is_outlived() -> None:
    bench = Bench()
    bench.put(Start())
    bench.put(Connected())
    actions = bench.put(state(GREATER, DockState.STOPPED))
    assert kinds(actions)[:2] == ["Disconnect", "OpenSession"]
    assert OpenSession(5) in actions
    bench.put(SessionOpened(6, "00000000000000cc"))
    will = next(each for each in bench.put(Tick()) + actions if isinstance(each, Connect))
    assert will.will_topic == TOPICS.state
    assert bench.core.session == Session(6, "00000000000000cc")


def test_a_clean_stop_says_so_last() -> None:
    bench = Bench()
    bench.online()
    bench.put(Changed(TOPICS.bay("1"), b"{2}"))
    assert said(bench.put(Stop())) == []
    on_its_way = bench.published.pop()
    actions = bench.put(Settled(on_its_way.token))
    assert said(actions) == [DockState.STOPPED]
    actions = bench.put(Settled(bench.published.pop().token))
    assert kinds(actions) == ["Disconnect"]
    assert bench.core.phase is Phase.STOPPED


def test_a_stop_that_does_not_arrive_leaves_the_word_to_the_will() -> None:
    bench = Bench()
    bench.online()
    bench.put(Stop())
    actions = bench.put(Tick(), after_ns=TIMING.close_ns)
    assert "Abort" in kinds(actions)
    assert "Disconnect" not in kinds(actions)
    assert bench.core.phase is Phase.STOPPED


def test_the_wait_grows_and_a_refusal_waits_longer() -> None:
    bench = Bench()
    bench.put(Start())
    waits = []
    for reason, refused in (("a", False), ("a", False), ("b", True)):
        told = bench.put(Lost(reason, refused))
        due = bench.core.next_due_ns()
        assert due is not None
        waits.append((due - bench.now_ns) // S)
        assert sum(isinstance(each, Announce) for each in told) == (len(waits) != 2)
        bench.put(Tick(), after_ns=due - bench.now_ns)
    assert waits == [1, 2, 60]


def test_a_silent_broker_is_left_after_a_while() -> None:
    bench = Bench()
    bench.put(Start())
    assert Abort() in bench.put(Tick(), after_ns=TIMING.connect_ns)
    assert bench.core.phase is Phase.WAITING


def test_the_window_bounds_what_is_on_its_way() -> None:
    bench = Bench()
    for _ in range(10):
        bench.event()
    bench.put(Start())
    bench.put(Connected(receive_maximum=4))
    bench.put(Subscribed())
    assert bench.numbers() == [1, 2, 3]
    bench.published = [each for each in bench.published if each.token.number != 2]
    bench.settle()
    bench.put(Lost("gone"))
    bench.put(Tick(), after_ns=S)
    bench.put(Connected())
    bench.put(Subscribed())
    assert bench.numbers()[0] == 2  # from the oldest that was not acknowledged
    bench.settle()
    assert sorted(bench.had) == list(range(1, 11))


def test_after_a_refusal_no_event_overtakes() -> None:
    bench = Bench()
    bench.online()
    for _ in range(3):
        bench.event()
    first = bench.published.pop(0)
    bench.put(Settled(first.token, "Quota exceeded"))
    bench.published.clear()
    bench.put(Settled(msgspec.structs.replace(first.token, number=2), "Quota exceeded"))
    bench.put(Settled(msgspec.structs.replace(first.token, number=3), "Quota exceeded"))
    assert bench.numbers() == []
    bench.put(Tick(), after_ns=TIMING.taken_again_ns)
    assert bench.numbers() == [1]
    bench.settle()
    assert sorted(bench.had) == [1, 2, 3]


def test_an_event_that_is_too_long_is_shortened_or_skipped_and_never_holds_up_others() -> None:
    bench = Bench()
    bench.online(Connected(packet_limit_bytes=600))
    bench.event("x" * 900)
    [sent] = bench.published
    assert decode_payload(sent.payload, EventPayload).shortened
    bench.settle()
    tiny = Bench()
    tiny.online(Connected(packet_limit_bytes=300))
    actions = tiny.event()
    assert tiny.numbers() == []
    assert sum(isinstance(each, Announce) for each in actions) == 1
    assert tiny.core.flow.skipped == 1


def test_an_event_longer_than_any_before_goes_alone() -> None:
    bench = Bench()
    bench.online()
    bench.event()
    bench.event("x" * 500)
    bench.event()
    sent = []
    while bench.published:
        sent.append(bench.numbers())
        bench.put(Settled(bench.published.pop(0).token))
    assert sent == [[1], [2], [3]]
    for _ in range(3):
        bench.event("x" * 500)  # as long as what the broker took
    assert bench.numbers() == [4, 5, 6]
    bench.reconnect()
    assert bench.numbers() == [4]  # perhaps another broker


def test_a_break_over_a_long_event_lets_none_overtake() -> None:
    bench = Bench()
    bench.online()
    bench.event("x" * 900)
    bench.event()
    assert bench.numbers() == [1]
    bench.published.clear()
    bench.put(Lost("connection lost", too_large=True))
    bench.put(Tick(), after_ns=100 * S)
    bench.put(Connected())
    bench.put(Subscribed())
    [first] = [each for each in bench.published if each.token.kind is TokenKind.EVENT][:1]
    assert decode_payload(first.payload, EventPayload).shortened
    assert first.token.number == 1


def test_progress_waits_and_a_change_does_not() -> None:
    bench = Bench()
    bench.online()
    topic = TOPICS.bay("1")
    for count in range(5):
        bench.put(Changed(topic, b"%d" % count, urgent=False))
        bench.settle()
    assert bench.core.next_due_ns() == TIMING.progress_ns
    bench.put(Tick(), after_ns=TIMING.progress_ns)
    assert [each.payload for each in bench.published] == [b"4"]
    bench.settle()
    bench.put(Changed(topic, b"5", urgent=True))
    assert [each.payload for each in bench.published] == [b"5"]


def test_what_is_cleared_is_forgotten_once_the_broker_knows() -> None:
    bench = Bench()
    bench.put(Changed(TOPICS.camera("cam1"), b""))
    bench.put(Start())
    bench.put(Connected())
    bench.put(Subscribed())
    clearing = next(each for each in bench.published if each.topic == TOPICS.camera("cam1"))
    assert (clearing.payload, clearing.retain) == (b"", True)
    assert bench.put(Settled(clearing.token)) == [Forget(TOPICS.camera("cam1"))]


@pytest.mark.parametrize(
    ("ours", "theirs", "cleared"),
    [
        (camera(3), camera(4), True),
        (camera(3), camera(3, bay="2"), True),
        (camera(3), camera(3), False),
        (camera(3), camera(2, bay="2"), False),
        (camera(3, bay="1"), camera(4, bay="2"), False),
        (camera(3), camera(9, device="cam2"), False),
        (camera(3), b"", False),
    ],
    ids=["later", "docked there", "the same", "earlier", "docked here", "another camera", "cleared there"],
)
def test_a_camera_seen_later_elsewhere_is_no_longer_ours(ours: bytes, theirs: bytes, cleared: bool) -> None:
    bench = Bench()
    bench.online()
    subscribed = bench.put(Changed(TOPICS.camera("cam1"), ours))
    assert Subscribe(foreign=("preroll/+/+/camera/cam1",)) in subscribed
    bench.settle()
    bench.put(Received("preroll/south/dock9/camera/cam1", theirs))
    assert [(each.topic, each.payload) for each in bench.published] == (
        [(TOPICS.camera("cam1"), b"")] if cleared else []
    )
    bench.put(Received("preroll/south/dock9/camera/+/x", theirs))


def test_a_replay_is_limited_and_only_of_what_the_broker_had() -> None:
    bench = Bench(msgspec.structs.replace(TIMING, replay_most=3))
    bench.online()
    for _ in range(6):
        bench.event()
        bench.settle()
    bench.event()  # on its way, not acknowledged
    first = bench.published.pop()

    def ask(series: str, begin: int, end: int) -> list[Action]:
        request = ReplayRequest(series=series, first=begin, last=end)
        return bench.put(Received(TOPICS.replay, encode_payload(request)))

    actions = ask(SERIES, 2, 100)
    again = [each for each in actions if isinstance(each, Publish)]
    assert [each.token.number for each in again] == [2, 3, 4]
    assert ("replay", "true") in again[0].properties
    assert "Announce" in kinds(ask("00000000000000ff", 1, 2))
    assert "Announce" in kinds(bench.put(Received(TOPICS.replay, b'{"first": 1}')))
    assert bench.core.flow.replays.refused == 2
    assert not [each for each in ask(SERIES, 5, 6) if isinstance(each, Publish)]  # not so soon
    bench.settle()
    bench.put(Settled(first.token))
    bench.put(Tick(), after_ns=TIMING.replay_pause_ns)
    assert [each.token.number for each in bench.published] == [5, 6]


def test_what_is_not_in_the_table_changes_nothing() -> None:
    for phase in Phase:
        for event in Event:
            assert next_phase(phase, event) is TABLE.get((phase, event), phase)
    assert not any(phase is Phase.STOPPED for phase, _ in TABLE)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 7), max_size=60), st.integers(1, 5))
def test_every_event_goes_out_and_first_occurrences_are_in_order(steps: list[int], window: int) -> None:
    bench = Bench(msgspec.structs.replace(TIMING, window=window))
    bench.put(Start())
    reached: list[int] = []

    def deliver() -> None:
        message = bench.published.pop(0)
        if message.token.kind is TokenKind.EVENT and message.token.number not in reached:
            reached.append(message.token.number)
        bench.put(Settled(message.token))

    for each in steps:
        if each <= 2:
            bench.event()
        elif each <= 4 and bench.published:
            deliver()
        elif each == 5:
            if bench.published and bench.published[0].token.kind is TokenKind.EVENT:
                number = bench.published[0].token.number  # it arrived, and its acknowledgement did not
                reached += [] if number in reached else [number]
            bench.published.clear()
            bench.put(Lost("cut"))
        else:
            bench.reconnect()
    bench.reconnect()
    while bench.published:
        deliver()
    assert reached == list(range(1, bench.last + 1))
    assert not bench.waiting

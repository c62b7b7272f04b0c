"""The picture of a site: messages in, picture out, whatever their order."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from host.bays.status import BayState
from host.publish import (
    BayPayload,
    CameraPayload,
    DockState,
    EventPayload,
    EventsHeld,
    InfoPayload,
    Session,
    StatePayload,
    StoreSpace,
    Topics,
    encode_payload,
)
from host.publish.payloads import Payload
from host.watch import SitePicture, alarms, ask, empty_site, hear
from host.watch.numbers import ASK_AGAIN_NS, ASK_MOST, GRACE_NS

UTC = "2026-01-01T00:00:00.000000Z"
SERIES, OTHER = "1" * 16, "2" * 16
A, B = Topics("preroll", "north", "dock-a"), Topics("preroll", "north", "dock-b")


def tell(
    picture: SitePicture, topic: str, payload: Payload, now_ns: int = 0, *, retained: bool = False
) -> SitePicture:
    return hear(picture, topic, encode_payload(payload), now_ns, retained=retained)


def state(word: DockState, number: int = 1) -> StatePayload:
    return StatePayload(dock="dock-a", state=word, session=Session(number, "0" * 16), utc=UTC)


def camera(as_of: tuple[int, int] | None, bay: str | None = None, utc: str = UTC) -> CameraPayload:
    return CameraPayload(
        device="cam1",
        utc=utc,
        as_of=as_of,
        bay=bay,
        firmware="1",
        recorder="ready",
        battery_percent=50,
        charging=True,
        free_bytes=1,
        total_bytes=2,
        clock_error_ns=None,
        waiting=0,
        missing=0,
        wearer=None,
    )


def event(number: int, series: str = SERIES, kind: str = "clip_stored") -> EventPayload:
    return EventPayload(dock="dock-a", series=series, number=number, utc=UTC, kind=kind)


def info(last: int, first: int = 1, series: str = SERIES, store: StoreSpace | None = None) -> InfoPayload:
    held = EventsHeld(series=series, first=first, last=last, dropped=0)
    return InfoPayload(
        dock="dock-a", utc=UTC, version="1", bays=("1",), store=store, custody_entries=0, events=held
    )


def bay(word: BayState) -> BayPayload:
    return BayPayload(
        bay="1",
        utc=UTC,
        state=word,
        detail="stuck",
        device="cam1",
        clip=None,
        step=None,
        done_bytes=0,
        clip_bytes=0,
        stored=0,
        failed_sessions=3,
    )


EMPTY = empty_site("preroll", "north")


def test_a_late_will_of_an_earlier_session_changes_nothing() -> None:
    picture = tell(EMPTY, A.state, state(DockState.ONLINE, 2))
    assert tell(picture, A.state, state(DockState.OFFLINE, 1)) is picture
    after = tell(picture, A.state, state(DockState.OFFLINE, 2))
    assert not after.docks["dock-a"].online
    assert [each.what for each in alarms(after)] == ["offline"]


@given(st.permutations([("a", (1, 4), None), ("b", (1, 9), "2"), ("a", (1, 7), "1"), ("b", (1, 9), None)]))
def test_of_all_docks_words_the_greatest_as_of_counts(
    words: list[tuple[str, tuple[int, int], str | None]],
) -> None:
    picture = EMPTY
    said: dict[str, CameraPayload] = {}
    for dock, as_of, place in words:
        said[dock] = camera(as_of, place)
        picture = tell(picture, (A if dock == "a" else B).camera("cam1"), said[dock])
    best = max(said, key=lambda dock: said[dock].rank)
    (spoken,) = picture.cameras
    assert (spoken.dock, spoken.camera) == (f"dock-{best}", said[best])


def test_what_is_cleared_is_gone_and_leaves_no_dock_behind() -> None:
    picture = tell(tell(EMPTY, A.camera("cam1"), camera((1, 1))), A.bay("1"), bay(BayState.READY))
    for topic in (A.camera("cam1"), A.bay("1")):
        picture = hear(picture, topic, b"", 0)
    assert picture == EMPTY


def test_messages_of_others_and_nonsense_are_counted_and_change_nothing() -> None:
    picture = EMPTY
    for topic, payload in (
        (A.bay("2"), encode_payload(bay(BayState.READY))),  # another bay's
        (B.state, encode_payload(state(DockState.ONLINE))),  # another dock's
        (A.info, b"{"),
        (A.event, b"\xff"),
    ):
        picture = hear(picture, topic, payload, 0)
    assert (picture.docks, picture.unreadable) == ({}, 4)
    assert A.event in picture.last_unreadable
    for topic in (
        "preroll/south/dock-a/state",
        "other/north/dock-a/state",
        A.replay,
        "preroll/north/dock-a/x/y",
    ):
        assert hear(EMPTY, topic, b"{}", 0) is EMPTY


def test_faults_a_store_that_is_not_ready_and_alarming_events_are_alarms() -> None:
    space = StoreSpace(store="dock7-a", state="full", detail="no room", free_bytes=0, total_bytes=1)
    picture = tell(EMPTY, A.info, info(0, 0, store=space))
    picture = tell(picture, A.bay("1"), bay(BayState.FAULT))
    picture = tell(picture, A.event, event(1, kind="integrity_alarm"))
    picture = tell(picture, A.event, event(2))
    assert [each.what for each in alarms(picture)] == ["store full", "bay 1 fault", "integrity_alarm"]


def test_a_gap_is_shown_asked_for_filled_and_asked_for_no_more() -> None:
    picture = EMPTY
    for number in (5, 6, 9):
        picture = tell(picture, A.event, event(number))
    assert picture.docks["dock-a"].numbers.missing == ((7, 8),)
    assert [each.what for each in alarms(picture)] == ["events missed"]
    picture, ((dock, request),) = ask(picture, 0)
    assert (dock, request.series, request.first, request.last) == ("dock-a", SERIES, 7, 8)
    assert ask(picture, ASK_AGAIN_NS - 1)[1] == ()
    picture = tell(picture, A.event, event(8))
    assert picture.docks["dock-a"].numbers.missing == ((7, 7),)
    picture, (again,) = ask(picture, ASK_AGAIN_NS)
    assert (again[1].first, again[1].last) == (7, 7)
    picture = tell(picture, A.event, event(7))
    assert alarms(picture) == ()
    assert [each.number for each in picture.docks["dock-a"].events] == [5, 6, 7, 8, 9]
    assert ask(picture, 10 * ASK_AGAIN_NS) == (picture, ())


def test_a_dock_that_never_answers_is_asked_a_few_times_only() -> None:
    picture = tell(tell(EMPTY, A.event, event(1)), A.event, event(3))
    asked = 0
    for turn in range(20):
        picture, requests = ask(picture, turn * ASK_AGAIN_NS)
        asked += len(requests)
    assert asked == ASK_MOST


def test_what_the_dock_numbered_and_nobody_got_is_missed_after_a_while() -> None:
    picture = tell(tell(EMPTY, A.event, event(3)), A.info, info(5), 100)
    assert ask(picture, 100 + GRACE_NS - 1)[1] == ()
    picture, ((_, request),) = ask(picture, 100 + GRACE_NS)
    assert (request.first, request.last) == (4, 5)
    in_time = tell(tell(EMPTY, A.event, event(3)), A.info, info(4), 100)
    in_time = tell(in_time, A.event, event(4))
    assert ask(in_time, 100 + GRACE_NS)[1] == ()


def test_what_was_before_we_came_is_not_missed() -> None:
    picture = tell(EMPTY, A.info, info(40), retained=True)
    assert ask(picture, 10 * GRACE_NS)[1] == ()
    picture = tell(picture, A.event, event(45))
    assert picture.docks["dock-a"].numbers.missed == 0


def test_what_the_dock_no_longer_holds_is_lost_and_said() -> None:
    picture = tell(tell(EMPTY, A.event, event(1)), A.event, event(10))
    picture = tell(picture, A.info, info(10, first=6))
    numbers = picture.docks["dock-a"].numbers
    assert (numbers.missing, numbers.lost) == (((6, 9),), 4)
    assert "events lost" in [each.what for each in alarms(picture)]


def test_another_series_begins_anew() -> None:
    picture = tell(tell(EMPTY, A.event, event(7)), A.event, event(1, OTHER))
    numbers = picture.docks["dock-a"].numbers
    assert (numbers.series, numbers.top, numbers.missed) == (OTHER, 1, 0)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_what_is_missing_is_what_did_not_come(numbers: list[int]) -> None:
    picture = EMPTY
    for number in numbers:
        picture = tell(picture, A.event, event(number))
    account = picture.docks["dock-a"].numbers
    expected = set(range(numbers[0], max(numbers) + 1)) - set(numbers)
    assert {n for first, last in account.missing for n in range(first, last + 1)} == expected
    assert account.missed == len(expected)
    assert msgspec.json.encode(picture)  # as `dock watch --once --json` prints it

"""Badges: what readers send, who gets which camera, and readers that come and go."""

import os
import struct
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docklink.serialport import PtyPair
from host.badges import (
    Aim,
    BadgeDesk,
    BadgeError,
    BadgeReader,
    Claims,
    FakeReader,
    Movement,
    Post,
    Roster,
    keyboard_reader,
    line_reader,
)
from host.badges.text import KeyDecoder, LineDecoder
from host.bays import BayStatus

KEYS = {character: code for code, character in zip(range(2, 12), "1234567890", strict=True)} | {
    "a": 30,
    "b": 48,
    "w": 17,
    "-": 12,
}


def typed(text: str, enter: int = 28) -> bytes:
    """What the kernel reports when a keyboard types a line; keys, their releases, and what belongs to it."""
    events = []
    for character in text:
        code = KEYS[character.lower()]
        shift = character.isupper()
        events += [(1, 42, 1)] * shift + [(4, 4, code), (1, code, 1), (0, 0, 0), (1, code, 2), (1, code, 0)]
        events += [(1, 42, 0)] * shift
    events += [(1, enter, 1), (1, enter, 0), (0, 0, 0)]
    return b"".join(struct.pack("@llHHi", 1, 2, *event) for event in events)


class Fixture:
    """A reader and a hand that holds badges against it."""

    def __init__(self, reader: BadgeReader, hold: Callable[[str], object], close: Callable[[], object]) -> None:
        self.reader = reader
        self.hold = hold
        self.close = close


def made_line() -> Fixture:
    pair = PtyPair()
    far = pair.far()

    def close() -> None:
        far.close()
        pair.close()

    return Fixture(line_reader(pair.path), lambda badge: far.write(f"\x02{badge}\r\n".encode(), 5), close)


def made_keyboard() -> Fixture:
    master, slave = os.openpty()
    tty.setraw(slave)
    reader = keyboard_reader(os.ttyname(slave), grabbed=lambda _fd: None)

    def close() -> None:
        os.close(master)
        os.close(slave)

    return Fixture(reader, lambda badge: os.write(master, typed(badge)), close)


def made_fake() -> Fixture:
    reader = FakeReader()
    return Fixture(reader, reader.hold, lambda: None)


@pytest.fixture(params=["fake", "line", "keyboard"])
def fixture(request: pytest.FixtureRequest) -> Iterator[Fixture]:
    made = {"fake": made_fake, "line": made_line, "keyboard": made_keyboard}[request.param]()
    yield made
    made.reader.close()
    made.close()


def test_every_reader_reads_badges_in_order(fixture: Fixture) -> None:
    assert fixture.reader.read(0.01) is None
    fixture.hold("0004571234")
    fixture.hold("Ab-12")
    assert fixture.reader.read(20) == "0004571234"
    assert fixture.reader.read(20) == "Ab-12"
    assert fixture.reader.read(0.01) is None


def test_every_reader_is_closed_while_it_waits(fixture: Fixture) -> None:
    ended = threading.Event()

    def read() -> None:
        try:
            while True:
                fixture.reader.read(60)
        except BadgeError:
            ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert not ended.wait(0.05)
    fixture.reader.close()
    assert ended.wait(20)
    thread.join()
    with pytest.raises(BadgeError):
        fixture.reader.read(1)


def test_a_device_that_is_not_there_is_said_and_opened_once_it_is(tmp_path: Path) -> None:
    pair = PtyPair()
    path = tmp_path / "reader"
    reader = line_reader(str(path))
    with pytest.raises(BadgeError, match="cannot open"):
        reader.read(1)
    path.symlink_to(pair.path)
    assert reader.read(0.01) is None
    far = pair.far()
    far.write(b"12\n", 5)
    assert reader.read(20) == "12"
    reader.close()
    far.close()
    pair.close()


def test_what_cannot_be_grabbed_is_no_keyboard() -> None:
    master, slave = os.openpty()
    reader = keyboard_reader(os.ttyname(slave))
    with pytest.raises(BadgeError, match="input event device"):
        reader.read(1)
    os.close(master)
    os.close(slave)


@given(st.lists(st.text("0123456789ABw-", min_size=1, max_size=64), max_size=4), st.integers(1, 60))
def test_keys_are_read_however_the_events_are_cut(badges: list[str], size: int) -> None:
    data = b"".join(typed(badge, enter=28 if index % 2 else 96) for index, badge in enumerate(badges))
    decoder = KeyDecoder()
    found = [badge for start in range(0, len(data), size) for badge in decoder.feed(data[start : start + size])]
    assert found == badges


@given(st.binary(max_size=400), st.text("0123456789abcXYZ._-:", min_size=1, max_size=64))
def test_rubbish_spoils_no_badge_that_follows_it(rubbish: bytes, badge: str) -> None:
    for decoder in (LineDecoder(), KeyDecoder()):
        for read in decoder.feed(rubbish):
            assert 1 <= len(read) <= 64
    decoder = LineDecoder()
    list(decoder.feed(rubbish + b"\n"))
    assert list(decoder.feed(badge.encode() + b"\r\n")) == [badge]


def test_a_line_without_end_takes_no_memory_and_is_no_badge() -> None:
    decoder = LineDecoder()
    assert list(decoder.feed(b"1" * 100_000)) == []
    assert len(decoder._line) < 200
    assert list(decoder.feed(b"\n22\n")) == ["22"]


@pytest.mark.parametrize(
    ("aim", "moves", "expected"),
    [
        pytest.param(Aim(), [(5, "docked", "1", "cam1")], "cam1", id="next-docked"),
        pytest.param(Aim(), [(5, "undocked", "1", "cam1")], None, id="not-undocked"),
        pytest.param(Aim(movement=Movement.UNDOCKED), [(5, "undocked", "1", "cam1")], "cam1", id="next-out"),
        pytest.param(Aim(wait_ns=4), [(5, "docked", "1", "cam1")], None, id="too-late"),
        pytest.param(
            Aim(bay="2"), [(1, "docked", "1", "cam1"), (2, "docked", "2", "cam2")], "cam2", id="named-bay"
        ),
    ],
)
def test_a_badge_is_met_by(aim: Aim, moves: list[tuple[int, str, str, str]], expected: str | None) -> None:
    claims = Claims()
    assert claims.badge("w-1", aim, 0) is None
    met = [claims.moved(Movement(kind), bay, device, now) for now, kind, bay, device in moves]
    assert [each[1] for each in met if each] == ([expected] if expected else [])


def test_a_camera_that_lies_in_the_named_bay_meets_a_badge_at_once() -> None:
    claims, aim = Claims(), Aim(bay="1")
    assert claims.moved(Movement.DOCKED, "1", "cam1", 0) is None
    met = claims.badge("w-1", aim, 1)
    assert met is not None
    assert (met[0].wearer, met[1]) == ("w-1", "cam1")
    claims.moved(Movement.UNDOCKED, "1", "cam1", 2)
    assert claims.badge("w-1", aim, 3) is None


def test_the_oldest_badge_comes_first_and_each_meets_one_camera() -> None:
    claims, aim = Claims(), Aim(wait_ns=100)
    for now, wearer in enumerate(("w-1", "w-2", "w-2")):
        claims.badge(wearer, aim, now)
    met = [claims.moved(Movement.DOCKED, bay, f"cam{bay}", 10) for bay in ("1", "2", "3")]
    assert [each and (each[0].wearer, each[1]) for each in met] == [("w-1", "cam1"), ("w-2", "cam2"), None]
    claims.badge("w-3", aim, 20)
    assert [claim.wearer for claim in claims.expire(120)] == ["w-3"]
    assert claims.waiting == ()


def test_the_file_of_badges_is_read_again_once_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "badges.toml"
    roster = Roster(path)
    with pytest.raises(BadgeError, match="cannot read"):
        roster.wearer("1")
    path.write_text('[badges]\n"1" = "w-1"\n')
    assert (roster.wearer("1"), roster.wearer("2")) == ("w-1", None)
    path.write_text('[badges]\n"1" = "w-1"\n"2" = "w-2"\n')
    assert roster.wearer("2") == "w-2"


@pytest.mark.parametrize(
    "text", ['[badges]\n"4711" = "a b"\n', '[badges]\n"4711" = 4711\n', "[badges", "x = 4711\n"]
)
def test_a_wrong_file_is_said_without_a_number(tmp_path: Path, text: str) -> None:
    (tmp_path / "badges.toml").write_text(text)
    with pytest.raises(BadgeError, match="no file of badges") as caught:
        Roster(tmp_path / "badges.toml").wearer("4711")
    assert "4711" not in str(caught.value)
    assert caught.value.__cause__ is None


class Desk:
    """A desk with a fake reader; what it assigned and said."""

    def __init__(self, directory: Path, aim: Aim) -> None:
        (directory / "badges.toml").write_text('[badges]\n"4711" = "w-1"\n')
        self.reader = FakeReader()
        self.assigned: list[tuple[str, str, int, Movement | None]] = []
        self.said: list[str] = []
        self.changed = threading.Condition()
        post = Post("door", self.reader, Roster(directory / "badges.toml"), aim)
        self.desk = BadgeDesk([post], lambda *each: self._note(self.assigned, each), self._say)
        self.desk.start()

    def _say(self, detail: str) -> None:
        self._note(self.said, detail)

    def _note(self, where: list, what: object) -> None:  # type: ignore[type-arg]  # either list
        with self.changed:
            where.append(what)
            self.changed.notify_all()

    def wait(self, condition: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 30), (self.assigned, self.said)


def test_the_desk_assigns_the_next_camera(tmp_path: Path) -> None:
    aim = Aim(shift_ns=7)
    bench = Desk(tmp_path, aim)
    bench.desk.bay_changed(BayStatus("1", "tcp", device="cam1"))
    bench.reader.hold("4711")
    while not bench.desk.status[0].waiting:
        threading.Event().wait(0.01)
    bench.desk.bay_changed(BayStatus("1", "tcp", device="cam1", done_bytes=5))
    bench.desk.bay_changed(BayStatus("2", "tcp", device="cam2"))
    bench.wait(lambda: bench.assigned)
    assert bench.assigned == [("cam2", "w-1", 7, Movement.DOCKED)]
    bench.desk.close()


def test_badges_in_no_list_and_without_camera_are_told_without_a_number(
    tmp_path: Path,
) -> None:
    bench = Desk(tmp_path, Aim(wait_ns=1))
    bench.reader.hold("999")
    bench.wait(lambda: any("in no list" in each for each in bench.said))
    bench.reader.hold("4711")
    bench.wait(lambda: any("no camera came" in each for each in bench.said))
    assert not any("999" in each or "4711" in each for each in bench.said)
    bench.desk.close()


def test_a_reader_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    said: list[str] = []
    heard = threading.Event()

    def say(detail: str) -> None:
        said.append(detail)
        heard.set()

    post = Post("door", line_reader(str(tmp_path / "absent")), Roster(tmp_path / "none"), Aim())
    desk = BadgeDesk([post], lambda *_: None, say)
    desk.start()
    assert heard.wait(30)
    assert "cannot open" in desk.status[0].error
    desk.close()
    assert len(said) == 1

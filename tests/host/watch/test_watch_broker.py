"""`preroll dock watch` against mosquitto: late, live, through breaks, with and without rights."""

import contextlib
import io
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner, Result

from host.bays.status import BayState
from host.publish import BayPayload, ReplayRequest, encode_payload
from host.watch import Down, Feed, Heard, SitePicture, Up, Watched, empty_site, hear
from preroll.cli import root
from preroll.dock.site import draw_site, printable, site_lines
from preroll.dock.watching import Seen, WatchError
from tests.host.publish.brokerbench import PATIENCE_S, TOPICS, PublishBench, bench, needs_mosquitto, wait_until
from tests.host.publish.brokertls import Authority

__all__ = ["bench"]
pytestmark = needs_mosquitto
UTC = "2026-01-01T00:00:00.000000Z"
ESCAPE = "\x1b[2Jgone"


def bay(detail: str = "") -> BayPayload:
    return BayPayload(
        bay="1",
        utc=UTC,
        state=BayState.OFFLOADING,
        detail=detail,
        device="cam1",
        clip="20260101T000000Z-cam1-000001",
        step="ciphertext",
        done_bytes=5 << 20,
        clip_bytes=10 << 20,
        stored=0,
        failed_sessions=0,
    )


def watch(*arguments: str) -> Result:
    return CliRunner().invoke(root, ["dock", "watch", "--site", "north", *arguments], standalone_mode=False)


@contextlib.contextmanager
def feeding(bench: PublishBench, port: int, **changes: object) -> Iterator[Feed]:
    with contextlib.closing(Feed(bench.settings(port, client_id="", **changes), ("preroll/north/#",))) as feed:
        yield feed


def poll_for(feed: Feed, kind: type[Heard], count: int = 1) -> list[Heard]:
    found: list[Heard] = []

    def enough() -> bool:
        found.extend(each for each in feed.poll(0.1) if isinstance(each, kind))
        return len(found) >= count

    wait_until(enough)
    return found


def test_once_prints_what_the_broker_keeps(bench: PublishBench) -> None:
    broker = bench.broker()
    running = bench.publisher(broker.port)
    running.publisher.show(bay(ESCAPE))
    running.wait_phase("online")
    wait_until(lambda: running.publisher._core.flow.settled_all)
    url = f"mqtt://127.0.0.1:{broker.port}"
    shown = watch("--broker", url, "--once")
    assert shown.exit_code == 0, shown.output
    assert "dock dock7: online" in shown.output
    assert "bay 1: offloading, cam1, 20260101T000000Z-cam1-000001 ciphertext 5 of 10 MiB" in shown.output
    assert "\x1b" not in shown.output
    told = json.loads(watch("--broker", url, "--once", "--json").output)
    assert told["picture"]["docks"]["dock7"]["bays"]["1"]["state"] == "offloading"
    assert told["alarms"] == []


def test_lines_for_programs_come_as_things_happen_and_a_signal_ends_it(bench: PublishBench) -> None:
    broker = bench.broker()
    url = f"mqtt://127.0.0.1:{broker.port}"
    command = [sys.executable, "-m", "preroll", "dock", "watch", "--site", "north", "--broker", url, "--json"]
    command[1:3] = ["-c", "from preroll.cli import main; main()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        guard = threading.Timer(PATIENCE_S, process.kill)
        guard.start()
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline()) == {"connection": "up"}
            bench.publisher(broker.port).publisher.event("fault", detail="a fault")
            lines = [json.loads(process.stdout.readline()) for _ in range(2)]
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            guard.cancel()
            process.kill()
    assert [each["topic"] for each in lines] == [TOPICS.state, TOPICS.event]
    assert lines[1]["payload"]["detail"] == "a fault"


def test_a_connection_that_breaks_is_made_again_and_the_picture_is_whole(bench: PublishBench) -> None:
    broker = bench.broker()
    with feeding(bench, broker.port) as feed:
        poll_for(feed, Up)
        broker.kill()
        (down,) = poll_for(feed, Down)
        assert isinstance(down, Down)
        assert not down.refused
        broker.start()
        poll_for(feed, Up)
        running = bench.publisher(broker.port)
        running.publisher.show(bay())
        got = poll_for(feed, Watched, 2)
        assert {each.topic for each in got if isinstance(each, Watched)} == {TOPICS.state, TOPICS.bay("1")}


def test_a_gap_is_asked_for_and_filled(bench: PublishBench) -> None:
    """A subscriber is away while events are made; the dock sends them again."""
    broker = bench.broker()
    running = bench.publisher(broker.port)
    running.publisher.event("fault", detail="1")
    with feeding(bench, broker.port) as feed:
        seen = Seen(feed, _empty(), "broker", replay=True)
        wait_until(lambda: bool([*seen.look(0.1)]) and seen.connected)
        running.publisher.event("fault", detail="2")
        wait_until(lambda: bool([*seen.look(0.1)]) and _top(seen) == 2)
        client = feed._link._client
        line = None if client is None else client.socket()
        assert isinstance(line, socket.socket)
        line.shutdown(socket.SHUT_RDWR)  # and nobody looks, until more has happened
        for number in (3, 4):
            running.publisher.event("fault", detail=str(number))
        wait_until(lambda: running.outbox.waiting(0, 9) == ())
        wait_until(lambda: any(isinstance(each, Up) for each in list(seen.look(0.1))))
        running.publisher.event("fault", detail="5")
        wait_until(lambda: (list(seen.look(0.1)), _top(seen) == 5 and not _missed(seen))[1])
        dock = seen.picture.docks["dock7"]
        assert [each.detail for each in dock.events][-4:] == ["2", "3", "4", "5"]


def test_without_the_right_to_ask_that_is_said_once_and_watching_goes_on(bench: PublishBench) -> None:
    acl = bench.directory / "acl"
    acl.write_text("topic read preroll/#\n", encoding="ascii")
    broker = bench.broker(f"acl_file {acl}")
    with feeding(bench, broker.port) as feed:
        seen = Seen(feed, _empty(), "broker", replay=True)
        wait_until(lambda: (list(seen.look(0.1)), seen.connected)[1])
        feed.publish(TOPICS.replay, encode_payload(ReplayRequest(series="0" * 16, first=1, last=2)))
        wait_until(lambda: (list(seen.look(0.1)), bool(seen.picture.replay_refused))[1])
        assert seen.connected
    assert any("no replay" in line for line in site_lines(seen.picture))


def test_a_wrong_password_a_wrong_authority_and_no_broker_are_one_line_each(
    bench: PublishBench, tmp_path: Path
) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    pair = ours.issue("broker", server=True)
    tls = [f"cafile {ours.file}", f"certfile {pair.certificate}", f"keyfile {pair.key}"]
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-c", "-b", users, "fleet", "right"], check=True)
    users.chmod(0o644)
    broker = bench.broker(*tls, "allow_anonymous false", f"password_file {users}")
    url = f"mqtts://127.0.0.1:{broker.port}"
    for word in ("right", "wrong"):
        (tmp_path / word).write_text(f"{word}\n", encoding="ascii")
    with_user = ("--broker", url, "--user", "fleet", "--once")
    good = watch(*with_user, "--ca", ours.file, "--password-file", str(tmp_path / "right"))
    assert good.exit_code == 0, good.output
    assert "site north: 0 docks" in good.output
    wrong = watch(*with_user, "--ca", ours.file, "--password-file", str(tmp_path / "wrong"))
    assert isinstance(wrong.exception, WatchError)
    assert "Not authorized" in str(wrong.exception)
    foreign = watch(*with_user, "--ca", theirs.file, "--password-file", str(tmp_path / "right"))
    assert "certificate does not hold" in str(foreign.exception)
    nobody = watch("--broker", "mqtt://127.0.0.1:1", "--once")
    assert "not reached" in str(nobody.exception)


def test_the_drawing_shows_bars_and_nothing_that_moves_the_cursor() -> None:
    from rich.console import Console

    picture = hear(_empty(), TOPICS.bay("1"), encode_payload(bay(ESCAPE)), 0)
    page = io.StringIO()
    Console(width=120, file=page).print(draw_site(picture, "mqtt://broker"))
    text = page.getvalue()
    assert "████████░░░░░░░░ 5/10 MiB" in text
    assert "no alarms" in text
    assert "\x1b" not in text
    assert printable(ESCAPE) == "·[2Jgone"


def _empty() -> SitePicture:

    return empty_site("preroll", "north")


def _top(seen: Seen) -> int | None:
    dock = seen.picture.docks.get("dock7")
    return dock.numbers.top if dock else None


def _missed(seen: Seen) -> int:
    return seen.picture.docks["dock7"].numbers.missed

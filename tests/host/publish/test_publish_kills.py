"""Every event reaches the broker: the agent killed at random, the broker killed, subscribers with gaps."""

import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest

from host.publish import Outbox, ReplayRequest, encode_payload
from tests.campaign.report import build, machine
from tests.host.publish.brokerbench import (
    PATIENCE_S,
    TOPICS,
    PublishBench,
    Watcher,
    bench,
    needs_mosquitto,
    wait_until,
)
from tests.host.publish.publishing import run_publisher

__all__ = ["bench"]
pytestmark = needs_mosquitto
REPOSITORY = Path(__file__).parents[3]
REPORT = REPOSITORY / "docs" / "reports" / "mqtt-kills.md"
LONG_KILLS = 100
LONG = pytest.param(LONG_KILLS, 1000, marks=pytest.mark.long, id="100 kills")


def first_occurrences(watcher: Watcher) -> list[int]:
    return list(dict.fromkeys(each.number for each in watcher.events()))


@pytest.mark.parametrize(("kills", "count"), [pytest.param(10, 100, id="10 kills"), LONG])
def test_an_agent_killed_at_random_loses_no_event(bench: PublishBench, kills: int, count: int) -> None:
    broker = bench.broker()
    watcher = bench.watcher(broker.port)
    dice = random.Random(5)
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.host.publish.publishing", "tests.host.publish.brokerbench"])
    for kill in range(kills + 1):
        arguments = (str(bench.directory), broker.port, count * (kill + 1) // (kills + 1), 0.002)
        process = forks.Process(target=run_publisher, args=arguments, daemon=True)
        process.start()
        assert process.pid is not None
        if kill < kills:
            process.join(dice.uniform(0.0, 0.6))
        else:
            watcher.wait(lambda: first_occurrences(watcher) == list(range(1, count + 1)))
            watcher.wait(lambda: watcher.states()[-1] == "online")
        os.kill(process.pid, signal.SIGKILL)
        process.join(PATIENCE_S)
    watcher.wait(lambda: watcher.states()[-1] == "offline")
    assert first_occurrences(watcher) == list(range(1, count + 1))
    outbox = Outbox(bench.directory / "outbox.db")
    assert outbox.held().last == count
    outbox.close()
    if kills >= LONG_KILLS:
        write_kills_report(kills, watcher, count)


def write_kills_report(kills: int, watcher: Watcher, count: int) -> None:
    came = len(watcher.events())
    lines = [
        "# Status over MQTT: kills of the publisher",
        "",
        f"A process with the publisher and its outbox made {count:,} events towards a real mosquitto and was",
        f"killed (SIGKILL) {kills} times, 0 to 0.6 s after each of its starts; a subscriber stayed connected.",
        "",
        "- Command: `make long` (`pytest -m long tests/host/publish/test_publish_kills.py`); seed 5",
        f"- Build: {build()}",
        f"- Machine: {machine()}",
        f"- Events: {count:,} numbered, {count:,} at the subscriber, first occurrences in order of number",
        f"- Messages: {came:,}, so {came - count:,} came more than once",
        "- State at the end: `online` while it ran, `offline` after the last kill",
        "",
    ]
    REPORT.write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize("persistence", [False, True], ids=["forgetful", "persistent"])
def test_a_broker_killed_again_and_again_gets_every_event(bench: PublishBench, persistence: bool) -> None:
    broker = bench.broker(persistence=persistence)
    running = bench.publisher(broker.port)
    watcher = bench.watcher(broker.port)
    for _ in range(3):
        for _ in range(20):
            running.publisher.event("fault")
        seen = len(watcher.messages)
        broker.kill()
        for _ in range(5):
            running.publisher.event("fault")
        broker.start()
        watcher.wait_more(seen)
    wait_until(lambda: not running.outbox.waiting(0, 1))
    have = set(first_occurrences(watcher))  # a subscriber misses what came while it was away itself
    missing = set(range(1, 76)) - have
    if missing:
        request = ReplayRequest(series=running.outbox.series, first=min(missing), last=max(missing))
        watcher.publish(TOPICS.replay, encode_payload(request))
    watcher.wait(lambda: set(first_occurrences(watcher)) == set(range(1, 76)))
    watcher.wait(lambda: watcher.states()[-1] == "online")


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_a_subscriber_that_sees_a_gap_asks_and_has_all(bench: PublishBench, count: int) -> None:
    port = bench.broker().port
    running = bench.publisher(port)
    for _ in range(count - 1):
        running.publisher.event("fault")
    wait_until(lambda: not running.outbox.waiting(0, 1))
    watcher = bench.watcher(port)
    running.publisher.event("clip_stored")
    watcher.wait(lambda: bool(watcher.events()))
    [seen] = watcher.events()
    assert seen.number == count  # so 1 to count - 1 are missing
    watcher.publish(TOPICS.replay, encode_payload(ReplayRequest(series=seen.series, first=1, last=count - 1)))
    watcher.wait(lambda: len(watcher.events()) == count)
    assert [each.number for each in watcher.events()] == [count, *range(1, count)]
    again = [each for each in watcher.messages if each.topic == TOPICS.event][1]
    assert ("replay", "true") in getattr(again.properties, "UserProperty", ())

"""A publisher and a real broker: the whole picture, births and deaths."""


from tests.host.publish.brokerbench import PublishBench, bench, needs_mosquitto

__all__ = ["bench"]
pytestmark = needs_mosquitto


def test_birth_events_and_a_clean_end(bench: PublishBench) -> None:
    port = bench.broker().port
    watcher = bench.watcher(port)
    running = bench.publisher(port)
    assert running.publisher.event("docked", device="cam0042", data={"bay": "1"}) == 1
    watcher.wait(lambda: bool(watcher.events()))
    running.end()
    watcher.wait(lambda: watcher.states() == ["online", "stopped"])
    assert [(each.number, each.kind) for each in watcher.events()] == [(1, "docked")]

"""The bench of status over MQTT, in small: two docks as processes, ours and the peer."""

import pytest

from bench.mqtt import mqtt_bench
from bench.mqtt_dock import Order, workload
from bench.report import text
from preroll.demo.broker import find_broker


def test_the_workload_is_the_same_each_time_in_order_and_ends_clips() -> None:
    order = Order(0, "site0", "dock0", bays=4, seconds=20, raw=False)
    moments = list(workload(order))
    assert moments == list(workload(order))
    assert [at_s for at_s, _, _ in moments] == sorted(at_s for at_s, _, _ in moments)
    assert len(moments) == 4 * 20 * 4
    stored = [clip for _, _, clip in moments if clip is not None]
    assert len(stored) == len(set(stored)) == 4 * 2


def test_two_docks_in_small() -> None:
    make = find_broker()
    if make is None or make.protocol != "5":
        pytest.skip("mosquitto is not installed")
    section = mqtt_bench(seconds=1, docks=2, bays=2)
    shown = text(section)
    ours, peer = section.tables[0].rows
    assert "4 cameras in 2 docks in 2 sites" in section.method
    assert "paho alone" in shown
    for row in (ours, peer):
        assert float(row[-1]) > 0  # messages a second
        assert float(row[2].split()[0]) > 1  # MiB
    assert "below 5% of one core" in section.goals[0].goal

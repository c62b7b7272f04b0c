"""Readings of sysfs, levels with hysteresis, the battery's time left, and what all of it means."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture.sound.level import LevelMeter
from device.capture.sound.microphone import PcmBlock
from device.capture.source import StateKind
from device.health.config import HealthConfig
from device.health.levels import BatteryJudge, Threshold
from device.health.picture import PictureCore
from device.health.readings import (
    BatteryReading,
    CardReading,
    read_battery,
    read_card,
    read_temperature_millicelsius,
    read_throttling,
)
from device.health.report import HealthJudge
from device.health.storagewatch import StorageWatch
from device.recording.events import HealthLevel, StorageLevel
from device.vault.space import Reserve
from evidence.clock import ClockSource, UtcMapping
from evidence.storage import PosixAppendFile

MINUTE_NS = 60_000_000_000
S = 1_000_000_000


def sysfs(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def battery(root: Path, **files: str) -> BatteryReading | None:
    place = {f"class__power_supply__BAT0__{name}": text for name, text in {"type": "Battery", **files}.items()}
    return read_battery(sysfs(root, class__power_supply__AC__type="Mains", **place))


def test_a_battery_is_found_beside_a_mains_adapter(tmp_path: Path) -> None:
    assert battery(tmp_path, capacity="42", status="Discharging") == BatteryReading(42, charging=False)


@pytest.mark.parametrize(
    ("files", "minutes"),
    [
        ({"time_to_empty_now": "600"}, 10.0),
        ({"energy_now": "2000000", "power_now": "4000000"}, 30.0),
        ({"charge_now": "1000000", "current_now": "-500000"}, 120.0),
        ({"charge_now": "1000000", "current_now": "0"}, None),
        ({"charge_now": "rubbish", "current_now": "1"}, None),
    ],
)
def test_the_gauge_says_how_long_it_lasts(files: dict[str, str], minutes: float | None, tmp_path: Path) -> None:
    found = battery(tmp_path, capacity="50", **files)
    assert found is not None
    assert found.minutes_left == minutes


def test_where_nothing_tells_nothing_is_told(tmp_path: Path) -> None:
    assert read_battery(tmp_path) is None
    assert battery(tmp_path, status="Discharging") is None
    assert read_temperature_millicelsius(tmp_path) is None
    assert read_throttling(tmp_path) is None
    assert read_card(tmp_path, tmp_path) == CardReading()


def test_throttling_by_firmware_and_by_its_alarm(tmp_path: Path) -> None:
    alarm = sysfs(
        tmp_path / "a", class__hwmon__hwmon1__name="rpi_volt", class__hwmon__hwmon1__in0_lcrit_alarm="1"
    )
    assert read_throttling(alarm) == ("under-voltage",)
    firmware = tmp_path / "b/devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005\n")
    assert read_throttling(tmp_path / "b") == ("under-voltage", "throttled")


@given(st.lists(st.floats(0, 100, allow_nan=False), max_size=40))
def test_a_level_changes_only_outside_its_hysteresis(values: list[float]) -> None:
    threshold = Threshold(15, 3, falling=True)
    for value in values:
        was, now = threshold.reached, threshold.judge(value)
        assert now if value <= 15 else (not now if value > 18 else now is was)


def test_ten_minutes_left_is_an_alarm_at_any_charge() -> None:
    judge = BatteryJudge(HealthConfig())
    assert not judge.judge(BatteryReading(60, minutes_left=11.0), 0).low
    low = judge.judge(BatteryReading(60, minutes_left=10.0), S)
    assert (low.low, low.critical) == (True, False)
    assert judge.judge(BatteryReading(60, minutes_left=12.0), 2 * S).low  # within the hysteresis
    assert judge.judge(BatteryReading(60, minutes_left=1.0), 3 * S).critical


def test_a_gauge_without_an_estimate_is_judged_by_its_fall() -> None:
    judge = BatteryJudge(HealthConfig())
    levels = [judge.judge(BatteryReading(30 - minute), minute * MINUTE_NS) for minute in range(25)]
    assert levels[1].minutes_left is None
    assert levels[10].minutes_left == pytest.approx(20)
    assert [level.low for level in levels].index(True) == 15  # by charge, at 15 %
    fast = BatteryJudge(HealthConfig())
    falls = [fast.judge(BatteryReading(60 - 5 * minute), minute * MINUTE_NS) for minute in range(5)]
    assert falls[-1].low  # 40 % that last 8 minutes


def test_a_charging_battery_blocks_nothing() -> None:
    judge = BatteryJudge(HealthConfig())
    assert judge.judge(BatteryReading(2), 0).critical
    charging = judge.judge(BatteryReading(2, charging=True), S)
    assert (charging.low, charging.critical, charging.minutes_left) == (True, False, None)


def test_what_readings_mean() -> None:
    judge = HealthJudge(HealthConfig())
    ok, warning, alarm = HealthLevel.OK, HealthLevel.WARNING, HealthLevel.ALARM
    assert [judge.temperature(t).level for t in (79_000, 80_000, 76_000, 74_000, None)] == [
        ok,
        alarm,
        alarm,
        ok,
        ok,
    ]
    assert [judge.throttling(c).level for c in (None, (), ("throttled",), ("under-voltage",))] == [
        ok,
        ok,
        warning,
        alarm,
    ]
    assert [judge.card(CardReading(e, w)).level for e, w in ((0, 70), (1, 0), (None, 90))] == [ok, alarm, alarm]
    assert [judge.microphone(s, q).level for s, q in (("", True), ("present", True), ("lost", False))] == [
        ok,
        warning,
        alarm,
    ]
    unknown = UtcMapping(monotonic_ns=1, utc_ns=None, source=ClockSource.NONE)
    off = UtcMapping(monotonic_ns=1, utc_ns=1, source=ClockSource.NTP, error_ns=60 * S)
    assert [judge.clock(unknown).level, judge.clock(off).level] == [alarm, warning]


def test_a_covered_microphone_is_noticed_after_a_while() -> None:
    meter = LevelMeter(-60.0, 2 * S)
    quiet, loud = bytes(9600), b"\x00\x20" * 4800
    for number in range(21):
        assert not meter.is_quiet
        meter.push(PcmBlock(number * S // 10, quiet))
    assert meter.is_quiet
    meter.push(PcmBlock(21 * S // 10, loud))
    assert not meter.is_quiet


def test_a_source_that_hangs_is_told_once_and_started_again_ever_later() -> None:
    core = PictureCore(10 * S, began_ns=0)
    core.heard(StateKind.RUNNING)
    assert core.look(S, S).report is None
    tries = [second for second in range(2, 200) if core.look(S, second * S).restart]
    assert tries[:4] == [12, 22, 42, 82]
    assert core.progress_ns(200 * S) == 200 * S
    back = core.look(201 * S, 201 * S)
    assert back.report is not None
    assert back.report.kind is StateKind.RUNNING


def test_a_camera_that_watches_itself_is_left_alone() -> None:
    core = PictureCore(10 * S, began_ns=0)
    assert core.look(None, 60 * S).report is None  # it is being opened
    core.heard(StateKind.STALLED)
    assert not core.look(None, 500 * S).restart


def test_the_probe_leaves_nothing_behind_and_counts_as_an_answer(tmp_path: Path) -> None:
    posted: list[StorageLevel] = []
    silent_ns: list[int] = []

    def open_file(path: Path) -> PosixAppendFile:
        silent_ns.append(watch.silent_ns(9))
        return PosixAppendFile(path)

    watch = StorageWatch(
        tmp_path,
        Reserve(tmp_path / ".reserve", 4096),
        posted.append,
        minimum_bytes=1,
        now_ns=lambda: 5,
        wants_probe=lambda: True,
        open_file=open_file,
    )
    (tmp_path / ".probe").write_bytes(b"of a crash")
    watch.look()
    assert silent_ns == [4]
    assert watch.silent_ns(1_000 * S) == 0  # nothing was asked since
    assert not posted[0].blocked
    assert [path.name for path in tmp_path.iterdir()] == [".reserve"]

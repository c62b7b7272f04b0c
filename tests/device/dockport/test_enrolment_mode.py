"""A camera that belongs to nobody: what it shows, what it refuses, and how its id is found afterwards."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from device.config import ConfigError, DeviceConfig, parse_config
from device.controls.bench_board import BenchBoard
from device.controls.patterns import IndicatorState, Signal
from device.dockport.enrolmode import EnrolmentMode, open_scratch, scratch_fingerprint
from device.identity import FACTS, EnrolmentFacts, board_serial, has_identity, identified
from device.selftest import run_selftest
from device.vault.layout import format_vault
from evidence.errors import EvidenceError
from tests.device.dockport.dockbench import wait_until

TOML = """\
[device]
vault = "vault"
keys = "keys"

[camera]
source = "synthetic"
width = 160
height = 96

[sound]
microphone = "none"

[dockport]
listen = "127.0.0.1:0"
"""
FACTS_OF_IT = EnrolmentFacts(1, "cam0042", "b1", "0" * 64, "1" * 64)


@pytest.fixture
def config() -> DeviceConfig:
    return parse_config(TOML, "device.toml")


@pytest.fixture
def mode(
    config: DeviceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[EnrolmentMode, BenchBoard, list[object]]]:
    board, seen = BenchBoard(config.controls), list[object]()
    mode = EnrolmentMode(config, tmp_path, factory=board.factory)
    monkeypatch.setattr(mode.panel, "show", seen.append)
    monkeypatch.setattr(mode.panel, "signal", seen.append)
    thread = threading.Thread(target=mode.run, daemon=True)
    thread.start()
    yield mode, board, seen
    mode.stop()
    thread.join(30)
    assert not thread.is_alive()
    board.close()


def test_it_says_that_it_cannot_record_and_shows_its_fingerprint(
    mode: tuple[EnrolmentMode, BenchBoard, list[object]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    camera, board, seen = mode
    wait_until(lambda: IndicatorState.NOT_ENROLLED in seen)
    board.press()
    wait_until(lambda: camera.panel.core.button.next_deadline_ns() is not None)
    board.release()
    wait_until(lambda: Signal.REFUSED in seen)
    assert "nothing can be recorded" in caplog.text
    board.press()
    wait_until(lambda: seen[-1] is IndicatorState.ENROLLING)
    board.release()
    wait_until(lambda: seen[-1] is IndicatorState.NOT_ENROLLED)


def test_its_fingerprint_outlives_a_restart_and_a_key_that_was_cut_short(tmp_path: Path) -> None:
    _, first = open_scratch(tmp_path)
    assert (open_scratch(tmp_path)[1], scratch_fingerprint(tmp_path)) == (first, first)
    (tmp_path / "enrolment" / "enrolment.pem").unlink()
    assert scratch_fingerprint(tmp_path) is None
    assert open_scratch(tmp_path)[1] != first


def test_the_selftest_says_who_it_is_not(
    config: DeviceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    _, fingerprint = open_scratch(tmp_path / "keys")
    named = msgspec.structs.replace(config, device=msgspec.structs.replace(config.device, serial="b1"))
    findings = {each.part: each for each in run_selftest(named, tmp_path, camera_timeout_s=0.0)}
    assert findings["identity"].fatal
    assert fingerprint in findings["identity"].detail
    assert "board b1" in findings["identity"].detail
    assert "keys" not in findings
    assert not (tmp_path / "vault" / "vault.json").exists()


@pytest.mark.parametrize("name", ["evidence.key", "link.pem", "enrolment.json", "enrolment.new"])
def test_any_part_of_an_identity_is_one(tmp_path: Path, name: str) -> None:
    assert not has_identity(tmp_path)
    (tmp_path / name).touch()
    assert has_identity(tmp_path)


def test_the_id_comes_from_the_enrolment(config: DeviceConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no id"):
        identified(config, tmp_path)
    (tmp_path / FACTS).write_bytes(msgspec.json.encode(FACTS_OF_IT))
    assert identified(config, tmp_path).device.id == "cam0042"
    other = msgspec.structs.replace(config, device=msgspec.structs.replace(config.device, id="cam0043"))
    with pytest.raises(ConfigError, match="another id"):
        identified(other, tmp_path)
    (tmp_path / FACTS).write_bytes(b"{")
    assert identified(other, tmp_path).device.id == "cam0043", "a camera that knows its id records"
    with pytest.raises(ConfigError, match="cannot use"):
        identified(config, tmp_path)


def test_the_boards_number(config: DeviceConfig, tmp_path: Path) -> None:
    source = tmp_path / "serial-number"
    assert board_serial(config, source) is None
    source.write_bytes(b"100000003d1d2c4f\x00")
    assert board_serial(config, source) == "100000003d1d2c4f"
    source.write_bytes(b"a b\x00")
    assert board_serial(config, source) is None


def test_what_it_cannot_be_enrolled_with_is_said_at_the_start(config: DeviceConfig, tmp_path: Path) -> None:
    board = BenchBoard(config.controls)
    format_vault(tmp_path / "vault", "cam0007")
    other = msgspec.structs.replace(config, device=msgspec.structs.replace(config.device, id="cam0043"))
    with pytest.raises(ConfigError, match="another camera's"):
        EnrolmentMode(other, tmp_path, factory=board.factory)
    nowhere = msgspec.structs.replace(config.dockport, anchors="nowhere.pem")
    with pytest.raises(ConfigError, match="anchors"):
        EnrolmentMode(msgspec.structs.replace(config, dockport=nowhere), tmp_path, factory=board.factory)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "anchors.pem").write_bytes(b"no certificate")
    with pytest.raises(EvidenceError, match="unusable root"):
        EnrolmentMode(config, tmp_path, factory=board.factory)
    board.close()

"""What docks left in the vault: a configuration replaced whole or not at all, the time floor, the shift."""

from pathlib import Path

import pytest

from device.vault.configstore import PushedConfig, publish_config, read_config, settle_config
from device.vault.dockstate import DockMemory, Shift
from device.vault.layout import VaultLayout, format_vault, open_layout
from evidence.clock import ClockSource, UtcMapping, parse_utc
from evidence.errors import EvidenceError
from evidence.steps import Operation, set_step_hook

OLD = PushedConfig(b'{"version":1}', b"old signature")
NEW = PushedConfig(b'{"version":2}', b"new signature")
START = "2026-11-22T06:00:00.000000Z"
END = "2026-11-22T14:00:00.000000Z"


class KilledError(BaseException):
    """The process is gone."""


def killed_at(at: int, root: Path) -> bool:
    """Publish NEW, and die before a step; whether it came to that."""
    left = at

    def hook(operation: Operation, path: Path) -> None:
        nonlocal left
        if left <= 0:
            raise KilledError
        left -= 1

    set_step_hook(hook)
    try:
        publish_config(root, NEW)
    except KilledError:
        return True
    finally:
        set_step_hook(None)
    return False


def test_a_configuration_is_the_old_pair_or_the_new_one_whatever_step_was_the_last(tmp_path: Path) -> None:
    seen: list[PushedConfig | None] = []
    for at in range(100):
        root = tmp_path / f"vault{at}"
        root.mkdir()
        publish_config(root, OLD)
        dead = killed_at(at, root) and killed_at(at, root)
        seen.append(read_config(root))
        settle_config(root)
        assert read_config(root) == seen[-1]
        assert not (root / "config.new").exists()
        if not dead:
            break
    assert seen[0] == OLD
    assert seen[-1] == NEW
    assert [each for each in seen if each not in (OLD, NEW)] == []


def test_before_the_first_push_there_is_none_and_damage_is_said(tmp_path: Path) -> None:
    assert read_config(tmp_path) is None
    (tmp_path / "config.new").write_bytes(b"\0" * 100)
    with pytest.raises(EvidenceError, match="damaged"):
        read_config(tmp_path)


@pytest.fixture
def layout(tmp_path: Path) -> VaultLayout:
    format_vault(tmp_path / "vault", "cam0042")
    return open_layout(tmp_path / "vault", "cam0042")


def at(utc: str | None, source: ClockSource = ClockSource.DOCK) -> UtcMapping:
    return UtcMapping(monotonic_ns=0, utc_ns=None if utc is None else parse_utc(utc), source=source)


def test_the_time_floor_only_rises_and_outlives_a_restart(layout: VaultLayout) -> None:
    memory = DockMemory(layout)
    assert memory.time_floor_utc_ns == 0
    memory.raise_time_floor(parse_utc(END))
    memory.raise_time_floor(parse_utc(START))
    assert DockMemory(layout).time_floor_utc_ns == parse_utc(END)


def test_a_shift_has_a_start_an_end_and_needs_a_clock(layout: VaultLayout) -> None:
    DockMemory(layout).assign(Shift("w-7f3a", START, END))
    memory = DockMemory(layout)
    assert memory.wearer_at(at(START)) == "w-7f3a"
    assert memory.wearer_at(at("2026-11-22T05:59:59.999999Z")) is None
    assert memory.wearer_at(at(END)) is None
    assert memory.wearer_at(at(None, ClockSource.NONE)) is None


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 64, b"{}x", b'{"format":2}', b'{"time_floor_utc":"2026-02-30T00:00:00.000000Z"}']
)
def test_damage_is_said_and_keeps_nothing_from_working(layout: VaultLayout, content: bytes) -> None:
    (layout.root / "dock.json").write_bytes(content)
    memory = DockMemory(layout)
    assert "damaged" in memory.damage
    assert memory.time_floor_utc_ns == 0
    memory.raise_time_floor(parse_utc(START))
    assert DockMemory(layout).damage == ""

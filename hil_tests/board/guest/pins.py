"""The virtual board's lines: a gpio-sim chip named like a Pi's."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["LINES", "Pins"]

LINES = 54
"""As many as a Pi 4's first chip has."""
_CONFIG = Path("/sys/kernel/config/gpio-sim/board")
_SPIN_NS = 2_000_000
"""Sleep is not exact: for the last stretch before an edge the clock is watched."""
_NS_PER_S = 1_000_000_000
_PULL = (b"pull-down", b"pull-up")


class Pins:
    """The chip. Inputs are driven by their pull; a line that software drives ignores it."""

    def __init__(self) -> None:
        self._chip = _make_chip()
        self.base = int((_only(self._chip.parent.glob("gpio/gpiochip*")) / "base").read_text())
        self._pulls: dict[int, int] = {}

    def drive(self, edges: Sequence[tuple[int, int, int]], start_ns: int) -> list[tuple[int, int]]:
        """Put lines to levels at set times.

        `edges` are (line, level, nanoseconds after `start_ns`); `start_ns` is CLOCK_MONOTONIC, 0 for now.
        Returns the times before and after each change: the kernel's time of the edge is between them.
        """
        for line, _, _ in edges:
            self._open(line)
        start_ns = start_ns or time.monotonic_ns()
        done = []
        for line, level, offset_ns in edges:
            _wait_until(start_ns + offset_ns)
            before_ns = time.monotonic_ns()
            os.pwrite(self._pulls[line], _PULL[level], 0)
            done.append((before_ns, time.monotonic_ns()))
        return done

    def level(self, line: int) -> int:
        """Read a line's level, output or input."""
        return int((self._chip / f"sim_gpio{line}" / "value").read_text())

    def _open(self, line: int) -> None:
        if line not in self._pulls:
            self._pulls[line] = os.open(self._chip / f"sim_gpio{line}" / "pull", os.O_WRONLY)


def _wait_until(at_ns: int) -> None:
    while (left_ns := at_ns - time.monotonic_ns()) > 0:
        if left_ns > 2 * _SPIN_NS:
            time.sleep((left_ns - _SPIN_NS) / _NS_PER_S)


def _make_chip() -> Path:
    bank = _CONFIG / "bank0"
    bank.mkdir(parents=True)
    (bank / "num_lines").write_text(str(LINES))
    (bank / "label").write_text("pinctrl-bcm2711")
    for line in range(LINES):
        (bank / f"line{line}").mkdir()
        (bank / f"line{line}" / "name").write_text({0: "ID_SDA", 1: "ID_SCL"}.get(line, f"GPIO{line}"))
    (_CONFIG / "live").write_text("1")
    device = (_CONFIG / "dev_name").read_text().strip()
    chip = (bank / "chip_name").read_text().strip()
    return Path("/sys/devices/platform") / device / chip


def _only(found: Iterator[Path]) -> Path:
    (path,) = found
    return path

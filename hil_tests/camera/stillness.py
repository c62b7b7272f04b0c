"""Whether the machine stood still: a process of the firmware's priority that only wakes.

A virtual machine can be kept from its processors for tenths of a second, and then all that runs on it stands
still. A control process tells that from firmware that is slow: it sleeps 5 ms at a time and notes every sleep
that took over 50 ms. It holds no lock, opens no file and shares nothing with the firmware.
"""

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import msgspec

__all__ = ["Standstill", "Watcher", "take_priority"]

_SLEEP_S, _LATE_NS = 0.005, 50_000_000
_UNIT_NICE = -10
"""What systemd/preroll-device.service gives the firmware: other work on the machine comes after the camera."""
_AUTOGROUP = Path("/proc/self/autogroup")
"""Where the kernel groups processes by session, a nice value counts within its session only (sched(7))."""


class Standstill(msgspec.Struct, frozen=True):
    """A time between two instants of CLOCK_MONOTONIC in which the control process did not get to run."""

    start_ns: int
    end_ns: int


def take_priority() -> None:
    """Give this process and its session the firmware's priority; without root it keeps the one that it has."""
    with contextlib.suppress(OSError):
        os.nice(_UNIT_NICE)
        _AUTOGROUP.write_text(str(_UNIT_NICE), encoding="ascii")


class Watcher:
    """The control process; `stop` ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hil_tests.camera.stillness"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a priority counts within a session only
        )

    def stop(self) -> tuple[Standstill, ...]:
        """End it; returns what it noticed, oldest first."""
        told, _ = self._process.communicate("end\n", timeout=60)
        return tuple(Standstill(*(int(each) for each in line.split())) for line in told.splitlines())

    def kill(self) -> None:
        """End it in any case."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def _watch() -> None:
    found: list[Standstill] = []
    before_ns = time.monotonic_ns()
    while not select.select([sys.stdin], [], [], _SLEEP_S)[0]:
        now_ns = time.monotonic_ns()
        if now_ns - before_ns > _LATE_NS:
            found.append(Standstill(before_ns, now_ns))
        before_ns = now_ns
    for each in found:
        sys.stdout.write(f"{each.start_ns} {each.end_ns}\n")


if __name__ == "__main__":
    take_priority()
    _watch()

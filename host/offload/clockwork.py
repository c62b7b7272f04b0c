"""The clock service: four time stamps a probe, the quickest counts; and the camera's clock beside the dock's.

Stamps are one reading of the dock's UTC plus its monotonic clock, so a dock whose UTC is stepped meanwhile
tells the camera no nonsense.
"""

from collections.abc import Callable

import msgspec

from docklink.client import DockClient
from docklink.httpclient import AnswerError
from docklink.messages import ClockReport, Probe, SetClock
from docklink.timestamps import quickest
from host.store import CameraMoment

__all__ = ["CameraClock", "exchange_clock"]

_PROBES = 5


class CameraClock(msgspec.Struct, frozen=True):
    """What was learned: the camera's monotonic time at one instant of the dock's; `set_by` its own report."""

    boot: str
    camera_ns: int
    dock_monotonic_ns: int
    now_utc_ns: Callable[[], int]
    monotonic_ns: Callable[[], int]
    set_by: ClockReport | None
    refusal: str = ""

    def moment(self) -> CameraMoment:
        """Return now, on both clocks."""
        elapsed_ns = self.monotonic_ns() - self.dock_monotonic_ns
        return CameraMoment(utc_ns=self.now_utc_ns(), boot=self.boot, monotonic_ns=self.camera_ns + elapsed_ns)


def exchange_clock(
    camera: DockClient,
    *,
    error_ns: int,
    now_utc_ns: Callable[[], int],
    monotonic_ns: Callable[[], int],
    probes: int = _PROBES,
) -> CameraClock:
    """Tell the camera the time; one that is recording declines, and nothing is lost by that.

    Raises:
        LinkError: the session has failed.
    """
    base_utc_ns, base_ns = now_utc_ns(), monotonic_ns()
    stamps: list[tuple[SetClock, int]] = []
    for _ in range(probes):
        sent_ns = monotonic_ns()
        echo = camera.probe_clock(Probe(dock_sent_utc_ns=base_utc_ns + sent_ns - base_ns))
        got_ns = monotonic_ns()
        stamp = SetClock(
            boot=echo.boot,
            dock_sent_utc_ns=base_utc_ns + sent_ns - base_ns,
            received_ns=echo.received_ns,
            sent_ns=echo.sent_ns,
            dock_received_utc_ns=base_utc_ns + got_ns - base_ns,
            dock_error_ns=error_ns,
        )
        stamps.append((stamp, got_ns))
    best = quickest([stamp for stamp, _ in stamps])
    at_ns = next(got_ns for stamp, got_ns in stamps if stamp is best)
    report, refusal = None, ""
    try:
        report = camera.set_clock(best)
    except AnswerError as error:
        refusal = error.problem.detail[:200]
    return CameraClock(
        boot=best.boot,
        camera_ns=best.sent_ns,
        dock_monotonic_ns=at_ns,
        now_utc_ns=now_utc_ns,
        monotonic_ns=monotonic_ns,
        set_by=report,
        refusal=refusal,
    )

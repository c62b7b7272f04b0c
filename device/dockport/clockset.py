"""Taking UTC from a dock: four time stamps, then a mapping with its source, age and bound of error."""

import threading
from collections import deque

from device.dockport.camera import DockedCamera
from device.health.clock import BUILD_UTC_NS
from docklink.errors import ProtocolError
from docklink.messages import ClockReport, Probe, ProbeEcho, SetClock
from docklink.peers import Peer
from docklink.service import RefusalError
from docklink.timestamps import mapping_of
from evidence.clock import UtcMapping, format_utc

__all__ = ["ClockDesk", "clock_report"]

_PROBES = 64


class ClockDesk:
    """Probes and setting. A probe belongs to its session, and so to the thread that serves it."""

    def __init__(self, camera: DockedCamera) -> None:
        self._camera = camera
        self._session = threading.local()

    def probe(self, probe: Probe) -> ProbeEcho:
        """Echo a probe."""
        received_ns = self._camera.clock.read().monotonic_ns
        probes = self._probes()
        echo = ProbeEcho(self._camera.boot, received_ns, self._camera.clock.read().monotonic_ns)
        probes.append((probe.dock_sent_utc_ns, echo.received_ns, echo.sent_ns))
        return echo

    def set(self, peer: Peer, stamps: SetClock) -> ClockReport:
        """Set the clock; raises `RefusalError` where that cannot be."""
        probe = (stamps.dock_sent_utc_ns, stamps.received_ns, stamps.sent_ns)
        if stamps.boot != self._camera.boot or probe not in self._probes():
            raise RefusalError(409, "not a probe of this session")
        if self._camera.recording:
            raise RefusalError(409, "recording: a clip has one clock from its first frame to its last")
        try:
            mapping = mapping_of(stamps)
        except ProtocolError as error:
            raise RefusalError(422, str(error), field="dock_received_utc_ns") from error
        assert mapping.utc_ns is not None  # an exchange of time stamps gives one
        if mapping.utc_ns < BUILD_UTC_NS:
            raise RefusalError(
                422, "a time before this firmware was made: the dock's clock is wrong", field="dock_sent_utc_ns"
            )
        self._probes().clear()
        self._take(peer, mapping, mapping.utc_ns)
        return clock_report(self._camera)

    def end_session(self) -> None:
        """Forget the probes of this thread's session."""
        self._probes().clear()

    def _take(self, peer: Peer, mapping: UtcMapping, utc_ns: int) -> None:
        camera = self._camera
        before = camera.clock.read().utc_at(mapping.monotonic_ns)
        camera.clock.set(mapping)
        camera.note(
            "clock_set",
            {
                "dock": peer.subject_id,
                "before": None if before is None else format_utc(before),
                "after": format_utc(utc_ns),
                "error_ns": mapping.error_ns,
            },
        )
        # A dock whose clock runs ahead must not lock all others out: no later than its own certificate ends.
        floor = utc_ns - (mapping.error_ns or 0)
        if peer.not_after_utc_ns is not None:
            floor = min(floor, peer.not_after_utc_ns)
        camera.memory.raise_time_floor(floor)

    def _probes(self) -> deque[tuple[int, int, int]]:
        probes: deque[tuple[int, int, int]] | None = getattr(self._session, "probes", None)
        if probes is None:
            probes = self._session.probes = deque(maxlen=_PROBES)
        return probes


def clock_report(camera: DockedCamera) -> ClockReport:
    """Say what time the camera has."""
    mapping = camera.clock.read()
    return ClockReport(
        boot=camera.boot,
        monotonic_ns=mapping.monotonic_ns,
        utc=None if mapping.utc_ns is None else format_utc(mapping.utc_ns),
        source=mapping.source,
        error_ns=mapping.error_ns,
        set_ns=mapping.set_ns,
    )

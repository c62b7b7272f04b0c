"""`[metrics]`: figures about the agent for Prometheus, over HTTP on loopback (docs/dock.md lists them).

What happens is counted as it is told; what stands is read when somebody asks. Nothing here waits for storage
but the outbox's own count, and that in the thread of whoever asks.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import CollectorRegistry, Counter, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from evidence.errors import EvidenceError
from host.bays.status import BayState, BayStatus
from host.config import MetricsSection
from host.offload.notices import Notice, NoticeBoard

if TYPE_CHECKING:
    from host.publish import Reporter
    from host.works import Works

__all__ = ["MetricsError", "MetricsServer", "Standing", "begin_metrics"]

FAILURES = frozenset({"clip_interrupted", "clip_quarantined", "integrity_alarm", "fault"})
"""Kinds of notices that count as failures."""
_NS_PER_S = 1e9
_STAMP_CHARACTERS = 16
_JOIN_S = 5.0


class MetricsError(EvidenceError):
    """Figures cannot be served; offload goes on."""


class Standing(msgspec.Struct, frozen=True):
    """How things stand now; `None` where there is no broker, or nobody can tell."""

    bays: tuple[BayStatus, ...]
    free_bytes: int | None
    custody_entries: int
    broker_connected: bool | None
    outbox_events: int | None


class MetricsServer:
    """Serves until `close`; `heard` takes changes, from any thread, and never raises."""

    def __init__(
        self,
        section: MetricsSection,
        standing: Callable[[], Standing],
        *,
        now_utc_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Listen.

        Raises:
            MetricsError: the address cannot be had.
        """
        self._lock = threading.Lock()
        self._sizes: dict[str, tuple[str, int]] = {}
        self.registry = CollectorRegistry(auto_describe=True)
        self._stored = Counter("preroll_dock_offloads", "Clips stored", registry=self.registry)
        self._bytes = Counter(
            "preroll_dock_offload_bytes", "Bytes of footage of stored clips", registry=self.registry
        )
        self._failures = Counter(
            "preroll_dock_failures", "What went wrong, by kind of notice", ["kind"], registry=self.registry
        )
        for kind in sorted(FAILURES):
            self._failures.labels(kind)  # a series that begins with 0 shows its first increase
        self.registry.register(_Standings(standing, now_utc_ns))
        host, port = section.address
        try:
            self._server, self._thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise MetricsError(
                f"[metrics] cannot listen on {section.listen}",
                found=error.strerror or str(error),
                remedy="choose another port",
            ) from error

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._server.server_port
        return port

    def heard(self, change: Notice | BayStatus) -> None:
        """Count."""
        if isinstance(change, BayStatus):
            with self._lock:
                if change.clip is not None and change.clip_bytes:
                    self._sizes[change.bay] = change.clip, change.clip_bytes
        elif change.kind == "clip_stored":
            self._stored.inc()
            with self._lock:
                sizes = dict(self._sizes.values())
            self._bytes.inc(sizes.get(change.clip or "", 0))
        elif change.kind in FAILURES:
            self._failures.labels(change.kind).inc()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_JOIN_S)


class _Standings(Collector):
    """Reads how things stand when it is asked."""

    def __init__(self, standing: Callable[[], Standing], now_utc_ns: Callable[[], int]) -> None:
        self._standing = standing
        self._now_utc_ns = now_utc_ns

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Say nothing: names are fixed below, and nothing is to be read to know them."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield one family after the other."""
        now = self._standing()
        bays = GaugeMetricFamily("preroll_dock_bays", "Bays by state", labels=["state"])
        for state in BayState:
            bays.add_metric([state.value], sum(bay.state is state for bay in now.bays))
        yield bays
        waiting = sum(bay.camera.waiting for bay in now.bays if bay.camera and not bay.queued)
        waiting += sum(bay.queued for bay in now.bays)
        yield _gauge("queue_clips", "Clips of docked cameras still to be taken", waiting)
        yield _gauge(
            "queue_bytes", "Bytes that sessions under way began with", sum(bay.queued_bytes for bay in now.bays)
        )
        ages = [age for bay in now.bays if (age := _age_s(bay.oldest, self._now_utc_ns())) is not None]
        yield _gauge(
            "oldest_clip_age_seconds",
            "Age of the oldest clip to be taken, 0: none",
            max(ages, default=0.0),
        )
        yield _gauge("custody_entries", "Entries of the custody log", now.custody_entries)
        if now.free_bytes is not None:
            yield _gauge("store_free_bytes", "Free space of the store", now.free_bytes)
        if now.outbox_events is not None:
            yield _gauge("outbox_events", "Events that the broker has not acknowledged", now.outbox_events)
        if now.broker_connected is not None:
            yield _gauge("broker_connected", "Whether the broker has us online", int(now.broker_connected))


def begin_metrics(
    section: MetricsSection | None,
    parts: Callable[[], "tuple[Works, Reporter | None]"],
    board: NoticeBoard,
    listen: Callable[[Callable[[Notice | BayStatus], None]], None],
    now_utc_ns: Callable[[], int],
) -> MetricsServer | None:
    """Serve the figures of an agent; an address that cannot be had is announced, and no reason to end."""
    if section is None:
        return None
    try:
        server = MetricsServer(section, lambda: _standing(*parts()), now_utc_ns=now_utc_ns)
    except MetricsError as error:
        board.announce("fault", None, None, str(error))
        return None
    listen(server.heard)
    return server


def _standing(works: "Works", reporter: "Reporter | None") -> Standing:
    health, head = works.store.health(), works.custody.head
    return Standing(
        bays=tuple(bay.status for bay in works.bays),
        free_bytes=health.space.free_bytes if health.space else None,
        custody_entries=head.entries if head else 0,
        broker_connected=None if reporter is None else reporter.status.phase == "online",
        outbox_events=None if reporter is None else reporter.depth,
    )


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"preroll_dock_{name}", about, value=value)


def _age_s(clip: str | None, now_utc_ns: int) -> float | None:
    """Take a clip's age from its name; `None` for one from before its camera knew the time."""
    try:
        began = dt.datetime.strptime((clip or "")[:_STAMP_CHARACTERS], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        return None
    return max(0.0, now_utc_ns / _NS_PER_S - began.timestamp())

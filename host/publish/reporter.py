"""The agent's listener: what it hears of bays and events, put before the publisher.

Called by the bays' own threads. An event costs them one small write to disk; nothing here waits for a broker,
and nothing here raises: a broken outbox is announced and tried again, offload goes on.
"""

import importlib.metadata
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from evidence.clock import format_utc
from host.bays.status import BayStatus
from host.config import DockConfig
from host.control import BrokerStatus
from host.mqttsection import MqttSection
from host.offload.notices import Notice
from host.publish.broker import BrokerSettings, parse_broker
from host.publish.drafts import FOLLOWED
from host.publish.errors import OutboxError
from host.publish.follower import CustodySource, Follower
from host.publish.homeassistant import discovery_payload, discovery_topic
from host.publish.link import PahoLink
from host.publish.opening import open_outbox
from host.publish.outbox import Outbox
from host.publish.payloads import CameraPayload, DataValue, InfoPayload, StoreSpace
from host.publish.phases import Timing
from host.publish.projection import bay_payload, camera_payload, plain
from host.publish.publisher import Publisher
from host.publish.topics import Topics
from host.store import StoreHealth

__all__ = ["BROKER_NOTICE", "Reporter", "settings_of"]

BROKER_NOTICE = "broker"
"""The kind of notices about the broker itself; they are for people at the dock and never published."""
_INFO_NS = 10_000_000_000
_REOPEN_NS = 60_000_000_000
_JOIN_S = 10.0


def settings_of(section: MqttSection, dock: str) -> BrokerSettings:
    """Take what the configuration says of the broker.

    Raises:
        PublishError: its address has another form.
    """
    tls, host, port = parse_broker(section.broker)
    return BrokerSettings(
        host=host,
        port=port,
        client_id=f"preroll-{section.site}-{dock}",
        tls=tls,
        ca=section.ca,
        certificate=section.certificate,
        key=section.key,
        user=section.user,
        password_file=section.password_file,
        protocol=section.protocol,
        keepalive_s=section.keepalive_s,
    )


class Reporter:
    """One dock's reports. `announce` tells people at the dock; `look` is to be called about once a second.

    `custody` gives the log of the open store. What is in it becomes events from there, notices only say that
    something is new.
    """

    def __init__(
        self,
        config: DockConfig,
        section: MqttSection,
        announce: Callable[[str, str], object],
        *,
        custody: Callable[[], CustodySource],
        now_utc_ns: Callable[[], int],
        timing: Timing | None = None,
    ) -> None:
        self._dock = config.dock.id
        self._section = section
        self._path = Path(config.dock.state) / "outbox.db"
        self._bays = tuple(each.name for each in config.bay)
        self._announce = announce
        self._custody = custody
        self._begin = custody().head
        self._now_utc_ns = now_utc_ns
        progress_ns = int(section.progress_s * 1e9)
        self._timing = timing or Timing(progress_ns=progress_ns, window=section.window)
        self._lock = threading.Lock()
        self._last: dict[str, BayStatus] = {}
        self._docked: dict[str, CameraPayload] = {}
        self._outbox: Outbox | None = None
        self._publisher: Publisher | None = None
        self._lost = 0
        self._closed = False
        self._next_info_ns = self._next_open_ns = 0
        self.open(0)

    @property
    def status(self) -> BrokerStatus:
        """How it stands with the broker."""
        if self._publisher is None:
            return BrokerStatus("no outbox", "events are lost", 0, self._lost, 0)
        return self._publisher.status

    @property
    def depth(self) -> int | None:
        """How many events wait for the broker; `None` if nobody can tell."""
        try:
            return None if self._outbox is None else self._outbox.unacknowledged()
        except OutboxError:
            return None  # the publisher meets the same, and says so

    def open(self, now_ns: int) -> None:
        """Open the outbox and begin to publish; if that fails, `look` tries again."""
        section = self._section
        self._next_open_ns = now_ns + _REOPEN_NS
        outbox: Outbox | None = None
        try:
            outbox, trouble = open_outbox(self._path, limit=section.outbox_events)
            if trouble:
                self._trouble(trouble)
            follower = Follower(outbox, self._dock, self._custody, self._begin, self._trouble)
            publisher = Publisher(
                outbox,
                Topics(section.prefix, section.site, self._dock),
                PahoLink(settings_of(section, self._dock)),
                follower=follower,
                bays=self._bays,
                retired=section.retired,
                timing=self._timing,
                on_trouble=self._trouble,
                now_utc_ns=self._now_utc_ns,
            )
        except OutboxError as error:
            if outbox is not None:
                outbox.close()
            self._trouble(str(error))
            return
        if section.homeassistant is not None:
            topics = Topics(section.prefix, section.site, self._dock)
            payload = discovery_payload(topics, self._bays, importlib.metadata.version("preroll"))
            publisher.present(discovery_topic(section.homeassistant, topics), payload)
        self._outbox, self._publisher = outbox, publisher
        publisher.start()

    def heard(self, change: Notice | BayStatus) -> None:
        """Take a change, from any thread."""
        if isinstance(change, BayStatus):
            with self._lock:
                self._bay_changed(change)
        elif change.kind in FOLLOWED and (change.kind != "fork" or change.clip is not None):
            if self._publisher is not None:  # else the log keeps it
                self._publisher.follow()
        elif change.kind != BROKER_NOTICE:
            self._event(change.kind, device=change.device, clip=change.clip, detail=change.detail, data={})

    def look(self, now_ns: int, store: str, health: StoreHealth, custody_entries: int) -> None:
        """Show how the dock stands, every 10 s; open again what could not be opened."""
        if self._outbox is not None and self._outbox.damaged:
            self._let_go()
            self._next_open_ns = now_ns
        if self._publisher is None or self._outbox is None:
            if now_ns >= self._next_open_ns:
                self.open(now_ns)
            return
        if now_ns < self._next_info_ns:
            return
        self._next_info_ns = now_ns + _INFO_NS
        if not self._publisher.alive:
            self._trouble("the publisher has stopped working; restart the agent")
        try:
            held = self._outbox.held(store)
        except OutboxError as error:
            self._trouble(str(error))
            return
        self._publisher.show(
            InfoPayload(
                dock=self._dock,
                utc=format_utc(self._now_utc_ns()),
                version=importlib.metadata.version("preroll"),
                bays=self._bays,
                store=StoreSpace(
                    store=store,
                    state=health.state.value,
                    detail=plain(health.detail),
                    free_bytes=health.space.free_bytes if health.space else None,
                    total_bytes=health.space.total_bytes if health.space else None,
                ),
                custody_entries=custody_entries,
                events=held,
            ),
            urgent=False,
        )

    def close(self) -> None:
        """Say `stopped`, and end."""
        if not self._closed:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        publisher, outbox = self._publisher, self._outbox
        if publisher is None or outbox is None:
            return
        self._publisher = self._outbox = None
        publisher.stop()
        if publisher.join(_JOIN_S):
            publisher.close()
            outbox.close()

    def _bay_changed(self, now: BayStatus) -> None:
        before = self._last.get(now.bay)
        self._last[now.bay] = now
        publisher = self._publisher
        if publisher is None:
            return
        utc_ns = self._now_utc_ns()
        publisher.show(bay_payload(now, utc_ns), urgent=before is None or _essence(before) != _essence(now))
        was = None if before is None else before.device
        if was != now.device:
            self._moved(publisher, now, was, utc_ns)
        if before is None or before.camera is not now.camera:
            camera = camera_payload(now, utc_ns)
            if camera is not None and camera.device == now.device:
                self._docked[now.bay] = camera
                publisher.show(camera)

    def _moved(self, publisher: Publisher, now: BayStatus, was: str | None, utc_ns: int) -> None:
        left = self._docked.pop(now.bay, None)
        if left is not None:
            publisher.show(msgspec.structs.replace(left, bay=None, utc=format_utc(utc_ns)))
        if was:
            self._event("camera_undocked", device=was, data={"bay": now.bay})
        if now.device:
            self._event("camera_docked", device=now.device, data={"bay": now.bay})

    def _event(
        self,
        kind: str,
        *,
        device: str | None,
        clip: str | None = None,
        detail: str = "",
        data: dict[str, DataValue],
    ) -> None:
        if self._publisher is None:
            self._lost += 1
            return
        self._publisher.event(kind, device=device, clip=clip, detail=detail, data=data)

    def _trouble(self, detail: str) -> None:
        self._announce(BROKER_NOTICE, detail)


def _essence(status: BayStatus) -> tuple[object, ...]:
    """What is told at once; bytes moved wait for their turn."""
    return (status.state, status.device, status.clip, status.step, status.detail, status.failed_sessions)

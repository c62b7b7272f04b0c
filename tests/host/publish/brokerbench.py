"""A real broker on a port of its own, subscribers, and a publisher with everything small and quick."""

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from host.publish import (
    BrokerSettings,
    EventPayload,
    Outbox,
    PahoLink,
    Publisher,
    StatePayload,
    Timing,
    Topics,
    decode_payload,
)

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
needs_clients = pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="no mosquitto-clients")
PATIENCE_S = 60.0
_MS = 1_000_000
QUICK = Timing(
    connect_ns=20_000 * _MS,
    grace_ns=300 * _MS,
    retry_first_ns=20 * _MS,
    retry_longest_ns=200 * _MS,
    refused_first_ns=100 * _MS,
    refused_longest_ns=400 * _MS,
    progress_ns=50 * _MS,
    taken_again_ns=300 * _MS,
    replay_pause_ns=20 * _MS,
    close_ns=10_000 * _MS,
)
TOPICS = Topics("preroll", "north", "dock7")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: object = "") -> None:
    """Wait for something that no event tells of; generous, because machines are loaded."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


class Mosquitto:
    """A broker that can be stopped, killed and started again on the same port."""

    def __init__(
        self, directory: Path, *lines: str, port: int | None = None, persistence: bool = False
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self._lines = lines
        self._persistence = persistence
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(exist_ok=True)

    def start(self) -> None:
        assert MOSQUITTO is not None
        config = self.directory / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", *self._lines]
        if not any(line.startswith("allow_anonymous") for line in lines):
            lines.append("allow_anonymous true")
        if self._persistence:
            lines += ["persistence true", f"persistence_location {self.directory}/", "autosave_interval 1"]
        if os.getuid() == 0:
            lines.append("user root")  # else it becomes another user, who cannot read the test's files
        config.write_text("\n".join(lines) + "\n", encoding="ascii")
        with (self.directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", config], stdout=log, stderr=log)
        wait_until(self._answers, "mosquitto does not start")

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_S)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "mosquitto.log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class Watcher:
    """A subscriber that keeps what it gets; reconnects by itself."""

    def __init__(self, port: int, filters: str = "preroll/#") -> None:
        self.messages: list[MQTTMessage] = []
        self.changed = threading.Condition()
        self._filters = filters
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._got
        self._client.connect("127.0.0.1", port, 60)
        self._client.loop_start()
        assert self._ready.wait(PATIENCE_S)

    def _connected(
        self, client: Client, _data: object, _flags: ConnectFlags, _reason: ReasonCode, _more: Properties | None
    ) -> None:
        client.subscribe(self._filters, 1)

    def _got(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def wait(self, wanted: Callable[[], bool], what: object = "") -> None:
        with self.changed:
            assert self.changed.wait_for(wanted, PATIENCE_S), what or [
                (each.topic, bytes(each.payload)) for each in self.messages[-20:]
            ]

    def wait_more(self, seen: int) -> None:
        """Wait for a message behind the first `seen`."""
        self.wait(lambda: len(self.messages) > seen)

    def last(self, topic: str) -> bytes:
        return next((bytes(each.payload) for each in reversed(self.messages) if each.topic == topic), b"")

    def state(self, topics: Topics = TOPICS) -> StatePayload | None:
        data = self.last(topics.state)
        return decode_payload(data, StatePayload) if data else None

    def states(self, topics: Topics = TOPICS) -> list[str]:
        return [
            decode_payload(bytes(each.payload), StatePayload).state.value
            for each in self.messages
            if each.topic == topics.state
        ]

    def events(self, topics: Topics = TOPICS) -> list[EventPayload]:
        return [
            decode_payload(bytes(each.payload), EventPayload)
            for each in self.messages
            if each.topic == topics.event
        ]

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish, where the broker was just killed once it is back."""

        def published() -> bool:
            with contextlib.suppress(RuntimeError):  # "not currently connected"
                sent = self._client.publish(topic, payload, 1, retain)
                sent.wait_for_publish(PATIENCE_S)
                return sent.is_published()
            return False

        wait_until(published, topic)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        sock = self._client.socket()
        if sock is not None:  # paho's thread may end in the middle of a reconnect, with the socket open
            sock.close()


@dataclasses.dataclass
class PublishBench:
    """Publishers that end with the test."""

    directory: Path
    stack: contextlib.ExitStack

    def broker(self, *lines: str, persistence: bool = False, port: int | None = None) -> Mosquitto:
        made = Mosquitto(self.directory / "broker", *lines, persistence=persistence, port=port)
        made.start()
        self.stack.callback(made.kill)
        return made

    def watcher(self, port: int, filters: str = "preroll/#") -> Watcher:
        made = Watcher(port, filters)
        self.stack.callback(made.close)
        return made

    def settings(self, port: int, **changes: object) -> BrokerSettings:
        values: dict[str, object] = {
            "host": "127.0.0.1",
            "port": port,
            "client_id": "dock7",
            "tls": False,
            "keepalive_s": 60,
            "connect_s": 20.0,
        }
        return BrokerSettings(**{**values, **changes})  # type: ignore[arg-type]  # names are checked by the struct

    def publisher(
        self,
        port: int,
        *,
        name: str = "outbox.db",
        topics: Topics = TOPICS,
        limit: int = 100_000,
        timing: Timing = QUICK,
        bays: tuple[str, ...] = ("1", "2"),
        retired: tuple[str, ...] = (),
        **changes: object,
    ) -> "Running":
        outbox = Outbox(self.directory / name, limit=limit)
        link = PahoLink(self.settings(port, **changes))
        troubles: list[str] = []
        made = Publisher(
            outbox, topics, link, bays=bays, retired=retired, timing=timing, on_trouble=troubles.append
        )
        running = Running(made, outbox, troubles)
        self.stack.callback(running.end)
        made.start()
        return running


@dataclasses.dataclass
class Running:
    """A publisher under way."""

    publisher: Publisher
    outbox: Outbox
    troubles: list[str]
    ended: bool = False

    def wait_phase(self, *phases: str) -> None:
        wait_until(lambda: self.publisher.status.phase in phases, self.publisher.status)

    def wait_trouble(self, text: str) -> str:
        wait_until(lambda: any(text in each for each in self.troubles), self.troubles)
        return next(each for each in self.troubles if text in each)

    def end(self) -> None:
        """Stop cleanly."""
        if not self.ended:
            self.ended = True
            self.publisher.stop()
            assert self.publisher.join(PATIENCE_S)
            self.publisher.close()
            self.outbox.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[PublishBench]:
    with contextlib.ExitStack() as stack:
        yield PublishBench(tmp_path, stack)

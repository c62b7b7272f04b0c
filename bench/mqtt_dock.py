"""One dock's publisher as a process, under a recorded workload: `python -m bench.mqtt_dock` reads orders.

The workload is fixed: every bay moves bytes all the time, four looks a second, and ends a clip every ten
seconds, each bay at another moment; that is more than a dock with its limit of offloads ever has. `raw`
publishes the messages that go out of it with paho alone: no outbox, no session, no rate limit of its own.
"""

import os
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from host.bays.status import BayState, BayStatus, CameraStatus
from host.publish import BrokerSettings, Outbox, PahoLink, Publisher, Topics
from host.publish.payloads import encode_payload
from host.publish.projection import bay_payload, camera_payload, topic_of

__all__ = ["Answer", "Order", "run", "workload"]

_LOOKS_A_SECOND = 4
_CLIP_S = 10
_CLIP_BYTES = 300 << 20
_UTC_NS = 1_767_225_600 * 10**9
_PATIENCE_S = 60.0
_MEMORY = "/dev/shm"
"""Every dock has a disk of its own; here all would wait for one, so that outboxes lie in memory."""


class Order(msgspec.Struct, frozen=True):
    """What to do; `raw`: with paho alone."""

    port: int
    site: str
    dock: str
    bays: int
    seconds: float
    raw: bool


class Answer(msgspec.Struct, frozen=True):
    """What it took, from the word to go until the last message was acknowledged."""

    cpu_s: float
    wall_s: float
    rss_bytes: int


Moment = tuple[float, BayStatus, str | None]
"""When, how a bay stands, and the clip that was stored just then."""


def workload(order: Order) -> Iterator[Moment]:
    """Yield what happens, in order of time."""
    looks = int(order.seconds * _LOOKS_A_SECOND)
    ticks = _CLIP_S * _LOOKS_A_SECOND
    for look in range(looks):
        for bay in range(order.bays):
            age = look + bay * ticks // order.bays
            number, step = divmod(age, ticks)
            device = f"{order.dock}-cam{bay:02}"
            clip = f"20260101T000000Z-{device}-{number + 1:06}"
            status = BayStatus(
                str(bay + 1),
                "usb",
                BayState.OFFLOADING,
                device=device,
                clip=clip,
                step="ciphertext",
                done_bytes=_CLIP_BYTES * step // ticks,
                clip_bytes=_CLIP_BYTES,
                stored=number,
                camera=_camera(device),
            )
            yield look / _LOOKS_A_SECOND, status, clip if step == ticks - 1 else None


def run(order: Order, ready: Callable[[], None]) -> Answer:
    """Connect, call `ready`, which returns at the word to go, and play; all is acknowledged at the end."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if Path(_MEMORY).is_dir() else None) as directory:
        return _raw(order, ready) if order.raw else _ours(order, Path(directory), ready)


def _ours(order: Order, directory: Path, ready: Callable[[], None]) -> Answer:
    topics = Topics("preroll", order.site, order.dock)
    settings = BrokerSettings(
        host="127.0.0.1", port=order.port, client_id=f"bench-{order.site}-{order.dock}", tls=False
    )
    outbox = Outbox(directory / "outbox.db")
    bays = tuple(str(bay + 1) for bay in range(order.bays))
    publisher = Publisher(outbox, topics, PahoLink(settings), bays=bays)
    publisher.start()
    _until(lambda: publisher.status.phase == "online")
    ready()
    begun, began = _cpu_s(), time.monotonic()
    for at_s, status, stored in workload(order):
        _sleep_until(began + at_s)
        publisher.show(bay_payload(status, _UTC_NS), urgent=stored is not None)
        if stored is not None:
            camera = camera_payload(status, _UTC_NS + int(at_s))
            assert camera is not None
            publisher.show(camera)
            publisher.event("clip_stored", device=status.device, clip=stored, data={"custody_entries": 1})
    _sleep_until(began + order.seconds)
    _until(lambda: outbox.unacknowledged() == 0)
    answer = _answer(begun, began)
    publisher.stop()
    publisher.join(_PATIENCE_S)
    publisher.close()
    outbox.close()
    return answer


def _raw(order: Order, ready: Callable[[], None]) -> Answer:
    """Publish what the other one lets through: a bay a second, and each clip's end."""
    topics = Topics("preroll", order.site, order.dock)
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect("127.0.0.1", order.port, 60)
    client.loop_start()
    _until(client.is_connected)
    ready()
    begun, began = _cpu_s(), time.monotonic()
    last = None
    for at_s, status, stored in workload(order):
        _sleep_until(began + at_s)
        if stored is None and at_s != int(at_s):
            continue
        bay = bay_payload(status, _UTC_NS)
        last = client.publish(topic_of(topics, bay), encode_payload(bay), 1, retain=True)
        if stored is not None:
            camera = camera_payload(status, _UTC_NS + int(at_s))
            assert camera is not None
            client.publish(topic_of(topics, camera), encode_payload(camera), 1, retain=True)
            last = client.publish(topics.event, encode_payload(bay), 1)
    _sleep_until(began + order.seconds)
    if last is not None:
        last.wait_for_publish(_PATIENCE_S)
    answer = _answer(begun, began)
    client.disconnect()
    client.loop_stop()
    return answer


def _camera(device: str) -> CameraStatus:
    return CameraStatus(
        device=device,
        firmware="0.1.0",
        recorder="ready",
        battery_percent=80,
        charging=True,
        free_bytes=1 << 36,
        total_bytes=1 << 37,
        wearer="w-7f3a",
        clock_error_ns=1_000_000,
        waiting=3,
        completeness=None,
    )


def _answer(begun_cpu_s: float, began_s: float) -> Answer:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Answer(_cpu_s() - begun_cpu_s, time.monotonic() - began_s, pages * resource.getpagesize())


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _sleep_until(moment_s: float) -> None:
    left_s = moment_s - time.monotonic()
    if left_s > 0:
        time.sleep(left_s)


def _until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError("the broker does not answer")
        time.sleep(0.02)


def _meet(end: socket.socket) -> None:
    end.sendall(b"r")
    end.recv(1)


def _fork(order: Order) -> socket.socket:
    """Let a child play; it writes a byte once it is ready, waits for one, and writes its answer."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        status = 1
        try:
            answer = run(order, lambda: _meet(theirs))
            theirs.sendall(msgspec.json.encode(answer))
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    return ours


def main() -> None:
    """Read a list of orders; fork for each, so that modules are loaded once; say ready, go, and the answers."""
    orders = msgspec.json.decode(sys.stdin.readline(), type=list[Order])
    ends = [_fork(order) for order in orders]
    if any(end.recv(1) != b"r" for end in ends):
        raise SystemExit("a dock does not get ready")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for end in ends:
        end.sendall(b"g")
    answers = [msgspec.json.decode(_all(end), type=Answer) for end in ends]
    sys.stdout.write(msgspec.json.encode(answers).decode() + "\n")


def _all(end: socket.socket) -> bytes:
    return b"".join(iter(lambda: end.recv(65_536), b""))


if __name__ == "__main__":
    main()

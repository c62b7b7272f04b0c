"""What the demo's dock told over MQTT: two subscribers, one from the beginning, one at the end, and the proof.

Both go through the broker as anybody would, with paho; neither asks the dock.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from evidence.documents import CustodyHead
from host.publish import BrokerSettings, DockState, parse_broker
from host.watch import Down, Feed, SitePicture, Up, Watched, empty_site, hear
from preroll.demo.broker import BrokerMake, DemoBroker, find_broker, start_broker
from preroll.demo.errors import DemoError
from preroll.demo.interrupts import join
from preroll.demo.stage import DOCK_ID, SITE, Stage, with_broker

__all__ = ["NO_BROKER", "Listener", "Message", "MessageProof", "Post", "said"]

NO_BROKER = "no MQTT broker is installed: apt-get install mosquitto, or pip install amqtt"
_PREFIX = "preroll"
_MIB = 1024 * 1024
_POLL_S = 0.25
_PATIENCE_S = 20.0
_DIGITS = 16


class Message(msgspec.Struct, frozen=True):
    """A message as a subscriber got it; `at_s` since the listener began, `payload` as JSON says."""

    at_s: float
    topic: str
    retained: bool
    payload: Any


class MessageProof(msgspec.Struct, frozen=True):
    """What both subscribers got; `live` was there from the beginning, `late` came when all was done."""

    broker: str
    protocol: str
    live: tuple[Message, ...]
    late: tuple[Message, ...]
    events: int
    custody_head: str
    defects: tuple[str, ...]


class Listener:
    """A subscriber in a thread of its own."""

    def __init__(self, broker: DemoBroker, name: str, begin_s: float) -> None:
        """Subscribe; returns once the broker has taken that.

        Raises:
            DemoError: it does not.
        """
        tls, host, port = parse_broker(broker.url)
        settings = BrokerSettings(host=host, port=port, client_id=name, tls=tls, protocol=broker.make.protocol)
        self._feed = Feed(settings, (f"{_PREFIX}/{SITE}/#",))
        self._begin_s = begin_s
        self._messages: list[Message] = []
        self._picture = empty_site(_PREFIX, SITE)
        self._changed = threading.Condition()
        self._up = self._ended = False
        self._reason = "no answer"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        if not self.wait(lambda: self._up):
            self.close()
            raise DemoError("the demo cannot listen to its own broker", found=self._reason)

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages so far."""
        with self._changed:
            return tuple(self._messages)

    @property
    def picture(self) -> SitePicture:
        """What they come to."""
        return self._picture

    def wait(self, wanted: Callable[[], bool], timeout_s: float = _PATIENCE_S) -> bool:
        """Wait until something is so; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(wanted, timeout_s)

    def close(self) -> None:
        """End it; more than once does no harm."""
        self._ended = True
        join(self._thread)

    def _run(self) -> None:
        with contextlib.closing(self._feed):
            while not self._ended:
                for heard in self._feed.poll(_POLL_S):
                    with self._changed:
                        self._take(heard)
                        self._changed.notify_all()

    def _take(self, heard: object) -> None:
        match heard:
            case Up():
                self._up = True
            case Down(reason=reason):
                self._reason = reason
            case Watched(topic=topic, payload=payload, retained=retained):
                at_s = round(time.monotonic() - self._begin_s, 3)
                self._messages.append(Message(at_s, topic, retained, _plain(payload)))
                self._picture = hear(self._picture, topic, payload, time.monotonic_ns(), retained=retained)
            case _:
                return


class Post:
    """The broker of a demo, and who listens to it."""

    def __init__(self, make: BrokerMake, stage: Stage) -> None:
        """Start the broker and listen.

        Raises:
            DemoError: the broker does not start, or does not let us listen.
        """
        self._begin_s = time.monotonic()
        self._stack = contextlib.ExitStack()
        self.broker = start_broker(make, stage.directory / "broker")
        self._stack.callback(self.broker.close)
        self._late: Listener | None = None
        self._agreed = False
        try:
            self.live = self._listen("demo-live")
            self.stage = with_broker(stage, self.broker.url, make.protocol)
        except BaseException:
            self._stack.close()
            raise

    @classmethod
    def of(cls, stage: Stage) -> "Post | None":
        """Return one, `None` where no broker is installed."""
        make = find_broker()
        return None if make is None else cls(make, stage)

    def agrees(self) -> bool:
        """Let the late subscriber come, if it has not; returns whether it sees what the live one sees."""
        self.broker.check()
        if self._late is None:
            self._late = self._listen("demo-late")
        self._agreed = _retained(self._late.picture) == _retained(self.live.picture)
        return self._agreed

    def finish(self, clip: str, custody: CustodyHead) -> MessageProof:
        """Take the dock's last word, and say what was told; the receipt of `clip` names the head `custody`.

        The dock has ended by now.
        """
        self.live.wait(lambda: _state(self.live.picture) is DockState.STOPPED)
        late = self._late
        defects = [*_live_defects(self.live, clip, custody), *([] if late is None else _late_defects(late))]
        if not self._agreed:
            defects.append("a late subscriber did not see what the live one saw")
        return MessageProof(
            broker=self.broker.make.name,
            protocol=self.broker.make.protocol,
            live=self.live.messages,
            late=() if late is None else tuple(each for each in late.messages if each.retained),
            events=sum(each.topic.endswith("/event") for each in self.live.messages),
            custody_head=custody.head,
            defects=tuple(defects),
        )

    def close(self) -> None:
        """End listeners and broker; more than once does no harm."""
        self._stack.close()

    def _listen(self, name: str) -> Listener:
        listener = Listener(self.broker, name, self._begin_s)
        self._stack.callback(listener.close)
        return listener


def said(message: Message) -> str:
    """Say a message in one line, without its prefix and site."""
    _, _, place = message.topic.partition(f"{SITE}/")
    body = message.payload if isinstance(message.payload, dict) else {}
    return f"{place}  {_body(place, body)}" if body else f"{place}  (cleared)"


def _body(place: str, body: dict[str, Any]) -> str:
    kind = place.split("/")[1] if "/" in place else ""
    match kind:
        case "state":
            return f"{body.get('state')}, session {(body.get('session') or {}).get('number')}"
        case "bay":
            moving = (
                f" {body.get('step')}, {_mib(body.get('done_bytes'))} of {_mib(body.get('clip_bytes'))} MiB"
            )
            return f"{body.get('state')}{moving if body.get('clip') else ''}"
        case "camera":
            where = f"in bay {body.get('bay')}" if body.get("bay") else "in no bay"
            return f"{where}, {body.get('waiting')} waiting, as of {body.get('as_of')}"
        case "event":
            head = str((body.get("data") or {}).get("custody_head") or "")
            told = [str(body[name]) for name in ("device", "clip") if body.get(name)]
            return " ".join([f"{body.get('number')}", f"{body.get('kind')}", *told, head[:_DIGITS]]).rstrip()
        case _:
            store = body.get("store") or {}
            return f"store {store.get('state')}, {body.get('custody_entries')} entries in the custody log"


def _mib(count: object) -> str:
    return f"{count / _MIB:.1f}" if isinstance(count, int) else "?"


def _plain(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload) if payload else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return payload.decode("utf-8", "replace")  # of somebody else on this machine: shown as it is


def _state(picture: SitePicture) -> DockState | None:
    dock = picture.docks.get(DOCK_ID)
    return dock.state.state if dock is not None and dock.state is not None else None


def _retained(picture: SitePicture) -> tuple[object, ...]:
    """Return what a broker keeps of the dock; `None` in it has not come yet."""
    dock = picture.docks.get(DOCK_ID)
    if dock is None or not dock.bays or not dock.cameras:
        return (object(),)  # equal to nothing
    return dock.state, dock.info, dock.bays, dock.cameras


def _live_defects(live: Listener, clip: str, custody: CustodyHead) -> Iterator[str]:
    picture = live.picture
    dock = picture.docks.get(DOCK_ID)
    stored = [
        event for event in (dock.events if dock else ()) if (event.kind, event.clip) == ("clip_stored", clip)
    ]
    if not stored:
        yield "no event clip_stored reached the subscriber"
    for event in stored:
        head = (event.data.get("custody_entries"), event.data.get("custody_head"))
        if head != (custody.entries, custody.head):
            yield f"clip_stored names entry {head[0]} of the custody log, the receipt {custody.entries}"
    if dock is not None and dock.numbers.missed:
        yield f"{dock.numbers.missed} events did not reach the subscriber"
    if picture.unreadable:
        yield f"{picture.unreadable} messages are not of their format: {picture.last_unreadable}"
    if _state(picture) is not DockState.STOPPED:
        yield f"the dock's last word is {_state(picture)}, not {DockState.STOPPED}"


def _late_defects(late: Listener) -> Iterator[str]:
    kept = {each.topic.removeprefix(f"{_PREFIX}/{SITE}/{DOCK_ID}/") for each in late.messages if each.retained}
    for topic in ("state", "info", "bay/1"):
        if topic not in kept:
            yield f"a late subscriber did not get {topic}"
    if not any(each.startswith("camera/") for each in kept):
        yield "a late subscriber got no camera"

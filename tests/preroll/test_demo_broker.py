"""The demo's broker: mosquitto or amqtt, and what two subscribers make of a dock's messages over either."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evidence.documents import CustodyHead
from host.bays.status import BayState
from host.publish import (
    BayPayload,
    BrokerSettings,
    CameraPayload,
    EventsHeld,
    InfoPayload,
    Outbox,
    PahoLink,
    Publisher,
    Topics,
)
from preroll.demo import messages as messages_module
from preroll.demo.broker import BrokerMake, find_broker, start_broker
from preroll.demo.errors import DemoError
from preroll.demo.messages import Message, Post, said
from preroll.demo.stage import CAMERA_ID, DOCK_ID, SITE, Stage, set_stage

UTC = "2026-01-01T00:00:00.000000Z"
CLIP = "20260101T000000Z-cam-demo-000001"
HEAD = "ab" * 32
NOWHERE = "/nowhere/at-all"


def makes() -> list[Any]:
    mosquitto, embedded = find_broker(), find_broker(mosquitto=NOWHERE)
    skip = pytest.mark.skipif(
        mosquitto is None or mosquitto.protocol != "5", reason="mosquitto is not installed"
    )
    return [
        pytest.param(mosquitto, id="mosquitto", marks=skip),
        pytest.param(embedded, id="amqtt", marks=pytest.mark.skipif(embedded is None, reason="no amqtt")),
    ]


class Dock:
    """A real publisher in the place of the demo's dock."""

    def __init__(self, stage: Stage, protocol: str) -> None:
        section = stage.dock.mqtt
        assert section is not None
        port = int(section.broker.rpartition(":")[2])
        settings = BrokerSettings(host="127.0.0.1", port=port, client_id="dock", tls=False, protocol=protocol)
        self.outbox = Outbox(stage.directory / "outbox.db")
        self.publisher = Publisher(
            self.outbox, Topics(section.prefix, section.site, DOCK_ID), PahoLink(settings), bays=("1",)
        )
        self.publisher.start()

    def tell(self, head: str) -> None:
        bay = BayPayload(
            bay="1",
            utc=UTC,
            state=BayState.READY,
            detail="",
            device=CAMERA_ID,
            clip=None,
            step=None,
            done_bytes=0,
            clip_bytes=0,
            stored=1,
            failed_sessions=0,
        )
        camera = CameraPayload(
            device=CAMERA_ID,
            utc=UTC,
            as_of=(1, 7),
            bay="1",
            firmware="0",
            recorder="ready",
            battery_percent=None,
            charging=None,
            free_bytes=1,
            total_bytes=2,
            clock_error_ns=None,
            waiting=0,
            missing=0,
            wearer=None,
        )
        held = EventsHeld(series=self.outbox.series, first=1, last=1, dropped=0)
        info = InfoPayload(
            dock=DOCK_ID, utc=UTC, version="0", bays=("1",), store=None, custody_entries=2, events=held
        )
        self.publisher.event(
            "clip_stored", device=CAMERA_ID, clip=CLIP, data={"custody_entries": 2, "custody_head": head}
        )
        for payload in (bay, camera, info):
            self.publisher.show(payload)

    def close(self) -> None:
        self.publisher.stop()
        assert self.publisher.join(60)
        self.publisher.close()
        self.outbox.close()


def play(make: BrokerMake, stage: Stage, head: str) -> messages_module.MessageProof:
    post = Post(make, stage)
    try:
        dock = Dock(post.stage, make.protocol)
        dock.tell(head)
        assert post.live.wait(lambda: any("/event" in each.topic for each in post.live.messages), 60)
        assert post.live.wait(lambda: len({each.topic for each in post.live.messages}) == 5, 60)
        post.agrees()
        for _ in range(600):
            if post.agrees():
                break
            post.live.wait(lambda: False, 0.1)
        dock.close()
        return post.finish(CLIP, msgspec.convert({"entries": 2, "head": HEAD}, CustodyHead))
    finally:
        post.close()
        post.close()


@pytest.mark.parametrize("make", makes())
def test_a_live_and_a_late_subscriber_get_the_truth(make: BrokerMake, tmp_path: Path) -> None:
    stage = set_stage(tmp_path, "synthetic", 1)
    proof = play(make, stage, HEAD)
    assert proof.defects == ()
    assert (proof.events, proof.protocol, proof.custody_head) == (1, make.protocol, HEAD)
    kept = {each.topic.removeprefix(f"preroll/{SITE}/{DOCK_ID}/") for each in proof.late}
    assert kept == {"state", "info", "bay/1", f"camera/{CAMERA_ID}"}
    assert proof.live[-1].payload["state"] == "stopped"
    assert any(f"1 clip_stored {CAMERA_ID} {CLIP} {HEAD[:16]}" in said(each) for each in proof.live)
    text = (tmp_path / "dock.toml").read_text()
    assert 'broker = "mqtt://127.0.0.1:' in text
    assert ":1883" not in text
    assert set_stage(tmp_path, "synthetic", 1).dock.mqtt is None  # the next demo has another broker


def test_another_head_than_the_receipts_is_a_defect(tmp_path: Path) -> None:
    make = find_broker()
    assert make is not None
    (defect,) = play(make, set_stage(tmp_path, "synthetic", 1), "cd" * 32).defects
    assert "clip_stored names" in defect


def test_without_any_broker_the_demo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(messages_module, "find_broker", lambda: None)
    assert Post.of(set_stage(tmp_path, "synthetic", 1)) is None
    assert "apt-get install mosquitto" in messages_module.NO_BROKER


def test_a_broker_that_does_not_start_is_one_line(tmp_path: Path) -> None:
    false = shutil.which("false")
    assert false is not None
    make = BrokerMake("a broker of no use", (false,), "5")
    with pytest.raises(DemoError, match=r"a broker of no use, does not start.*broker\.log"):
        start_broker(make, tmp_path)


def test_a_broker_that_ends_is_noticed(tmp_path: Path) -> None:
    make = find_broker()
    assert make is not None
    broker = start_broker(make, tmp_path)
    broker.check()
    broker.close()
    broker.close()
    with pytest.raises(DemoError, match="ended by itself"):
        broker.check()


@pytest.mark.parametrize(
    ("topic", "payload", "line"),
    [
        (
            "bay/1",
            {"state": "offloading", "clip": "c", "step": "take", "done_bytes": 1 << 20, "clip_bytes": 2 << 20},
            "bay/1  offloading take, 1.0 of 2.0 MiB",
        ),
        ("bay/1", {"state": "ready", "clip": None}, "bay/1  ready"),
        ("bay/1", None, "bay/1  (cleared)"),
        (
            "camera/c",
            {"bay": None, "waiting": 1, "as_of": [1, 2]},
            "camera/c  in no bay, 1 waiting, as of [1, 2]",
        ),
        ("state", {"state": "online", "session": {"number": 3}}, "state  online, session 3"),
        ("info", {"store": None, "custody_entries": 1}, "info  store None, 1 entries in the custody log"),
    ],
)
def test_every_message_has_a_line(topic: str, payload: object, line: str) -> None:
    message = Message(0.1, f"preroll/{SITE}/{DOCK_ID}/{topic}", retained=False, payload=payload)
    assert said(message) == f"{DOCK_ID}/{line}"

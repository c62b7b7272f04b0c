"""What goes over the wire is what the document says: every topic, every payload, as mosquitto_sub sees them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from evidence.documents import CustodyHead
from host.bays.status import BayState, BayStatus, CameraStatus
from host.config import BaySection, DockConfig, DockSection, StoreSection
from host.custody import CustodyLog
from host.mqttsection import MqttSection
from host.offload.accounts import Completeness
from host.offload.notices import Notice
from host.publish import Reporter, Topics
from host.publish.asyncapi import ROUTES, document, document_text
from host.store import StoreHealth, StoreState
from tests.host.publish.brokerbench import (
    QUICK,
    PublishBench,
    bench,
    needs_clients,
    needs_mosquitto,
    wait_until,
)

__all__ = ["bench"]
COMMITTED = Path(__file__).parents[3] / "docs" / "asyncapi.json"
TOPICS = Topics("preroll", "north", "dock7")
UTC = "2026-11-22T09:00:00.000000Z"
CLIP = "20261122T090000Z-cam0042-000001"


def camera_status(device: str = "cam0042") -> CameraStatus:
    account = Completeness(device, "0" * 32, 2, 9, 5, (8,), ((3, 4),), (), log_index=17)
    return CameraStatus(
        device=device,
        firmware="0.1.0",
        recorder="ready",
        battery_percent=81,
        charging=True,
        free_bytes=10,
        total_bytes=20,
        wearer="w-7f3a",
        clock_error_ns=5,
        waiting=1,
        completeness=account,
    )


def schema_of(name: str) -> dict[str, Any]:
    written = document()
    payload: dict[str, Any] = written["components"]["messages"][name]["payload"]
    return {**payload, "components": written["components"]}


def route_of(topic: str) -> str:
    for route in ROUTES:
        pattern = re.sub(r"[A-Z]{3,}", "[A-Za-z0-9._-]+", route.address)
        if re.fullmatch(pattern, topic):
            return route.name
    raise AssertionError(topic)


def test_the_committed_document_is_that_of_the_code() -> None:
    assert COMMITTED.read_text("utf-8") == document_text(), (
        "python -m host.publish.asyncapi > docs/asyncapi.json"
    )


def test_every_reference_leads_somewhere() -> None:
    written = document()
    found = 0

    def look(value: Any) -> None:
        nonlocal found
        if isinstance(value, dict):
            for key, each in value.items():
                if key == "$ref":
                    found += 1
                    place = written
                    for part in each.removeprefix("#/").split("/"):
                        place = place[part]
                look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)

    look(written)
    assert found > 20
    assert set(written["channels"]) == {"state", "info", "bay", "camera", "event", "replay"}
    assert written["operations"]["receive_replay"]["action"] == "receive"
    for name in written["components"]["schemas"]:
        jsonschema.Draft202012Validator.check_schema(written["components"]["schemas"][name])


def custody_log(bench: PublishBench) -> CustodyLog:
    """A log of eleven entries, from before there was a broker."""
    log = CustodyLog(bench.directory / "custody.jsonl", "dock7-a")
    bench.stack.callback(log.close)
    for _ in range(11):
        log.append("docked", utc_ns=10**18, device="cam0042", detail={"bay": "1"})
    return log


def reporter(bench: PublishBench, port: int, log: CustodyLog) -> Reporter:
    config = DockConfig(
        dock=DockSection(id="dock7", state=str(bench.directory)),
        store=StoreSection(path="store", id="dock7-a"),
        bay=tuple(BaySection(name=name, tcp="127.0.0.1:1") for name in ("1", "2")),
    )
    section = MqttSection(broker=f"mqtt://127.0.0.1:{port}", site="north")
    made = Reporter(
        config,
        section,
        lambda _kind, _detail: None,
        custody=lambda: log,
        now_utc_ns=lambda: 10**18,
        timing=QUICK,
    )
    bench.stack.callback(made.close)
    return made


def play(made: Reporter, log: CustodyLog) -> CustodyHead:
    """Two bays; a camera comes, is offloaded, and goes."""
    made.look(1, "dock7-a", StoreHealth(StoreState.READY, "", None), 7)
    made.heard(BayStatus("2", "tcp:2"))
    made.heard(BayStatus("1", "tcp:1"))
    docked = BayStatus("1", "tcp:1", BayState.OFFLOADING, device="cam0042")
    made.heard(docked)
    step = BayStatus("1", "tcp:1", BayState.OFFLOADING, "", "cam0042", CLIP, "ciphertext", 5, 9)
    made.heard(step)
    custody = log.append(
        "clip_stored", utc_ns=10**18, device="cam0042", clip=CLIP, manifest_sha256="cd" * 32, detail={}
    )
    made.heard(Notice(UTC, "clip_stored", "cam0042", CLIP, "fetched", custody=custody))
    made.heard(Notice(UTC, "integrity_alarm", None, None, "x" * 3000))
    made.heard(Notice(UTC, "broker", None, None, "never published"))
    made.heard(BayStatus("1", "tcp:1", BayState.READY, "", "cam0042", stored=1, camera=camera_status()))
    made.heard(BayStatus("1", "tcp:1"))
    return custody


@needs_mosquitto
@needs_clients
def test_a_late_subscriber_sees_the_whole_picture(bench: PublishBench) -> None:
    port = bench.broker().port
    watcher = bench.watcher(port)
    log = custody_log(bench)
    made = reporter(bench, port, log)
    custody = play(made, log)
    watcher.wait(lambda: len(watcher.events()) == 4)
    wait_until(lambda: made._publisher is not None and made._publisher._core.flow.settled_all)
    tool = shutil.which("mosquitto_sub")
    assert tool is not None
    words = [
        tool,
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-t",
        "preroll/#",
        "-F",
        "%r %t %p",
        "-C",
        "5",
        "-W",
        "60",
    ]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    shown = {topic: json.loads(payload) for _, topic, payload in (line.split(" ", 2) for line in lines)}
    assert all(line.startswith("1 ") for line in lines)
    assert set(shown) == {
        TOPICS.state,
        TOPICS.info,
        TOPICS.bay("1"),
        TOPICS.bay("2"),
        TOPICS.camera("cam0042"),
    }
    assert shown[TOPICS.state]["state"] == "online"
    assert (shown[TOPICS.info]["bays"], shown[TOPICS.info]["custody_entries"]) == (["1", "2"], 7)
    assert shown[TOPICS.bay("1")]["state"] == "empty"
    camera = shown[TOPICS.camera("cam0042")]
    assert (camera["as_of"], camera["bay"], camera["waiting"], camera["missing"]) == ([2, 17], None, 1, 2)
    events = [(each.number, each.kind) for each in watcher.events()]
    assert events == [
        (1, "camera_docked"),
        (2, "clip_stored"),
        (3, "integrity_alarm"),
        (4, "camera_undocked"),
    ]
    stored = watcher.events()[1]
    assert (stored.clip, stored.data) == (CLIP, {"custody_entries": 12, "custody_head": custody.head})
    for message in watcher.messages:
        jsonschema.validate(json.loads(message.payload), schema_of(route_of(message.topic)))
    assert {route_of(each.topic) for each in watcher.messages} == {"state", "info", "bay", "camera", "event"}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("broker = 'mqtt://dock:secret@host'", "broker"),
        ("broker = 'mqtt://host:99999'", "mqtt.broker"),
        ("broker = 'mqtt://host'\nuser = 'a'\npassword_file = 'b'", "mqtt.broker"),
        ("broker = 'mqtts://host'\ncertificate = 'a'", "mqtt.certificate"),
        ("broker = 'mqtts://host'\npassword_file = 'a'", "mqtt.password_file"),
        ("broker = 'mqtts://host'\nprefix = 'a/#'", "prefix"),
        ("broker = 'mqtts://host'\nprefix = '$SYS'", "prefix"),
    ],
)
def test_a_broker_that_cannot_be_right_is_refused(text: str, wrong: str) -> None:
    from host.config import ConfigError, parse_config

    head = "[dock]\nid = 'dock7'\n[store]\npath = 's'\nid = 'dock7-a'\n[mqtt]\nsite = 'north'\n"
    with pytest.raises(ConfigError) as refused:
        parse_config(head + text, "dock.toml")
    assert wrong in str(refused.value)
    assert "secret" not in str(refused.value)

"""Home Assistant's discovery, held field by field against what its documentation and its own schema allow.

Read from home-assistant.io, source/_integrations/mqtt.markdown (commit 0a314403), and core,
homeassistant/components/mqtt/schemas.py (commit c6ca7f5f), sensor.py, binary_sensor.py.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from host.bays.status import BayState
from host.config import BaySection, DockConfig, DockSection, StoreSection
from host.custody import CustodyLog
from host.mqttsection import MqttSection
from host.publish import Reporter, Topics
from host.publish.homeassistant import discovery_payload, discovery_topic
from tests.host.publish.brokerbench import QUICK, PublishBench, bench, needs_mosquitto

__all__ = ["bench"]
TOPICS = Topics("preroll", "north", "dock.7")
BAYS = ("1", "left.2", "left_2")
AVAILABILITY = {"availability_topic", "availability_template", "payload_available", "payload_not_available"}
SHARED = AVAILABILITY | {"device", "origin", "components", "state_topic", "command_topic", "qos", "encoding"}
DEVICE = {
    "identifiers", "connections", "manufacturer", "model", "model_id", "name", "hw_version", "serial_number",
    "sw_version", "via_device", "suggested_area", "configuration_url",
}  # fmt: skip
ORIGIN = {"name", "sw_version", "support_url"}
ENTITY = AVAILABILITY | {
    "platform", "unique_id", "name", "device_class", "state_topic", "value_template", "json_attributes_topic",
    "json_attributes_template", "enabled_by_default", "entity_category", "icon", "qos", "expire_after",
    "force_update", "encoding",
}  # fmt: skip
OF_PLATFORM = {
    "sensor": ENTITY | {"options", "state_class", "unit_of_measurement", "suggested_display_precision"},
    "binary_sensor": ENTITY | {"payload_on", "payload_off", "off_delay"},
}
CLASSES = {"sensor": {"enum", "data_size"}, "binary_sensor": {"problem", "connectivity"}}


def document(bays: tuple[str, ...] = BAYS) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(discovery_payload(TOPICS, bays, "0.1.0"))
    return found


@pytest.mark.parametrize("dock", ["dock7", "dock.7", "dock_7", "D-7"])
def test_the_topic_is_of_its_form_and_no_two_docks_share_one(dock: str) -> None:
    found = {discovery_topic("homeassistant", Topics("preroll", site, dock)) for site in ("a", "b")}
    assert len(found) == 2
    for topic in found:
        assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topic)
    names = {discovery_topic("ha", Topics("preroll", "a", each)) for each in ("dock.7", "dock_7")}
    assert len(names) == 2


def test_what_all_components_share() -> None:
    said = document()
    assert set(said) <= SHARED
    assert {"device", "origin", "components"} <= set(said)
    assert set(said["device"]) <= DEVICE
    assert said["device"]["identifiers"]
    assert all(isinstance(each, str) for each in said["device"]["identifiers"])
    assert {key: type(value) for key, value in said["device"].items() if key != "identifiers"} == dict.fromkeys(
        set(said["device"]) - {"identifiers"}, str
    )
    assert set(said["origin"]) <= ORIGIN
    assert said["origin"]["name"] == "preroll"
    assert said["qos"] in (0, 1, 2)
    assert (said["payload_available"], said["payload_not_available"]) == ("online", "offline")
    assert said["availability_topic"] == TOPICS.state


def test_every_component_field_by_field() -> None:
    components = document()["components"]
    assert len(components) == 2 + 2 * len(BAYS)
    assert len({each["unique_id"] for each in components.values()}) == len(components)
    for key, said in components.items():
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", key)
        assert set(said) <= OF_PLATFORM[said["platform"]], key
        assert {"unique_id", "state_topic", "platform"} <= set(said)
        assert not re.search(r"[+#]", said["state_topic"])
        assert said["state_topic"].startswith(TOPICS.root + "/")
        assert said.get("device_class") in CLASSES[said["platform"]] | {None}
        assert said["value_template"].startswith("{{ ")
        assert said["value_template"].endswith(" }}")
        if said.get("device_class") == "enum":
            assert said["options"] == [state.value for state in BayState]
            assert not {"state_class", "unit_of_measurement"} & set(said)
        if said.get("device_class") == "data_size":
            assert (said["unit_of_measurement"], said["state_class"]) == ("B", "measurement")


def test_templates_name_fields_that_the_payloads_have() -> None:
    asyncapi = json.loads((Path(__file__).parents[3] / "docs" / "asyncapi.json").read_text("utf-8"))
    schemas = asyncapi["components"]["schemas"]
    fields = {"info": schemas["InfoPayload"], "state": schemas["StatePayload"], "bay": schemas["BayPayload"]}
    said = document()
    used = [(each["state_topic"], each["value_template"]) for each in said["components"].values()]
    used.append((said["availability_topic"], said["availability_template"]))
    for topic, template in used:
        kind = topic.removeprefix(TOPICS.root + "/").split("/")[0]
        for path in re.findall(r"value_json\.(\w+)(?:\.(\w+))?", template):
            assert path[0] in fields[kind]["properties"]
            assert not path[1] or path[1] in schemas["StoreSpace"]["properties"]


def reporter(bench: PublishBench, port: int, log: CustodyLog, homeassistant: str | None) -> Reporter:
    config = DockConfig(
        dock=DockSection(id="dock7", state=str(bench.directory)),
        store=StoreSection(path="store", id="dock7-a"),
        bay=(BaySection(name="1", tcp="127.0.0.1:1"),),
    )
    section = MqttSection(broker=f"mqtt://127.0.0.1:{port}", site="north", homeassistant=homeassistant)
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


@needs_mosquitto
def test_it_is_off_by_default_retained_once_on_and_cleared_when_switched_off(bench: PublishBench) -> None:
    broker = bench.broker()
    topic = discovery_topic("homeassistant", Topics("preroll", "north", "dock7"))
    watcher = bench.watcher(broker.port, "#")
    log = CustodyLog(bench.directory / "custody.jsonl", "dock7-a")
    bench.stack.callback(log.close)
    on = reporter(bench, broker.port, log, "homeassistant")
    watcher.wait(lambda: bool(watcher.last(topic)))
    assert json.loads(watcher.last(topic))["device"]["name"] == "Dock dock7"
    late = bench.watcher(broker.port, "homeassistant/#")
    late.wait(lambda: any(each.retain for each in late.messages))
    on.close()
    off = reporter(bench, broker.port, log, None)
    watcher.wait(lambda: watcher.last(topic) == b"")
    off.close()
    assert MqttSection(broker="mqtt://127.0.0.1:1", site="north").homeassistant is None

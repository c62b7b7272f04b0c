"""Home Assistant's device discovery: one retained message tells it of a dock and what to read where. No I/O.

Format: "Device discovery payload" of home-assistant.io's `source/_integrations/mqtt.markdown` (commit 0a314403,
2024.11 and later), options as in `homeassistant/components/mqtt/schemas.py` of core (commit c6ca7f5f). Full
names, no abbreviations. Cameras are left out: they move from dock to dock, and this topic has one writer.
"""

import hashlib
import re
from typing import Any

import msgspec

from host.bays.status import BayState
from host.publish.payloads import DockState
from host.publish.topics import Topics

__all__ = ["discovery_payload", "discovery_topic"]

_TAG_CHARACTERS = 12
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")
Json = dict[str, Any]


def discovery_topic(prefix: str, topics: Topics) -> str:
    """Return where Home Assistant looks; `prefix` is its own, `homeassistant` unless changed there."""
    return f"{prefix}/device/{_identity(topics)}/config"


def discovery_payload(topics: Topics, bays: tuple[str, ...], version: str) -> bytes:
    """Return what describes a dock: whether it is there, its store, its bays."""
    identity = _identity(topics)
    components: Json = {
        "store_state": _sensor("Store", topics.info, "{{ value_json.store.state if value_json.store }}"),
        "store_free": _sensor(
            "Store free",
            topics.info,
            "{{ value_json.store.free_bytes if value_json.store }}",
            device_class="data_size",
            state_class="measurement",
            unit_of_measurement="B",
        ),
    }
    for bay in bays:
        key = f"{_FOREIGN.sub('_', bay)}_{_tag(bay)}" if _FOREIGN.search(bay) else bay
        topic = topics.bay(bay)
        components[f"bay_{key}"] = _sensor(
            f"Bay {bay}",
            topic,
            "{{ value_json.state }}",
            device_class="enum",
            options=[state.value for state in BayState],
            json_attributes_topic=topic,
        )
        components[f"bay_{key}_fault"] = {
            "platform": "binary_sensor",
            "name": f"Bay {bay} fault",
            "device_class": "problem",
            "state_topic": topic,
            "value_template": "{{ 'ON' if value_json.state == 'fault' else 'OFF' }}",
        }
    for key, component in components.items():
        component["unique_id"] = f"{identity}_{key}"
    return msgspec.json.encode(
        {
            "device": {
                "identifiers": [identity],
                "name": f"Dock {topics.dock}",
                "manufacturer": "Preroll",
                "model": "Dock",
                "sw_version": version,
                "suggested_area": topics.site,
            },
            "origin": {"name": "preroll", "sw_version": version},
            "availability_topic": topics.state,
            "availability_template": "{{ 'online' if value_json.state == 'online' else 'offline' }}",
            "payload_available": DockState.ONLINE.value,
            "payload_not_available": DockState.OFFLINE.value,
            "qos": 1,
            "components": components,
        }
    )


def _sensor(name: str, topic: str, template: str, **options: object) -> Json:
    return {"platform": "sensor", "name": name, "state_topic": topic, "value_template": template, **options}


def _identity(topics: Topics) -> str:
    """Name a dock in the characters that Home Assistant takes; no two docks get the same."""
    return f"preroll_{_FOREIGN.sub('_', topics.dock)}_{_tag(topics.root)}"


def _tag(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_TAG_CHARACTERS]

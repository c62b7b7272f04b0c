"""The AsyncAPI 3.0 document, from the payloads: `python -m host.publish.asyncapi > docs/asyncapi.json`.

Its `components.schemas` are JSON Schema (2020-12) of every payload.
"""

import re
import sys
from typing import Any

import msgspec

from host.publish.payloads import (
    BayPayload,
    CameraPayload,
    EventPayload,
    InfoPayload,
    Payload,
    ReplayRequest,
    StatePayload,
)
from host.publish.topics import Topics

__all__ = ["ROUTES", "Route", "document", "document_text"]

_VERSION = "1.0.0"
_REF = "#/components/schemas/{name}"
_PARAMETERS = {
    "site": "where the dock stands",
    "dock": "the dock's id",
    "bay": "the bay's name",
    "device": "the camera's id",
}
_ABOUT = """Status of a docking station over MQTT 5, QoS 1 (docs/mqtt.md). `preroll` at the beginning of every
topic is the default of a configured prefix. One dock, and no other, writes the topics below its own id."""
_STAND_IN = Topics("preroll", "SITE", "DOCK")
Json = dict[str, Any]


class Route(msgspec.Struct, frozen=True):
    """One topic: its name here, its address, what it carries, and whether the broker keeps the last message."""

    name: str
    address: str
    payload: type[Payload]
    retained: bool
    sent: bool = True


ROUTES = (
    Route("state", _STAND_IN.state, StatePayload, retained=True),
    Route("info", _STAND_IN.info, InfoPayload, retained=True),
    Route("bay", _STAND_IN.bay("BAY"), BayPayload, retained=True),
    Route("camera", _STAND_IN.camera("DEVICE"), CameraPayload, retained=True),
    Route("event", _STAND_IN.event, EventPayload, retained=False),
    Route("replay", _STAND_IN.replay, ReplayRequest, retained=False, sent=False),
)
_USER_PROPERTIES: Json = {
    "type": "object",
    "description": "MQTT user properties; all are in the payload too, but `replay`",
    "properties": {
        "kind": {"type": "string"},
        "series": {"type": "string"},
        "number": {"type": "string"},
        "replay": {"type": "string", "enum": ["true"], "description": "sent again on request"},
    },
}


def document() -> Json:
    """Return the document as plain values."""
    schemas, components = msgspec.json.schema_components([each.payload for each in ROUTES], ref_template=_REF)
    content: Json = {
        "asyncapi": "3.0.0",
        "id": "urn:preroll:dock",
        "defaultContentType": "application/json",
        "info": {
            "title": "Preroll dock",
            "version": _VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "channels": {each.name: _channel(each) for each in ROUTES},
        "operations": {_operation_name(each): _operation(each) for each in ROUTES},
        "components": {
            "messages": {
                each.name: _message(each, schema) for each, schema in zip(ROUTES, schemas, strict=True)
            },
            "schemas": components,
        },
    }
    translated: Json = _with_common_patterns(content)
    return translated


def document_text() -> str:
    """Return the document as it is committed."""
    data = msgspec.json.format(msgspec.json.encode(document()), indent=2)
    return data.decode("utf-8") + "\n"


def _address(route: Route) -> str:
    return re.sub(r"[A-Z]{3,}", lambda found: f"{{{found[0].lower()}}}", route.address)


def _channel(route: Route) -> Json:
    address = _address(route)
    return {
        "address": address,
        "description": (route.payload.__doc__ or "").split("\n\n")[0],
        "messages": {route.name: {"$ref": f"#/components/messages/{route.name}"}},
        "parameters": {name: {"description": _PARAMETERS[name]} for name in re.findall(r"{(\w+)}", address)},
    }


def _operation_name(route: Route) -> str:
    return ("send_" if route.sent else "receive_") + route.name


def _operation(route: Route) -> Json:
    return {
        "action": "send" if route.sent else "receive",
        "channel": {"$ref": f"#/channels/{route.name}"},
        "messages": [{"$ref": f"#/channels/{route.name}/messages/{route.name}"}],
        "bindings": {"mqtt": {"qos": 1, "retain": route.retained, "bindingVersion": "0.2.0"}},
    }


def _message(route: Route, schema: Json) -> Json:
    message: Json = {"name": route.name, "contentType": "application/json", "payload": schema}
    if route.payload is EventPayload:
        message["headers"] = _USER_PROPERTIES
    return message


def _with_common_patterns(value: Any) -> Any:
    """Write Python's anchors as ECMA 262 knows them, which JSON Schema goes by."""
    if isinstance(value, dict):
        return {
            key: re.sub(r"^\\A(.*)\\Z$", r"^(?:\1)$", each)
            if key == "pattern" and isinstance(each, str)
            else _with_common_patterns(each)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_with_common_patterns(each) for each in value]
    return value


if __name__ == "__main__":
    sys.stdout.write(document_text())

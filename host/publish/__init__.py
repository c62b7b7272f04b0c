"""Status over MQTT (docs/mqtt.md): always true, never lost, and nothing ever waits for it."""

from host.publish.broker import BrokerSettings, parse_broker
from host.publish.errors import OutboxError, PayloadError, PublishError, TopicError
from host.publish.link import PahoLink
from host.publish.linking import Link
from host.publish.memory import MemoryBroker, MemoryLink
from host.publish.outbox import Outbox
from host.publish.payloads import (
    BayPayload,
    CameraPayload,
    DockState,
    EventPayload,
    EventsHeld,
    InfoPayload,
    ReplayRequest,
    Session,
    StatePayload,
    StoreSpace,
    decode_payload,
    encode_payload,
)
from host.publish.phases import Timing
from host.publish.publisher import Publisher
from host.publish.reporter import BROKER_NOTICE, Reporter, settings_of
from host.publish.topics import Place, Topics, parse_topic

__all__ = [
    "BROKER_NOTICE",
    "BayPayload",
    "BrokerSettings",
    "CameraPayload",
    "DockState",
    "EventPayload",
    "EventsHeld",
    "InfoPayload",
    "Link",
    "MemoryBroker",
    "MemoryLink",
    "Outbox",
    "OutboxError",
    "PahoLink",
    "PayloadError",
    "Place",
    "PublishError",
    "Publisher",
    "ReplayRequest",
    "Reporter",
    "Session",
    "StatePayload",
    "StoreSpace",
    "Timing",
    "TopicError",
    "Topics",
    "decode_payload",
    "encode_payload",
    "parse_broker",
    "parse_topic",
    "settings_of",
]

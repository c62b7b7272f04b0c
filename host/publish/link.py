"""The connection to a broker, through paho-mqtt: one client a connection, driven by our own thread.

paho keeps messages in a queue of its own and sends them again after a reconnect, without order and only as long
as the process lives. So each connection gets a fresh client, the core bounds what is on its way, and what was
not acknowledged comes from the outbox again. Packet ids begin anew with a connection: they are turned into our
tokens here, and nowhere else known.
"""

import contextlib
import os
import select
import socket
import ssl
import time
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from host.publish.broker import BrokerSettings, read_password, tls_context
from host.publish.errors import PublishError
from host.publish.payloads import PAYLOAD_LIMIT_BYTES
from host.publish.signals import (
    Connect,
    Connected,
    Lost,
    Publish,
    Received,
    Settled,
    Signal,
    Subscribe,
    Subscribed,
    Token,
)

__all__ = ["PahoLink"]

_SERVER_BUSY = 0x89
_PROTOCOL_ERROR = 0x82
_PACKET_TOO_LARGE = 0x95
_FILTERS_A_PACKET = 100
_GOODBYE_S = 1.0
_INCOMING_LIMIT_BYTES = PAYLOAD_LIMIT_BYTES + 1024
_TRANSIENT = {0x88, _SERVER_BUSY, 0x97, 0x9C, 0x9D, 0x9F}
"""Reasons of a CONNACK after which trying again soon is right: unavailable, busy, quota, moved, rate."""


class PahoLink:
    """One broker. All methods are for one thread; what happens comes out of `wait` as signals."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._five = settings.protocol == "5"
        self._client: Client | None = None
        self._tokens: dict[int, Token] = {}
        self._early: dict[int, tuple[str, bool]] = {}
        self._filters: dict[int, tuple[str, ...]] = {}
        self._signals: list[Signal] = []
        self._last_error = ""
        self._accepted = False

    def open(self, connect: Connect) -> None:
        """Connect; at most `connect_s` for the name, TCP and TLS each. The outcome is a signal."""
        self._forget()
        try:
            client = self._made(connect)
        except PublishError as error:
            self._signals.append(Lost(str(error), refused=True))
            return
        self._client = client
        try:
            client.connect(
                self._settings.host, self._settings.port, self._settings.keepalive_s, **self._start()
            )
        except ssl.SSLCertVerificationError as error:
            self._fail(
                f"its certificate does not hold: {error.verify_message}; check `ca` and its name", refused=True
            )
        except ssl.SSLError as error:
            self._fail(f"TLS failed: {error.reason or error}", refused=True)
        except OSError as error:
            self._fail(f"not reached: {error.strerror or str(error) or type(error).__name__}")

    def wait(self, wake_fd: int, timeout_s: float | None) -> tuple[Signal, ...]:
        """Wait for the broker, for a byte on `wake_fd`, or for time; then return what happened."""
        client = self._client
        sock = client.socket() if client is not None else None
        poll = select.poll()
        poll.register(wake_fd, select.POLLIN)
        pending = False
        if client is not None and sock is not None:
            poll.register(sock.fileno(), select.POLLIN | (select.POLLOUT if client.want_write() else 0))
            pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        if self._signals or pending:
            timeout_s = 0.0
        happened = dict(poll.poll(None if timeout_s is None else max(0, int(timeout_s * 1000 + 0.999))))
        if client is not None and sock is not None:
            happening = happened.get(sock.fileno(), 0) if sock.fileno() >= 0 else 0
            if pending or happening & ~select.POLLOUT:
                client.loop_read()
            if happening & select.POLLOUT and client.socket() is not None:
                client.loop_write()
        return self._taken()

    def keep_alive(self) -> None:
        """Ping where that is due; notices a broker that has fallen silent. At least once a second."""
        if self._client is not None and self._client.socket() is not None:
            self._client.loop_misc()

    def publish(self, message: Publish) -> None:
        """Send with QoS 1; a `Settled` follows, or the connection is lost."""
        if self._client is None:
            return
        properties: Properties | None = None
        if self._five:
            properties = _properties(PacketTypes.PUBLISH)
            properties.ContentType = "application/json"
            if message.properties:
                properties.UserProperty = list(message.properties)
        info = self._client.publish(message.topic, message.payload, 1, message.retain, properties)
        early = self._early.pop(info.mid, None)
        if early is not None:  # its acknowledgement came while `publish` was still under way
            self._signals.append(Settled(message.token, *early))
        elif info.rc is MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self._signals.append(Settled(message.token, "no packet id is free"))
        else:
            self._tokens[info.mid] = message.token

    def subscribe(self, wanted: Subscribe) -> None:
        """Subscribe with QoS 1; a `Subscribed` follows for each hundred filters."""
        foreign = SubscribeOptions(qos=1, noLocal=True)
        own = SubscribeOptions(qos=1)
        pairs = [(each, own) for each in wanted.filters] + [(each, foreign) for each in wanted.foreign]
        for start in range(0, len(pairs), _FILTERS_A_PACKET):
            chunk = pairs[start : start + _FILTERS_A_PACKET]
            if self._client is None:
                return
            asked: Any = chunk if self._five else [(name, 1) for name, _ in chunk]
            _, mid = self._client.subscribe(asked)
            if mid is not None:
                self._filters[mid] = tuple(name for name, _ in chunk)

    def unsubscribe(self, filters: tuple[str, ...]) -> None:
        """Unsubscribe."""
        if self._client is not None:
            self._client.unsubscribe(list(filters))

    def disconnect(self) -> None:
        """Say goodbye and close."""
        client, self._client = self._client, None
        sock = client.socket() if client is not None else None
        if client is not None and sock is not None:
            client.on_disconnect = None
            with socket.socket(fileno=os.dup(sock.fileno())) as wire:
                client.disconnect()
                _close(client)
                _drain(wire)
        self._forget()

    def abort(self) -> None:
        """Close without a word."""
        client, self._client = self._client, None
        if client is not None:
            client.on_disconnect = None
            _close(client)
        self._forget()

    def _made(self, connect: Connect) -> Client:
        settings = self._settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=None if self._five else True,
            protocol=MQTTProtocolVersion.MQTTv5 if self._five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = settings.connect_s
        client.max_inflight_messages_set(65_535)  # the core has bounds of its own
        if connect.will_topic:
            client.will_set(connect.will_topic, connect.will_payload, 1, retain=True)
        if settings.tls:
            client.tls_set_context(tls_context(settings))
        if settings.user is not None:
            password = read_password(settings.password_file) if settings.password_file else None
            client.username_pw_set(settings.user, password)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_log = self._on_log
        return client

    def _start(self) -> dict[str, Any]:
        if not self._five:
            return {}
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0
        properties.MaximumPacketSize = _INCOMING_LIMIT_BYTES
        return {"clean_start": True, "properties": properties}

    def _on_connect(
        self,
        _client: Client,
        _data: object,
        _flags: ConnectFlags | dict[str, Any],
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._fail(f"refuses: {_said(reason, properties)}", refused=reason.value not in _TRANSIENT)
            return
        self._accepted = True
        self._signals.append(
            Connected(
                packet_limit_bytes=getattr(properties, "MaximumPacketSize", None),
                receive_maximum=getattr(properties, "ReceiveMaximum", 65_535),
            )
        )

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            too_large = reason.value == _PACKET_TOO_LARGE
            self._fail(f"ends the connection: {_said(reason, properties)}", too_large=too_large)
        elif self._accepted:  # mosquitto says "too large" in a PUBACK, which MQTT and paho do not know there
            too_large = reason.value == _PROTOCOL_ERROR
            self._fail(f"connection lost: {self._last_error or reason}", too_large=too_large)
        elif self._settings.tls:  # with TLS 1.3 a certificate that the broker does not take shows only here
            detail = self._last_error or str(reason)
            self._fail(f"no connection: {detail}; it may not take this dock's `certificate`", refused=True)
        else:
            self._fail(f"no connection: {self._last_error or reason}")

    def _on_publish(
        self, _client: Client, _data: object, mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        token = self._tokens.pop(mid, None)
        refusal = str(reason) if reason.is_failure else ""
        too_large = reason.value == _PACKET_TOO_LARGE
        if token is None:
            self._early[mid] = (refusal, too_large)
        else:
            self._signals.append(Settled(token, refusal, too_large))

    def _on_subscribe(
        self, _client: Client, _data: object, mid: int, reasons: list[ReasonCode], _properties: Properties
    ) -> None:
        filters = self._filters.pop(mid, ())
        self._signals.append(
            Subscribed(tuple(each for each, reason in zip(filters, reasons, strict=False) if reason.is_failure))
        )

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._last_error = "a topic that is not UTF-8"
            return
        self._signals.append(Received(topic, bytes(message.payload), message.retain))

    def _on_log(self, _client: Client, _data: object, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            self._last_error = text[:200]

    def _fail(self, reason: str, *, refused: bool = False, too_large: bool = False) -> None:
        client, self._client = self._client, None
        if client is None:
            return  # already told
        client.on_disconnect = None
        _close(client)
        self._signals.append(Lost(reason, refused, too_large))

    def _taken(self) -> tuple[Signal, ...]:
        signals, self._signals = tuple(self._signals), []
        return signals

    def _forget(self) -> None:
        self._tokens.clear()
        self._early.clear()
        self._filters.clear()
        self._last_error = ""
        self._accepted = False


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho leaves it untyped


def _said(reason: ReasonCode, properties: Properties | None) -> str:
    text = getattr(properties, "ReasonString", "")
    return f"{reason} ({text[:100]})" if text else str(reason)


def _drain(wire: socket.socket) -> None:
    """Wait until the broker has closed too.

    Closed with something unread, a socket is reset, and a broker that is reset does not read our goodbye: it
    would publish the will.
    """
    end_s = time.monotonic() + _GOODBYE_S
    wire.settimeout(_GOODBYE_S)
    with contextlib.suppress(OSError):  # gone already, or it takes too long: then it is closed as it is
        wire.shutdown(socket.SHUT_WR)
        while wire.recv(65_536) and time.monotonic() < end_s:
            pass


def _close(client: Client) -> None:
    """Close the socket; paho has no call for that, but to say goodbye first."""
    sock = client.socket()
    if sock is not None:
        sock.close()

"""Fuzz targets of the link between camera and dock, and of the camera's configuration."""

import re
from collections.abc import Callable, Sequence

import msgspec

from device.config import parse_config
from docklink import messages
from docklink.api import find_route, target_of
from docklink.messages import Message, decode_message, encode_message
from docklink.ranges import content_range, select
from docklink.resync import CameraLine, DockLine, Payload

__all__ = ["LINK_TARGETS"]

_NS_PER_S = 1_000_000_000
_MESSAGES = [
    each
    for each in vars(messages).values()
    if isinstance(each, type) and issubclass(each, Message) and each is not Message
]


def _messages(data: bytes) -> None:
    """Each body that camera and dock exchange."""
    for kind in _MESSAGES:
        try:
            message = decode_message(data, kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):  # what server and client turn into a refusal
            continue
        assert decode_message(encode_message(message), kind) == message


def _line(data: bytes) -> None:
    """The serial line: in pieces as in one, and never more held than a frame."""
    whole, cut, dock = CameraLine(), CameraLine(), DockLine()
    dock.ask(bytes(range(16)))
    size = data[0] % 40 + 1 if data else 1
    together = _payload(whole.feed(data))
    apart = b"".join(_payload(cut.feed(data[start : start + size])) for start in range(0, len(data), size))
    assert together == apart
    assert whole.state is cut.state
    for line in (whole, cut):
        line.expire("fuzz")
    after = dock.feed(data)
    assert after is None or data.endswith(after)


def _payload(actions: Sequence[object]) -> bytes:
    return b"".join(each.data for each in actions if isinstance(each, Payload))


def _requests(data: bytes) -> None:
    """A request's target and ranges; a route found is a route that leads back."""
    text = data.decode("latin-1")
    method, _, rest = text.partition(" ")
    target, _, header = rest.partition("\n")
    found = find_route(method, target)
    if not isinstance(found, int):
        assert target_of(found.route, found.parameters).partition("?")[0] == target.partition("?")[0]
    chosen = select(len(data), '"t"', range_=header, if_range=None, if_none_match=None)
    assert 0 <= chosen.start <= chosen.stop <= len(data)
    stretch = content_range(header)
    assert stretch is None or stretch[0] < stretch[1] <= stretch[2]


def _device_config(data: bytes) -> None:
    """The camera's TOML, and what the start makes of it."""
    config = parse_config(data.decode("utf-8", "replace"), "fuzz")
    assert re.fullmatch("[a-z0-9-]{1,32}", config.device.id)
    assert config.source_options.gop_ns >= 0
    for most in (config.policy.limit_minutes, config.policy.reminder_s, config.policy.keep_released_hours):
        assert int(most * 60 * _NS_PER_S) < 1 << 63


LINK_TARGETS: dict[str, Callable[[bytes], None]] = {
    "messages": _messages,
    "line": _line,
    "requests": _requests,
    "device_config": _device_config,
}

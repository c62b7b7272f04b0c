"""Errors of the link, each with the one fact that a caller acts on: whether trying again can help."""

from evidence.errors import ExplainedError

__all__ = [
    "LinkError",
    "LinkTimeoutError",
    "PeerRefusedError",
    "ProtocolError",
    "StreamClosedError",
    "StreamError",
]


class LinkError(ExplainedError):
    """Something between camera and dock is not as it must be; `retriable`: a new session may go better."""

    retriable = True


class StreamError(LinkError):
    """The bytes stopped: port gone, connection reset, device error."""


class StreamClosedError(StreamError):
    """This end was closed, or the other end closed in the middle of something."""


class LinkTimeoutError(LinkError, TimeoutError):
    """Nothing, or too little, came in the time given."""


class ProtocolError(LinkError):
    """The other end does not speak the protocol, or a line lost bytes."""


class PeerRefusedError(LinkError):
    """The other end is not who it has to be: no certificate, another agency, another role, expired, revoked."""

    retriable = False

"""What goes wrong between a dock and its broker."""

from evidence.errors import EvidenceError

__all__ = ["OutboxDamagedError", "OutboxError", "PayloadError", "PublishError", "TopicError"]


class PublishError(EvidenceError):
    """The base of all errors of the publisher; none of them ever reaches the offload."""


class TopicError(PublishError):
    """A part of a topic is not one level, or a topic is none of ours."""


class PayloadError(PublishError):
    """A message is not of its format."""


class OutboxError(PublishError):
    """The outbox cannot be read or written."""


class OutboxDamagedError(OutboxError):
    """The outbox is no outbox any more; another one has to be begun."""

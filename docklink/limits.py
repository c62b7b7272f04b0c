"""How long each end waits, and how much it takes."""

import msgspec

__all__ = ["BODY_LIMIT_BYTES", "HEAD_LIMIT_BYTES", "UNAUTHENTICATED_LIMIT_BYTES", "Timeouts"]

UNAUTHENTICATED_LIMIT_BYTES = 32 * 1024
"""What a peer may send before it is authenticated. OpenSSL holds at most that much of it again, so that both
together stay below 64 KiB."""
HEAD_LIMIT_BYTES = 16 * 1024
"""Request line, or status line, with all header fields."""
BODY_LIMIT_BYTES = 1024 * 1024
"""The body of a request; answers other than files have limits of their own in `docklink.api`."""


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds.

    `handshake_s`: TLS, from its first byte to its last. `head_s`: a request's head, from its first byte to its
    last. `body_s`: the same of a request's body. `progress_s`: no byte of an answer goes out or comes in, and
    the limit of one TLS record on a serial line. `answer_s`: from a request to the first byte of its answer
    (a configuration is tried by a selftest before it is answered). `idle_s`: between two requests.
    """

    handshake_s: float = 10.0
    head_s: float = 10.0
    body_s: float = 60.0
    progress_s: float = 5.0
    answer_s: float = 60.0
    idle_s: float = 30.0

"""The exit statuses of every command: the answer that a script reads."""

import enum

__all__ = ["Exit"]


class Exit(enum.IntEnum):
    """What a command found out.

    When one call judges several clips, the status is the first of `NOT_AUTHENTIC`, `CANNOT_TELL`, `INCOMPLETE`
    that occurs.
    """

    DONE = 0  # done; for verify: authentic and complete
    FAILED = 1  # it failed; the reason is on standard error, one line
    USAGE = 2  # wrong usage or configuration
    NOT_AUTHENTIC = 3
    INCOMPLETE = 4  # authentic, but interrupted or incomplete (clip, chunk or number missing)
    CANNOT_TELL = 5  # no given identity opens it, or what is needed to tell is missing

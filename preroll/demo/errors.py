"""What can go wrong with a demo beside the errors of camera and dock."""

from evidence.errors import ExplainedError
from preroll.exits import Exit

__all__ = ["DemoError", "DemoInterruptedError", "StageError"]


class DemoError(ExplainedError):
    """The demo did not come to its end."""


class DemoInterruptedError(DemoError):
    """Somebody ended it before its end."""


class StageError(ExplainedError):
    """The directory cannot be used."""

    exit_status = Exit.USAGE

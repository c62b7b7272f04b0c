"""How an outbox stood, beside it in a small file: what has to be known if it is lost, broken or an older one.

Written anew every few seconds where something has changed, so it may be a little behind, never ahead.
"""

import logging
from pathlib import Path

import msgspec

from evidence.decoding import json_decoder
from evidence.storage import publish_file

__all__ = ["Standing", "keep_standing", "read_standing"]

_logger = logging.getLogger(__name__)
_LIMIT_BYTES = 16 * 1024 * 1024


class Standing(msgspec.Struct, frozen=True):
    """A series and its place among others, the last number in it, the session, the retained topics.

    `custody`, for each store: up to this entry of its log the broker has acknowledged every event.
    """

    series: str
    generation: int
    last: int
    session: int
    custody: dict[str, int] = {}
    topics: tuple[str, ...] = ()

    @property
    def age(self) -> tuple[int, int]:
        """What to compare: an outbox that is less than this is an older one."""
        return self.generation, self.last


def keep_standing(outbox: Path, standing: Standing) -> None:
    """Write it down beside an outbox.

    Raises:
        StorageError: storage refuses; what was there before is.
    """
    publish_file(_beside(outbox), msgspec.json.encode(standing))


def read_standing(outbox: Path) -> Standing | None:
    """Read what lies beside an outbox; `None` if nothing does, or nothing that can be read."""
    path = _beside(outbox)
    try:
        with path.open("rb") as opened:
            return json_decoder(Standing).decode(opened.read(_LIMIT_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _logger.warning("%s cannot be read: %s", path.name, error)
        return None


def _beside(outbox: Path) -> Path:
    return outbox.with_name(f"{outbox.stem}.standing.json")

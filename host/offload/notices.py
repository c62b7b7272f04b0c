"""What people and programs are told: notices that stay in sight, and events that go by."""

import logging
import threading
import time
from collections.abc import Callable

import msgspec

from evidence.clock import format_utc
from evidence.documents import CustodyHead

__all__ = ["Notice", "NoticeBoard"]

_logger = logging.getLogger(__name__)
_NOTICES = 200
_AGAIN_NS = 3600 * 1_000_000_000
_DETAIL_CHARACTERS = 1000


class Notice(msgspec.Struct, frozen=True):
    """Something that somebody has to be told: an alarm, a clip set apart, a fault; or a clip that was stored.

    `times` counts how often the same was found; `utc` is the last time. `custody` is the head of the custody
    log right after the entry about it, for `clip_stored`.
    """

    utc: str
    kind: str
    device: str | None
    clip: str | None
    detail: str
    times: int = 1
    custody: CustodyHead | None = None

    def same_as(self, other: "Notice") -> bool:
        """Whether both say the same."""
        ours = (self.kind, self.device, self.clip, self.detail)
        return ours == (other.kind, other.device, other.clip, other.detail)


class NoticeBoard:
    """The last notices, each once; whoever listens hears of each, and again after an hour if it lasts.

    Thread-safe. `on_event` is called by the thread that has the news, so it must neither block nor raise.
    """

    def __init__(
        self,
        *,
        on_event: Callable[[Notice], object] = lambda _: None,
        now_utc_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._on_event = on_event
        self._now_utc_ns = now_utc_ns
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._notices: list[tuple[Notice, int]] = []  # with the moment when it was told last

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What was announced last, the oldest first."""
        with self._lock:
            return tuple(notice for notice, _ in self._notices)

    def announce(self, kind: str, device: str | None, clip: str | None, detail: str) -> None:
        """Put up a notice; one that says the same is replaced."""
        notice = self._notice(kind, device, clip, detail)
        now_ns = self._monotonic_ns()
        with self._lock:
            before = next((each for each in self._notices if each[0].same_as(notice)), None)
            told_ns = now_ns
            if before is not None:
                self._notices.remove(before)
                notice = msgspec.structs.replace(notice, times=before[0].times + 1)
                told_ns = before[1] if now_ns - before[1] < _AGAIN_NS else now_ns
            self._notices.append((notice, told_ns))
            del self._notices[:-_NOTICES]
        if told_ns == now_ns:
            _logger.warning("%s: %s %s: %s", kind, device or "dock", clip or "", notice.detail)
            self._on_event(notice)

    def tell(
        self, kind: str, device: str | None, clip: str | None, detail: str, custody: CustodyHead | None = None
    ) -> None:
        """Tell who listens of something that nobody has to look after."""
        _logger.info("%s: %s %s: %s", kind, device or "dock", clip or "", detail)
        self._on_event(msgspec.structs.replace(self._notice(kind, device, clip, detail), custody=custody))

    def _notice(self, kind: str, device: str | None, clip: str | None, detail: str) -> Notice:
        return Notice(format_utc(self._now_utc_ns()), kind, device, clip, detail[:_DETAIL_CHARACTERS])

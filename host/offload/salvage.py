"""Reading a file off a card that has bad places: on from where it broke, past what breaks again and again.

A camera whose card does not give a byte ends the session there. Where two sessions in a row end at one byte,
its page is skipped, with zeros in its place; the page behind a skipped one is skipped at its first break.
"""

from evidence.documents import UnreadableRange

__all__ = ["PAGE_BYTES", "Salvage"]

PAGE_BYTES = 4096


class Salvage:
    """How far one file of one clip has come in this docking; no I/O."""

    def __init__(self) -> None:
        self.done_bytes = 0
        self.total_bytes: int | None = None
        self._broke_at: int | None = None
        self._stuck = False
        self._skipped: list[tuple[int, int]] = []

    def broke(self, at: int) -> None:
        """Note that a session ended when so many bytes had come."""
        behind_skipped = bool(self._skipped) and self._skipped[-1][1] == at
        self._stuck = behind_skipped or self._broke_at == at
        self._broke_at = at

    def skip(self, at: int) -> int:
        """Return how many bytes to skip at a place, 0 if they are to be read."""
        if not self._stuck or at != self._broke_at or self.total_bytes is None:
            return 0
        end = min(self.total_bytes, (at // PAGE_BYTES + 1) * PAGE_BYTES)
        self._stuck = False
        if self._skipped and self._skipped[-1][1] == at:
            self._skipped[-1] = (self._skipped[-1][0], end)
        else:
            self._skipped.append((at, end))
        return end - at

    @property
    def unreadable(self) -> tuple[UnreadableRange, ...]:
        """Return what was skipped of the ciphertext, the only file that is skipped in."""
        return tuple(
            UnreadableRange(name="clip.mp4.age", start=start, bytes=end - start) for start, end in self._skipped
        )

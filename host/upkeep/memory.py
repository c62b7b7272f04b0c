"""What is remembered of upkeep as long as a camera is docked, so that nothing fails every few seconds anew."""

from collections import Counter

__all__ = ["UpkeepMemory"]

_BREAKS_UNTIL_LEFT = 3


class UpkeepMemory:
    """Belongs to one docking. Evidence first: what broke a session once is tried again only after the clips.

    `key_revoked_utc_ns` says since when the camera's evidence key is revoked, by the head that it showed.
    """

    def __init__(self) -> None:
        self.key_revoked_utc_ns: int | None = None
        self._refused: dict[str, str] = {}
        self._begun: Counter[str] = Counter()

    def refuse(self, what: str, reason: str) -> None:
        """Note that the camera said no for good."""
        self._refused[what] = reason

    def refusal_of(self, what: str) -> str:
        """Return why the camera said no, empty if it did not."""
        return self._refused.get(what, "")

    def may_begin(self, what: str, *, clips_done: bool) -> bool:
        """Whether to try now."""
        broken = self._begun[what]
        return broken == 0 or (clips_done and broken < _BREAKS_UNTIL_LEFT)

    @property
    def held_back(self) -> bool:
        """Whether something broke a session and waits for the clips to be safe."""
        return bool(self._begun)

    def begin(self, what: str) -> None:
        """Note that it is tried; without `done` the session broke in the middle."""
        self._begun[what] += 1

    def done(self, what: str) -> None:
        """Note that the camera answered, whatever it said."""
        self._begun.pop(what, None)

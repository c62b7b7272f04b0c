"""A card as a cut would leave it, copied from a board that stood still, and what was known at that instant."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from hil_tests.powercut.freeze import Freezer, copy_image
from hil_tests.powercut.record import Record
from hil_tests.powercut.results import Aim

__all__ = ["Copier", "Copy"]


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """One copy. `pressed_ns`, `stopped_ns` and `stored` as in `judge.Left`; `stop_ns`: how long it took."""

    image: Path
    record: Record
    aim: Aim
    pressed_ns: int = 0
    stopped_ns: int = 0
    stored: frozenset[str] = frozenset()
    stop_ns: int = 0


class Copier:
    """Copies one board's card into a directory; `stored` tells which clips the dock's store has now."""

    def __init__(
        self,
        members: Callable[[], list[int]],
        card: Path,
        directory: Path,
        stored: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._freezer = Freezer(members)
        self._card = card
        self._directory = directory
        self._stored = stored
        self._count = 0

    def take(self, record: Record, aim: Aim, *, pressed_ns: int = 0, stopped_ns: int = 0) -> Copy:
        """Stop the board, copy, let it go on.

        Raises:
            BoardError: it is gone, or does not stop.
        """
        self._count += 1
        image = self._directory / f"copy-{self._count}.img"
        with self._freezer.held():
            began_ns = time.monotonic_ns()
            stored = self._stored()  # before anything else: a receipt may not be there before the store's copy
            copy_image(self._card, image)
            record.read()
            stop_ns = time.monotonic_ns() - began_ns
        return Copy(
            image=image,
            record=record.copy(),
            aim=aim,
            pressed_ns=pressed_ns,
            stopped_ns=stopped_ns,
            stored=stored,
            stop_ns=stop_ns,
        )

"""Judges copied cards: each is recovered by the firmware, and may be copied again while that is under way."""

import random
import shutil
import time
from collections.abc import Iterator

from hil_tests.powercut.copies import Copy
from hil_tests.powercut.judge import Judge, Left
from hil_tests.powercut.record import Kind as Told
from hil_tests.powercut.recovering import Recovering, RecoveryBoard
from hil_tests.powercut.results import Cut, Kind, Way

__all__ = ["CopyJudge"]

_LOOK_S = 0.001
_SHARES = (0.4, 0.2)  # of recoveries that are copied themselves: of a copy, and of a copy of its recovery
_WITHIN_S = 0.15
_FILLER_GOES = 0.7


class CopyJudge:
    """Takes copies one by one. `board` is a context manager."""

    def __init__(self, board: RecoveryBoard, chosen: random.Random) -> None:
        self._bench = board
        self.board = board.board
        self._random = chosen

    def judge(self, copied: Copy, judge: Judge, depth: int = 0) -> list[Cut]:
        """Judge a copy as what it is, a card after a cut; `judge` knows all that was there before.

        Raises:
            AssertionError: a promise is broken, before recovery or after it.
            EvidenceError: something is not what the camera signed.
        """
        try:
            return list(self._judge(copied, judge.branch(), depth))
        except Exception as error:
            error.add_note(f"a copy for {copied.aim}, depth {depth}: {copied.image}")
            raise

    def _judge(self, copied: Copy, judge: Judge, depth: int) -> Iterator[Cut]:
        self._bench.insert(copied.image)
        keeps_filler = self._bench.kind is Kind.FULL and self._random.random() > _FILLER_GOES
        run = self._bench.begin(judge.settled, makes_room=not keeps_filler)
        inner = self._watch(run, copied, depth)
        self._bench.finish(run)
        left = Left(
            vault=run.found,
            record=copied.record,
            aim=copied.aim,
            pressed_ns=copied.pressed_ns,
            stopped_ns=copied.stopped_ns,
            stored=copied.stored,
            way=Way.COPY,
            stop_ns=copied.stop_ns,
        )
        yield judge.cut(left)
        known = judge.branch()
        if keeps_filler:  # recovery may have found no room: nothing is lost, and it seals where there is some
            judge.kept(run.after)
            run = self._again(run)
        judge.end(run.after)
        wrong = self._bench.remove()
        assert not wrong, f"the file system is damaged: {wrong}"
        for path in (run.found, run.after):
            shutil.rmtree(path, ignore_errors=True)
        for again in inner:
            yield from self.judge(again, known, depth + 1)
        copied.image.unlink()

    def _again(self, run: Recovering) -> Recovering:
        shutil.rmtree(run.after, ignore_errors=True)
        second = self._bench.begin((), makes_room=True)
        self._bench.finish(second)
        shutil.rmtree(run.found, ignore_errors=True)
        return second

    def _watch(self, run: Recovering, copied: Copy, depth: int) -> list[Copy]:
        """Copy the card at a random instant of its recovery, if there is something to recover."""
        if depth >= len(_SHARES) or self._random.random() > _SHARES[depth]:
            return []
        while not self._bench.ended(run):
            run.record.read()
            told = next(run.record.of(Told.RECOVERY), None)
            if told is not None:
                if not told.detail:
                    return []
                time.sleep(self._random.uniform(0, _WITHIN_S))
                return [] if self._bench.ended(run) else [self._bench.copy(run, copied)]
            time.sleep(_LOOK_S)
        return []

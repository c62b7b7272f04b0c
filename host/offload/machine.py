"""The steps by which one clip leaves a camera, as a table; no I/O, no clock.

    step        event                         next
    look        absent, damaged               manifest
    look        held, released                hand over
    look        apart                         quarantined (it waits for an operator)
    manifest    good                          reserve
    manifest    bad                           salvage
    reserve     good                          journal
    journal     good                          ciphertext
    journal     bad                           salvage
    ciphertext  good                          tail
    ciphertext  bad                           salvage
    tail        good                          take
    tail        bad                           salvage
    salvage     good                          take
    salvage     bad                           set apart
    take        good                          hand over
    take        bad                           set apart
    take        apart                         quarantined (another clip has its name)
    set apart   good                          quarantined
    hand over   good                          confirm
    hand over   bad                           refused (the camera does not take the receipt)
    confirm     good                          stored

`take` is the store's: synced, read back from storage, verified, published, custody entry, receipt
(`host.store.intake`, with named steps of its own). In every step but the last ones the link can break
(interrupted: a new session goes on), the camera can be busy or have deleted the clip, the store can be full for
it (no room) or fail (stopped). What was done is on storage, so whoever begins at `look` again goes on from it.
"""

import enum
from collections.abc import Mapping
from typing import Final

from docklink.errors import LinkError
from docklink.httpclient import AnswerError
from evidence.errors import ExplainedError
from evidence.storage import StorageError
from host.store import StoreError, StoreFullError, StoreGoneError, VerificationError

__all__ = ["ENDINGS", "FAILURES", "TABLE", "Event", "Step", "failure_of", "next_step"]


class Step(enum.StrEnum):
    """What is to be done next, or how it ended."""

    LOOK = "look"
    MANIFEST = "manifest"
    RESERVE = "reserve"
    JOURNAL = "journal"
    CIPHERTEXT = "ciphertext"
    TAIL = "tail"
    SALVAGE = "salvage"
    TAKE = "take"
    SET_APART = "set apart"
    HAND_OVER = "hand over"
    CONFIRM = "confirm"
    STORED = "stored"
    QUARANTINED = "quarantined"
    REFUSED = "refused"
    BUSY = "busy"
    GONE = "gone"
    NO_ROOM = "no room"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"


class Event(enum.StrEnum):
    """How a step went."""

    GOOD = "good"
    BAD = "bad"
    ABSENT = "absent"
    DAMAGED = "damaged"
    HELD = "held"
    RELEASED = "released"
    APART = "apart"
    LINK_FAILED = "link failed"
    CAMERA_BUSY = "camera busy"
    CLIP_GONE = "clip gone"
    STORE_FULL = "store full"
    STORE_FAILED = "store failed"


ENDINGS: Final = frozenset(
    (
        Step.STORED,
        Step.QUARANTINED,
        Step.REFUSED,
        Step.BUSY,
        Step.GONE,
        Step.NO_ROOM,
        Step.INTERRUPTED,
        Step.STOPPED,
    )
)

TABLE: Final[Mapping[tuple[Step, Event], Step]] = {
    (Step.LOOK, Event.ABSENT): Step.MANIFEST,
    (Step.LOOK, Event.DAMAGED): Step.MANIFEST,
    (Step.LOOK, Event.HELD): Step.HAND_OVER,
    (Step.LOOK, Event.RELEASED): Step.HAND_OVER,
    (Step.LOOK, Event.APART): Step.QUARANTINED,
    (Step.MANIFEST, Event.GOOD): Step.RESERVE,
    (Step.MANIFEST, Event.BAD): Step.SALVAGE,
    (Step.RESERVE, Event.GOOD): Step.JOURNAL,
    (Step.JOURNAL, Event.GOOD): Step.CIPHERTEXT,
    (Step.JOURNAL, Event.BAD): Step.SALVAGE,
    (Step.CIPHERTEXT, Event.GOOD): Step.TAIL,
    (Step.CIPHERTEXT, Event.BAD): Step.SALVAGE,
    (Step.TAIL, Event.GOOD): Step.TAKE,
    (Step.TAIL, Event.BAD): Step.SALVAGE,
    (Step.SALVAGE, Event.GOOD): Step.TAKE,
    (Step.SALVAGE, Event.BAD): Step.SET_APART,
    (Step.TAKE, Event.GOOD): Step.HAND_OVER,
    (Step.TAKE, Event.BAD): Step.SET_APART,
    (Step.TAKE, Event.APART): Step.QUARANTINED,
    (Step.SET_APART, Event.GOOD): Step.QUARANTINED,
    (Step.HAND_OVER, Event.GOOD): Step.CONFIRM,
    (Step.HAND_OVER, Event.BAD): Step.REFUSED,
    (Step.CONFIRM, Event.GOOD): Step.STORED,
}

FAILURES: Final[Mapping[Event, Step]] = {
    Event.LINK_FAILED: Step.INTERRUPTED,
    Event.CAMERA_BUSY: Step.BUSY,
    Event.CLIP_GONE: Step.GONE,
    Event.STORE_FULL: Step.NO_ROOM,
    Event.STORE_FAILED: Step.STOPPED,
}
"""What can come between in every step that is no ending."""
_JUDGING: Final = frozenset((Step.MANIFEST, Step.JOURNAL, Step.CIPHERTEXT))
"""Steps in which what came from the camera is judged; elsewhere only `VerificationError` speaks of the clip."""
_FORBIDDEN, _NOT_FOUND, _GONE = 403, 404, 410


def next_step(step: Step, event: Event) -> Step:
    """Say what follows.

    Raises:
        KeyError: the table has no such row; the caller is wrong.
    """
    if step not in ENDINGS and event in FAILURES:
        return FAILURES[event]
    return TABLE[step, event]


def failure_of(step: Step, error: ExplainedError) -> Event:
    """Say what an error means: try again, go on with another clip, or stop until somebody mends the store."""
    if isinstance(error, AnswerError):
        return _refusal(step, error)
    if isinstance(error, LinkError):
        return Event.LINK_FAILED
    if isinstance(error, StoreFullError):
        return Event.STORE_FULL
    return _store_failure(step, error)


def _refusal(step: Step, error: AnswerError) -> Event:
    if step is Step.HAND_OVER and error.status == _FORBIDDEN:
        return Event.BAD
    return Event.CLIP_GONE if error.status in (_NOT_FOUND, _GONE) else Event.CAMERA_BUSY


def _store_failure(step: Step, error: ExplainedError) -> Event:
    """Tell a clip that does not verify from a store that does not work."""
    if isinstance(error, StoreError) and not isinstance(error, StoreGoneError) and step is Step.RESERVE:
        return Event.CAMERA_BUSY  # another bay fetches this very clip
    judged = isinstance(error, VerificationError) or step in _JUDGING
    if isinstance(error, StorageError | StoreError) or not judged or (step, Event.BAD) not in TABLE:
        return Event.STORE_FAILED
    return Event.BAD

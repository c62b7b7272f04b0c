"""Judging a camera's signed head by what is known of the camera: has it advanced, fallen back, or forked?

A camera without a secure element cannot prevent that its card is rolled back; a dock that saw a later head
notices. Rules only; the stores keep what these say.
"""

import enum
from collections.abc import Sequence

import msgspec

from evidence.documents import Head, LogHead, decode
from evidence.errors import EvidenceError
from evidence.paths import verify_signed
from evidence.roles import Role
from host.store.readback import Trust
from host.store.values import SignedBytes

__all__ = ["HeadOutcome", "HeadVerdict", "judge_head", "read_shown_head"]


class HeadOutcome(enum.StrEnum):
    """How a head that a camera shows stands to those kept."""

    NEW = "new"  # of an epoch not seen before, above all others
    ADVANCED = "advanced"
    SAME = "same"
    BEHIND = "behind"  # less than a dock has seen: rolled back or formatted; alarm, and a new epoch
    FORK = "fork"  # contradicts what a dock has seen; alarm


class HeadVerdict(msgspec.Struct, frozen=True):
    """The outcome; `keep` if the head is the highest of its epoch; `highest` of all known, this one included.

    For `behind`, `highest` is what the grant of a new epoch names.
    """

    outcome: HeadOutcome
    keep: bool
    shown: Head
    highest: Head

    @property
    def alarm(self) -> bool:
        """Whether somebody has to be told."""
        return self.outcome in (HeadOutcome.BEHIND, HeadOutcome.FORK)


def read_shown_head(head: SignedBytes, trust: Trust) -> Head:
    """Verify a head: the camera's own signature, the agency's path, one form.

    Raises:
        EvidenceError: what does not hold.
    """
    identity = verify_signed(head.document, head.cms, trust.roots, Role.CAMERA_EVIDENCE, None)
    shown = decode(head.document, Head)
    if identity.subject_id != shown.device:
        raise EvidenceError(
            "the head is signed by another device", expected=shown.device, found=identity.subject_id
        )
    return shown


def judge_head(known: Sequence[Head], shown: Head) -> HeadVerdict:
    """Judge a head by the highest of each epoch of the same device."""
    same = next((head for head in known if head.epoch == shown.epoch), None)
    later = any(head.generation > shown.generation for head in known)
    if same is None:
        taken = later or any(head.generation == shown.generation for head in known)
        outcome, keep = (HeadOutcome.BEHIND if taken else HeadOutcome.NEW), True
    else:
        outcome = _within(same, shown)
        keep = outcome is HeadOutcome.ADVANCED
        if later and outcome is not HeadOutcome.FORK:
            outcome = HeadOutcome.BEHIND
    highest = max((*known, *((shown,) if outcome is not HeadOutcome.FORK else ())), key=_height)
    return HeadVerdict(outcome=outcome, keep=keep, shown=shown, highest=highest)


def _within(known: Head, shown: Head) -> HeadOutcome:
    """Compare two heads of one epoch."""
    log = _compare_logs(known.log, shown.log)
    contradicts = (
        shown.generation != known.generation
        or log is HeadOutcome.FORK
        or (shown.number == known.number and shown.start_sha256 != known.start_sha256)
        or (shown.number > known.number and log is HeadOutcome.BEHIND)
        or (shown.number < known.number and log is HeadOutcome.ADVANCED)
    )
    if contradicts:
        return HeadOutcome.FORK
    if shown.number == known.number:
        return log
    return HeadOutcome.ADVANCED if shown.number > known.number else HeadOutcome.BEHIND


def _compare_logs(known: LogHead | None, shown: LogHead | None) -> HeadOutcome:
    known_index, shown_index = (log.index if log else 0 for log in (known, shown))
    if known_index == shown_index:
        return HeadOutcome.SAME if known == shown else HeadOutcome.FORK
    return HeadOutcome.ADVANCED if shown_index > known_index else HeadOutcome.BEHIND


def _height(head: Head) -> tuple[int, int, int]:
    return head.generation, head.number, head.log.index if head.log else 0

"""Plain words for what documents say in short ones, and the sentences that no report may lack."""

from evidence.clock import ClockSource
from evidence.documents import Ended, Manifest
from evidence.findings import Finding, Outcome
from evidence.frames import GapCause, Shortfall, SilenceCause

__all__ = ["CLOCKS", "ENDINGS", "FINDINGS", "GAPS", "OUTCOMES", "SHORTFALLS", "SILENCES", "duration", "limits"]

_CLIP = (
    "It shows that this clip is what the camera's key signed. It does not show that nothing else happened, or "
    "that no press was made at another time."
)
_LENS = (
    "Pictures show what was before the lens. Who operated the camera, and whether a scene was staged, is not a "
    "question of signatures."
)
_EXCERPT = (
    "An excerpt is not the proof; the whole clip is. The excerpt was cut from it without encoding anything "
    "again, and whoever doubts it has to be given the clip, or an export of all of it."
)
_INTERRUPTED = (
    "The clip was interrupted. It proves what is there, not that nothing followed. The journal, written while "
    "recording, attests the first {}; what follows that was found in the camera, and was signed at its next "
    "start."
)
_NS_PER_MS = 1_000_000
_S_PER_MIN, _S_PER_H = 60, 3600

FINDINGS = {
    Finding.AUTHENTIC: "Authentic and complete",
    Finding.INCOMPLETE: "Authentic, but interrupted: the end is missing",
    Finding.NOT_AUTHENTIC: "Not authentic",
    Finding.CANNOT_TELL: "Cannot tell",
}
OUTCOMES = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "failed",
    Outcome.INCOMPLETE: "incomplete",
    Outcome.MISSING: "missing",
    Outcome.SKIPPED: "skipped",
    Outcome.NOT_CHECKED: "not checked",
}
ENDINGS = {
    Ended.STOPPED: "stopped by the wearer",
    Ended.TIME_LIMIT: "the longest time for a clip was reached",
    Ended.STORAGE_FULL: "the storage was full",
    Ended.LOW_BATTERY: "the battery was low",
    Ended.SHUTDOWN: "the camera was shut down",
    Ended.FAULT: "a fault of the camera",
    Ended.POWER_LOSS: "the power was lost; a record of the camera says so",
    Ended.UNKNOWN: "interrupted; no record says by what",
    Ended.NOTHING_RECORDED: "nothing was recorded",
}
GAPS: dict[str, str] = {
    GapCause.CAMERA_DROPPED: "the camera dropped pictures",
    GapCause.CAMERA_STALLED: "the camera stalled",
    GapCause.CAMERA_RESTARTED: "the camera was started again",
    GapCause.TRUNCATED: "a picture did not fit the encoder",
    GapCause.STORAGE_STALL: "the storage was too slow",
}
SILENCES: dict[str, str] = {
    SilenceCause.POLICY_BEFORE_PRESS: "policy: no sound before the press",
    SilenceCause.POLICY_OFF: "policy: no sound",
    SilenceCause.NO_MICROPHONE: "no microphone",
    SilenceCause.MICROPHONE_LOST: "the microphone was lost",
    SilenceCause.LATE: "the sound came too late",
}
SHORTFALLS = {
    Shortfall.JUST_STARTED: "the camera had just been switched on",
    Shortfall.BYTE_LIMIT: "the memory for pre-event seconds was full",
    Shortfall.CAMERA_GAP: "the camera had delivered no pictures",
}
CLOCKS = {
    ClockSource.NONE: "unknown to the camera",
    ClockSource.SYSTEM: "the camera's system clock, for which nothing vouches",
    ClockSource.NTP: "synchronised over the network (NTP)",
    ClockSource.RTC: "the camera's battery-backed clock",
    ClockSource.DOCK: "set by a dock",
}


def duration(time_ns: int) -> str:
    """Write a time from the first frame as `1:02:03.456`, `2:03.456` or `3.456 s` (rounded down)."""
    sign, ms = ("-", -time_ns // _NS_PER_MS) if time_ns < 0 else ("", time_ns // _NS_PER_MS)
    seconds, ms = divmod(ms, 1000)
    if seconds < _S_PER_MIN:
        return f"{sign}{seconds}.{ms:03d} s"
    hours, rest = divmod(seconds, _S_PER_H)
    minutes, seconds = divmod(rest, _S_PER_MIN)
    clock = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{sign}{clock}:{seconds:02d}.{ms:03d}"


def limits(manifest: Manifest, *, excerpt: bool, revocation_checked: bool) -> tuple[str, ...]:
    """Say what the evidence does not show."""
    found = [_CLIP, _LENS]
    if excerpt:
        found.append(_EXCERPT)
    if not manifest.complete:
        found.append(_INTERRUPTED.format(duration(manifest.attested.duration_ns)))
    if manifest.start.utc is None:
        found.append("The camera did not know the time of day: nothing here says when it was.")
    elif manifest.start.clock.error_ns is None:
        found.append("The times of day are those of the camera's clock; no bound of their error is known.")
    if not revocation_checked:
        found.append("Whether the camera's certificate was revoked was not checked.")
    return tuple(found)

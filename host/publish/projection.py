"""From what the agent knows to what it publishes."""

import msgspec

from evidence.clock import format_utc
from host.bays.status import BayState, BayStatus
from host.publish.errors import PayloadError, TopicError
from host.publish.payloads import (
    BayPayload,
    CameraPayload,
    InfoPayload,
    Payload,
    decode_payload,
    encode_payload,
)
from host.publish.topics import Topics

__all__ = ["bay_payload", "camera_payload", "checked", "later_of", "plain", "topic_of"]

_LONGEST = 1000


def plain(text: str) -> str:
    """Cut a text for people to what a field takes, and to what UTF-8 can say."""
    return text.encode("utf-8", "replace").decode("utf-8")[:_LONGEST]


def checked(payload: Payload) -> bytes:
    """Write a payload, and make sure that it is of its own format.

    Raises:
        PayloadError: it is not; a camera said something that no reader would take.
    """
    try:
        data = encode_payload(payload)
    except (UnicodeEncodeError, OverflowError) as error:
        raise PayloadError(f"not a {type(payload).__name__}", found=str(error)[:200]) from error
    decode_payload(data, type(payload))
    return data


def topic_of(topics: Topics, payload: BayPayload | CameraPayload | InfoPayload) -> str:
    """Return where a payload belongs.

    Raises:
        TopicError: a name is not one level.
    """
    match payload:
        case BayPayload():
            return topics.bay(payload.bay)
        case CameraPayload():
            return topics.camera(payload.device)
        case InfoPayload():
            return topics.info
    raise TopicError("no topic for this payload", found=type(payload).__name__)


def bay_payload(status: BayStatus, utc_ns: int) -> BayPayload:
    """Show a bay."""
    moving = status.state is BayState.OFFLOADING
    return BayPayload(
        bay=status.bay,
        utc=format_utc(utc_ns),
        state=status.state,
        detail=plain(status.detail),
        device=status.device or None,
        clip=status.clip if moving else None,
        step=status.step if moving else None,
        done_bytes=status.done_bytes if moving else 0,
        clip_bytes=status.clip_bytes if moving else 0,
        stored=status.stored,
        failed_sessions=status.failed_sessions,
    )


def camera_payload(status: BayStatus, utc_ns: int) -> CameraPayload | None:
    """Show the camera in a bay as it was in its last session; `None` before the first."""
    camera = status.camera
    if camera is None or not camera.device:
        return None
    account = camera.completeness
    return CameraPayload(
        device=camera.device,
        utc=format_utc(utc_ns),
        as_of=None if account is None else (account.generation, account.log_index),
        bay=status.bay,
        firmware=camera.firmware,
        recorder=camera.recorder,
        battery_percent=camera.battery_percent,
        charging=camera.charging,
        free_bytes=camera.free_bytes,
        total_bytes=camera.total_bytes,
        clock_error_ns=camera.clock_error_ns,
        waiting=camera.waiting,
        missing=None if account is None else sum(last - first + 1 for first, last in account.missing),
        wearer=camera.wearer,
    )


def later_of(before: CameraPayload, now: CameraPayload) -> CameraPayload:
    """Keep what is known of a camera where a session broke off before it could be asked again."""
    if now.as_of is not None or before.as_of is None:
        return now
    return msgspec.structs.replace(now, as_of=before.as_of, missing=before.missing)

"""Encoded frames and what is known about them: the values that travel from capture to clip.

All times are nanoseconds of CLOCK_MONOTONIC, stamped by the sensor (picture) or the sound card (sound), never
the time of arrival.
"""

import enum
from fractions import Fraction

import msgspec

__all__ = [
    "AudioFormat",
    "EncodedFrame",
    "GapCause",
    "Shortfall",
    "SilenceCause",
    "Span",
    "Track",
    "VideoFormat",
]


class Track(enum.IntEnum):
    """Which track a frame belongs to."""

    VIDEO = 0
    AUDIO = 1


class EncodedFrame(msgspec.Struct, frozen=True, gc=False):
    """One encoded frame, in decode order within its track.

    `data` of a video frame is one H.264 access unit in Annex B form (start codes); a keyframe is an IDR picture
    and carries SPS and PPS in front of it. `data` of an audio frame is one raw AAC-LC frame of 1024 samples,
    48 kHz, mono, without ADTS header. `dts_ns` increases strictly within a track. Audio has `keyframe=True`.
    """

    track: Track
    data: bytes
    pts_ns: int
    dts_ns: int
    duration_ns: int
    keyframe: bool


class GapCause(enum.StrEnum):
    """Why picture is missing (docs/formats.md, `span`)."""

    CAMERA_DROPPED = "camera_dropped"
    CAMERA_STALLED = "camera_stalled"
    CAMERA_RESTARTED = "camera_restarted"
    TRUNCATED = "truncated"
    STORAGE_STALL = "storage_stall"


class Shortfall(enum.StrEnum):
    """Why fewer pre-event seconds than requested (docs/formats.md, `preevent`)."""

    JUST_STARTED = "just_started"
    BYTE_LIMIT = "byte_limit"
    CAMERA_GAP = "camera_gap"


class SilenceCause(enum.StrEnum):
    """Why sound is missing (docs/formats.md, `span`)."""

    POLICY_BEFORE_PRESS = "policy_before_press"
    POLICY_OFF = "policy_off"
    NO_MICROPHONE = "no_microphone"
    MICROPHONE_LOST = "microphone_lost"
    LATE = "late"


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stretch of time without picture or without sound, end excluded.

    Used for gaps on their way through the ring (cause is a `GapCause`) and, in journal and manifest, for both
    lists. Field order is the canonical order of docs/formats.md.
    """

    start_ns: int
    end_ns: int
    cause: str


class VideoFormat(msgspec.Struct, frozen=True):
    """Size and nominal rate of the picture; SPS and PPS are in every keyframe."""

    width: int
    height: int
    rate: Fraction


class AudioFormat(msgspec.Struct, frozen=True):
    """The one sound format that clips use: AAC-LC, 48 kHz, mono, 1024 samples a frame."""

    sample_rate: int = 48_000
    channels: int = 1
    frame_samples: int = 1024

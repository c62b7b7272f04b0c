"""How clips leave a camera: one clip, one session, and what all bays of a dock share."""

from host.offload.accounts import Accounts, Completeness
from host.offload.clip import ClipOffload, Outcome, Watch
from host.offload.devicelog import DeviceLogs
from host.offload.machine import Step
from host.offload.notices import NoticeBoard
from host.offload.session import SessionReport, Settings, run_session
from host.offload.station import Docking, Notice, Station

__all__ = [
    "Accounts",
    "ClipOffload",
    "Completeness",
    "DeviceLogs",
    "Docking",
    "Notice",
    "NoticeBoard",
    "Outcome",
    "SessionReport",
    "Settings",
    "Station",
    "Step",
    "Watch",
    "run_session",
]

"""The bays of a dock: ways to cameras, one worker each, and what they show."""

from host.bays.status import BayState, BayStatus, CameraStatus
from host.bays.ways import SerialWay, TcpWay, UsbWay, Way, way_of
from host.bays.worker import Bay, BayTimes

__all__ = [
    "Bay",
    "BayState",
    "BayStatus",
    "BayTimes",
    "CameraStatus",
    "SerialWay",
    "TcpWay",
    "UsbWay",
    "Way",
    "way_of",
]

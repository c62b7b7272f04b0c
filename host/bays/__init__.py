"""The bays of a dock: ways to cameras, one worker each, and what they show."""

from host.bays.hotplug import FakeMonitor, PortEvent, PortMonitor, UdevMonitor
from host.bays.keeper import BayKeeper
from host.bays.status import BayState, BayStatus, CameraStatus
from host.bays.ways import SerialWay, TcpWay, UsbWay, Way, way_of
from host.bays.worker import Bay, BayTimes

__all__ = [
    "Bay",
    "BayKeeper",
    "BayState",
    "BayStatus",
    "BayTimes",
    "CameraStatus",
    "FakeMonitor",
    "PortEvent",
    "PortMonitor",
    "SerialWay",
    "TcpWay",
    "UdevMonitor",
    "UsbWay",
    "Way",
    "way_of",
]

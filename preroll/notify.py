"""systemd's notification socket, in a few lines (sd_notify(3)); without the socket nothing is sent."""

import os
import socket
from collections.abc import Mapping

__all__ = ["ServiceManager"]

_NS_PER_US = 1_000


class ServiceManager:
    """The service manager that started this process, if one did (`NOTIFY_SOCKET`, `WATCHDOG_USEC`)."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        meant_for = environment.get("WATCHDOG_PID", "")
        interval = environment.get("WATCHDOG_USEC", "")
        mine = not meant_for or meant_for == str(os.getpid())
        self.watchdog_ns = int(interval) * _NS_PER_US if mine and interval.isdigit() and int(interval) else None
        """How long the manager waits between two `WATCHDOG=1`; `None` without a watchdog."""

    def tell(self, *assignments: str) -> bool:
        """Send assignments such as `READY=1`; whether anybody took them. A manager that is gone is no error."""
        if not self._address:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.settimeout(1.0)
                sender.sendto("\n".join(assignments).encode(), self._address)
            except OSError:  # it restarts, or its queue is full: the next one counts
                return False
        return True

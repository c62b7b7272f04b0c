"""A publisher in a process of its own, to be killed."""

import time
from pathlib import Path

from host.publish import BrokerSettings, Outbox, PahoLink, Publisher, Topics

__all__ = ["run_publisher"]


def run_publisher(directory: str, port: int, events: int = 0, pause_s: float = 0.0) -> None:
    """Publish; make events up to a number in all, and go on until killed."""
    from tests.host.publish.brokerbench import QUICK

    outbox = Outbox(Path(directory) / "outbox.db")
    settings = BrokerSettings(host="127.0.0.1", port=port, client_id="dock7", tls=False)
    publisher = Publisher(
        outbox,
        Topics("preroll", "north", "dock7"),
        PahoLink(settings),
        timing=QUICK,
    )
    publisher.start()
    while outbox.held().last < events:
        publisher.event("fault")
        time.sleep(pause_s)
    while True:
        time.sleep(1)

"""One bay for one command: lent by the agent if there is one, else nobody else has it."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evidence.errors import EvidenceError
from host.agent import socket_path
from host.config import BaySection, DockConfig
from host.control import AskLend, AskReturn, NoAgentError, ask

__all__ = ["borrowed", "usb_number_of"]

_log = logging.getLogger(__name__)


@contextmanager
def borrowed(config: DockConfig, bay: str, seconds: float) -> Iterator[bool]:
    """Have a bay's port to oneself; says whether an agent lent it.

    Raises:
        EvidenceError: an agent runs and does not let go of it.
    """
    path = socket_path(config)
    try:
        ask(path, AskLend(bay, seconds))
    except NoAgentError:
        yield False
        return
    try:
        yield True
    finally:
        try:
            ask(path, AskReturn(bay))
        except EvidenceError as error:
            _log.warning("bay %s is taken back by the agent when its time is over: %s", bay, error)


def _ports() -> Iterable[Any]:
    from serial.tools.list_ports import comports  # noqa: PLC0415 - for this command alone

    found: Iterable[Any] = comports()
    return found


def usb_number_of(bay: BaySection, ports: Callable[[], Iterable[Any]] = _ports) -> str | None:
    """Return the serial number that USB shows in a bay, `None` where the way is none of USB.

    `ports` lists serial devices as pyserial does: `device`, `serial_number`.
    """
    if bay.usb is not None:
        return bay.usb
    if bay.serial is None:
        return None
    device = Path(bay.serial).resolve()
    for port in ports():
        if Path(port.device).resolve() == device:
            number: str | None = port.serial_number
            return number
    return None

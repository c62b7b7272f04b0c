"""Process 1 of a virtual board: `python -m hil_tests.board.guest SHARE SERIAL NEEDED…`."""

import os
import sys
import termios

from hil_tests.board.guest import system

_CHANNEL = "/dev/tty1"
_SYSTEMD, _ON_SYSTEMD = "--systemd", "--on-systemd"


def _main(share: str, serial: str, checkout: str, prefix: str, how: str = "") -> None:
    if how != _ON_SYSTEMD:
        system.set_up(share, (checkout, prefix))
    if how == _SYSTEMD:
        from hil_tests.board.guest.systemd import hand_over  # noqa: PLC0415 - as below

        command = [sys.executable, "-s", "-S", "-B", "-m", "hil_tests.board.guest"]
        hand_over(checkout, sys.executable, [*command, share, serial, checkout, prefix, _ON_SYSTEMD])
    # These need the board's file systems and entropy.
    from hil_tests.board.guest.agent import Agent, Parts  # noqa: PLC0415 - see above
    from hil_tests.board.guest.gadget import Gadget  # noqa: PLC0415 - see above
    from hil_tests.board.guest.pins import Pins  # noqa: PLC0415 - see above
    from hil_tests.board.guest.trace import Trace  # noqa: PLC0415 - see above

    os.environ |= {"HOME": "/tmp", "TERM": "dumb", "TMPDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    os.environ.pop("PYTHONPATH", None)
    os.chdir("/tmp")
    try:
        channel, pins = _open_raw(_CHANNEL), Pins()
        Agent(channel, channel, Parts(pins, Trace(pins.base), Gadget.make(serial), system.SHARE)).run()
    finally:
        system.shut_down()


def _open_raw(path: str) -> int:
    channel = os.open(path, os.O_RDWR | os.O_NOCTTY)
    mode = termios.tcgetattr(channel)
    mode[0] = mode[1] = mode[3] = 0
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(channel, termios.TCSANOW, mode)
    return channel


_main(*[word for word in sys.argv[1:] if not word.startswith("console=")])

"""Process 1 of a virtual board: `python -m hil_tests.board.guest SHARE SERIAL NEEDED…`."""

import os
import sys

from hil_tests.board.guest import system

_CHANNEL = "/dev/tty1"


def _main(share: str, serial: str, *needed: str) -> None:
    system.set_up(share, needed)
    from hil_tests.board.guest.agent import Agent  # noqa: PLC0415 - needs the board's file systems and entropy

    os.environ |= {"HOME": "/tmp", "TERM": "dumb", "TMPDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    os.environ.pop("PYTHONPATH", None)
    os.chdir("/tmp")
    try:
        Agent(_CHANNEL, serial).run()
    finally:
        system.shut_down()


_main(*[word for word in sys.argv[1:] if not word.startswith("console=")])

"""The agent on a real board or the bench's host: `python -m hil_tests.board.guest.remote` over SSH or a pipe.

It reads the kernel's trace and starts processes, as on a virtual board; power and lines are the bench's. It
talks on its standard input and output, and ends with them; what it has started goes on.
"""

import os
from pathlib import Path

from hil_tests.board.guest.agent import Agent, Parts
from hil_tests.board.guest.gadget import Gadget
from hil_tests.board.guest.trace import Trace

__all__: list[str] = []


def _header_base() -> int:
    """Return the kernel's number of the header's first line: the chip whose label begins with `pinctrl-`."""
    for chip in sorted(Path("/sys/class/gpio").glob("gpiochip*")):
        if (chip / "label").read_text(encoding="ascii").startswith("pinctrl-"):
            return int((chip / "base").read_text(encoding="ascii"))
    return 0


def _trace() -> Trace | None:
    try:
        return Trace(_header_base())
    except OSError:  # no tracefs, or not root: the board then has no such capability
        return None


def _main() -> None:
    taken, said = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # whatever prints must not speak in between
    Agent(taken, said, Parts(trace=_trace(), gadget=Gadget.find())).run()


_main()

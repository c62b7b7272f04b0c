"""When the kernel took an edge of an input line: between entry and exit of the line's interrupt handler.

The event's own stamp, which gpiozero hands to the firmware, is taken in between. The instant at which the bench
moved the line is no substitute: a simulated line's interrupt can wait for the next tick, a real contact for its
RC filter.
"""

import re
from dataclasses import dataclass

from hil_tests.board.protocol import Board, BoardError

__all__ = ["EdgeSpan", "edge_spans", "watch_edges"]

_CONSUMER = "preroll"
"""What the firmware calls itself towards the kernel (device/controls/kernel_pins.py)."""
_INTERRUPT = re.compile(rf"^\s*(\d+):.*\s{_CONSUMER}$", re.MULTILINE)
_NUMBER = re.compile(r"\birq=(\d+)\b")


@dataclass(frozen=True)
class EdgeSpan:
    """An interrupt of an input line was handled between these two instants of the board's CLOCK_MONOTONIC."""

    entry_ns: int
    exit_ns: int


def watch_edges(board: Board) -> None:
    """Have the interrupts of all lines traced that the firmware has claimed by now.

    Raises:
        BoardError: it has claimed none.
    """
    numbers = _INTERRUPT.findall(board.read("/proc/interrupts"))
    if not numbers:
        raise BoardError(f"no interrupt belongs to {_CONSUMER!r}: {board.read('/proc/interrupts')}")
    condition = " || ".join(f"irq == {number}" for number in numbers)
    for event in ("irq_handler_entry", "irq_handler_exit"):
        board.watch(f"irq/{event}", condition)


def edge_spans(board: Board) -> list[EdgeSpan]:
    """Return the edges of all watched lines so far, in order."""
    spans, open_ns = [], dict[str, int]()
    for event in board.traced():
        found = _NUMBER.search(event.text)
        if found is None:
            continue
        if event.name == "irq_handler_entry":
            open_ns[found[1]] = event.at_ns
        elif event.name == "irq_handler_exit":
            # Trace times are whole microseconds, cut off.
            spans.append(EdgeSpan(open_ns.pop(found[1]), event.at_ns + 1000))
    return spans

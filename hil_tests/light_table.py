"""What lights, buzzer and vibration motor should do: the tables of docs/controls.md, as crews read them.

The firmware's own table is not asked: the page is what was promised.
"""

import re
from dataclasses import dataclass
from functools import cache

from hil_tests.board.kernel import CHECKOUT

__all__ = ["AS_BEFORE", "Row", "light_table"]

AS_BEFORE: tuple[tuple[str, int], ...] = ()
"""A signal that leaves the state's light as it is."""
_PAGE = CHECKOUT / "docs" / "controls.md"
_ROW = re.compile(
    r"\| `(?P<name>\w+)` \| [^|]+ \| (?P<light>[^|]+) \| (?P<buzzer>[^|]+) \| (?P<motor>[^|]+) \|"
)
_NONE, _UNCHANGED, _EVERY = "none", "as before", " every "
_SIGNALS = "### Signals"


@dataclass(frozen=True)
class Row:
    """One row: the light's steps of colour and milliseconds; the lengths of pulses of buzzer and motor.

    `light` repeats for a state, and is played once for a signal (`once`); pulses are empty for none.
    """

    name: str
    light: tuple[tuple[str, int], ...]
    buzzer: tuple[int, ...]
    vibration: tuple[int, ...]
    once: bool


@cache
def light_table() -> dict[str, Row]:
    """Return states and signals by their names, which differ."""
    found = {}
    page = _PAGE.read_text(encoding="utf-8")
    for match in _ROW.finditer(page):
        light, name = match["light"].strip(), match["name"]
        steps = AS_BEFORE if light == _UNCHANGED else tuple(_step(part) for part in light.split(", "))
        once = match.start() > page.index(_SIGNALS)
        found[name] = Row(name, steps, _pulses(match["buzzer"]), _pulses(match["motor"]), once)
    return found


def _step(text: str) -> tuple[str, int]:
    colour, milliseconds = text.split()
    return colour, int(milliseconds)


def _pulses(text: str) -> tuple[int, ...]:
    text = text.strip().partition(_EVERY)[0]
    return () if text == _NONE else tuple(int(word) for word in text.split())

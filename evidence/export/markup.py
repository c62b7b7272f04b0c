"""HTML and SVG in which everything is escaped that was not made here: there is no way to forget it."""

import html
from collections.abc import Iterable

__all__ = ["Child", "Markup", "join", "style", "tag"]

_VOID = frozenset(("meta", "br", "hr"))


class Markup(str):
    """Text that is markup already; only this module makes it."""

    __slots__ = ()


Child = Markup | str | None
"""What may stand inside an element; a plain string is escaped, `None` leaves nothing."""


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Return an element.

    In names of attributes `_` means `-`, one at the end is dropped; `None` leaves an attribute out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Put pieces one after the other."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else html.escape(child)
            for child in children
            if child is not None
        )
    )


def style(sheet: str) -> Markup:
    """Return a style sheet of ours; it must hold nothing from outside.

    Raises:
        ValueError: it could end the element.
    """
    if "<" in sheet:
        raise ValueError("a style sheet with markup in it")
    return Markup(f"<style>{sheet}</style>")


def _text(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)

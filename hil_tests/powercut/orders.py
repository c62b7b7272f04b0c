"""What a board that recovers one card after the other is asked for: a file that both sides see."""

from pathlib import Path

import msgspec

__all__ = ["Order", "read_order", "write_order"]

_NAME = "order.json"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One card, which is mounted; its vault comes to the host without the ciphertext of `settled` clips.

    `makes_room`: what fills the card goes before the firmware starts.
    """

    number: int
    vault: str
    settled: tuple[str, ...] = ()
    makes_room: bool = False


def write_order(share: Path, order: Order) -> None:
    """Leave it where the board looks."""
    (share / _NAME).write_bytes(msgspec.json.encode(order))


def read_order(share: Path) -> Order:
    """Read it there.

    Raises:
        msgspec.ValidationError: it is none.
    """
    return msgspec.json.decode((share / _NAME).read_bytes(), type=Order)

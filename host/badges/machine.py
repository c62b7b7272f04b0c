"""Who gets which camera: badges and dockings in, assignments out. No I/O, clock or thread.

A badge makes a claim. A claim on a bay is met by the camera in it, now or within the wait; one on the next
camera by the first that is docked, or taken out, after the badge. The oldest claim comes first; a badge that is
shown again renews its claim.
"""

import enum

import msgspec

__all__ = ["Aim", "Claim", "Claims", "Movement"]


class Movement(enum.StrEnum):
    """What a camera does in a bay."""

    DOCKED = "docked"
    UNDOCKED = "undocked"


class Aim(msgspec.Struct, frozen=True):
    """What the badges of one reader are after: the camera in `bay`, or else the next one that moves so."""

    bay: str | None = None
    movement: Movement = Movement.DOCKED
    wait_ns: int = 60_000_000_000
    shift_ns: int = 12 * 3600 * 1_000_000_000


class Claim(msgspec.Struct, frozen=True):
    """A wearer who showed a badge, and until when that counts."""

    wearer: str
    aim: Aim
    until_ns: int


class Claims:
    """The claims that wait. Times are of the monotonic clock, in nanoseconds."""

    def __init__(self) -> None:
        self._waiting: list[Claim] = []
        self._docked: dict[str, str] = {}

    @property
    def waiting(self) -> tuple[Claim, ...]:
        """Claims that nothing has met yet, the oldest first."""
        return tuple(self._waiting)

    def badge(self, wearer: str, aim: Aim, now_ns: int) -> tuple[Claim, str] | None:
        """Take a badge; return its claim with the camera that meets it at once, if one does."""
        self._waiting = [each for each in self._waiting if (each.wearer, each.aim) != (wearer, aim)]
        claim = Claim(wearer, aim, now_ns + aim.wait_ns)
        device = self._docked.get(aim.bay) if aim.bay is not None else None
        if device is not None:
            return claim, device
        self._waiting.append(claim)
        return None

    def moved(self, movement: Movement, bay: str, device: str, now_ns: int) -> tuple[Claim, str] | None:
        """Take a camera's coming or going; return the claim that it meets."""
        if movement is Movement.DOCKED:
            self._docked[bay] = device
        else:
            self._docked.pop(bay, None)
        for claim in self._waiting:
            if claim.until_ns > now_ns and self._meets(claim.aim, movement, bay):
                self._waiting.remove(claim)
                return claim, device
        return None

    def expire(self, now_ns: int) -> tuple[Claim, ...]:
        """Give up the claims that waited too long, and return them."""
        gone = tuple(each for each in self._waiting if each.until_ns <= now_ns)
        self._waiting = [each for each in self._waiting if each.until_ns > now_ns]
        return gone

    @staticmethod
    def _meets(aim: Aim, movement: Movement, bay: str) -> bool:
        if aim.bay is not None:
            return movement is Movement.DOCKED and bay == aim.bay
        return movement is aim.movement

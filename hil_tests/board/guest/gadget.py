"""A board's USB gadget: made on a virtual board, found on a real one; plugged and pulled on both."""

from pathlib import Path

__all__ = ["CAMERA_END", "DOCK_END", "Gadget"]

CAMERA_END = "/dev/ttyGS0"
DOCK_END = "/dev/ttyACM0"
_GADGETS = Path("/sys/kernel/config/usb_gadget")
_CONTROLLERS = Path("/sys/class/udc")


class Gadget:
    """A gadget with a serial function; plugging it in makes a port appear at the other end."""

    def __init__(self, place: Path) -> None:
        self._place = place

    @classmethod
    def find(cls) -> "Gadget | None":
        """Return the board's own, made by whoever set it up."""
        found = sorted(_GADGETS.glob("*/UDC"))
        return cls(found[0].parent) if found else None

    @classmethod
    def make(cls, serial: str) -> "Gadget":
        """Make one with one serial function, not plugged in yet."""
        place = _GADGETS / "camera"
        place.mkdir()
        for name, value in (("idVendor", "0x1d6b"), ("idProduct", "0x0104")):  # Linux Foundation, composite
            (place / name).write_text(value)
        strings = place / "strings/0x409"
        strings.mkdir()
        for name, value in (("serialnumber", serial), ("manufacturer", "Preroll"), ("product", "camera")):
            (strings / name).write_text(value)
        function, configuration = place / "functions/acm.0", place / "configs/c.1"
        function.mkdir()
        configuration.mkdir()
        (configuration / "acm.0").symlink_to(function)
        return cls(place)

    def plug(self, *, docked: bool) -> None:
        """Put the plug in, or pull it; the same again changes nothing.

        Raises:
            OSError: the controller does not take the gadget, or there is none.
        """
        is_in = bool((self._place / "UDC").read_text().strip())
        if docked is not is_in:
            controller = next((entry.name for entry in _CONTROLLERS.iterdir()), "")
            (self._place / "UDC").write_text(controller if docked else "\n")

"""The virtual board's USB: a serial gadget whose host end is in the same kernel, so that it can be docked."""

from pathlib import Path

__all__ = ["CAMERA_END", "DOCK_END", "Gadget"]

CAMERA_END = "/dev/ttyGS0"
DOCK_END = "/dev/ttyACM0"
_PLACE = Path("/sys/kernel/config/usb_gadget/camera")
_CONTROLLER = "dummy_udc.0"


class Gadget:
    """One serial function; plugging it in makes `DOCK_END` appear."""

    def __init__(self, serial: str) -> None:
        _PLACE.mkdir()
        for name, value in (
            ("idVendor", "0x1d6b"),
            ("idProduct", "0x0104"),
        ):  # Linux Foundation, composite gadget
            (_PLACE / name).write_text(value)
        strings = _PLACE / "strings/0x409"
        strings.mkdir()
        for name, value in (
            ("serialnumber", serial),
            ("manufacturer", "Preroll"),
            ("product", "Preroll camera"),
        ):
            (strings / name).write_text(value)
        function = _PLACE / "functions/acm.0"
        function.mkdir()
        configuration = _PLACE / "configs/c.1"
        configuration.mkdir()
        (configuration / "acm.0").symlink_to(function)

    def plug(self, *, docked: bool) -> None:
        """Put the plug in, or pull it; the same again changes nothing.

        Raises:
            OSError: the controller does not take the gadget.
        """
        is_in = bool((_PLACE / "UDC").read_text().strip())
        if docked is not is_in:
            (_PLACE / "UDC").write_text(_CONTROLLER if docked else "\n")

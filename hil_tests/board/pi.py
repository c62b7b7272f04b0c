"""A real Raspberry Pi on a bench: SSH for commands, a switch for its power, switches on its input lines."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hil_tests.board.protocol import BoardError, Capability, PinEdge, PinTime, Places, Service
from hil_tests.board.remote import RemoteComputer
from hil_tests.wiring import BUTTON, HOLSTER

__all__ = ["PiBoard", "Switch"]

_NS_PER_S = 1_000_000_000
_RETRY_S = 1.0


class Switch(Protocol):
    """Something that is on or off: labgrid's drivers of relays and outputs are like that."""

    def set(self, status: bool) -> None:
        """Switch it; `True` closes the contact."""
        ...


class PiBoard(RemoteComputer):
    """`power` gives the board its supply; `inputs` are contacts from input lines (BCM) to ground.

    `dock_side` is the machine that the USB cable goes to. `card_device` is a partition for the vault alone,
    formatted for each test.
    """

    name = "pi"

    def __init__(
        self,
        places: Places,
        checkout: str,
        shell: Sequence[str],
        *,
        power: Switch,
        inputs: Mapping[int, Switch],
        dock_side: RemoteComputer,
        dock_port: str,
    ) -> None:
        super().__init__("pi", places, checkout, shell)
        self.dock_side = dock_side
        self.dock_port = dock_port
        self._power = power
        self._inputs = dict(inputs)
        self.is_on = False

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do, as far as wiring and kernel go; known once it has booted."""
        able = {Capability.HARD_CUT, Capability.CLOCK}
        if BUTTON in self._inputs:
            able.add(Capability.INPUTS)
        if HOLSTER in self._inputs:
            able.add(Capability.TRIGGER_LINE)
        if self._info.get("traces"):
            able |= {Capability.LINE_TIMES, Capability.TRACE}
        if self._info.get("gadget"):
            able.add(Capability.USB_SERIAL)
        return frozenset(able)

    def fresh_card(self) -> None:
        """Format the card's partition; see `Board`."""
        if not self.is_on:
            self.boot()
        self.run("umount", self.places.card)
        done = self.run("mkfs.ext4", "-q", "-F", self.places.card_device)
        if done.status != 0:
            raise BoardError(f"{self.places.card_device} can't be formatted: {done.errors.strip()}")
        self.power_off()

    def boot(self, *, timeout_s: float = 180) -> None:
        """Switch power on and wait until commands run; see `Board`."""
        for contact in self._inputs.values():
            contact.set(False)
        self._power.set(True)
        self.is_on = True
        give_up = time.monotonic() + timeout_s
        while True:
            try:
                self.connect(timeout_s=timeout_s)
            except BoardError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(_RETRY_S)
            else:
                return

    def cut_power(self) -> None:
        """Open the supply's contact; see `Board`."""
        self._power.set(False)
        self.is_on = False
        self.disconnect()

    def power_off(self, *, timeout_s: float = 60) -> None:
        """Shut down in order, then take power away; see `Board`."""
        self.run("sync")
        self.start("poweroff", "systemctl", "poweroff")
        process = self._process
        if process is not None:
            process.wait(timeout_s)
        self.cut_power()

    def drive(self, edges: Sequence[PinEdge], *, start_ns: int = 0) -> list[PinTime]:
        """Make a train of edges from the bench: times are no better than the network's; see `Board`."""
        wait_ns = max(0, start_ns - self.now_ns()) if start_ns else 0
        begin_ns = time.monotonic_ns() + wait_ns
        done = []
        for edge in edges:
            left_ns = begin_ns + edge.offset_ns - time.monotonic_ns()
            time.sleep(max(0, left_ns) / _NS_PER_S)
            after_ns = self.now_ns()
            self._inputs[edge.line].set(not edge.high)
            done.append(PinTime(after_ns, self.now_ns()))
        return done

    def play(self, sound: Path, *, rate: int, channels: int) -> Service:
        """Not wired on this bench; see `Capability.MICROPHONE`."""
        raise BoardError(f"{self.name}: no loudspeaker before the microphone: {sound}, {rate} Hz, {channels}")

    def set_battery(self, *, percent: int, charging: bool) -> None:
        """Not wired on this bench; see `Capability.BATTERY`."""
        raise BoardError(f"{self.name}: the gauge can't be set to {percent} %, charging {charging}")

    def mount_card(self, device: str = "", *, options: str = "") -> None:
        """Mount the card; see `Board`."""
        source = device or self.places.card_device
        self.ask("mount", source=source, target=self.places.card, kind="ext4", options=options)

"""labgrid's view of the boards: power with a hard cut, commands, files. Named in virtual.yaml and pi.yaml.

labgrid has no types and lives in the bench's own environment, so the type checker sees none of it.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import attr
from labgrid import target_factory  # type: ignore[import-not-found]  # in .venv-hil only
from labgrid.driver import Driver, ExecutionError  # type: ignore[import-not-found]  # as above
from labgrid.driver.commandmixin import CommandMixin  # type: ignore[import-not-found]  # as above
from labgrid.protocol import (  # type: ignore[import-not-found]  # as above
    CommandProtocol,
    FileTransferProtocol,
    PowerProtocol,
)
from labgrid.resource import Resource  # type: ignore[import-not-found]  # as above

from hil_tests.board.card import CardImage, Filesystem
from hil_tests.board.kernel import CHECKOUT
from hil_tests.board.pi import PiBoard
from hil_tests.board.protocol import Places
from hil_tests.board.remote import RemoteComputer
from hil_tests.board.virtual import VirtualBoard

__all__ = ["PiDriver", "PiPlaces", "UserModeBoard", "UserModeDriver"]


@target_factory.reg_resource
@attr.s(eq=False)
class UserModeBoard(Resource):  # type: ignore[misc]  # labgrid has no types
    """A kernel and a card, in a temporary directory of its own."""

    memory_mib: int = attr.ib(default=512, validator=attr.validators.instance_of(int))
    card_mib: int = attr.ib(default=256, validator=attr.validators.instance_of(int))
    filesystem: Filesystem = attr.ib(default="ext4", validator=attr.validators.in_(("ext4", "f2fs")))


@target_factory.reg_resource
@attr.s(eq=False)
class PiPlaces(Resource):  # type: ignore[misc]  # as above
    """Where things lie on a Pi, and how it is wired: `lines` maps BCM numbers to names of digital outputs."""

    checkout: str = attr.ib(default="/opt/preroll", validator=attr.validators.instance_of(str))
    files: str = attr.ib(default="/var/lib/bench", validator=attr.validators.instance_of(str))
    card: str = attr.ib(default="/mnt/card", validator=attr.validators.instance_of(str))
    card_device: str = attr.ib(default="/dev/mmcblk0p3", validator=attr.validators.instance_of(str))
    camera_port: str = attr.ib(default="/dev/ttyGS0", validator=attr.validators.instance_of(str))
    dock_port: str = attr.ib(default="/dev/ttyACM0", validator=attr.validators.instance_of(str))
    dock_files: str = attr.ib(default="/tmp/bench-dock", validator=attr.validators.instance_of(str))
    lines: dict[int, str] = attr.ib(factory=dict, validator=attr.validators.instance_of(dict))


class _BoardDriver(CommandMixin, Driver, PowerProtocol, CommandProtocol, FileTransferProtocol):  # type: ignore[misc]  # as above
    """Power, commands and files of whatever `board` is; the suite works with `board` itself."""

    board: VirtualBoard | PiBoard

    @Driver.check_active  # type: ignore[untyped-decorator]  # as above
    def on(self) -> None:
        """Boot."""
        self.board.boot()

    @Driver.check_active  # type: ignore[untyped-decorator]  # as above
    def off(self) -> None:
        """Cut power from one instant to the next."""
        self.board.cut_power()

    @Driver.check_active  # type: ignore[untyped-decorator]  # as above
    def cycle(self) -> None:
        """Cut power and boot again."""
        self.board.cut_power()
        self.board.boot()

    @Driver.check_active  # type: ignore[untyped-decorator]  # as above
    def run(self, cmd: str, timeout: float = 30.0) -> tuple[list[str], list[str], int]:
        """Run a shell command; returns lines of output, lines of errors, exit status."""
        done = self.board.run("sh", "-c", cmd, timeout_s=timeout)
        return done.output.splitlines(), done.errors.splitlines(), done.status

    @Driver.check_active  # type: ignore[untyped-decorator]  # as above
    def run_check(self, cmd: str, timeout: float = 30.0) -> list[str]:
        """Run a shell command that must succeed; returns lines of output."""
        output, errors, status = self.run(cmd, timeout=timeout)
        if status != 0:
            raise ExecutionError(f"exit status {status}: {cmd}", output, errors)
        return list(output)

    def get_status(self) -> int:
        """Return 1 if commands can run."""
        return int(self.board.is_on)

    @Driver.check_active  # type: ignore[untyped-decorator]  # as above
    def put(self, filename: str, remotepath: str) -> None:
        """Copy a file to the board."""
        there = self.board.put(Path(filename), f"labgrid/{Path(filename).name}")
        self.run_check(f"cp {there} {remotepath or '/tmp'}")

    @Driver.check_active  # type: ignore[untyped-decorator]  # as above
    def get(self, filename: str, destination: str) -> None:
        """Copy a file from the board."""
        self.board.get(filename, Path(destination or Path(filename).name))


@target_factory.reg_driver
@attr.s(eq=False)
class UserModeDriver(_BoardDriver):
    """Switches a virtual board and runs commands on it; `board` is what the suite works with."""

    bindings = {"place": UserModeBoard}  # noqa: RUF012 - labgrid's way of saying so

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._directory = tempfile.TemporaryDirectory(prefix="preroll-bench-")
        directory = Path(self._directory.name)
        card = CardImage.create(directory / "card.img", self.place.card_mib, self.place.filesystem)
        self.board = VirtualBoard(directory, card, memory_mib=self.place.memory_mib)

    def on_deactivate(self) -> None:
        """Cut power and clear away; called by labgrid."""
        self.board.cut_power()
        self._directory.cleanup()


class _RelayPower:
    """A power driver of labgrid as a switch."""

    def __init__(self, power: Any) -> None:
        self._power = power

    def set(self, status: bool) -> None:
        if status:
            self._power.on()
        else:
            self._power.off()


@target_factory.reg_driver
@attr.s(eq=False)
class PiDriver(_BoardDriver):
    """A Pi: `network` says where, `relay` is whatever labgrid can switch its supply with."""

    bindings = {"network": "NetworkService", "places": PiPlaces, "relay": PowerProtocol}  # noqa: RUF012 - as above
    priorities = {PowerProtocol: 10}  # noqa: RUF012 - as above

    def on_activate(self) -> None:
        """Make the board; called by labgrid."""
        here, network = self.places, self.network
        there = Places(
            files=here.files,
            card=here.card,
            card_device=here.card_device,
            camera_port=here.camera_port,
            preroll=f"{here.checkout}/.venv/bin/preroll",
            python=f"{here.checkout}/.venv/bin/python",
        )
        bins = CHECKOUT / ".venv" / "bin"
        own = replace(there, files=here.dock_files, preroll=str(bins / "preroll"), python=str(bins / "python"))
        self._dock = dock = RemoteComputer("dock", own, str(CHECKOUT))
        dock.connect()
        self.board = PiBoard(
            there,
            here.checkout,
            ("ssh", "-o", "BatchMode=yes", f"{network.username}@{network.address}"),
            power=_RelayPower(self.relay),
            inputs={line: self._output(name) for line, name in here.lines.items()},
            dock_side=dock,
            dock_port=here.dock_port,
        )
        self.board.boot()  # what it can do is known only then

    def on_deactivate(self) -> None:
        """Cut power; called by labgrid."""
        self.board.cut_power()
        self._dock.disconnect()

    def _output(self, name: str) -> Any:
        return self.target.get_driver("DigitalOutputProtocol", name=name)

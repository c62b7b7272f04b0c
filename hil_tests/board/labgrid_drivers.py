"""labgrid's view of the virtual board: power with a hard cut, commands, files. Named in virtual.yaml.

labgrid has no types and lives in the bench's own environment, so the type checker sees none of it.
"""

import tempfile
from pathlib import Path

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
from hil_tests.board.virtual import VirtualBoard

__all__ = ["UserModeBoard", "UserModeDriver"]


@target_factory.reg_resource
@attr.s(eq=False)
class UserModeBoard(Resource):  # type: ignore[misc]  # labgrid has no types
    """A kernel and a card, in a temporary directory of its own."""

    memory_mib: int = attr.ib(default=512, validator=attr.validators.instance_of(int))
    card_mib: int = attr.ib(default=256, validator=attr.validators.instance_of(int))
    filesystem: Filesystem = attr.ib(default="ext4", validator=attr.validators.in_(("ext4", "f2fs")))


@target_factory.reg_driver
@attr.s(eq=False)
class UserModeDriver(CommandMixin, Driver, PowerProtocol, CommandProtocol, FileTransferProtocol):  # type: ignore[misc]  # as above
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
        self.board.close()
        self._directory.cleanup()

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

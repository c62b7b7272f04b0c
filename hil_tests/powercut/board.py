"""The virtual board as cuts need it: a line to a dock on the host, and the vault read right after a boot."""

import shutil
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from hil_tests.board.card import CardImage
from hil_tests.board.kernel import CHECKOUT
from hil_tests.board.protocol import BoardError, PinEdge, Service
from hil_tests.board.virtual import VirtualBoard
from hil_tests.powercut.record import Kind, Record
from hil_tests.powercut.stage import VAULT
from tests.device.vault_recovery.rig import DEVICE

__all__ = ["BOARD_ENVIRONMENT", "CutBoard", "Firmware"]

_BUTTON = 17
_TWO_TICKS_NS = 20_000_000
_LATEST = 90
BOARD_ENVIRONMENT = {
    "PYTHONPATH": str(CHECKOUT),
    # A page of memory costs a user-mode kernel 0.1 ms to hand out: take it once, and keep it.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
    "MALLOC_TOP_PAD_": str(1 << 22),
    "MALLOC_ARENA_MAX": "1",
}


class Firmware(Service, Protocol):
    """A program of a virtual board, of which can be seen whether it still runs."""

    @property
    def ended(self) -> bool: ...


class CutBoard(VirtualBoard):
    """Boots, tells what a cut left, runs a camera; `dock_line` is the host's device for its second console."""

    def __init__(
        self, directory: Path, card: CardImage, *, kernel: Path, dock_line: Path | None = None
    ) -> None:
        super().__init__(directory, card, serial=DEVICE, kernel=kernel, memory_mib=256)
        self._dock_line = dock_line
        self._boots = 0
        self.record = Record(Path())

    def start_camera(self, *, logged: str = "", pauses: Sequence[str] = ()) -> Firmware:
        """Start the firmware; what it tells goes into a record of its own.

        `logged` is the device-mapper name of a card whose write log it is to mark, `pauses` names steps of this
        boot's clip before which it rests for a moment: long enough for a cut to be made there.
        """
        self._boots += 1
        name = f"record-{self._boots}"
        self.record = Record(self.share / name)
        return self.start(
            "camera",
            self.places.python,
            *("-B", "-m", "hil_tests.powercut.camera"),
            f"{self.places.files}/{name}",
            f"{self.places.files}/device.toml",
            environment=BOARD_ENVIRONMENT | {"POWERCUT_LOGGED": logged, "POWERCUT_PAUSES": ",".join(pauses)},
        )

    def button_down(self) -> int:
        """Press the button; returns the board's time of it."""
        (time,) = self.drive([PinEdge(_BUTTON, high=False)])
        return time.before_ns

    def has_seen(self, edge_ns: int) -> bool:
        """Whether the board's kernel has surely ticked since an edge, by when the camera told of frames.

        Of a press between two ticks a simulated line tells one edge, and a board that is short of processor, or
        stands still, has ticks far apart: 0.1 s and more of the host's time. Frames told at times that lie
        apart have ticks between them; two such pauses, for one of them may be the board's own.
        """
        self.record.read()
        frames = list(self.record.of(Kind.FRAME))[-_LATEST:]
        told = [frame.at_ns + frame.late_ns for frame in frames]
        pauses = (later - earlier for earlier, later in pairwise(told) if earlier > edge_ns)
        return sum(pause >= _TWO_TICKS_NS for pause in pauses) > 1

    def button_up(self) -> None:
        """Let it go."""
        self.drive([PinEdge(_BUTTON, high=True)])

    def take_vault(self, target: Path, known: Sequence[str]) -> None:
        """Copy the vault as the kernel finds it after mounting; of clips that are `known` without ciphertext.

        Raises:
            BoardError: the copy failed.
        """
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        if not self.exists(VAULT):
            return
        archive = self.share / "vault.tar"
        leave = [f"--exclude=vault/clips/{name}/clip.mp4.age" for name in known]
        done = self.run(
            *("tar", "-c", "-b", "128", "-f", f"{self.places.files}/vault.tar", "--exclude=vault/reserve.bin"),
            *leave,
            *("-C", str(Path(VAULT).parent), "vault"),
        )
        if done.status != 0:
            raise BoardError(f"the vault can't be copied: {done.errors}")
        # tarfile's filters are not in Debian 12's Python.
        command = ["tar", "-x", "--no-same-owner", "-f", str(archive), "-C", str(target)]
        unpacked = subprocess.run(command, capture_output=True, text=True, check=False)
        if unpacked.returncode != 0:
            raise BoardError(f"the vault can't be unpacked: {unpacked.stderr}")
        archive.unlink()

    def _command(self) -> list[str]:
        command = super()._command()
        if self._dock_line is not None:
            command.insert(1, f"con2=tty:{self._dock_line.resolve()}")
        return command

"""A board that needs no hardware: a user-mode Linux kernel with its own lines, USB, sound, battery and card."""

import os
import secrets
import shutil
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from hil_tests.board.agentboard import AgentBoard
from hil_tests.board.card import CardImage, find_tool
from hil_tests.board.channel import Channel
from hil_tests.board.kernel import CHECKOUT, KernelProcess, executable_memory, interpreter, kernel_path
from hil_tests.board.protocol import (
    BoardError,
    Capability,
    Finished,
    PinEdge,
    PinTime,
    Places,
    Service,
)
from hil_tests.board.service import BoardService

__all__ = ["VirtualBoard"]

_SHARE = "/run/share"
_CARD, _UNITS_CARD = "/mnt/card", "/var/lib/preroll"
_CARD_DEVICE = "/dev/ubda"
_BATTERY = Path("/sys/module/test_power/parameters")
_BIN = CHECKOUT / ".venv" / "bin"
_PATH = f"{_BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SEED_BYTES = 64


class VirtualBoard(AgentBoard):
    """One board. `directory` is its own, on the host; `card` is in its slot; `disks` are ubdb and so on.

    Many can run at once. Use it as a context manager: at the end power is cut. With `systemd` the host's is
    process 1, with the camera's own units, and the agent one of its services.
    """

    name = "virtual"

    def __init__(
        self,
        directory: Path,
        card: CardImage,
        *,
        disks: Sequence[Path] = (),
        memory_mib: int = 512,
        serial: str = "cam-bench",
        kernel: Path | None = None,
        systemd: bool = False,
    ) -> None:
        super().__init__()
        self._systemd = systemd
        self.directory = directory
        self.card = card
        self.disks = list(disks)
        self.share = directory / "share"
        self.console = directory / "console.log"
        for path in (self.share / "log", self.share / "run"):
            path.mkdir(parents=True, exist_ok=True)
        self._kernel = kernel or kernel_path()
        self._memory_mib = memory_mib
        self._serial = serial
        self._process: KernelProcess | None = None
        self._temporary: Path | None = None
        self._runs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def places(self) -> Places:
        """Where things lie on the board."""
        return Places(
            files=_SHARE,
            card=_UNITS_CARD if self._systemd else _CARD,
            card_device=_CARD_DEVICE,
            camera_port="/dev/ttyGS0",
            preroll=str(_BIN / "preroll"),
            python=str(_BIN / "python"),
        )

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do here."""
        able = set(Capability)
        if find_tool("dmsetup") is None:
            able -= {Capability.CARD_FAULTS, Capability.CARD_LOG}
        if find_tool("mkfs.f2fs") is None:
            able.discard(Capability.F2FS)
        return frozenset(able)

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self._process is not None and self._process.runs

    @property
    def dock_side(self) -> "VirtualBoard":
        """What is at the other end of the USB cable: the same kernel, which has both ends."""
        return self

    @property
    def dock_port(self) -> str:
        """The serial port there."""
        return "/dev/ttyACM0"

    def fresh_card(self) -> None:
        """Put an empty card of the same size in; see `Board`."""
        self.cut_power()
        size_mib = self.card.path.stat().st_size // (1024 * 1024)
        self.card = CardImage.create(self.card.path, size_mib, self.card.filesystem)

    def boot(self, *, timeout_s: float = 60) -> None:
        """Switch power on and wait until commands run; see `Board`."""
        self.switch_on()
        self.wait_ready(timeout_s=timeout_s)

    def switch_on(self) -> None:
        """Give it power.

        Raises:
            BoardError: it is on already.
        """
        if self._process is not None:
            raise BoardError(f"{self.name}: it is on already; cut its power first")
        self._temporary = Path(tempfile.mkdtemp(prefix="preroll-board-", dir=executable_memory()))
        seed = self.share / "seed"
        seed.touch(mode=0o600)
        seed.write_bytes(secrets.token_bytes(_SEED_BYTES))
        self._channel = Channel(self.share)
        environment = {"TMPDIR": str(self._temporary), "HOME": str(self._temporary), "PATH": os.defpath}
        try:
            self._process = KernelProcess(
                self._command(), console=self.console, fds=[self._channel.fd], environment=environment
            )
        finally:
            os.close(self._channel.fd)

    def wait_ready(self, *, timeout_s: float = 60) -> None:
        """Wait until the agent answers.

        Raises:
            BoardError: it doesn't; the end of the console is in the message.
        """
        try:
            self._info = self.channel().answer(0, "boot", timeout_s)
        except BoardError as error:
            tail = self.console.read_text(errors="replace")[-2000:]
            raise BoardError(f"{self.name}: {error}; the console's end:\n{tail}") from error

    def cut_power(self) -> None:
        """Take power away from one instant to the next; see `Board`."""
        if self._process is not None:
            self._process.kill()
            self._clear()

    def power_off(self, *, timeout_s: float = 60) -> None:
        """Shut down in order; see `Board`."""
        if self._process is None:
            return
        self.channel().send("off")
        self._process.wait(timeout_s)
        self._clear()

    def close(self) -> None:
        """Cut power; what it put on the host stays."""
        self.cut_power()

    def processes(self) -> list[int]:
        """Return the host's processes that are this board: none once power is cut."""
        return [] if self._process is None else self._process.members()

    def run(
        self, *command: str, environment: Mapping[str, str] | None = None, timeout_s: float = 120
    ) -> Finished:
        """Run a program to its end; see `Computer`."""
        self._runs += 1
        name = f"run-{self._runs}"
        files = [self.share / "run" / f"{uuid.uuid4().hex}.{kind}" for kind in ("out", "err")]
        channel = self.channel()
        number = channel.send("start", **self._start(name, command, environment, files), wait=True)
        try:
            status = channel.answer(number, " ".join(command), timeout_s)["status"]
        except BoardError:
            if self.is_on:
                channel.send("signal", name=name, number=9)
            raise
        output, errors = (file.read_text(encoding="utf-8", errors="replace") for file in files)
        for file in files:
            file.unlink()
        return Finished(status, output, errors)

    def start(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> Service:
        """Start a program and leave it running; see `Computer`."""
        log = self.share / "log" / f"{name}.log"
        log.touch()
        channel = self.channel()
        channel.ended.pop(name, None)
        begin = log.stat().st_size
        channel.ask("start", **self._start(name, command, environment, [log, log]), wait=False)

        def read_log() -> str:  # a file of the host: it is whole also after a power cut
            return log.read_bytes()[begin:].decode("utf-8", "replace")

        return BoardService(name, channel, read_log)

    def put(self, source: Path, name: str) -> str:
        """Copy a file or directory there; see `Computer`."""
        target = self.share / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)
        return f"{_SHARE}/{name}"

    def get(self, path: str, target: Path) -> None:
        """Copy a file or directory from there; see `Computer`."""
        name = f"run/{uuid.uuid4().hex}"
        done = self.run("cp", "-r", "--preserve=timestamps", path, f"{_SHARE}/{name}")
        if done.status != 0:
            raise BoardError(f"{path} can't be copied from the board: {done.errors.strip()}")
        shutil.move(self.share / name, target)

    def drive(self, edges: Sequence[PinEdge], *, start_ns: int = 0) -> list[PinTime]:
        """Make a train of edges, timed on the board; see `Board`."""
        train = [(edge.line, int(edge.high), edge.offset_ns) for edge in edges]
        return [PinTime(*pair) for pair in self.ask("drive", edges=train, start_ns=start_ns)["times"]]

    def level(self, line: int) -> bool:
        """Read a line's level now, as a meter would."""
        return bool(self.ask("level", line=line)["level"])

    def play(self, sound: Path, *, rate: int, channels: int) -> Service:
        """Play samples into the microphone; see `Board`."""
        path = self.put(sound, f"sound/{sound.name}")
        script = str(Path(__file__).with_name("guest") / "play.py")
        return self.start("play", self.places.python, "-B", script, path, str(rate), str(channels))

    def set_battery(self, *, percent: int, charging: bool) -> None:
        """Set what the battery's gauge says."""
        values = {
            "battery_present": "true",
            "battery_capacity": str(percent),
            "battery_status": "charging" if charging else "discharging",
            "ac_online": "on" if charging else "off",
        }
        for name, value in values.items():
            self.write(str(_BATTERY / name), value)

    def mount_card(self, device: str = "", *, options: str = "") -> None:
        """Mount the card; see `Board`."""
        kind = self.card.filesystem
        self.ask("mount", source=device or _CARD_DEVICE, target=self.places.card, kind=kind, options=options)

    def _start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None, files: Sequence[Path]
    ) -> dict[str, object]:
        output, errors = (f"{_SHARE}/{file.relative_to(self.share)}" for file in files)
        return {
            "name": name,
            "command": list(command),
            "output": output,
            "errors": errors,
            "directory": "/tmp",
            "environment": {"PATH": _PATH, **(environment or {})},
        }

    def _command(self) -> list[str]:
        assert self._channel is not None
        disks = [self.card.path, *self.disks]
        needed = [str(CHECKOUT), str(Path(interpreter()).parents[1]), *(["--systemd"] if self._systemd else [])]
        return [
            str(self._kernel),
            f"mem={self._memory_mib}M",
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
            f"uml_dir={self._temporary}/",
            "umid=board",
            "con0=null,fd:1",
            f"con1=fd:{self._channel.fd}",
            "con=null",
            *(f"ubd{index}={path}" for index, path in enumerate(disks)),
            "quiet",
            f"PYTHONPATH={CHECKOUT}",
            f"init={interpreter()}",
            "--",
            *("-s", "-S", "-B", "-m", "hil_tests.board.guest", str(self.share), self._serial, *needed),
        ]

    def _clear(self) -> None:
        self._hang_up()
        self._process = None
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

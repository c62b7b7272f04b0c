"""What every board can be asked to do, virtual or real: the suite is written against this and nothing else."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = [
    "Board",
    "BoardError",
    "Capability",
    "Computer",
    "Finished",
    "LineChange",
    "PinEdge",
    "PinTime",
    "Places",
    "Service",
    "TraceEvent",
]


class BoardError(Exception):
    """The bench failed, not what is tested on it; says what was expected, what came, and what to do."""


class Capability(enum.StrEnum):
    """What a board may be able to do; a test names what it needs, and is skipped with that word elsewhere."""

    HARD_CUT = "hard_cut"
    """Power goes from one instant to the next, without a word to the kernel."""
    INPUTS = "inputs"
    """The button's line can be driven."""
    TRIGGER_LINE = "trigger_line"
    """A trigger line can be driven too, GPIO5."""
    EXACT_INPUTS = "exact_inputs"
    """A train of edges comes at its times to 0.2 ms."""
    LINE_TIMES = "line_times"
    """Changes of lights and buzzer come with times on the board's own CLOCK_MONOTONIC."""
    TRACE = "trace"
    """Other events of the kernel can be traced, such as ext4's syncs."""
    USB_SERIAL = "usb_serial"
    """The camera's serial gadget is connected to a dock side, and can be plugged and pulled."""
    MICROPHONE = "microphone"
    """Sound can be played into the microphone."""
    BATTERY = "battery"
    """The battery's gauge can be set."""
    CLOCK = "clock"
    """The wall clock can be set."""
    CARD_IMAGE = "card_image"
    """The card can be read, copied and put back while power is off."""
    CARD_FAULTS = "card_faults"
    """The card can fail, stall, or forget unflushed writes (device-mapper)."""
    CARD_LOG = "card_log"
    """Every write to the card can be logged in order, flushes included (dm-log-writes)."""
    F2FS = "f2fs"
    """Cards with f2fs can be made."""


@dataclass(frozen=True)
class Finished:
    """A program that has run: exit status (negative: the signal that ended it) and what it printed."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True)
class PinEdge:
    """An input line (BCM number) gets a level, `offset_ns` after the first instant of its train."""

    line: int
    high: bool
    offset_ns: int = 0


@dataclass(frozen=True)
class PinTime:
    """The bench moved a line between these two instants of the board's CLOCK_MONOTONIC.

    The interrupt may come later: on a simulated line up to a tick, 10 ms (edge_times.py).
    """

    after_ns: int
    before_ns: int


@dataclass(frozen=True)
class LineChange:
    """Software switched an output line (BCM number) at this instant of the board's CLOCK_MONOTONIC."""

    at_ns: int
    line: int
    high: bool


@dataclass(frozen=True)
class TraceEvent:
    """The kernel traced something; `at_ns` is the board's CLOCK_MONOTONIC, `text` as tracefs prints it."""

    at_ns: int
    name: str
    text: str


@dataclass(frozen=True)
class Places:
    """Where things lie on a board; absolute paths there."""

    files: str
    """What was put on it; survives a power cut."""
    card: str
    """The card's mount point."""
    card_device: str
    """Its block device."""
    camera_port: str
    """The camera's end of its serial gadget."""
    preroll: str
    """The `preroll` command."""
    python: str
    """The interpreter that has preroll installed."""
    camera_chip: int = 0
    """The GPIO chip of the header."""


class Service(Protocol):
    """A program left running."""

    name: str

    @property
    def log(self) -> str:
        """What it printed so far, kept also after a power cut."""
        ...

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        ...

    def wait_log(self, text: str, *, timeout_s: float = 60) -> None:
        """Wait until a text stands in the log.

        Raises:
            BoardError: it ended, or did not say so in time; the end of the log is in the message.
        """
        ...

    def signal(self, number: int) -> bool:
        """Signal it; `False` if it has ended."""
        ...

    def wait(self, *, timeout_s: float = 60) -> int:
        """Wait for its end; returns its exit status.

        Raises:
            BoardError: it still runs.
        """
        ...

    def stop(self, *, timeout_s: float = 60) -> int:
        """Send SIGTERM and wait; returns its exit status."""
        ...


class Computer(Protocol):
    """A machine that programs run on: the board itself, or what plays the dock."""

    @property
    def places(self) -> Places:
        """Where things lie there."""
        ...

    def run(
        self, *command: str, environment: Mapping[str, str] | None = None, timeout_s: float = 120
    ) -> Finished:
        """Run a program to its end.

        Raises:
            BoardError: it does not end in time.
        """
        ...

    def start(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> Service:
        """Start a program and leave it running; a name of one that has ended may be used again."""
        ...

    def put(self, source: Path, name: str) -> str:
        """Copy a file or directory there; returns its path there."""
        ...

    def get(self, path: str, target: Path) -> None:
        """Copy a file or directory from there."""
        ...

    def write(self, path: str, text: str) -> None:
        """Write a small file, such as one of sysfs."""
        ...

    def read(self, path: str) -> str:
        """Read a small file."""
        ...

    def read_all(self, directory: str, suffix: str) -> str:
        """Read the files of a directory whose names end so, in the order of their names."""
        ...

    def names(self, directory: str) -> list[str]:
        """Return what is in a directory, sorted; nothing if it is not there."""
        ...

    def exists(self, path: str) -> bool:
        """Whether a path is there."""
        ...


class Board(Computer, Protocol):
    """A camera's board with a bench around it."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do."""
        ...

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        ...

    @property
    def boot_id(self) -> str:
        """The kernel's random name of this boot: another one proves that the board was off in between."""
        ...

    @property
    def kernel_release(self) -> str:
        """The kernel's version, as uname has it."""
        ...

    @property
    def dock_side(self) -> Computer:
        """What is at the other end of the USB cable."""
        ...

    @property
    def dock_port(self) -> str:
        """The serial port there."""
        ...

    def fresh_card(self) -> None:
        """Put an empty card in; the board is off afterwards."""
        ...

    def boot(self, *, timeout_s: float = 60) -> None:
        """Switch power on and wait until commands run.

        Raises:
            BoardError: it does not come up.
        """
        ...

    def cut_power(self) -> None:
        """Take power away from one instant to the next."""
        ...

    def power_off(self, *, timeout_s: float = 60) -> None:
        """Shut down in order: everything written is on the card."""
        ...

    def now_ns(self) -> int:
        """Read the board's CLOCK_MONOTONIC."""
        ...

    def drive(self, edges: Sequence[PinEdge], *, start_ns: int = 0) -> list[PinTime]:
        """Make a train of edges, timed on the board; returns when each was made.

        `start_ns` is the board's CLOCK_MONOTONIC, 0 for now.
        """
        ...

    def changes(self) -> list[LineChange]:
        """Return all changes of output lines of this boot that have arrived so far, in order of time."""
        ...

    def wait_change(
        self, wanted: Callable[[LineChange], bool], *, since_ns: int = 0, timeout_s: float = 60
    ) -> LineChange:
        """Return the first change from `since_ns` on that is wanted, waiting for it if need be.

        Raises:
            BoardError: none came; what did is in the message.
        """
        ...

    def watch(self, event: str, condition: str = "0") -> None:
        """Have the kernel trace an event, `GROUP/NAME`, for the rest of this boot; "0" is without condition."""
        ...

    def traced(self) -> list[TraceEvent]:
        """Return what was traced, as far as it has arrived, in order of time."""
        ...

    def plug(self, *, docked: bool) -> None:
        """Put the USB plug in, or pull it."""
        ...

    def play(self, sound: Path, *, rate: int, channels: int) -> Service:
        """Play a file of signed 16-bit little-endian samples into the microphone."""
        ...

    def set_battery(self, *, percent: int, charging: bool) -> None:
        """Set what the battery's gauge says."""
        ...

    def set_clock(self, utc_ns: int) -> None:
        """Set the wall clock: nanoseconds since 1970, UTC."""
        ...

    def mount_card(self, device: str = "", *, options: str = "") -> None:
        """Mount the card, or the block device that stands before it, at `places.card`."""
        ...

    def unmount_card(self) -> None:
        """Take it away in order."""
        ...

"""What all boards have in common that an agent runs on: everything asked of it, and what it tells."""

from collections.abc import Callable
from typing import Any

from hil_tests.board.channel import Channel
from hil_tests.board.protocol import BoardError, LineChange, Places, TraceEvent

__all__ = ["AgentBoard"]


class AgentBoard:
    """The part of `Board` that goes through the agent; power, lines and files are the subclass's."""

    name = "board"

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._info: dict[str, Any] = {}
        self._last_changes: list[LineChange] = []
        self._last_traced: list[TraceEvent] = []

    @property
    def places(self) -> Places:
        """Where things lie on the board."""
        raise AssertionError("a board says where things lie on it")

    @property
    def boot_id(self) -> str:
        """The kernel's random name of this boot, or of the last one."""
        return str(self._info["boot_id"])

    @property
    def kernel_release(self) -> str:
        """The kernel's version, of this boot or of the last one."""
        return str(self._info["kernel"])

    def write(self, path: str, text: str) -> None:
        """Write a small file; see `Computer`."""
        self.ask("write", path=path, text=text)

    def read(self, path: str) -> str:
        """Read a small file; see `Computer`."""
        return str(self.ask("read", path=path)["text"])

    def read_all(self, directory: str, suffix: str) -> str:
        """Read the files of a directory whose names end so; see `Computer`."""
        return "".join(
            self.read(f"{directory}/{name}") for name in self.names(directory) if name.endswith(suffix)
        )

    def names(self, directory: str) -> list[str]:
        """Return what is in a directory; see `Computer`."""
        return [str(name) for name in self.ask("names", directory=directory)["names"]]

    def exists(self, path: str) -> bool:
        """Whether a path is there."""
        return bool(self.ask("exists", path=path)["exists"])

    def now_ns(self) -> int:
        """Read the board's CLOCK_MONOTONIC."""
        return int(self.ask("info")["monotonic_ns"])

    def changes(self) -> list[LineChange]:
        """Return all changes of output lines of this boot, or of the last one; see `Board`."""
        return list(self._last_changes if self._channel is None else self._channel.changes)

    def wait_change(
        self, wanted: Callable[[LineChange], bool], *, since_ns: int = 0, timeout_s: float = 60
    ) -> LineChange:
        """Return the first change from `since_ns` on that is wanted; see `Board`."""
        channel = self.channel()
        seen = 0
        found: LineChange | None = None

        def look() -> bool:
            nonlocal seen, found
            for change in channel.changes[seen:]:
                seen += 1
                if change.at_ns >= since_ns and wanted(change):
                    found = change
                    return True
            return False

        try:
            channel.wait(look, "wanted change of a line", timeout_s)
        except BoardError as error:
            raise BoardError(f"{error}; the last ones: {channel.changes[-20:]}") from error
        assert found is not None
        return found

    def watch(self, event: str, condition: str = "0") -> None:
        """Have the kernel trace an event; see `Board`."""
        self.ask("watch", event=event, condition=condition)

    def traced(self) -> list[TraceEvent]:
        """Return what was traced in this boot, or in the last one; see `Board`."""
        return list(self._last_traced if self._channel is None else self._channel.traced)

    def plug(self, *, docked: bool) -> None:
        """Put the USB plug in, or pull it."""
        self.ask("plug", docked=docked)

    def set_clock(self, utc_ns: int) -> None:
        """Set the wall clock."""
        self.ask("clock", realtime_ns=utc_ns)

    def sync(self) -> None:
        """Have the kernel write everything back."""
        self.ask("sync")

    def unmount_card(self) -> None:
        """Take it away in order."""
        self.ask("unmount", target=self.places.card)

    def ask(self, what: str, **details: object) -> dict[str, Any]:
        """Ask the agent for something that it does at once."""
        return self.channel().ask(what, **details)

    def channel(self) -> Channel:
        """Return the line to the agent.

        Raises:
            BoardError: there is no agent, because the board is off.
        """
        if self._channel is None:
            raise BoardError(f"{self.name}: it is off; boot it first")
        return self._channel

    def _hang_up(self) -> None:
        """Let go of the agent; what it told stays."""
        if self._channel is not None:
            self._channel.close()
            self._last_changes, self._last_traced = self._channel.changes, self._channel.traced
        self._channel = None

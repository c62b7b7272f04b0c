"""The host's end of the agent's console: requests out, answers in, lines and ends of processes as they come."""

import json
import socket
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hil_tests.board.guest.limits import LONGEST_BYTES
from hil_tests.board.protocol import BoardError, LineChange, TraceEvent

__all__ = ["Channel"]

_PATIENCE_S = 60.0


class Channel:
    """Talks to one boot's agent. `fd` is the other end, for the kernel; close it once the kernel has it.

    With `share`, a directory that both sides see, long messages go by files.
    """

    def __init__(self, share: Path | None = None) -> None:
        self._share = share
        self._socket, other = socket.socketpair()
        self.fd = other.detach()
        self._change = threading.Condition()
        self._answers: dict[int, dict[str, Any]] = {}
        self._next = 0
        self._gone = False
        self.changes: list[LineChange] = []
        self.traced: list[TraceEvent] = []
        self.ended: dict[str, int] = {}
        self._thread = threading.Thread(target=self._read, name="board-channel", daemon=True)
        self._thread.start()

    def ask(self, what: str, **details: object) -> dict[str, Any]:
        """Ask the agent for something that it does at once, and wait for its answer.

        Raises:
            BoardError: it answered with an error, not in time, or is gone.
        """
        return self.answer(self.send(what, **details), what, _PATIENCE_S)

    def send(self, what: str, **details: object) -> int:
        """Send a request; returns its number."""
        with self._change:
            self._next += 1
            number = self._next
            data = json.dumps({"id": number, "do": what, **details}).encode()
            if self._share and len(data) > LONGEST_BYTES:
                name = f"run/request-{uuid.uuid4().hex}"
                (self._share / name).write_bytes(data)
                data = json.dumps({"file": name}).encode()
            try:
                self._socket.sendall(data + b"\n")
            except OSError as error:
                raise BoardError(f"the board is gone, asked to {what}: {error}") from error
        return number

    def answer(self, number: int, what: str, timeout_s: float) -> dict[str, Any]:
        """Wait for the answer to a request; number 0 is the agent's greeting."""
        self.wait(lambda: number in self._answers, f"answer to {what}", timeout_s)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise BoardError(f"the board could not {what}: {answer['error']}")
        found: dict[str, Any] = answer["ok"]
        return found

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait until something holds of what has come in.

        Raises:
            BoardError: it doesn't in time, or the board is gone first.
        """
        held = False

        def settled() -> bool:
            nonlocal held
            held = condition()
            return held or self._gone

        with self._change:
            if not self._change.wait_for(settled, timeout_s):
                raise BoardError(f"no {what} within {timeout_s:g} s")
        if not held:
            raise BoardError(f"the board went away before {what}")

    def close(self) -> None:
        """Hang up; who waits is told."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _read(self) -> None:
        rest = b""
        while chunk := self._receive():
            *whole, rest = (rest + chunk).split(b"\n")
            with self._change:
                for line in whole:
                    self._take(json.loads(line))
                self._change.notify_all()
        with self._change:
            self._gone = True
            self._change.notify_all()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65_536)
        except ConnectionError:
            return b""

    def _take(self, message: dict[str, Any]) -> None:
        if self._share and "file" in message:
            file = self._share / message["file"]
            message = json.loads(file.read_bytes())
            file.unlink()
        if "lines" in message:
            self.changes += [LineChange(at_ns, line, bool(level)) for at_ns, line, level in message["lines"]]
        elif "traced" in message:
            self.traced += [TraceEvent(at_ns, name, text) for at_ns, name, text in message["traced"]]
        elif "ended" in message:
            self.ended[message["ended"]] = message["status"]
        else:
            self._answers[message["id"]] = message

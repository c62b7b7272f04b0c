"""What the kernel says happened, with its own times: changes of output lines, and any other trace event."""

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Trace"]

_TRACING = Path("/sys/kernel/tracing")
_NS_PER_S = 1_000_000_000
_LINE_EVENT = "gpio_value"


class Trace:
    """Reads the kernel's trace as it comes; `fd` is readable when there is more.

    `base` is the number that the kernel gives the chip's first line. Times are CLOCK_MONOTONIC in
    nanoseconds, to the microsecond.
    """

    def __init__(self, base: int) -> None:
        self._base = base
        self._rest = b""
        (_TRACING / "trace_clock").write_text("mono")
        (_TRACING / "buffer_percent").write_text("0")  # wake the reader at every event
        self.watch(f"gpio/{_LINE_EVENT}", "get == 0")
        self.fd = os.open(_TRACING / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)

    def watch(self, event: str, condition: str) -> None:
        """Trace one more event, `GROUP/NAME`, where the condition holds; "0" for always."""
        place = _TRACING / "events" / event
        (place / "filter").write_text(condition)
        (place / "enable").write_text("1")

    def read(self) -> tuple[list[tuple[int, int, int]], list[tuple[int, str, str]]]:
        """Take what has happened since: (time, line, level) of output lines, (time, event, text) of others."""
        try:
            while chunk := os.read(self.fd, 65_536):
                self._rest += chunk
        except BlockingIOError:  # that was all for now
            *whole, self._rest = self._rest.split(b"\n")
        else:
            whole = []
        lines: list[tuple[int, int, int]] = []
        others: list[tuple[int, str, str]] = []
        for at_ns, event, text in _parse(whole):
            if event == _LINE_EVENT:  # `480 set 1`
                number, _, level = text.split()
                lines.append((at_ns, int(number) - self._base, int(level)))
            else:
                others.append((at_ns, event, text))
        return lines, others


def _parse(lines: list[bytes]) -> Iterator[tuple[int, str, str]]:
    """Take apart lines such as `  python3-123  [000] .....   12.345678: gpio_value: 480 set 1`."""
    for line in lines:
        words = line.split(b": ", 2)
        if len(words) == 3:  # others say that events were lost
            seconds, micros = words[0].split()[-1].split(b".")
            at_ns = int(seconds) * _NS_PER_S + int(micros) * 1000
            yield at_ns, words[1].strip().decode(), words[2].decode(errors="replace")

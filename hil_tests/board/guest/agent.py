"""The agent on a virtual board: process 1, told what to do in JSON lines over a console, answering likewise.

A request is `{"id": N, "do": NAME, ...}`; its answer `{"id": N, "ok": {...}}` or `{"id": N, "error": TEXT}`.
Between them come `{"lines": [[ns, line, level], ...]}`, output lines that changed, with the kernel's times,
`{"traced": [[ns, event, text], ...]}`, and `{"ended": NAME, "status": N}`, as it happens.
"""

import json
import os
import select
import signal
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hil_tests.board.guest import system
from hil_tests.board.guest.gadget import CAMERA_END, DOCK_END, Gadget
from hil_tests.board.guest.limits import LONGEST_BYTES
from hil_tests.board.guest.pins import Pins
from hil_tests.board.guest.processes import Processes
from hil_tests.board.guest.trace import Trace

__all__ = ["Agent", "Parts"]

_T = TypeVar("_T")

_AT_ONCE = 10
"""Events in a message, so that it stays a short one."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Parts(NamedTuple):
    """What a board has; an agent without a share sends long messages as they are."""

    pins: Pins | None = None
    trace: Trace | None = None
    gadget: Gadget | None = None
    share: Path | None = None


class Agent:
    """Does what is asked, one request at a time; processes run beside it. Reads `taken`, writes `said`."""

    def __init__(self, taken: int, said: int, parts: Parts) -> None:
        self._taken = taken
        self._said = said
        self._parts = parts
        self._received = b""
        self._files = 0
        self._processes = Processes()
        self._waiting: dict[str, int] = {}

    def run(self) -> None:
        """Work until the other end is gone; then switch off."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._say({"id": 0, "ok": self._do_info()})
        trace = self._parts.trace
        watched = [self._taken, woken] + ([trace.fd] if trace else [])
        while True:
            ready, _, _ = select.select(watched, [], [])
            if trace and trace.fd in ready:
                self._tell_traced(trace)
            if woken in ready:
                os.read(woken, 4096)
                self._tell_ended()
            if self._taken in ready and not self._take():
                return

    def _take(self) -> bool:
        try:
            chunk = os.read(self._taken, 65_536)
        except OSError:  # the host's end of the console is closed
            return False
        *whole, self._received = (self._received + chunk).split(b"\n")
        for line in whole:
            request = json.loads(line)
            if self._parts.share and "file" in request:
                file = self._parts.share / request["file"]
                request = json.loads(file.read_bytes())
                file.unlink()
            self._answer(request)
        return bool(chunk)

    def _answer(self, request: dict[str, Any]) -> None:
        number, what = request.pop("id"), request.pop("do")
        try:
            done = getattr(self, f"_do_{what}")(**request)
        except Exception as error:  # noqa: BLE001 - whatever fails is the answer, and process 1 lives on
            traceback.print_exc()
            self._say({"id": number, "error": f"{type(error).__name__}: {error}"})
            return
        if done is not None:
            self._say({"id": number, "ok": done})
        else:
            self._waiting[request["name"]] = number

    def _say(self, message: dict[str, Any]) -> None:
        data = json.dumps(message, separators=(",", ":")).encode()
        if self._parts.share and len(data) > LONGEST_BYTES:
            self._files += 1
            name = f"run/answer-{self._files}"
            (self._parts.share / name).write_bytes(data)
            data = json.dumps({"file": name}).encode()
        data += b"\n"
        while data:
            data = data[os.write(self._said, data) :]

    def _tell_traced(self, trace: Trace) -> None:
        lines, others = trace.read()
        for index in range(0, len(lines), _AT_ONCE):
            self._say({"lines": lines[index : index + _AT_ONCE]})
        for index in range(0, len(others), _AT_ONCE):
            self._say({"traced": others[index : index + _AT_ONCE]})

    def _tell_ended(self) -> None:
        for name, status in self._processes.reap():
            number = self._waiting.pop(name, None)
            if number is not None:
                self._say({"id": number, "ok": {"status": status}})
            self._say({"ended": name, "status": status})

    def _do_info(self) -> dict[str, Any]:
        return {
            "boot_id": _BOOT_ID.read_text(encoding="ascii").strip(),
            "kernel": os.uname().release,
            "monotonic_ns": time.monotonic_ns(),
            "realtime_ns": time.time_ns(),
            "camera_end": CAMERA_END,
            "dock_end": DOCK_END,
            "traces": self._parts.trace is not None,
            "gadget": self._parts.gadget is not None,
        }

    def _do_start(
        self,
        *,
        name: str,
        command: list[str],
        output: str,
        errors: str,
        directory: str,
        environment: dict[str, str],
        wait: bool,
    ) -> dict[str, Any] | None:
        if name in self._processes.running:
            raise ValueError(f"{name} runs already")
        pid = self._processes.start(
            name,
            command,
            output=Path(output),
            errors=Path(errors),
            directory=directory,
            environment={**os.environ, **environment},
        )
        return None if wait else {"pid": pid}

    def _do_signal(self, name: str, number: int) -> dict[str, Any]:
        return {"sent": self._processes.signal(name, number)}

    def _do_drive(self, edges: list[tuple[int, int, int]], start_ns: int) -> dict[str, Any]:
        return {"times": _there(self._parts.pins, "simulated line").drive(edges, start_ns)}

    def _do_level(self, line: int) -> dict[str, Any]:
        return {"level": _there(self._parts.pins, "simulated line").level(line)}

    def _do_watch(self, event: str, condition: str) -> dict[str, Any]:
        _there(self._parts.trace, "trace").watch(event, condition)
        return {}

    def _do_plug(self, *, docked: bool) -> dict[str, Any]:
        _there(self._parts.gadget, "USB gadget").plug(docked=docked)
        return {}

    def _do_write(self, path: str, text: str) -> dict[str, Any]:
        Path(path).write_text(text, encoding="utf-8")
        return {}

    def _do_read(self, path: str) -> dict[str, Any]:
        return {"text": Path(path).read_text(encoding="utf-8", errors="replace")}

    def _do_names(self, directory: str) -> dict[str, Any]:
        path = Path(directory)
        return {"names": sorted(each.name for each in path.iterdir()) if path.is_dir() else []}

    def _do_remove(self, path: str) -> dict[str, Any]:
        Path(path).unlink(missing_ok=True)
        return {}

    def _do_exists(self, path: str) -> dict[str, Any]:
        return {"exists": Path(path).exists()}

    def _do_mount(self, source: str, target: str, kind: str, options: str) -> dict[str, Any]:
        system.mount(source, target, kind, options=options)
        return {}

    def _do_unmount(self, target: str) -> dict[str, Any]:
        system.unmount(target)
        return {}

    def _do_sync(self) -> dict[str, Any]:
        os.sync()
        return {}

    def _do_clock(self, realtime_ns: int) -> dict[str, Any]:
        time.clock_settime_ns(time.CLOCK_REALTIME, realtime_ns)
        return {}

    def _do_off(self) -> dict[str, Any]:
        self._say({"ended": "", "status": 0})
        system.shut_down()
        return {}


def _there(part: _T | None, what: str) -> _T:
    if part is None:
        raise LookupError(f"this board has no {what}")
    return part

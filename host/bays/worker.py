"""One bay: a thread that looks for a camera, runs session after session, and shows how it stands.

Whatever a camera, port or cable does, it does to this thread alone; every wait has a limit, and `stop` ends it.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from docklink.client import DockClient, RequestLimit, open_session
from docklink.errors import LinkError, LinkTimeoutError, PeerRefusedError, StreamError
from docklink.limits import Timeouts
from docklink.messages import WearerAssignment
from docklink.tls import DockTrust
from evidence.clock import format_utc
from evidence.errors import EvidenceError
from host.bays.hotplug import PortEvent
from host.bays.lease import Lease
from host.bays.status import BayState, BayStatus, CameraStatus
from host.bays.ways import Way
from host.catalogue.rows import SessionRow
from host.offload import Docking, SessionReport, Settings, Station, Step, Watch, run_session

__all__ = ["Bay", "BayTimes"]

_logger = logging.getLogger(__name__)
_FIRST_RETRY_S = 0.1
_LOOKS_UNTIL_GONE = 2
_FAILURES_UNTIL_FAULT = 3
_FULL_PERCENT = 95
_LEND_S = 8.0
"""Less than the patience of who asks through the agent's socket."""
_LENT_LOOK_S = 1.0
_STALL_S = 600.0
"""Beside the waits of a bay itself: until a turn comes while others' cameras hang in theirs."""


class BayTimes(msgspec.Struct, frozen=True):
    """Seconds: the link's time-outs, asking on a serial line, between two looks, longest between retries."""

    link: Timeouts
    line_s: float = 30.0
    look_s: float = 5.0
    retry_s: float = 10.0


class Bay:
    """A bay and its thread. `wearer_of` says who is to wear a camera, `wearer_told` hears that it knows."""

    def __init__(
        self,
        name: str,
        way: Way,
        station: Station,
        trust: Callable[[], DockTrust],
        times: BayTimes,
        *,
        wearer_of: Callable[[str], WearerAssignment | None] = lambda _: None,
        wearer_told: Callable[[str, WearerAssignment], object] = lambda _device, _assignment: None,
        on_change: Callable[[BayStatus], object] = lambda _: None,
        on_step: Callable[[Step, str], object] = lambda _step, _clip: None,
    ) -> None:
        self.name = name
        self._way = way
        self._station = station
        self._trust = trust
        self._times = times
        self._wearer_of = wearer_of
        self._wearer_told = wearer_told
        self._on_change = on_change
        self._on_step = on_step
        self._status = BayStatus(bay=name, way=way.name)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._close: Callable[[], None] | None = None
        self._docking: Docking | None = None
        self._session: SessionRow | None = None
        self._limit = RequestLimit()
        self._lease = Lease()
        self._failures = 0
        self._ahead: tuple[str, ...] = ()
        self._missed_looks = 0
        self._progress_ns = time.monotonic_ns()
        self._died_of = ""
        self._thread = self._new_thread()

    @property
    def status(self) -> BayStatus:
        """How it stands now."""
        with self._lock:
            return self._status

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stopping.is_set()

    @property
    def died_of(self) -> str:
        """The kind of the error that ended its thread, which never should end; empty if none did."""
        return self._died_of

    @property
    def progress_ns(self) -> int:
        """When, by the monotonic clock, it last looked, took a step or moved a byte."""
        return self._progress_ns

    def stalled(self, now_ns: int) -> bool:
        """Whether that is longer ago than its longest wait can last."""
        times = self._times
        longest_s = max(times.look_s, times.retry_s, times.line_s + times.link.handshake_s, times.link.answer_s)
        return now_ns - self._progress_ns > int((longest_s + _STALL_S) * 1e9)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def restart(self) -> None:
        """Start looking again, in a new thread, after the last one died."""
        self._progress_ns = time.monotonic_ns()
        self._thread = self._new_thread()
        self._thread.start()

    def look(self) -> None:
        """Look at once: somebody plugged something in, or assigned a wearer."""
        self._wake.set()

    def plugged(self, event: PortEvent) -> None:
        """Look at once if a serial device that came or went may be this bay's."""
        if self._way.concerns(event):
            self.look()

    def stop(self) -> None:
        """End the session under way; `join` waits for the thread."""
        self._stopping.set()
        self._end_session()

    def lend(self, seconds: float) -> bool:
        """Leave the port to somebody else for so long; returns whether it is free now."""
        self._lease.begin(time.monotonic_ns() + int(seconds * 1e9))
        self._end_session()
        return self._lease.wait_free(_LEND_S)

    def take_back(self) -> None:
        """Look again, at once: whoever had the port is done."""
        self._lease.end()
        self.look()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; returns whether it has ended."""
        if self._thread.ident is not None:  # else it was never started
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _end_session(self) -> None:
        self._wake.set()
        with self._lock:
            close = self._close
        if close is not None:
            close()

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name=f"bay-{self.name}", daemon=True)

    def _run(self) -> None:
        with self._death_noted():
            while not self._stopping.is_set():
                self._wake.clear()
                self._progress_ns = time.monotonic_ns()
                wait_s = self._lent() or self._look()
                self._wake.wait(wait_s)
            self._undock()

    @contextmanager
    def _death_noted(self) -> Iterator[None]:
        """Note what nothing here expects, and show it; the interpreter prints it, the keeper starts anew."""
        whole = False
        try:
            yield
            whole = True
        finally:
            if not whole:
                error = sys.exc_info()[0]
                self._died_of = error.__name__ if error else "nothing that has a name"
                self._fault(f"the bay's worker died of {self._died_of}; it is started again")

    def _lent(self) -> float:
        """Keep off the port while it is lent; returns how long to wait, 0 if it is not."""
        left_s = self._lease.left_s(time.monotonic_ns())
        if left_s:
            self._undock()
            detail = "lent: a camera is being enrolled"
            self._change(**msgspec.structs.asdict(BayStatus(self.name, self._way.name, detail=detail)))
            self._lease.let_go()
        return min(left_s, _LENT_LOOK_S)

    def _look(self) -> float:
        """Look once, and say how long to wait until the next time."""
        if not self._way.present():
            self._absent("")
            return self._times.look_s
        try:
            client = self._open()
        except PeerRefusedError as error:
            self._fault(str(error))
            return self._times.retry_s
        except (StreamError, LinkTimeoutError) as error:
            if isinstance(error, LinkTimeoutError) and self._way.attached:
                self._fault(str(error))
            else:
                self._absent(str(error))
            return self._times.look_s
        except LinkError as error:
            return self._failed(error)
        with client:
            return self._use(client)

    def _open(self) -> DockClient:
        stream = self._way.open()
        with self._lock:
            self._close = stream.close
        if self._stopping.is_set() or self._lease.left_s(time.monotonic_ns()):
            stream.close()
        return open_session(
            stream,
            self._trust(),
            timeouts=self._times.link,
            limit=self._limit if self._way.serial else None,
            line_timeout_s=self._times.line_s,
        )

    def _use(self, client: DockClient) -> float:
        """Run a session."""
        device = client.peer.subject_id or ""
        docking = self._dock(device)
        wearer = self._wearer_of(device)
        watch = Watch(step=self._stepped, progress=self._progressed, queue=self._queued)
        try:
            report = run_session(client, self._station, docking, Settings(wearer), watch)
        except PeerRefusedError as error:
            self._station.announce("integrity_alarm", device, str(error))
            self._fault(str(error))
            return self._times.retry_s
        except LinkError as error:
            return self._failed(error)
        except EvidenceError as error:
            self._station.announce("fault", device, str(error))
            self._fault(str(error))
            return self._times.retry_s
        if wearer is not None and report.wearer_told:
            self._wearer_told(device, wearer)
        return self._reported(report)

    def _reported(self, report: SessionReport) -> float:
        """Show what a session came to."""
        camera = CameraStatus.of(report.device, report.waiting, report.completeness, report.config)
        with self._lock:
            stored = self._status.stored + report.stored
        if report.error is not None:
            self._change(camera=camera, stored=stored)
            if isinstance(report.error, LinkError):
                return self._failed(
                    report.error, progressed=any(each.fetched_bytes for each in report.outcomes)
                )
            self._fault(str(report.error))
            return self._times.retry_s
        self._failures = 0
        self._limit.succeeded()
        kinds = {each.ending for each in report.outcomes}
        troubled = kinds & {Step.QUARANTINED, Step.REFUSED, Step.NO_ROOM}
        detail = next(
            (str(each.error) for each in report.outcomes if each.ending in troubled and each.error), ""
        )
        self._change(
            state=BayState.FAULT if troubled else self._resting(report),
            detail=detail,
            camera=camera,
            stored=stored,
            clip=None,
            step=None,
            queued=0,
            queued_bytes=0,
            oldest=_oldest(self._ahead) if report.waiting else None,
            failed_sessions=0,
        )
        return self._times.look_s

    @staticmethod
    def _resting(report: SessionReport) -> BayState:
        battery = report.device.battery
        if report.waiting:
            return BayState.OFFLOADING
        charging = battery.charging and (battery.percent is None or battery.percent < _FULL_PERCENT)
        return BayState.CHARGING if charging else BayState.READY

    def _failed(self, error: LinkError, *, progressed: bool = False) -> float:
        """Count a session that broke, and come again, each time a little later."""
        if self._stopping.is_set():
            return 0.0
        self._limit.failed()
        self._failures = 1 if progressed else self._failures + 1
        _logger.info("bay %s: session %d failed: %s", self.name, self._failures, error)
        if self._failures >= _FAILURES_UNTIL_FAULT:
            self._fault(str(error))
        else:
            self._change(detail=str(error), failed_sessions=self._failures)
        return min(self._times.retry_s, _FIRST_RETRY_S * 2.0 ** (self._failures - 1))

    def _fault(self, reason: str) -> None:
        self._change(state=BayState.FAULT, detail=reason, clip=None, step=None, failed_sessions=self._failures)

    def _absent(self, detail: str) -> None:
        """Take a camera as gone once it did not answer twice in a row."""
        self._missed_looks += 1
        if self._docking is not None and self._missed_looks < _LOOKS_UNTIL_GONE and self._way.present():
            self._change(detail=detail)
            return
        self._undock()
        self._failures = 0
        self._change(**msgspec.structs.asdict(BayStatus(self.name, self._way.name, detail=detail)))

    def _dock(self, device: str) -> Docking:
        self._missed_looks = 0
        if self._docking is None or self._docking.device != device:
            self._undock()
            self._docking = Docking(device)
            utc = format_utc(self._station.now_utc_ns())
            number = self._station.log("docked", device=device, detail={"bay": self.name})
            if number is not None:
                self._session = SessionRow(number, device, self.name, utc)
                row = self._session
                self._station.note(lambda catalogue: catalogue.put_session(row))
            self._change(state=BayState.OFFLOADING, detail="", device=device, stored=0, camera=None)
        return self._docking

    def _undock(self) -> None:
        if self._docking is None:
            return
        device, session = self._docking.device, self._session
        self._docking = self._session = None
        self._station.log("undocked", device=device, detail={"bay": self.name})
        if session is not None:
            utc = format_utc(self._station.now_utc_ns())
            self._station.note(lambda catalogue: catalogue.end_session(session.session, utc))

    def _queued(self, clips: tuple[tuple[str, int], ...]) -> None:
        self._ahead = tuple(clip for clip, _ in clips)
        size = sum(each for _, each in clips)
        self._change(queued=len(clips), queued_bytes=size, oldest=_oldest(self._ahead))

    def _stepped(self, step: Step, clip: str) -> None:
        if clip in self._ahead[1:]:  # what came before it has ended, for this session at least
            self._ahead = self._ahead[self._ahead.index(clip) :]
        self._change(
            state=BayState.OFFLOADING, detail="", clip=clip, step=step.value, oldest=_oldest(self._ahead)
        )
        self._on_step(step, clip)

    def _progressed(self, clip: str, done_bytes: int, total_bytes: int) -> None:
        self._change(clip=clip, done_bytes=done_bytes, clip_bytes=total_bytes)

    def _change(self, **fields: object) -> None:
        self._progress_ns = time.monotonic_ns()
        with self._lock:
            self._status = msgspec.structs.replace(self._status, **fields)
            status = self._status
        self._on_change(status)


def _oldest(clips: tuple[str, ...]) -> str | None:
    """Return the oldest by what their names say; one from before its camera knew the time says nothing."""
    return min((clip for clip in clips if clip[:1].isdigit()), default=None)

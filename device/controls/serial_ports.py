"""Serial ports with triggers on them: one thread a port, opened again with back-off when it is unplugged."""

import contextlib
import errno
import fcntl
import logging
import os
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import serial

from device.controls.config import SerialTriggerConfig
from device.controls.triggers import ModemReading, ModemTriggers, TextTriggers, Trigger, TriggerPortState
from device.errors import DeviceError

__all__ = ["Backoff", "SerialTriggers", "TriggerSource", "open_source"]

_log = logging.getLogger(__name__)

# asm-generic/ioctls.h; `termios` has only the first.
_TIOCMGET = 0x5415
_TIOCMIWAIT = 0x545C
_TIOCGICOUNT = 0x545D
_TIOCM_BITS = {"cts": 0x020, "cd": 0x040, "ri": 0x080, "dsr": 0x100}
# struct serial_icounter_struct of linux/serial.h starts with cts, dsr, rng, dcd; 20 ints in all.
_ICOUNT_ORDER = ("cts", "dsr", "ri", "cd")
_ICOUNT_BYTES = 80
_READ_S = 0.5
_IDLE_S = 1.0


class Backoff:
    """Waiting times that double from `first_s` to `longest_s`."""

    def __init__(self, first_s: float = 0.5, longest_s: float = 30.0) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._next_s = first_s

    def next_s(self) -> float:
        """Return how many seconds to wait now."""
        wait_s, self._next_s = self._next_s, min(self._next_s * 2, self._longest_s)
        return wait_s

    def reset(self) -> None:
        """Start over: it worked."""
        self._next_s = self._first_s


class TriggerSource(Protocol):
    """An open port."""

    def poll(self) -> list[Trigger]:
        """Wait, for a second at most, and return what has triggered.

        Raises:
            OSError: the port is gone.
        """
        ...

    def cancel(self) -> None:
        """Make a `poll` in another thread return soon."""
        ...

    def close(self) -> None:
        """Close the port."""
        ...


class _TextPort:
    def __init__(self, port: serial.Serial, decoder: TextTriggers) -> None:
        self._port = port
        self._decoder = decoder

    def poll(self) -> list[Trigger]:
        data = self._port.read(max(1, self._port.in_waiting))
        return self._decoder.feed(data, time.monotonic_ns()) if data else []

    def cancel(self) -> None:
        self._port.cancel_read()

    def close(self) -> None:
        self._port.close()


class _ModemPort:
    """Reads the status lines on every wake-up; the waiter in the kernel only makes waking up prompt."""

    def __init__(self, port: serial.Serial, decoder: ModemTriggers, poll_s: float) -> None:
        self._port = port
        self._decoder = decoder
        self._poll_s = poll_s
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._waiting = True
        self._counts = True
        self._read()
        # A thread in TIOCMIWAIT can't be woken: hence a daemon, which ends at the line's next change.
        descriptor = os.dup(port.fileno())
        threading.Thread(
            target=self._wait_in_kernel, args=(descriptor,), name=f"modem {port.port}", daemon=True
        ).start()

    def poll(self) -> list[Trigger]:
        self._wake.wait(_IDLE_S if self._waiting else self._poll_s)
        self._wake.clear()
        return self._decoder.reading(self._read(), time.monotonic_ns())

    def cancel(self) -> None:
        self._closed.set()
        self._wake.set()

    def close(self) -> None:
        self.cancel()
        self._port.close()

    def _read(self) -> ModemReading:
        raw = fcntl.ioctl(self._port, _TIOCMGET, bytes(4))
        (bits,) = struct.unpack("I", raw)
        on = frozenset(name for name, bit in _TIOCM_BITS.items() if bits & bit)
        return ModemReading(on, self._change_counts())

    def _change_counts(self) -> dict[str, int]:
        if not self._counts:
            return {}
        try:
            raw = fcntl.ioctl(self._port, _TIOCGICOUNT, bytes(_ICOUNT_BYTES))
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EINVAL):
                raise
            _log.info("port %s doesn't count its line changes", self._port.port)
            self._counts = False
            return {}
        return dict(zip(_ICOUNT_ORDER, struct.unpack_from("4i", raw), strict=True))

    def _wait_in_kernel(self, descriptor: int) -> None:
        try:
            while not self._closed.is_set():
                fcntl.ioctl(descriptor, _TIOCMIWAIT, sum(_TIOCM_BITS.values()))
                self._wake.set()
        except OSError as error:
            _log.info("port %s can't wait for its lines (%s); polling", self._port.port, error.strerror)
            self._waiting = False
            self._wake.set()
        finally:
            os.close(descriptor)


def open_source(config: SerialTriggerConfig, decoder: TextTriggers | ModemTriggers) -> TriggerSource:
    """Open a port.

    Raises:
        DeviceError: it can't be opened, or has no status lines where some are wanted.
    """
    decoder.reset()
    try:
        port = serial.Serial(config.port, config.baud, timeout=_READ_S, exclusive=True)
    except (OSError, ValueError, termios.error) as error:
        raise DeviceError(
            f"serial port {config.port} can't be opened", found=str(error), remedy="check cable and [controls]"
        ) from error
    if isinstance(decoder, TextTriggers):
        return _TextPort(port, decoder)
    try:
        return _ModemPort(port, decoder, config.poll_ms / 1_000)
    except OSError as error:
        port.close()
        raise DeviceError(
            f"serial port {config.port} has no modem status lines",
            found=error.strerror or type(error).__name__,
            remedy='use another adapter, or protocol = "text"',
        ) from error


class SerialTriggers:
    """One port's thread, started by `start`. Posts `Trigger` and `TriggerPortState` through `post`."""

    def __init__(
        self,
        config: SerialTriggerConfig,
        post: Callable[[Trigger | TriggerPortState], None],
        *,
        backoff: Backoff | None = None,
        open_port: Callable[[SerialTriggerConfig, TextTriggers | ModemTriggers], TriggerSource] = open_source,
    ) -> None:
        self.config = config
        self.decoder: TextTriggers | ModemTriggers = (
            TextTriggers(config.names, config.settle_ns)
            if config.protocol == "text"
            else ModemTriggers({str(line): name for line, name in config.lines.items()}, config.settle_ns)
        )
        self._post = post
        self._backoff = backoff or Backoff()
        self._open = open_port
        self._source: TriggerSource | None = None
        self._source_lock = threading.Lock()
        self._stopping = threading.Event()
        self._reported: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"triggers {config.port}", daemon=True)

    @property
    def garbage(self) -> int:
        """Lines that were not understood so far."""
        return self.decoder.garbage if isinstance(self.decoder, TextTriggers) else 0

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching and close the port."""
        self._stopping.set()
        with self._source_lock:
            if self._source is not None:
                self._source.cancel()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._opened() as source:
                    self._watch(source)
            except (DeviceError, OSError) as error:
                self._report(connected=False, reason=str(error))
                self._stopping.wait(self._backoff.next_s())

    @contextlib.contextmanager
    def _opened(self) -> Iterator[TriggerSource]:
        source = self._open(self.config, self.decoder)
        with self._source_lock:
            self._source = source
        try:
            yield source
        finally:
            with self._source_lock:
                self._source = None
            source.close()

    def _watch(self, source: TriggerSource) -> None:
        self._report(connected=True, reason="")
        garbage = self.garbage
        while not self._stopping.is_set():
            for trigger in source.poll():
                self._post(trigger)
            # Opening proves little: a port that fails at its first read would be opened without pause.
            self._backoff.reset()
            if self.garbage != garbage:
                garbage = self.garbage
                _log.warning("port %s: %d lines not understood so far", self.config.port, garbage)

    def _report(self, *, connected: bool, reason: str) -> None:
        """Post a change, not each vain attempt."""
        if self._reported == (reason or "connected"):
            return
        self._reported = reason or "connected"
        _log.log(
            logging.INFO if connected else logging.WARNING,
            "trigger port %s: %s",
            self.config.port,
            reason or "connected",
        )
        self._post(
            TriggerPortState(
                self.config.port, time.monotonic_ns(), connected=connected, reason=reason, garbage=self.garbage
            )
        )

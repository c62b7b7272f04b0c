"""What a virtual board needs first of all: file systems, entropy, loopback, a Pi's `/proc/cpuinfo`."""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["SHARE", "call", "mount", "set_up", "shut_down", "unmount"]

SHARE = Path("/run/share")
"""A directory of the host that both sides may write: files put on the board, logs, keys."""

_READ_ONLY = 1
_BIND = 4096
_ADD_ENTROPY = 0x40085203  # RNDADDENTROPY, random(4)
_SET_INTERFACE_FLAGS = 0x8914  # SIOCSIFFLAGS, netdevice(7)
_UP = 1
_POWER_OFF = 0x4321FEDC  # reboot(2)
_REVISION = "c03111"  # a Pi 4B: gpiozero takes its pin table from it
_LIBC = ctypes.CDLL(None, use_errno=True)

_MOUNTS = (
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("tmpfs", "/run", "mode=755"),
    ("tmpfs", "/tmp", "mode=1777"),
    ("tmpfs", "/mnt", "mode=755"),
)
_LATER = (
    ("devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("configfs", "/sys/kernel/config", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
)


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library that returns 0 for success.

    Raises:
        OSError: it failed.
    """
    if getattr(_LIBC, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}{arguments}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str, *, options: str = "", flags: int = 0) -> None:
    """Mount a file system; the directory is made if it isn't there.

    Raises:
        OSError: it can't be mounted.
    """
    if not Path(target).is_dir():
        Path(target).mkdir(parents=True)
    data = os.fsencode(options) if options else None
    call("mount", os.fsencode(source), os.fsencode(target), os.fsencode(kind), flags, data)


def unmount(target: str) -> None:
    """Take a file system away.

    Raises:
        OSError: it is in use, or not mounted.
    """
    call("umount2", os.fsencode(target), 0)


def set_up(share: str, needed: Iterable[str]) -> None:
    """Make the board's file systems; `share` and `needed` are directories of the host.

    The root is the host's own, read-only. What `needed` names (interpreter, project) stays visible also where
    one of the board's own file systems covers it.
    """
    covers = [target for _, target, _ in _MOUNTS]
    hidden = [path for path in needed if any(path.startswith(f"{cover}/") for cover in covers)]
    for kind, target, options in _MOUNTS:
        mount(kind, target, kind, options=options)
    mount("none", str(SHARE), "hostfs", options=share)
    _seed(SHARE / "seed")
    for path in hidden:
        mount("none", path, "hostfs", options=path, flags=_READ_ONLY)
    for kind, target, options in _LATER:
        mount(kind, target, kind, options=options)
    _pretend_pi()
    _loopback_up()


def shut_down() -> None:
    """Write everything back and switch off; never returns."""
    os.sync()
    call("reboot", _POWER_OFF)


def _seed(path: Path) -> None:
    """Fill the kernel's random pool from the host's, which a user-mode kernel has no other way to."""
    seed = path.read_bytes()
    path.unlink()
    pool = os.open("/dev/random", os.O_WRONLY)
    request = (len(seed) * 8).to_bytes(4, "little") + len(seed).to_bytes(4, "little") + seed
    call("ioctl", pool, ctypes.c_ulong(_ADD_ENTROPY), request)
    os.close(pool)


def _pretend_pi() -> None:
    text = Path("/proc/cpuinfo").read_text(encoding="ascii")
    told = Path("/run/cpuinfo")
    told.write_text(f"{text}\nRevision\t: {_REVISION}\nSerial\t\t: 10000000feedc0de\n", encoding="ascii")
    call("mount", os.fsencode(told), b"/proc/cpuinfo", b"", _BIND, None)


def _loopback_up() -> None:
    import socket  # noqa: PLC0415 - once, and not before the board has its file systems

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = b"lo".ljust(16, b"\0") + _UP.to_bytes(2, "little") + bytes(22)
        call("ioctl", any_socket.fileno(), _SET_INTERFACE_FLAGS, request)

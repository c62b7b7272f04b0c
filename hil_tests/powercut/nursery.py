"""Recovers one card after the other on a board that stays on: `python -m hil_tests.powercut.nursery SHARE`.

What a camera's start costs on a user-mode kernel is to load the program, four seconds of five. This loads it
once; SIGUSR1 asks for what SHARE/order.json says: a process of its own, forked, copies the vault as the mount
left it, runs the firmware until it has recovered all, and copies the vault again. Modules that the first one
had to load the others find loaded.
"""

import contextlib
import gc
import importlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from hil_tests.powercut import camera
from hil_tests.powercut.orders import Order, read_order
from preroll.commands import device as command

__all__: list[str] = []

_LEFT_OUT = "reserve.bin"
_MODULES = "modules"
_CIPHERTEXT = "clip.mp4.age"


def _copy_vault(vault: Path, target: Path, settled: Sequence[str]) -> None:
    """Copy the vault to the host, of clips that are `settled` without ciphertext."""
    for directory, _, files in os.walk(vault):
        here = Path(directory)
        there = target / here.relative_to(vault)
        there.mkdir(parents=True)
        for name in files:
            if name != _LEFT_OUT and not (name == _CIPHERTEXT and here.name in settled):
                shutil.copyfile(here / name, there / name)


def _recover(share: Path, order: Order) -> int:
    """Do one order; returns the firmware's exit status."""
    vault = Path(order.vault)
    if order.makes_room:
        (vault.parent / "filler").unlink(missing_ok=True)
    _copy_vault(vault, share / f"found-{order.number}", order.settled)
    status = 0
    try:
        camera.main(share / f"record-{order.number}", str(share / "device.toml"), ends_recovered=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    (share / _MODULES).write_text("\n".join(sys.modules), encoding="utf-8")
    _copy_vault(vault, share / f"after-{order.number}", ())
    return status


def _fork(share: Path, order: Order) -> int:
    """Have a process do it, whose end says how it went."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = _recover(share, order)
        except BaseException:  # noqa: BLE001 - whatever it is, the log has it, and the parent goes on
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(ended)


def _tell(text: str) -> None:
    """Say it in the log, which the host reads."""
    os.write(1, f"{text}\n".encode())


def _load(share: Path) -> None:
    """Load what the one before had loaded."""
    for name in (share / _MODULES).read_text(encoding="utf-8").split():
        if name not in sys.modules:
            with contextlib.suppress(ImportError):  # one that has a name only where it was made
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the first collection of each process copies every page


def _main(share: Path) -> None:
    # Locked memory is copied as a whole when a process is forked: a second and more on this kernel.
    vars(command)["_guard_memory"] = str
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    _tell("ready")
    while True:
        signal.sigwait({signal.SIGUSR1})
        order = read_order(share)
        status = _fork(share, order)
        if status == 0 and order.number == 1:
            _load(share)
        _tell(f"done {order.number} {status}")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))

"""A dock at the other end of a board's line: on the host, where no power is cut."""

import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from evidence.steps import Operation, set_step_hook
from hil_tests.powercut.stage import Stage, dock_config
from host.agent import DockAgent
from host.config import load_config
from tests.campaign.offload_cable import LineCable

__all__ = ["docked"]

_PATIENCE_S = 30.0
_CIPHERTEXT = "clip.mp4.age"
_SPOILT_BYTES = 8
_context = multiprocessing.get_context("spawn")


@contextlib.contextmanager
def docked(directory: Path, stage: Stage, *, spoils: bool = False) -> Iterator[None]:
    """Run a cable, whose end for the camera is `directory`/tty-camera, and an agent.

    The agent's storage is such that, if it `spoils`, every ciphertext changes on its way there.
    """
    cable = LineCable(directory, lambda _: None)
    config = directory / "dock.toml"
    config.write_text(dock_config(stage, cable.dock_path), encoding="utf-8")
    agent = _context.Process(target=_run, args=(config, directory / "agent.log", spoils), daemon=True)
    agent.start()
    try:
        yield
    finally:
        agent.terminate()
        agent.join(_PATIENCE_S)
        if agent.is_alive():
            agent.kill()
        cable.close()


def _run(config: Path, log: Path, spoils: bool) -> None:
    logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    if spoils:
        set_step_hook(_spoil)
    agent = DockAgent(load_config(config))
    signal.signal(signal.SIGTERM, lambda _number, _frame: agent.stop())
    agent.run()


def _spoil(operation: Operation, path: Path) -> None:
    """Overwrite some bytes before they are synced: what was received is not what storage then holds."""
    if operation is Operation.SYNC and path.name == _CIPHERTEXT:
        with path.open("r+b") as file:
            file.seek(file.seek(0, os.SEEK_END) // 2)
            file.write(bytes(_SPOILT_BYTES))

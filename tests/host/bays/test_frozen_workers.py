"""A dock whose worker loops all stand still is no longer fed to systemd; once they turn again, it is."""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from host.bays import Bay
from host.config import load_config
from preroll.notify import ServiceManager
from preroll.watchdog import Watchdog
from tests.host.bays.test_dock_agent import running, write_config

if TYPE_CHECKING:
    from tests.host.store.conftest import Pki

NS_PER_S = 1_000_000_000


def until(watchdog: Watchdog, stopped: tuple[str, ...]) -> None:
    give_up = time.monotonic() + 60
    while watchdog.look() != stopped:
        assert time.monotonic() < give_up, f"the watchdog never said {stopped}"
        threading.Event().wait(0.05)


def test_frozen_worker_loops_end_the_feeding(
    tmp_path: Path, pki: "Pki", monkeypatch: pytest.MonkeyPatch
) -> None:
    flows = threading.Event()
    flows.set()
    usual = Bay._look

    def look(bay: Bay) -> float:
        flows.wait()
        return usual(bay)

    monkeypatch.setattr(Bay, "_look", look)
    monkeypatch.setattr(Bay, "stalled", lambda bay, now_ns: now_ns - bay.progress_ns > NS_PER_S)
    manager = ServiceManager({"WATCHDOG_USEC": "6000000"})
    with running(load_config(write_config(tmp_path, pki, [1, 2]))) as agent:
        watchdog = Watchdog(manager, lambda: {"workers": agent.progress_ns})
        assert watchdog.look() == ()
        flows.clear()
        until(watchdog, ("workers",))
        notices = [notice.detail for notice in agent.status().notices]
        assert any("stands still" in notice for notice in notices)
        flows.set()
        until(watchdog, ())

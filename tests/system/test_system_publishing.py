"""The agent killed in the middle of offloads: no clip in the store without its event at the broker."""

import multiprocessing
import os
import random
import signal
import time
from contextlib import ExitStack
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from host.bays import BayState
from host.custody import CustodyLog
from host.publish import BayPayload, CameraPayload, Outbox, Topics, decode_payload
from tests.campaign.report import build, machine
from tests.host.publish.brokerbench import PATIENCE_S, Mosquitto, Watcher, needs_mosquitto, wait_until
from tests.system.agent_process import PRELOADED, run_agent
from tests.system.manybays import Fleet

pytestmark = needs_mosquitto
TOPICS = Topics("preroll", "north", "dock7")
REPORT = Path(__file__).parents[2] / "docs" / "reports" / "mqtt-agent-kills.md"
LONG_KILLS = 100
_HURRY = {"look_s": 0.05, "retry_s": 0.1, "progress_s": 5.0}
RESTING = (BayState.READY, BayState.CHARGING)


class Killed:
    """A fleet, a broker, and an agent that is started again and again."""

    def __init__(self, place: Path, stack: ExitStack, *, cameras: int, clips: int) -> None:
        self.fleet = Fleet(place, stack)
        for _ in range(cameras):
            self.fleet.add(clips=clips, mebibytes=1)
        broker = Mosquitto(place / "broker")
        broker.start()
        stack.callback(broker.kill)
        self.watcher = Watcher(broker.port)
        stack.callback(self.watcher.close)
        self.port = broker.port
        mqtt = f'[mqtt]\nbroker = "mqtt://127.0.0.1:{broker.port}"\nsite = "north"\n'
        self.fleet.configure(_HURRY, mqtt)
        self._forks = multiprocessing.get_context("forkserver")
        self._forks.set_forkserver_preload(PRELOADED)
        self._custody = place / "store" / "custody.jsonl"
        self._stack = stack

    def start(self) -> BaseProcess:
        words = (str(self.fleet.config), str(self.fleet.place / "agent.log"))
        process = self._forks.Process(target=run_agent, args=words, daemon=True)
        process.start()
        self._stack.callback(process.kill)
        return process

    def clips(self) -> int:
        """Count the clips that the custody log tells of."""
        return self._custody.read_bytes().count(b'"kind":"clip_stored"') if self._custody.exists() else 0

    def kill(self, process: BaseProcess, clips: int, pause_s: float) -> None:
        """Kill the agent a moment after its custody log tells of so many clips."""
        end = time.monotonic() + PATIENCE_S
        while self.clips() < clips:
            assert process.is_alive(), self.autopsy(process, clips)
            assert time.monotonic() < end, self.autopsy(process, clips)
            time.sleep(0.001)
        time.sleep(pause_s)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(PATIENCE_S)

    def autopsy(self, process: BaseProcess, clips: int) -> str:
        """Say how an agent stands that does not get on."""
        status = self.fleet.status()
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGABRT)
        process.join(PATIENCE_S)
        log = (self.fleet.place / "agent.log").read_text()
        return f"{self.clips()} clips, waiting for {clips}; {process}\n{status}\n{log[-12_000:]}"

    def stored(self) -> list[tuple[int, str | None]]:
        """Which entries of the custody log are about stored clips."""
        log = CustodyLog(self._custody, "dock7-a")
        try:
            return [(e.entry.index, e.entry.clip) for e in log.entries() if e.entry.kind == "clip_stored"]
        finally:
            log.close()

    def told(self) -> dict[int, tuple[object, str | None]]:
        """Return what `clip_stored` events said, by their number."""
        return {
            each.number: (each.data["custody_entries"], each.clip)
            for each in self.watcher.events(TOPICS)
            if each.kind == "clip_stored"
        }


def _all_rest(late: Watcher, fleet: Fleet) -> bool:
    """Whether a subscriber that comes late sees each camera in its bay, with nothing left to take."""
    for each in fleet.cameras:
        bay, camera = late.last(TOPICS.bay(each.device)), late.last(TOPICS.camera(each.device))
        if not bay or not camera or decode_payload(bay, BayPayload).state not in RESTING:
            return False
        shown = decode_payload(camera, CameraPayload)
        if (shown.bay, shown.waiting) != (each.device, 0):
            return False
    return True


@pytest.mark.parametrize(
    ("kills", "clips"),
    [pytest.param(10, 8, id="10 kills"), pytest.param(LONG_KILLS, 60, marks=pytest.mark.long, id="100 kills")],
)
def test_an_agent_killed_in_offloads_tells_of_every_clip(tmp_path: Path, kills: int, clips: int) -> None:
    dice = random.Random(7)
    with ExitStack() as stack:
        killed = Killed(tmp_path / "dock", stack, cameras=3, clips=clips)
        fleet = killed.fleet
        for _ in range(kills):
            clip = min(killed.clips() + 1, 3 * clips)
            killed.kill(killed.start(), clip, dice.choice((0.0, 0.0, dice.uniform(0.0, 0.03))))
        process = killed.start()
        for camera in fleet.cameras:
            wait_until(partial(lambda each: len(each.usage().receipts) == clips, camera), camera.device)
        wait_until(lambda: len(killed.told()) == 3 * clips, killed.told)
        late = Watcher(killed.port)
        stack.callback(late.close)
        late.wait(lambda: _all_rest(late, fleet))
        shown = late.state(TOPICS)
        assert shown is not None
        assert shown.state.value == "online"
        process.terminate()
        process.join(PATIENCE_S)
        assert process.exitcode == 0, (fleet.place / "agent.log").read_text()
        killed.watcher.wait(lambda: killed.watcher.states(TOPICS)[-1] == "stopped")
        assert sorted(killed.told().values(), key=str) == sorted(killed.stored(), key=str)
        in_store = {path.name for path in (fleet.place / "store" / "clips").glob("*/*") if path.is_dir()}
        assert {clip for _, clip in killed.told().values()} == in_store
        assert len(in_store) == 3 * clips
        first = list(dict.fromkeys(each.number for each in killed.watcher.events(TOPICS)))
        assert first == list(range(1, len(first) + 1))
        outbox = Outbox(fleet.place / "state" / "outbox.db")
        assert (outbox.held().last, outbox.waiting(0, 1)) == (len(first), ())
        outbox.close()
        if kills >= LONG_KILLS:
            _write_report(kills, killed, len(first))


def _write_report(kills: int, killed: Killed, numbers: int) -> None:
    made_at_start = {
        each.number for each in killed.watcher.events(TOPICS) if each.data and each.data.get("made_at_start")
    }
    lines = [
        "# Status over MQTT: kills of a dock's agent",
        "",
        "A whole agent (`preroll dock run` with `[mqtt]`) took clips off three simulated cameras, each a",
        f"process, and was killed (SIGKILL) {kills} times, at once or up to 30 ms after its custody log told",
        "of one more clip. A subscriber of a real mosquitto stayed connected.",
        "",
        "- Command: `make long` (`pytest -m long tests/system/test_system_publishing.py`); seed 7",
        f"- Build: {build()}",
        f"- Machine: {machine()}",
        f"- Clips: {len(killed.stored())} in store and custody log, each with its `clip_stored` event",
        f"- Events: {numbers:,} without a gap, {len(made_at_start)} made at a start from the custody log",
        "- State at the end: each camera in its bay with nothing left to take, then `stopped`",
        "",
    ]
    REPORT.write_text("\n".join(lines), encoding="utf-8")

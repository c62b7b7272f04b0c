"""What an agent says at the dock of its broker: `preroll dock status`, for people and as JSON."""

import json
from pathlib import Path

from click.testing import CliRunner

from host.agent import DockAgent
from host.config import load_config
from preroll.cli import root as command
from tests.host.bays.test_dock_agent import running, write_config
from tests.host.publish.brokerbench import (
    PublishBench,
    bench,
    free_port,
    needs_mosquitto,
    wait_until,
)
from tests.host.store.conftest import Pki, pki

__all__ = ["bench", "pki"]


def config_with(directory: Path, pki: Pki, port: int) -> Path:
    path = write_config(directory, pki, [])
    path.write_text(path.read_text() + f'[mqtt]\nbroker = "mqtt://127.0.0.1:{port}"\nsite = "north"\n')
    return path


def shown(path: Path, *words: str) -> str:
    done = CliRunner().invoke(command, ["dock", "status", *words, "--config", str(path)])
    assert done.exit_code == 0, done.output
    return done.output


def line_of(path: Path) -> str:
    return next((each for each in shown(path).splitlines() if each.startswith("broker: ")), "")


def test_a_broker_that_is_not_there_is_shown(tmp_path: Path, pki: Pki) -> None:
    path = config_with(tmp_path, pki, free_port())
    with running(load_config(path)):
        wait_until((tmp_path / "state" / "agent.sock").exists)
        wait_until(lambda: "not reached" in line_of(path))
        broker = json.loads(shown(path, "--json"))["broker"]
        assert broker["phase"] in ("waiting", "connecting")
        assert "not reached" in broker["detail"]
        assert (broker["session"], broker["lost"], broker["skipped"]) == (1, 0, 0)


@needs_mosquitto
def test_a_broken_outbox_is_shown_and_replaced(bench: PublishBench, tmp_path: Path, pki: Pki) -> None:
    port = bench.broker().port
    watcher = bench.watcher(port)
    path = config_with(tmp_path, pki, port)
    with running(load_config(path)):
        watcher.wait(lambda: watcher.states() == ["online"])
        wait_until(lambda: line_of(path) == "broker: online")
    watcher.wait(lambda: watcher.states()[-1] == "stopped")
    with (tmp_path / "state" / "outbox.db").open("r+b") as file:
        file.write(b"no database any more, long enough to be looked at")
    with running(load_config(path)) as agent:
        watcher.wait(lambda: watcher.states()[-1] == "online")
        assert any("another series begins" in each.detail for each in agent.status().notices)
        watcher.wait(lambda: [each.kind for each in watcher.events()] == ["outbox_replaced"])
        assert watcher.events()[0].data["generation"] == 2
    state = watcher.state()
    assert state is not None
    assert state.session.number == 2
    assert (tmp_path / "state" / "outbox.db.broken").exists()


@needs_mosquitto
def test_an_outbox_that_breaks_while_it_is_used(bench: PublishBench, tmp_path: Path, pki: Pki) -> None:
    port = bench.broker().port
    watcher = bench.watcher(port)
    path = config_with(tmp_path, pki, port)
    with running(load_config(path)) as agent:
        watcher.wait(lambda: watcher.states() == ["online"])
        _mark_damaged(agent)
        watcher.wait(lambda: watcher.states()[-2:] == ["stopped", "online"])
        agent.station.board.tell("fault", None, None, "later")
        watcher.wait(lambda: [each.detail for each in watcher.events()] == ["later"])


def _mark_damaged(agent: DockAgent) -> None:
    assert agent._reporter is not None
    assert agent._reporter._outbox is not None
    agent._reporter._outbox.damaged = True

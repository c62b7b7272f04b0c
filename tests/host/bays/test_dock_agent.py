"""The agent from its configuration: run, stop, status, assign, release, one a store."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from evidence.errors import EvidenceError
from host.agent import DockAgent, socket_path
from host.bays import BayState
from host.catalogue import Catalogue
from host.config import ConfigError, DockConfig, load_config, parse_config
from host.control import AskStatus, NoAgentError, ask
from host.store import StoreError, StoreInUseError
from preroll.cli import root as command
from tests.host.offload.fakecamera import CameraServer, FakeCamera

if TYPE_CHECKING:
    from tests.host.store.conftest import ClipFactory, Pki


def write_config(directory: Path, pki: "Pki", ports: list[int]) -> Path:
    bays = "".join(f'[[bay]]\nname = "{n}"\ntcp = "127.0.0.1:{port}"\n' for n, port in enumerate(ports, 1))
    path = directory / "dock.toml"
    path.write_text(
        f'[dock]\nid = "dock7"\nkeys = "{pki.directory / "dock7"}"\nroot = "{pki.agency.root_certificate}"\n'
        f'state = "state"\n[store]\npath = "store"\nid = "dock7-a"\nreserve_mib = 0\n'
        f"[timeouts]\nlook_s = 0.1\nretry_s = 0.2\nprogress_s = 2.0\n{bays}"
    )
    return path


@contextmanager
def running(config: DockConfig) -> Iterator[DockAgent]:
    agent = DockAgent(config)
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        yield agent
    finally:
        agent.stop()
        thread.join(30)
        assert not thread.is_alive()


def until(agent: DockAgent, state: BayState) -> None:
    deadline = time.monotonic() + 30
    while agent.bays[0].status.state is not state:
        assert time.monotonic() < deadline, agent.bays[0].status
        threading.Event().wait(0.01)


def invoke(*words: str) -> str:
    done = CliRunner().invoke(command, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_stores_shows_assigns_and_releases(tmp_path: Path, pki: "Pki", clips: "ClipFactory") -> None:
    good, bad = clips.make(1), clips.make(2)
    camera = FakeCamera(pki, [good, bad])
    data = bytearray(camera.files[bad.key.clip, "clip.mp4.age"])
    data[-1] ^= 1
    camera.files[bad.key.clip, "clip.mp4.age"] = bytes(data)
    server = CameraServer(camera)
    path = write_config(tmp_path, pki, [server.listen()])
    with running(load_config(path)) as agent:
        until(agent, BayState.FAULT)
        while not agent.status().quarantine:
            threading.Event().wait(0.01)
        shown = json.loads(invoke("dock", "status", "--json", "--config", str(path)))
        assert shown["store"]["state"] == "ready"
        assert [each["clip"] for each in shown["quarantine"]] == [bad.key.clip]
        assert good.key.clip in camera.receipts
        text = invoke("dock", "status", "--config", str(path))
        assert "bay 1" in text
        assert "quarantine" in text
        invoke("dock", "assign", "cam0042", "w-7f3a", "--config", str(path))
        words = ("--reason", "court order", "--operator", "j.doe", "--config", str(path))
        invoke("dock", "release", bad.key.clip, *words)
        until(agent, BayState.READY)
        assert camera.receipts[bad.key.clip].verdict == "quarantined"
        assert [each.wearer for each in camera.wearers] == ["w-7f3a"]
        with pytest.raises(EvidenceError, match="not in quarantine"):
            agent.release(good.key.clip, "why", "j.doe")
    server.close()


def test_one_agent_a_store(tmp_path: Path, pki: "Pki") -> None:
    config = load_config(write_config(tmp_path, pki, []))
    with running(config), pytest.raises(StoreInUseError):
        DockAgent(config)


def test_nobody_answers_once_it_has_ended(tmp_path: Path, pki: "Pki") -> None:
    config = load_config(write_config(tmp_path, pki, []))
    with running(config):
        pass
    with pytest.raises(NoAgentError):
        ask(socket_path(config), AskStatus())


def test_an_empty_place_is_formatted_once(tmp_path: Path, pki: "Pki") -> None:
    config = load_config(write_config(tmp_path, pki, []))
    with running(config):
        pass
    (tmp_path / "store").rename(tmp_path / "unplugged")
    (tmp_path / "store").mkdir()
    with pytest.raises(StoreError, match="no store"):
        DockAgent(config)


def test_a_locked_catalogue_holds_up_nothing(tmp_path: Path, pki: "Pki", clips: "ClipFactory") -> None:
    clip = clips.make(1)
    camera = FakeCamera(pki, [clip])
    server = CameraServer(camera)
    config = load_config(write_config(tmp_path, pki, [server.listen()]))
    with running(config):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "catalogue.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with running(config) as agent:
            until(agent, BayState.READY)
            assert clip.key.clip in camera.receipts
            deadline = time.monotonic() + 20
            while "locked" not in agent.status().store.catalogue:
                assert time.monotonic() < deadline
                threading.Event().wait(0.05)
        other.rollback()
    server.close()
    with running(config) as agent:
        deadline = time.monotonic() + 20
        while agent.status().store.catalogue:
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)
    catalogue = Catalogue(tmp_path / "state" / "catalogue.db")
    assert [row.clip for row in catalogue.clips_of("cam0042")] == [clip.key.clip]
    catalogue.close()


def test_sigterm_ends_it_cleanly(tmp_path: Path, pki: "Pki") -> None:
    path = write_config(tmp_path, pki, [])
    words = [sys.executable, "-m", "preroll", "dock", "run", "--json", "--config", str(path)]
    code = "import sys; from preroll.cli import main; sys.argv[0] = 'preroll'; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *words[3:]], stderr=subprocess.PIPE)
    while not (tmp_path / "state" / "agent.sock").exists():
        assert process.poll() is None
        threading.Event().wait(0.02)
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[dock]\nid = "d"\n[store]\npath = "s"\nid = "s"\nlimit = 1\n', "limit"),
        ('[dock]\nid = "D"\n[store]\npath = "s"\nid = "s"\n', "id"),
        ('[dock]\nid = "d"\n[store]\npath = "s"\nid = "s"\n[[bay]]\nname = "1"\n', "0 of them"),
        ('[dock]\nid = "d"\n[store]\npath = "s"\nid = "s"\n[[bay]]\nname = "1"\ntcp = "here"\n', "HOST:PORT"),
        (
            '[dock]\nid = "d"\n[store]\npath = "s"\nid = "s"\n'
            + 2 * '[[bay]]\nname = "1"\nserial = "/dev/ttyACM0"\n',
            "twice",
        ),
        ("[dock\n", "not TOML"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        parse_config(text, "dock.toml")

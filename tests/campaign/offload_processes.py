"""A camera's dock port and a dock's agent as processes that a test can kill, and tell to kill themselves.

Both run the product's own code from its own entry: the vault, the releases and the dock's port; the agent from
its configuration. They are forked from one server that has imported everything, so that a start costs little.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from device.config import DockportSection
from device.dockport.camera import DockedCamera
from device.dockport.dockport import DockPort
from device.health.clock import CameraClock
from device.policy import policy_of
from device.recording.machine import State
from device.recording.recorder import RecorderStatus
from device.vault.dockstate import DockMemory
from device.vault.eventlog import EventLog
from device.vault.layout import open_layout
from device.vault.logthread import LogThread
from device.vault.vault import Vault
from docklink.limits import Timeouts
from evidence.clock import ClockSource, UtcMapping
from evidence.documents import Config, Gestures, Sound, encode
from evidence.roles import Role
from evidence.signer import load_signer
from evidence.steps import Operation, set_step_hook, step_name
from host import agent as host_agent
from host.config import load_config
from host.offload import Step
from host.store import partial as store_partial
from host.store.steps import store_step_name
from tests.device.vault_recovery.rig import BOOT, DEVICE

__all__ = ["AgentSpec", "CameraSpec", "Death", "Fetched", "read_told", "start_process"]

_NS_PER_S = 1_000_000_000
_TIMES = Timeouts(handshake_s=3.0, head_s=2.0, body_s=3.0, progress_s=1.0, answer_s=5.0, idle_s=5.0)
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["__main__", "tests.campaign.offload_processes"])


class Death(msgspec.Struct, frozen=True):
    """Die by SIGKILL right before the `nth` step of this name (from 1)."""

    step: str
    nth: int = 1


class CameraSpec(msgspec.Struct, frozen=True):
    """One run of a camera: over TCP on a port that it writes into `told`, or on a serial device."""

    vault: Path
    keys: Path
    anchors: Path
    told: Path
    serial: str = ""
    death: Death | None = None


class AgentSpec(msgspec.Struct, frozen=True):
    """One run of an agent; what it fetches, and syncs, it tells in `told`."""

    config: Path
    told: Path
    death: Death | None = None


class Fetched(msgspec.Struct, frozen=True):
    """Bytes of a clip's ciphertext that are about to be written, or, `synced`, are on storage."""

    clip: str
    start: int
    count: int
    synced: bool = False


def start_process(spec: CameraSpec | AgentSpec) -> BaseProcess:
    """Start a camera or an agent; it ends in good order on SIGTERM."""
    process = _context.Process(target=_run, args=(spec,), daemon=True)
    process.start()
    return process


def read_told(path: Path) -> list[Fetched]:
    """Read what agents have told, whole lines."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line, type=Fetched) for line in lines]


def _run(spec: CameraSpec | AgentSpec) -> None:
    log = Path(f"{spec.told}.log")
    logging.basicConfig(
        filename=log, level=logging.INFO, format="%(asctime)s %(process)d %(name)s: %(message)s"
    )
    if isinstance(spec, CameraSpec):
        _run_camera(spec)
    else:
        _run_agent(spec)


class _Killer:
    """Counts steps by name; at the one that is meant, the process is gone at once."""

    def __init__(self, death: Death) -> None:
        self._death = death
        self._passed: Counter[str] = Counter()

    def at(self, name: str) -> None:
        self._passed[name] += 1
        if name == self._death.step and self._passed[name] == self._death.nth:
            os.kill(os.getpid(), signal.SIGKILL)


def _run_camera(spec: CameraSpec) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    layout = open_layout(spec.vault, DEVICE)
    if spec.death is not None:
        killer, ours = _Killer(spec.death), (layout.clips, layout.tombstones)

        def hook(operation: Operation, path: Path) -> None:
            if path in ours or any(each in path.parents for each in ours):
                killer.at(step_name(operation, path))

        set_step_hook(hook)
    signer, clock = load_signer(spec.keys, Role.CAMERA_EVIDENCE), CameraClock(_read_clocks)
    log = LogThread(EventLog(layout, signer, BOOT, clock.read), lambda _: None)
    policy = policy_of(encode(_policy()), DEVICE)
    camera = DockedCamera(
        vault=Vault(layout),
        signer=signer,
        log=log,
        clock=clock,
        memory=DockMemory(layout),
        boot=BOOT,
        firmware="0.0.0",
        status=lambda: RecorderStatus(
            State.READY, None, 0, 0, caught_up=True, free_bytes=None, minutes_left=None
        ),
        policy=lambda: policy,
        apply=lambda _: None,
        try_policy=lambda _: None,
        recovery_state=lambda _: None,
        recovered=lambda: True,
        writing=lambda: False,
        post=lambda _: None,
        space_limit_bytes=0,
    )
    vars(__import__("device.dockport.ports", fromlist=["_AGAIN_S"]))["_AGAIN_S"] = 0.1
    section = DockportSection(
        listen="" if spec.serial else "127.0.0.1:0", serial=(spec.serial,) * bool(spec.serial)
    )
    port = DockPort(camera, section, keys=spec.keys, anchors=spec.anchors, timeouts=_TIMES)
    port.start()
    number = port.tcp.number if port.tcp is not None else 0
    draft = spec.told.with_suffix(".new")
    draft.write_text(str(number))
    draft.rename(spec.told)
    stop.wait()
    port.close()
    log.close()
    layout.close()


def _run_agent(spec: AgentSpec) -> None:
    fd = os.open(spec.told, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _tell_fetches(lambda fetched: os.write(fd, msgspec.json.encode(fetched) + b"\n"))
    config = load_config(spec.config)
    agent = host_agent.DockAgent(config)
    signal.signal(signal.SIGTERM, lambda _number, _frame: agent.stop())
    if spec.death is not None:
        _kill_agent(agent, spec.death, Path(config.store.path))
    agent.run()


def _kill_agent(agent: host_agent.DockAgent, death: Death, root: Path) -> None:
    """Count steps of the store and of the offload from the first look at a clip on."""
    killer, began = _Killer(death), threading.Event()

    def stepped(step: Step, _clip: str) -> None:
        if began.is_set() or step is Step.LOOK:
            began.set()
            killer.at(f"offload: {step}")

    def hook(operation: Operation, path: Path) -> None:
        if began.is_set() and path.is_relative_to(root):
            killer.at(store_step_name(root, operation, path))

    for bay in agent.bays:
        bay._on_step = stepped  # the hook that a bay has for tests; the agent sets none
    set_step_hook(hook)


def _tell_fetches(tell: Callable[[Fetched], object]) -> None:
    """Have the writer of a fetch tell what it writes, and what it has synced."""
    writer_of, sync = store_partial.FilePartialWriter, store_partial._sync_and_drop

    class Told(writer_of):  # type: ignore[misc, valid-type]  # the real writer, reporting
        def __init__(self, path: Path, start: int, noted: Callable[[int], None]) -> None:
            self._told = path
            super().__init__(path, start, noted)

        def append(self, data: bytes | memoryview) -> None:
            if self._told.name == "clip.mp4.age":
                tell(Fetched(self._told.parent.name.partition(".")[0], self.size_bytes, len(data)))
            super().append(data)

    def synced(fd: int, start: int, length: int) -> None:
        sync(fd, start, length)
        path = Path(f"/proc/self/fd/{fd}").readlink()
        tell(Fetched(path.parent.name.partition(".")[0], start, length, synced=True))

    vars(store_partial).update(FilePartialWriter=Told, _sync_and_drop=synced)


def _read_clocks() -> UtcMapping:
    return UtcMapping(monotonic_ns=time.monotonic_ns(), utc_ns=time.time_ns(), source=ClockSource.SYSTEM)


def _policy() -> Config:
    return Config(
        version=0,
        devices=(DEVICE,),
        recipients=("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",),
        window_ns=30 * _NS_PER_S,
        sound=Sound(recording=True, before_press=False),
        gestures=Gestures(hold_ns=3 * _NS_PER_S, confirm_stop=False, confirm_ns=5 * _NS_PER_S),
        limit_ns=3600 * _NS_PER_S,
        reminder_ns=0,
        stealth=False,
        hold_ns=0,
        revocations=(),
    )

"""Camera processes under trace, whose frames carry a canary."""

import random
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.campaign.camera import CameraSpec, Step
from tests.campaign.kills import ROOT
from tests.campaign.leaks import Writes, trace, tracer
from tests.campaign.stage import Keys, Picture, write_config
from tests.campaign.tally import Tally, read_tally

__all__ = ["WINDOW_S", "MakeLeak", "TracedRun", "run_traced"]

_PICTURE = Picture(width=320, height=180, bitrate_kbps=400)
WINDOW_S = 1.0


class TracedRun(msgspec.Struct, frozen=True):
    """A camera that ran under trace, to its end."""

    directory: Path
    canary: bytes
    began_ns: int
    writes: Writes
    tally: Tally
    events: tuple[dict[str, Any], ...]

    @property
    def vault(self) -> Path:
        return self.directory / "vault"

    @property
    def told(self) -> Path:
        """The one file that the harness itself has the camera write."""
        return self.directory / "tally"


def run_traced(
    directory: Path, keys: Keys, steps: tuple[Step, ...], leak: Path | None, *, kept: bool
) -> TracedRun:
    if tracer() is None:
        pytest.skip("strace is not installed here, or may not trace: `apt-get install strace`")
    directory.mkdir()
    canary = bytes(random.SystemRandom().choices(range(1, 256), k=24))
    spec = CameraSpec(
        config=str(write_config(directory, keys, _PICTURE, WINDOW_S)),
        tally=str(directory / "tally"),
        steps=steps,
        canary=canary,
        leak=str(leak) if leak else "",
        leak_kept=kept,
    )
    # The canary must be in no file but what the camera itself makes: the spec is gone before the search.
    path = directory / "spec.json"
    path.write_bytes(msgspec.json.encode(spec))
    began_ns = time.time_ns()
    ended, writes = trace([sys.executable, "-m", "tests.campaign.camera", str(path)], directory / "trace", ROOT)
    assert ended.returncode == 0, ended.stderr.decode()
    path.unlink()
    events = [msgspec.json.decode(line) for line in ended.stdout.splitlines()]
    return TracedRun(directory, canary, began_ns, writes, read_tally(directory / "tally"), tuple(events))


class MakeLeak:
    """Runs a faulty camera that writes a frame into a file of the machine's temporary directory."""

    def __init__(self, directory: Path, keys: Keys, leak: Path) -> None:
        self._directory = directory
        self._keys = keys
        self.leak = leak

    def __call__(self, *, kept: bool) -> TracedRun:
        return run_traced(self._directory / "camera", self._keys, (Step("fill", 0.5),), self.leak, kept=kept)

"""Keys for camera processes; a traced run of one, and a plain one."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.campaign.camera import CameraSpec, Step
from tests.campaign.clipdata import ClipData, read_clip
from tests.campaign.judgement import clip_directories
from tests.campaign.kills import ROOT
from tests.campaign.stage import Keys, Picture, make_keys, write_config
from tests.campaign.tally import Tally, read_tally
from tests.campaign.traced import WINDOW_S, MakeLeak, TracedRun, run_traced


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("campaign-keys"))


@pytest.fixture(scope="session")
def traced_run(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> TracedRun:
    """Three clips with gaps between them that are longer than window and GOP."""
    clip = (Step("tap"), Step("wait", 0.8), Step("hold"))
    gap = (Step("wait", WINDOW_S + 1.8),)
    steps = (Step("fill", 2.5), *clip, *gap, *clip, *gap, *clip, Step("sealed", 3), Step("wait", 1.5))
    return run_traced(tmp_path_factory.mktemp("traced") / "camera", keys, steps, None, kept=True)


@pytest.fixture(scope="session")
def traced_clips(traced_run: TracedRun, keys: Keys) -> list[ClipData]:
    public_key, identities = keys.signer.public_key, keys.identities
    return [read_clip(path, public_key, identities) for path in clip_directories(traced_run.vault)]


@pytest.fixture
def make_leak(tmp_path: Path, keys: Keys) -> MakeLeak:
    return MakeLeak(tmp_path, keys, tmp_path / "leaked.h264")


@pytest.fixture(scope="session")
def plain_run(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> tuple[Path, Tally]:
    """One clip of a camera in good order: its directory, and the tally."""
    directory = tmp_path_factory.mktemp("plain")
    picture = Picture(width=320, height=180, bitrate_kbps=400)
    spec = CameraSpec(
        config=str(write_config(directory, keys, picture, WINDOW_S)),
        tally=str(directory / "tally"),
        steps=(Step("fill", 1.5), Step("tap"), Step("wait", 0.5), Step("hold"), Step("sealed", 1)),
    )
    path = directory / "spec.json"
    path.write_bytes(msgspec.json.encode(spec))
    subprocess.run([sys.executable, "-m", "tests.campaign.camera", str(path)], cwd=ROOT, check=True)
    return clip_directories(directory / "vault")[0], read_tally(directory / "tally")

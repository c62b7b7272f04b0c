"""Whatever is done to an interrupted clip: recovery refuses, or signs what then verifies; nothing else."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence.check import Outcome, check_sealed_clip
from evidence.errors import EvidenceError
from evidence.paths import load_roots
from tests.device.vault_recovery.rig import Camera, Death

FILES = ("clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s", "tail.bin", ".tail.bin.tmp")
KILLED = (9, 11, 16, 20, 26)
"""Steps of a clip: claimed; first chunk; midway; last line; between signature and manifest."""


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> dict[int, Path]:
    """One vault for each of those steps."""
    made: dict[int, Path] = {}
    for at in KILLED:
        camera = Camera(tmp_path_factory.mktemp("vaults") / str(at), keys)
        with Death(at):
            camera.record()
        made[at] = camera.root
    return made


_names = itertools.count()


_changes = st.tuples(
    st.sampled_from(FILES),
    st.floats(0, 1),
    st.sampled_from([0, 1, 40, 10**9]),
    st.one_of(st.binary(max_size=60), st.sampled_from([b"\0" * 5000, b"\n", b"age-encryption.org/v1\n"])),
)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.sampled_from(KILLED), change=_changes)
def test_recovery_refuses_or_signs_what_verifies(
    interrupted: dict[int, Path],
    make_camera: Callable[[str], Camera],
    keys: Path,
    at: int,
    change: tuple[str, float, int, bytes],
) -> None:
    name, position, removed, added = change
    root = f"vault{next(_names)}"
    camera = make_camera(root)
    shutil.rmtree(camera.root)
    shutil.copytree(interrupted[at], camera.root)
    (clip,) = (camera.root / "clips").iterdir()
    path = clip / name
    data = path.read_bytes() if path.exists() else b""
    cut = int(position * len(data))
    path.write_bytes(data[:cut] + added + data[cut + removed :])
    try:
        camera.recover()
    except EvidenceError:
        assert not (clip / "manifest.json").exists()
    else:
        report = check_sealed_clip(clip, load_roots(keys.parent / "agency" / "root" / "root.pem"))
        bad = [check for check in report.checks if check.outcome in {Outcome.FAILED, Outcome.MISSING}]
        assert not bad
    finally:
        shutil.rmtree(camera.root)

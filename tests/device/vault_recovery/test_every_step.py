"""Killed at every named step of creating, writing, sealing and recovering, each twice in a row.

A kill before a step is one after the step before it. Once the process dies, the page cache lives on (what the
process wrote is all there); once the power goes, what was not synced may be there whole, in part, or not at
all. All three are tried.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device.vault.layout import CLAIM_PREFIX
from evidence.check import Outcome, check_sealed_clip
from evidence.paths import load_roots
from evidence.sealstate import SealState, read_seal_state
from evidence.steps import CREATE_STEPS, RECOVER_STEPS, SEAL_STEPS, WRITE_STEPS
from tests.device.vault_recovery.rig import Camera, Death

MakeCamera = Callable[[str], Camera]
FILES = ("clip.mp4.age", "journal.jsonl", "manifest.json", "tail.bin")
EXTRA = b"\xa5" * (9 * 1024 * 1024)


@pytest.fixture
def quick_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sync would leave is simulated here (`lose_power`), so the disk need not be waited for."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("os.fdatasync", lambda _: None)


def files_of(root: Path) -> dict[str, bytes]:
    """All that must be the same, whichever way recovery came to its end."""
    return {
        f"{clip.name}/{name}": (clip / name).read_bytes()
        for clip in (root / "clips").iterdir()
        for name in FILES
        if (clip / name).exists()
    }


def copy_of(camera: Camera, make_camera: MakeCamera, name: str) -> Camera:
    shutil.rmtree(camera.root.with_name(name), ignore_errors=True)
    shutil.copytree(camera.root, camera.root.with_name(name))
    return make_camera(name)


def lose_power(root: Path, synced: dict[int, int], *, keep: float) -> None:
    """Cut what was not synced of each file of a clip down to a part of it."""
    for path in (root / "clips").rglob("*"):
        if path.is_file():
            status = path.stat()
            safe = synced.get(status.st_ino, 0)
            os.truncate(path, safe + int((status.st_size - safe) * keep))


def require_good(camera: Camera, keys: Path) -> None:
    roots = load_roots(keys.parent / "agency" / "root" / "root.pem")
    for clip in (camera.root / "clips").iterdir():
        report = check_sealed_clip(clip, roots)
        bad = [check for check in report.checks if check.outcome in {Outcome.FAILED, Outcome.MISSING}]
        assert not bad, f"{clip.name}: {bad}"


def require_signed(camera: Camera) -> None:
    for clip in (camera.root / "clips").iterdir():
        assert read_seal_state(clip, camera.signer.public_key) is SealState.SEALED


def recover_killed(camera: Camera) -> Iterator[int]:
    """Recover, killed before each step in turn, twice in a row; yields after each pair of kills."""
    pristine = camera.root.with_name("pristine")
    shutil.rmtree(pristine, ignore_errors=True)
    shutil.copytree(camera.root, pristine)
    for at in range(len(RECOVER_STEPS) + 20):
        shutil.rmtree(camera.root)
        shutil.copytree(pristine, camera.root)
        for _ in range(2):
            with Death(at) as death:
                camera.recover()
        yield at
        if not death.dead:
            return


def steps_of_a_clip(make_camera: MakeCamera) -> list[str]:
    camera = make_camera("whole")
    with Death() as death:
        camera.record()
    return death.names


def test_what_happens_is_what_the_registry_says(make_camera: MakeCamera) -> None:
    names = steps_of_a_clip(make_camera)
    assert tuple(names[: len(CREATE_STEPS)]) == CREATE_STEPS
    assert tuple(names[-len(SEAL_STEPS) :]) == SEAL_STEPS
    assert set(names[len(CREATE_STEPS) : -len(SEAL_STEPS)]) == set(WRITE_STEPS)


@pytest.mark.usefixtures("quick_syncs")
@pytest.mark.parametrize("keep", [None, 0.0, 0.5], ids=["process-killed", "unsynced-lost", "unsynced-torn"])
def test_a_clip_killed_at_each_step_is_recovered_the_same_whatever_kills_recovery(
    make_camera: MakeCamera, keys: Path, keep: float | None
) -> None:
    count = len(steps_of_a_clip(make_camera))
    for at in range(count + 1):
        shutil.rmtree(make_camera("broken").root)
        broken = make_camera("broken")
        with Death(at) as death:
            broken.record()
        if keep is not None:
            lose_power(broken.root, death.synced, keep=keep)
        synced = synced_bytes(broken.root, death.synced)
        straight = copy_of(broken, make_camera, "straight")
        straight.recover()
        require_good(straight, keys)
        expected = files_of(straight.root)
        for name, data in synced.items():
            assert expected[name].startswith(data), f"{name} lost what was synced, killed at step {at}"
        for second in recover_killed(broken):
            broken.recover()
            assert files_of(broken.root) == expected, f"killed at step {at}, then twice at recovery's {second}"
            require_signed(broken)


def synced_bytes(root: Path, synced: dict[int, int]) -> dict[str, bytes]:
    """What a clip with a number had on storage, and must have for ever."""
    kept: dict[str, bytes] = {}
    for path in (root / "clips").glob("*/*"):
        size = synced.get(path.stat().st_ino)
        published = not path.parent.name.startswith(CLAIM_PREFIX)
        if size and published and path.name in FILES:
            kept[f"{path.parent.name}/{path.name}"] = path.read_bytes()[:size]
    return kept


@pytest.mark.usefixtures("quick_syncs")
def test_every_step_of_recovery_is_hit(make_camera: MakeCamera, keys: Path) -> None:
    """Clips that need all that recovery can do: a planted manifest, an empty claim, a tail beyond the limit."""
    source = make_camera("source")
    names: set[str] = set()
    for kind in ("planted", "empty", "long"):
        shutil.rmtree(source.root)
        source = make_camera("source")
        with Death(9 if kind == "empty" else 16):
            source.record()
        (clip,) = (source.root / "clips").iterdir()
        if kind == "planted":
            (clip / "manifest.json").write_bytes(b"{}")
            (clip / "manifest.p7s").write_bytes(b"0")
        if kind == "long":
            with (clip / "clip.mp4.age").open("ab") as file:
                file.write(EXTRA)
        straight = copy_of(source, make_camera, "straight")
        with Death() as death:
            straight.recover()
        names.update(death.names)
        require_good(straight, keys)
        expected = files_of(straight.root)
        assert any(name.endswith("tail.bin") for name in expected) == (kind == "long")
        assert any(name.endswith("clip.mp4.age") for name in expected) == (kind != "empty")
        for second in recover_killed(source):
            source.recover()
            assert files_of(source.root) == expected, f"{kind}: killed twice at step {second}"
            require_signed(source)
    assert names == set(RECOVER_STEPS)


@pytest.mark.parametrize("at", [5, 6, 9, 12, 16, 20, 24])
def test_a_real_kill_leaves_what_the_simulated_one_leaves(make_camera: MakeCamera, keys: Path, at: int) -> None:
    real, simulated = make_camera("real"), make_camera("simulated")
    child = subprocess.run(
        [sys.executable, "-m", "tests.device.vault_recovery.rig", str(real.root), str(keys), str(at)],
        check=False,
        cwd=Path(__file__).parents[3],
        timeout=60,
    )
    with Death(at):
        simulated.record()
    assert child.returncode == -signal.SIGKILL
    sizes = [
        sorted((path.name, path.stat().st_size) for path in camera.root.rglob("*") if path.name in FILES[:1])
        for camera in (real, simulated)
    ]
    assert sizes[0] == sizes[1]
    real.recover()
    require_good(real, keys)

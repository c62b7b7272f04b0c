"""An agency with a camera and a dock, a camera's service over clips, and both ends of a link joined."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from docklink.simulated import SimulatedCamera
from tests.docklink.linkbench import CLIP, OTHER_CLIP, Agency, Bench, make_agency


@pytest.fixture(scope="session")
def agency(tmp_path_factory: pytest.TempPathFactory) -> Agency:
    return make_agency(tmp_path_factory.mktemp("agency"))


@pytest.fixture(scope="session")
def other_agency(tmp_path_factory: pytest.TempPathFactory) -> Agency:
    return make_agency(tmp_path_factory.mktemp("other"), "Other Trust")


@pytest.fixture(scope="session")
def content() -> bytes:
    """2.5 MiB in which every place is another."""
    return b"".join(number.to_bytes(4, "big") for number in range(655_360))


@pytest.fixture
def camera(tmp_path: Path, content: bytes) -> SimulatedCamera:
    for name in (CLIP, OTHER_CLIP):
        directory = tmp_path / "clips" / name
        directory.mkdir(parents=True)
        (directory / "clip.mp4.age").write_bytes(content)
        (directory / "journal.jsonl").write_bytes(b"{}\n")
        (directory / "manifest.json").write_bytes(b"{}")
        (directory / "manifest.p7s").write_bytes(b"\x30\x00")
    return SimulatedCamera("cam0042", tmp_path / "clips", time.monotonic_ns)


@pytest.fixture
def bench(agency: Agency, camera: SimulatedCamera) -> Iterator[Bench]:
    made = Bench(agency, camera)
    yield made
    made.close()

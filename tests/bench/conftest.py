"""Footage of the smallest size that still has keyframes, made once."""

from pathlib import Path

import pytest

from bench.footage import Scene, load_units, make_footage

SMALL = Scene(seconds=2, width=320, height=180, bitrate_bps=400_000)


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_footage(tmp_path_factory.mktemp("bench") / "footage.mp4", SMALL)


@pytest.fixture(scope="session")
def units(footage: Path) -> list[tuple[bytes, bool]]:
    return load_units(footage)

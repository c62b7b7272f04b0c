"""Agencies, and a camera with two sealed clips behind its dock's port."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device.dockport.dockbench import Agency, DockBench, make_agency


@pytest.fixture(scope="session")
def agency(tmp_path_factory: pytest.TempPathFactory) -> Agency:
    return make_agency(tmp_path_factory.mktemp("agency"))


@pytest.fixture(scope="session")
def other_agency(tmp_path_factory: pytest.TempPathFactory) -> Agency:
    return make_agency(tmp_path_factory.mktemp("other"), "Other Trust")


@pytest.fixture
def bench(agency: Agency, tmp_path: Path) -> Iterator[DockBench]:
    made = DockBench(agency, tmp_path / "vault")
    yield made
    made.stop()

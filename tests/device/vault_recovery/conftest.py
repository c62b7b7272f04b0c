"""A camera with keys of its own agency."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evidence.agency import SubjectKind, create_agency, issue_new
from tests.device.vault_recovery.rig import DEVICE, Camera


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The camera's keys; the agency lies beside them."""
    root = tmp_path_factory.mktemp("keys")
    create_agency("Test Trust", root / "agency", now=datetime.now(UTC))
    issue_new(SubjectKind("camera"), DEVICE, root / "agency", root / "camera")
    return root / "camera"


@pytest.fixture
def make_camera(tmp_path: Path, keys: Path) -> Callable[[str], Camera]:
    return lambda name: Camera(tmp_path / name, keys)


@pytest.fixture
def camera(make_camera: Callable[[str], Camera]) -> Camera:
    return make_camera("vault")

"""Tests on libcamera, picamera2 and the firmware as they are. Run by `make camera`; not part of `make test`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from evidence.agency import SubjectKind, create_agency, issue_new
from hil_tests.camera.camerabench import Firmware, Stack, find_stack
from hil_tests.camera.report import Form, Report


@pytest.fixture(scope="session")
def stack() -> Stack:
    found = find_stack()
    if found is None:
        pytest.skip("the real camera stack was not run: hil_tests/camera/build-libcamera has built nothing")
    return found


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("keys")
    create_agency("Test agency", place / "agency")
    issue_new(SubjectKind.CAMERA, "cam0042", place / "agency", place / "camera")
    return place


@pytest.fixture(scope="session")
def form() -> Form:
    return Form.of_environment()


@pytest.fixture(scope="session")
def report(stack: Stack, form: Form) -> Iterator[Report]:
    made = Report(stack.source, form)
    yield made
    made.write()


@pytest.fixture(scope="module")
def run_firmware(
    stack: Stack, keys: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Firmware]]:
    """Start firmware, in a place of its own or in one that another has left; killed at the end if it runs."""
    with ExitStack() as running:

        def run(place: Path | None = None, size: tuple[int, int] = (640, 480)) -> Firmware:
            firmware = Firmware(stack, place or tmp_path_factory.mktemp("camera"), keys, size=size)
            running.callback(firmware.kill)
            return firmware

        yield run

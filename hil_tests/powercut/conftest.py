"""Power cuts run in the product's own environment, `make powercut`; the bench's has not what a dock needs."""

import importlib.util
from pathlib import Path

import pytest

from hil_tests.board.kernel import kernel_path
from hil_tests.board.protocol import BoardError

collect_ignore_glob = ["test_*.py"] if importlib.util.find_spec("h11") is None else []


@pytest.fixture(scope="session")
def kernel() -> Path:
    try:
        return kernel_path()
    except BoardError as error:
        pytest.skip(f"no power was cut: {error}")

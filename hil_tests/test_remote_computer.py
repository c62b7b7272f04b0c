"""How a real board is talked to, tried on the bench's own host: directly, and through a shell."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hil_tests.board.kernel import CHECKOUT
from hil_tests.board.protocol import BoardError, Places
from hil_tests.board.remote import RemoteComputer

_PYTHON = CHECKOUT / ".venv" / "bin" / "python"


@pytest.fixture(params=[(), ("sh", "-c")], ids=["direct", "shell"])
def computer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RemoteComputer]:
    places = Places(
        files=str(tmp_path / "files"),
        card="/nowhere",
        card_device="/nowhere",
        camera_port="/nowhere",
        preroll="/nowhere",
        python=str(_PYTHON),
    )
    found = RemoteComputer("here", places, str(CHECKOUT), request.param)
    found.connect()
    yield found
    found.disconnect()


def test_program_and_service(computer: RemoteComputer) -> None:
    done = computer.run("sh", "-c", "echo 'a b'; echo err >&2; exit 3")
    assert (done.status, done.output, done.errors) == (3, "a b\n", "err\n")
    service = computer.start("loop", "sh", "-c", "echo up; exec sleep 1000")
    service.wait_log("up")
    assert service.stop() == -15


def test_files_and_directories_there_and_back(computer: RemoteComputer, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "file").write_text("content")
    there = computer.put(tmp_path / "some", "one/dir")
    assert computer.read(f"{there}/file") == "content"
    single = computer.put(tmp_path / "some" / "file", "one/renamed")
    assert computer.read(single) == "content"
    computer.get(there, tmp_path / "back")
    assert (tmp_path / "back" / "file").read_text() == "content"


def test_long_messages_and_what_it_cannot_do(computer: RemoteComputer, tmp_path: Path) -> None:
    computer.write(str(tmp_path / "long"), "x" * 200_000)
    assert computer.read(str(tmp_path / "long")) == "x" * 200_000
    with pytest.raises(BoardError, match="could not read"):
        computer.read("/no/such/file")
    computer.disconnect()
    with pytest.raises(BoardError, match="is off"):
        computer.read("/etc/hostname")

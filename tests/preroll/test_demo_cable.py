"""The demo's cable: real pseudo-terminals with stable paths, that carry bytes while they are plugged."""

from pathlib import Path

import pytest

from docklink.errors import LinkTimeoutError
from docklink.serialport import SerialStream
from preroll.demo.cable import Cable

PATIENCE_S = 30.0


def read_all(stream: SerialStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += bytes(stream.read(size - len(data), PATIENCE_S))
    return data


def test_bytes_go_both_ways_while_it_is_plugged_and_are_lost_after(tmp_path: Path) -> None:
    links = tmp_path / "line" / "camera", tmp_path / "line" / "dock"
    cable = Cable(*links)
    camera, dock = (SerialStream(str(link)) for link in links)
    try:
        cable.plug()
        every_value = bytes(range(256)) * 64
        camera.write(every_value, PATIENCE_S)
        assert read_all(dock, len(every_value)) == every_value
        dock.write(b"back", PATIENCE_S)
        assert read_all(camera, 4) == b"back"
        cable.unplug()
        camera.write(b"lost", PATIENCE_S)
        with pytest.raises(LinkTimeoutError):
            dock.read(16, 0.2)
    finally:
        camera.close()
        dock.close()
        cable.close()
        cable.close()
    assert not any(link.is_symlink() for link in links)


def test_links_of_a_demo_that_was_killed_are_replaced_and_files_of_others_are_not(tmp_path: Path) -> None:
    stale, mine = tmp_path / "camera", tmp_path / "dock"
    stale.symlink_to("/dev/pts/no-such-terminal")
    cable = Cable(stale, mine)
    assert stale.exists()
    cable.close()
    mine.write_text("somebody's")
    with pytest.raises(FileExistsError):
        Cable(stale, mine)
    assert mine.read_text() == "somebody's"
    assert not stale.is_symlink()

"""The search for frames that were left behind: what it must find, in which spelling, and where."""

import base64
import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SEARCH = Path(__file__).parents[2] / "packaging/find-frames"
SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "bytes": bytes,
    "hexadecimal": lambda data: data.hex().encode(),
    "capitals": lambda data: data.hex().upper().encode(),
    "base64": base64.b64encode,
    "base64 from the second byte": lambda data: base64.b64encode(data[1:]),
    "base64 from the third byte": lambda data: base64.b64encode(data[2:]),
}


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"\0\0\0\x18ftypisom mdat" + random.Random(6).randbytes(60_000))
    return path


def search(*words: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([SEARCH, *map(str, words)], input=given, capture_output=True, check=False)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_part_of_the_film_is_found_however_it_is_spelt(spelling: str, film: Path, tmp_path: Path) -> None:
    part = SPELLINGS[spelling](film.read_bytes()[20_000:30_000])
    place = tmp_path / "place/deep"
    place.mkdir(parents=True)
    (place / "harmless").write_bytes(random.Random(7).randbytes(9_000))
    assert search(film, place).returncode == 0
    (place / "core.1").write_bytes(bytes(5_000) + part)
    done = search(film, tmp_path / "place")
    assert (done.returncode, b"frames in" in done.stderr, b"core.1" in done.stderr) == (1, True, True)
    assert search(film, "-", given=part).returncode == 1


def test_a_piece_across_two_reads_is_found(film: Path, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes((8 << 20) - 5_000) + film.read_bytes()[20_000:30_000])
    assert search(film, tmp_path / "large").returncode == 1


def test_the_film_itself_and_what_did_not_change_are_left_out(film: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(film.read_bytes())
    later = time.time() + 3_600
    assert search(film, "--not", film, tmp_path).returncode == 1
    assert search(film, "--not", film, "--not", tmp_path / "copy", tmp_path).returncode == 0
    assert search(film, "--since", later, tmp_path).returncode == 0
    os.link(film, tmp_path / "link")
    assert search(film, "--not", film, "--not", tmp_path / "copy", tmp_path).returncode == 0


@pytest.mark.parametrize("content", [b"", b"no film", b"mdat" + bytes(60_000)], ids=["empty", "none", "blank"])
def test_a_film_without_pieces_is_no_search(content: bytes, film: Path, tmp_path: Path) -> None:
    film.write_bytes(content)
    done = search(film, tmp_path)
    assert done.returncode == 2
    assert b"expected 24 pieces" in done.stderr

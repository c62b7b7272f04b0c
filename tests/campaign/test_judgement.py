"""The judge of the kill campaign finds what is wrong: a check that cannot fail shows nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from evidence.lines import TamperedError
from tests.campaign.clipdata import ClipData, read_clip
from tests.campaign.judgement import check_chain, check_lines, check_pictures, check_prft, check_start
from tests.campaign.stage import Keys
from tests.campaign.tally import Tally
from tests.campaign.traced import WINDOW_S

_WINDOW_NS = int(WINDOW_S * 1e9)
replace = msgspec.structs.replace


@pytest.fixture
def directory(plain_run: tuple[Path, Tally], tmp_path: Path) -> Path:
    """A copy of the clip, to be damaged."""
    source, _ = plain_run
    return Path(shutil.copytree(source, tmp_path / source.name))


@pytest.fixture
def tally(plain_run: tuple[Path, Tally]) -> Tally:
    return plain_run[1]


@pytest.fixture
def read(keys: Keys) -> Callable[[Path], ClipData]:
    return lambda path: read_clip(path, keys.signer.public_key, keys.identities)


@pytest.fixture
def clip(plain_run: tuple[Path, Tally], read: Callable[[Path], ClipData]) -> ClipData:
    return read(plain_run[0])


def test_a_good_clip_passes(clip: ClipData, tally: Tally) -> None:
    check_lines(clip)
    check_start(clip, tally, _WINDOW_NS)
    check_pictures(clip, tally, None)
    check_chain([clip])
    assert check_prft(clip) >= 2


def test_a_missing_sample_is_noticed(clip: ClipData, tally: Tally) -> None:
    holed = replace(clip, samples=(*clip.samples[:7], *clip.samples[8:]))
    with pytest.raises(AssertionError, match="frames"):
        check_lines(holed)
    with pytest.raises(AssertionError, match="frame"):
        check_pictures(holed, tally, None)


def test_a_frame_of_another_time_is_noticed(clip: ClipData, tally: Tally) -> None:
    first = next(i for i, frame in enumerate(tally.offered) if frame.pts_ns == clip.start.first_pts_ns)
    later = replace(tally.offered[first + 3], pts_ns=tally.offered[first + 3].pts_ns + 1_000_000)
    moved = replace(tally, offered=(*tally.offered[: first + 3], later, *tally.offered[first + 4 :]))
    with pytest.raises(AssertionError, match="not where the camera had it"):
        check_pictures(clip, moved, None)


def test_a_later_start_is_noticed(clip: ClipData, tally: Tally) -> None:
    later_ns = next(frame.pts_ns for frame in tally.offered if frame.pts_ns > clip.start.first_pts_ns)
    with pytest.raises(AssertionError, match="another frame"):
        check_start(replace(clip, start=replace(clip.start, first_pts_ns=later_ns)), tally, _WINDOW_NS)


def test_stamps_of_the_time_of_muxing_are_noticed(clip: ClipData) -> None:
    last_ns = max(prft.utc_ns for prft in clip.prfts)
    with pytest.raises(AssertionError, match="stamp"):
        check_prft(replace(clip, prfts=tuple(replace(prft, utc_ns=last_ns) for prft in clip.prfts)))


def test_stamps_a_little_off_are_noticed(clip: ClipData) -> None:
    first, second, *rest = clip.prfts
    off = replace(second, utc_ns=second.utc_ns - 2_000_000)
    with pytest.raises(AssertionError, match="another time than the media"):
        check_prft(replace(clip, prfts=(first, off, *rest)))


def test_a_broken_chain_is_noticed(clip: ClipData) -> None:
    name = clip.start.clip.removesuffix("1") + "2"
    second = replace(clip, start=replace(clip.start, clip=name, number=2, previous_start="0" * 64))
    with pytest.raises(AssertionError, match="does not follow"):
        check_chain([clip, second])
    with pytest.raises(AssertionError, match="expected"):
        check_chain([second])


def test_ciphertext_that_is_shorter_than_attested_is_noticed(
    directory: Path, read: Callable[[Path], ClipData]
) -> None:
    media = directory / "clip.mp4.age"
    media.write_bytes(media.read_bytes()[:-1])
    with pytest.raises(AssertionError, match="more than there is"):
        read(directory)


def test_other_ciphertext_is_noticed(directory: Path, read: Callable[[Path], ClipData]) -> None:
    media = directory / "clip.mp4.age"
    data = bytearray(media.read_bytes())
    data[1000] ^= 1
    media.write_bytes(data)
    with pytest.raises(AssertionError, match="other bytes"):
        read(directory)


def test_a_missing_line_is_noticed(directory: Path, read: Callable[[Path], ClipData]) -> None:
    journal = directory / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], *lines[2:]]))
    with pytest.raises(TamperedError):
        read(directory)


def test_a_clip_killed_before_its_first_byte_passes(
    directory: Path, tally: Tally, read: Callable[[Path], ClipData]
) -> None:
    (directory / "clip.mp4.age").write_bytes(b"")
    journal = directory / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    clip = read(directory)
    check_lines(clip)
    check_start(clip, tally, _WINDOW_NS)
    check_pictures(clip, tally, None)
    assert check_prft(clip) == 0


def test_a_torn_line_is_no_tampering(directory: Path, read: Callable[[Path], ClipData], clip: ClipData) -> None:
    journal = directory / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-10])
    torn = read(directory)
    assert torn.torn_bytes
    assert len(torn.lines) == len(clip.lines) - 1
    check_lines(torn)

"""Excerpts: whole groups of pictures, nothing encoded again, sound beside them."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.age import AgePlaintext
from evidence.errors import EvidenceError
from evidence.export.excerpt import Cut, ExcerptError, cut_excerpt
from evidence.media import fragments as fragments_module
from evidence.media.fragments import fragments, initialisation, video_samples

if TYPE_CHECKING:
    from tests.evidence.export.conftest import Packet, Place

NS = 1_000_000_000
TICK, RATE = 90_000, 48_000


class InMemory:
    """The plaintext of a clip that is no longer encrypted."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.plaintext_bytes = len(data)

    def read_range(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


@pytest.fixture(scope="module")
def plaintext(filmed: Path, place: "Place") -> Iterator[AgePlaintext]:
    with (filmed / "clip.mp4.age").open("rb") as file:
        yield AgePlaintext(file, place.identities)


@pytest.fixture(scope="module")
def whole(plaintext: AgePlaintext) -> bytes:
    return plaintext.read_range(0, plaintext.plaintext_bytes)


def cut(plaintext: AgePlaintext, from_s: float, to_s: float) -> tuple[Cut, bytes]:
    pieces: list[bytes] = []
    found = cut_excerpt(plaintext, round(from_s * NS), round(to_s * NS), pieces.append)
    return found, b"".join(pieces)


@pytest.mark.parametrize(
    ("from_s", "to_s", "first_s", "end_s"),
    [
        (0, 0.01, 0, 1),
        (0.5, 1.0, 0, 1),
        (1.0, 2.0, 1, 2),
        (2.9, 3.1, 2, 4),
        (3.999, 4.0, 3, 4),
        (4.0, 4.001, 4, 5),
        (11.5, 99, 11, 12),
        (0, 99, 0, 12),
    ],
)
def test_an_excerpt_is_whole_groups_of_pictures_and_nothing_is_missing_or_changed(
    plaintext: AgePlaintext,
    whole: bytes,
    *,
    packets: "Callable[[bytes], list[Packet]]",
    decoded: Callable[[bytes], int],
    from_s: float,
    to_s: float,
    first_s: int,
    end_s: int,
) -> None:
    found, data = cut(plaintext, from_s, to_s)

    assert (found.start_ns, found.end_ns, found.frames) == (first_s * NS, end_s * NS, (end_s - first_s) * 30)
    assert decoded(data) == found.frames
    cut_packets, all_packets = packets(data), packets(whole)
    pictures = [each for each in cut_packets if each.kind == "video"]
    expected = [
        each for each in all_packets if each.kind == "video" and first_s * TICK <= each.pts < end_s * TICK
    ]
    assert pictures[0].key
    assert [each.data for each in pictures] == [each.data for each in expected]
    assert [each.pts + first_s * TICK for each in pictures] == [each.pts for each in expected]
    sound = [each for each in cut_packets if each.kind == "audio"]
    expected_sound = [
        each for each in all_packets if each.kind == "audio" and first_s * RATE <= each.pts < end_s * RATE
    ]
    assert [(each.pts + first_s * RATE, each.data) for each in sound] == [
        (each.pts, each.data) for each in expected_sound
    ]


def test_pieces_of_any_size_give_the_same_excerpt(
    plaintext: AgePlaintext, packets: Callable[[bytes], "list[Packet]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, data = cut(plaintext, 2.5, 9.5)
    for count in (1, 2, 3):
        monkeypatch.setattr(fragments_module, "_PIECE_FRAGMENTS", count)
        found, pieced = cut(plaintext, 2.5, 9.5)
        assert found == expected
        assert _tracks(packets(pieced)) == _tracks(packets(data))


def _tracks(found: "list[Packet]") -> "dict[str, list[Packet]]":
    return {kind: [each for each in found if each.kind == kind] for kind in ("video", "audio")}


def test_an_excerpt_reads_little_of_what_it_leaves_out(plaintext: AgePlaintext, whole: bytes) -> None:
    class Watched(InMemory):
        read_bytes = 0

        def read_range(self, offset: int, length: int) -> bytes:
            Watched.read_bytes += length
            return super().read_range(offset, length)

    watched = Watched(whole)
    pieces: list[bytes] = []
    cut_excerpt(watched, 11 * NS, 12 * NS, pieces.append)
    assert Watched.read_bytes < len(whole) / 4


def test_a_clip_that_breaks_off_in_a_fragment_gives_what_is_whole(
    whole: bytes, decoded: Callable[[bytes], int]
) -> None:
    pieces: list[bytes] = []
    found = cut_excerpt(InMemory(whole[: len(whole) * 2 // 3]), 0, 99 * NS, pieces.append)
    assert 0 < found.frames < 12 * 30
    assert decoded(b"".join(pieces)) == found.frames


@pytest.mark.parametrize(("from_s", "to_s"), [(12.0, 13.0), (500, 501), (3, 3), (4, 3)])
def test_times_outside_the_clip_are_refused(plaintext: AgePlaintext, from_s: float, to_s: float) -> None:
    with pytest.raises(ExcerptError):
        cut(plaintext, from_s, to_s)


def test_the_fragments_are_those_of_the_file(plaintext: AgePlaintext, whole: bytes) -> None:
    head = initialisation(plaintext)
    assert whole.startswith(head)
    found = list(fragments(plaintext, len(head)))
    samples = [sample for fragment in found for sample in fragment.samples]
    assert len(samples) == 12 * 30
    assert [index for index, sample in enumerate(samples) if sample.keyframe] == list(range(0, 360, 30))
    assert all(whole[each.start_bytes + 4 : each.start_bytes + 8] == b"moof" for each in found)


@pytest.fixture(scope="module")
def moof(whole: bytes) -> bytes:
    start = whole.index(b"moof") - 4
    return whole[start : start + int.from_bytes(whole[start : start + 4], "big")]


@given(data=st.data())
def test_a_damaged_moof_is_an_error_and_nothing_else(moof: bytes, data: st.DataObject) -> None:
    damaged = bytearray(moof)
    for place in data.draw(st.lists(st.integers(0, len(moof) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        samples = video_samples(memoryview(bytes(damaged[: data.draw(st.integers(8, len(moof)))])))
    except EvidenceError:
        return
    assert len(samples) <= 1 << 16


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0\0", struct.pack(">I4s", 4, b"moof"), struct.pack(">I4s", 8, b"mdat"), bytes(64)],
)
def test_what_is_no_clip_has_no_start(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        initialisation(InMemory(data))

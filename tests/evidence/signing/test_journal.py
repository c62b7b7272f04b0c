"""The journal: what a reader takes, what it calls torn, and what tampered."""

import base64
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence.documents import ClipEnd, ClipStart, SyncPoint, encode
from evidence.errors import EvidenceError
from evidence.journal import JOURNAL_PREFIX, JournalBuilder, JournalLine, JournalReader
from evidence.lines import LINE_LIMIT_BYTES, LineChain, LineReader, TamperedError
from evidence.roles import Role
from evidence.signer import SoftwareSigner

if TYPE_CHECKING:
    from tests.evidence.signing.conftest import Pki


@pytest.fixture
def signer(pki: "Pki") -> SoftwareSigner:
    return pki.signer(Role.CAMERA_EVIDENCE)


@pytest.fixture
def lines(signer: SoftwareSigner, start: ClipStart, sync: SyncPoint, end: ClipEnd) -> list[bytes]:
    """Line 0, two sync points, the last line."""
    builder = JournalBuilder(signer)
    made = [builder.line(start)]
    made.extend(builder.line(following(builder, sync)) for _ in range(2))
    made.append(builder.line(following(builder, end)))
    return made


def following(builder: JournalBuilder, point: SyncPoint | ClipEnd) -> SyncPoint | ClipEnd:
    return msgspec.structs.replace(point, line=builder.next_line, previous=builder.previous)


def read(data: bytes, signer: SoftwareSigner) -> tuple[list[JournalLine], JournalReader]:
    reader = JournalReader(io.BytesIO(data), signer.public_key)
    return list(reader), reader


def test_lines_come_back_with_their_place(lines: list[bytes], signer: SoftwareSigner) -> None:
    found, reader = read(b"".join(lines), signer)
    assert [type(line.document) for line in found] == [ClipStart, SyncPoint, SyncPoint, ClipEnd]
    assert [line.end - line.start for line in found] == [len(line) for line in lines]
    assert reader.figures.lines == 4
    assert reader.torn_bytes == 0


def test_builder_and_reader_have_the_same_figures(
    signer: SoftwareSigner, start: ClipStart, sync: SyncPoint
) -> None:
    builder = JournalBuilder(signer)
    data = builder.line(start) + builder.line(following(builder, sync))
    assert read(data, signer)[1].figures == builder.figures


def test_a_line_is_what_the_format_says(lines: list[bytes], signer: SoftwareSigner) -> None:
    """Read with other means than our own: JSON, the signed bytes cut out by hand, ECDSA over the whole."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    for line in lines:
        value = line[len(b'{"l":') : line.rindex(b',"s":"')]
        signature = base64.b64decode(json.loads(line)["s"])
        signed = b"preroll-journal-v1\0" + value
        signer.public_key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))


def test_every_flipped_bit_shows(lines: list[bytes], signer: SoftwareSigner) -> None:
    """In the last line, its newline makes it torn; everything else is tampering."""
    for bit in range(len(lines[1]) * 8):
        altered = bytearray(lines[1])
        altered[bit // 8] ^= 1 << bit % 8
        if bit // 8 == len(altered) - 1:
            found, reader = read(lines[0] + bytes(altered), signer)
            assert (len(found), reader.torn_bytes) == (1, len(altered))
            continue
        with pytest.raises(TamperedError) as caught:
            read(lines[0] + bytes(altered), signer)
        assert caught.value.line == 1


def test_an_altered_byte_is_found_in_its_line(lines: list[bytes], signer: SoftwareSigner) -> None:
    data = b"".join(lines)
    for at in range(0, len(data) - 1, 7):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(TamperedError) as caught:
            read(altered, signer)
        assert caught.value.line == data[:at].count(b"\n")


@pytest.mark.parametrize("torn", [b"{", b'{"l":{"type"', b"\0", b"\0" * 100, b'{"l":\0\0\0', b"\xff\xfe"])
def test_a_last_line_without_newline_or_zeros_is_torn(
    torn: bytes, lines: list[bytes], signer: SoftwareSigner
) -> None:
    data = b"".join(lines[:2])
    found, reader = read(data + torn, signer)
    assert (len(found), reader.torn_bytes) == (2, len(torn))
    assert (reader.figures.bytes, reader.figures.lines) == (len(data) + len(torn), 2)


@pytest.mark.parametrize("size", [LINE_LIMIT_BYTES - 1, LINE_LIMIT_BYTES + 1, 3 * LINE_LIMIT_BYTES])
def test_a_final_run_of_zeros_is_torn_however_long(
    size: int, lines: list[bytes], signer: SoftwareSigner
) -> None:
    found, reader = read(lines[0] + b'{"l":' + bytes(size), signer)
    assert (len(found), reader.torn_bytes) == (1, size + 5)
    with pytest.raises(TamperedError) as caught:
        read(lines[0] + bytes(size) + lines[1], signer)
    assert caught.value.line == 1


@pytest.mark.parametrize("size", [LINE_LIMIT_BYTES + 1, 4 * LINE_LIMIT_BYTES])
@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_line_without_end_is_refused(
    size: int, ending: bytes, lines: list[bytes], signer: SoftwareSigner
) -> None:
    with pytest.raises(TamperedError, match="longer"):
        read(lines[0] + b"x" * size + ending, signer)


@pytest.mark.parametrize(
    ("order", "line"),
    [
        ([1, 2, 3], 0),  # the first is gone
        ([0, 2, 3], 1),  # one is gone
        ([0, 1, 1, 2], 2),  # one is there twice
        ([0, 2, 1, 3], 1),  # two have changed places
        ([0, 1, 0], 2),  # line 0 again
        ([0, 1, 2, 3, 3], 4),  # something after the last
    ],
)
def test_lines_lost_doubled_or_moved(
    order: list[int], line: int, lines: list[bytes], signer: SoftwareSigner
) -> None:
    with pytest.raises(TamperedError) as caught:
        read(b"".join(lines[index] for index in order), signer)
    assert caught.value.line == line
    assert caught.value.reason


def test_a_line_of_another_clip_does_not_fit(
    lines: list[bytes], signer: SoftwareSigner, start: ClipStart, sync: SyncPoint
) -> None:
    other = JournalBuilder(signer)
    other.line(msgspec.structs.replace(start, wearer="w-1"))
    with pytest.raises(TamperedError, match="does not follow"):
        read(lines[0] + other.line(following(other, sync)), signer)


def test_a_line_of_the_event_log_is_no_line_of_a_journal(signer: SoftwareSigner, start: ClipStart) -> None:
    line = LineChain(b"preroll-log-v1", signer).sign(encode(start))
    with pytest.raises(TamperedError, match="signature"):
        read(line, signer)


def test_another_key_is_refused(lines: list[bytes], pki: "Pki") -> None:
    with pytest.raises(TamperedError, match="signature"):
        read(lines[0], pki.signer(Role.DOCK_RECEIPT))


@pytest.mark.parametrize(
    "respelt",
    [
        lambda line: line.replace(b'{"l":', b'{ "l":'),
        lambda line: line.replace(b',"s":', b', "s":'),
        lambda line: line.replace(b"\n", b"\r\n"),
        lambda line: line.replace(b'{"l":', b'{"s":"","l":'),
        lambda line: line.replace(b'"}\n', b'","x":1}\n'),
        lambda line: line.replace(b'"}\n', b'=="}\n'),
        lambda line: line.replace(b'"s":"', b'"s":"\\u004d'),
    ],
)
def test_the_same_line_in_another_spelling(
    respelt: Callable[[bytes], bytes], lines: list[bytes], signer: SoftwareSigner
) -> None:
    altered = respelt(lines[0])
    assert altered != lines[0]
    with pytest.raises(TamperedError):
        read(altered, signer)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("line", 7, "line 7"),
        ("previous", "0" * 64, "does not follow"),
        ("monotonic_ns", 0, "backwards"),
        ("frames", 14, "less"),
        ("ciphertext_bytes", 656_039, "less"),
        ("last_pts_ns", 9_090_353_999_999, "less"),
    ],
)
def test_signed_lines_that_do_not_follow_are_neither_written_nor_read(  # noqa: PLR0917 - pytest passes by name
    field: str, value: object, reason: str, signer: SoftwareSigner, start: ClipStart, sync: SyncPoint
) -> None:
    builder = JournalBuilder(signer)
    data = builder.line(start) + builder.line(following(builder, sync))
    bad = msgspec.structs.replace(following(builder, sync), **{field: value})
    with pytest.raises(EvidenceError, match=reason):
        builder.line(bad)
    chain = LineChain(JOURNAL_PREFIX, signer)  # a dishonest camera: good signatures, no checks
    with pytest.raises(TamperedError, match=reason):
        read(data + chain.sign(encode(bad)), signer)


def test_an_empty_file_holds_no_line(signer: SoftwareSigner) -> None:
    found, reader = read(b"", signer)
    assert found == []
    with pytest.raises(TamperedError, match="no whole line"):
        _ = reader.figures
    with pytest.raises(EvidenceError, match="no line yet"):
        _ = JournalBuilder(signer).previous


def test_a_line_too_long_is_not_written(signer: SoftwareSigner) -> None:
    with pytest.raises(EvidenceError, match="too long"):
        LineChain(JOURNAL_PREFIX, signer).sign(b'"' + b"x" * LINE_LIMIT_BYTES + b'"')


def test_a_chain_runs_on_from_one_file_to_the_next(signer: SoftwareSigner) -> None:
    first = LineChain(b"preroll-log-v1", signer)
    first.sign(b"1")
    second = LineChain(b"preroll-log-v1", signer, previous=first.previous)
    assert second.previous == first.previous
    assert second.lines == 0


@given(data=st.data())
def test_any_bytes_after_line_0_are_tampered_or_torn(data: st.DataObject, pki: "Pki") -> None:
    signer = pki.signer(Role.CAMERA_EVIDENCE)
    line = LineChain(b"p", signer).sign(b"{}")
    tail = data.draw(st.binary(max_size=200))
    reader = LineReader(io.BytesIO(line + tail), b"p", signer.public_key)
    try:
        assert len(list(reader)) == 1
    except TamperedError as error:
        assert error.line == 1  # noqa: PT017 - the other outcome is as good
        assert b"\n" in tail
    else:
        assert reader.torn_bytes == len(tail)


@given(cut=st.integers(0, 3000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the fixtures are frozen values
def test_a_journal_cut_anywhere_keeps_its_whole_lines(
    cut: int, lines: list[bytes], signer: SoftwareSigner
) -> None:
    kept = b"".join(lines)[:cut]
    found, reader = read(kept, signer)
    assert len(found) == kept.count(b"\n")
    assert reader.torn_bytes == len(kept) - (kept.rfind(b"\n") + 1)

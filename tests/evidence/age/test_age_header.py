"""The header's grammar: strict, in pieces of any size, in bounded memory."""

import hashlib
import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evidence.age import AgeHeaderError, Header, PublicIdentity, Stanza, parse_header, seal_header
from evidence.age.base64 import decode_unpadded, encode_unpadded
from evidence.age.header import MAX_HEADER_BYTES, HeaderParser, serialise

KEY = bytes(32)
INTRO = b"age-encryption.org/v1\n"
MAC = b"--- " + b"A" * 43 + b"\n"
STANZA = b"-> X25519 arg\nAAAA\n"
arguments = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80)
stanzas = st.builds(
    Stanza, args=st.lists(arguments, min_size=1, max_size=4).map(tuple), body=st.binary(max_size=200)
).filter(lambda stanza: stanza.kind != "scrypt")


@given(st.lists(stanzas, min_size=1, max_size=5), st.integers(1, 64), st.binary(max_size=50))
def test_what_is_written_reads_back_in_pieces_of_any_size(
    given_stanzas: list[Stanza], piece: int, payload: bytes
) -> None:
    raw = serialise(tuple(given_stanzas), KEY)
    data = raw + payload
    parser = HeaderParser()
    taken = 0
    while not parser.complete:
        taken += parser.feed(data[taken : taken + piece])
    header = parser.finish()
    assert taken == len(raw)
    assert header.raw == raw
    assert header.stanzas == tuple(given_stanzas)
    header.authenticate(KEY)
    assert parser.feed(b"more") == 0


@given(st.binary(max_size=300), st.integers(1, 50))
@example(INTRO + STANZA + MAC, 1)
@example(INTRO + b"-> \xff\n\n" + MAC, 7)
@example(INTRO + b"-> a\n\xe9\n" + MAC, 7)
def test_any_bytes_parse_or_raise_our_error(data: bytes, piece: int) -> None:
    parser = HeaderParser()
    try:
        for start in range(0, len(data), piece):
            parser.feed(data[start : start + piece])
        parser.finish()
    except AgeHeaderError:
        return
    assert parse_header(data).raw == data[: len(parser.finish().raw)]


@given(data=st.data())
def test_an_altered_header_never_parses_to_the_same_meaning_and_mac(data: st.DataObject) -> None:
    """No two spellings: whatever still parses after one changed byte differs in what it says."""
    original = parse_header(serialise((Stanza(("X25519", "abc"), bytes(40)), Stanza(("b",), bytes(48))), KEY))
    place = data.draw(st.integers(0, len(original.raw) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != original.raw[place]))
    changed = bytearray(original.raw)
    changed[place] = value
    try:
        header = parse_header(bytes(changed))
    except AgeHeaderError:
        return
    assert (header.stanzas, header.mac) != (original.stanzas, original.mac)
    with pytest.raises(AgeHeaderError, match="not authentic"):
        header.authenticate(KEY)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"", "cut off"),
        (INTRO, "cut off"),
        (INTRO + STANZA + MAC[:-1], "cut off"),
        (INTRO + MAC, "one stanza or more"),
        (b"age-encryption.org/v2\n" + STANZA + MAC, "version 1"),
        (b"age-encryption.org/v1\r\n" + STANZA + MAC, "version 1"),
        (b"age-encryption.com/v1\n", "not an age file"),
        (b"\n" + INTRO, "not an age file"),
        (INTRO + b"->\nAAAA\n" + MAC, "starts with"),
        (INTRO + b"-> \nAAAA\n" + MAC, "printable"),
        (INTRO + b"-> a  b\nAAAA\n" + MAC, "printable"),
        (INTRO + b"-> a b \nAAAA\n" + MAC, "printable"),
        (INTRO + b"-> a\tb\nAAAA\n" + MAC, "printable"),
        (INTRO + b"-> a\nAAAA\r\n" + MAC, "base64"),
        (INTRO + b"-> a\nAAA=\n" + MAC, "base64"),
        (INTRO + b"-> a\nA\n" + MAC, "base64"),
        (INTRO + b"-> a\nAB\n" + MAC, "base64"),
        (INTRO + b"-> a\nAA_-\n" + MAC, "base64"),
        (INTRO + b"-> a\n" + b"A" * 64 + b"\n" + MAC, "base64"),
        (INTRO + b"-> a\n" + b"A" * 68 + b"\n" + MAC, "64"),
        (INTRO + b"-> a\nAAAA\nAAAA\n" + MAC, "starts with"),
        (INTRO + STANZA + b"---" + MAC[4:], "another end"),
        (INTRO + STANZA + b"---  " + MAC[4:], "base64"),
        (INTRO + STANZA + MAC[:-1] + b" \n", "base64"),
        (INTRO + STANZA + b"--- " + b"A" * 42 + b"B\n", "base64"),
        (INTRO + STANZA + b"--- AAAA\n", "32 bytes"),
        (INTRO + b"-> scrypt a 10\n\n" + STANZA + MAC, "alone"),
        (INTRO + b"-> scrypt a 10\n\n-> scrypt a 10\n\n" + MAC, "alone"),
    ],
)
def test_what_the_grammar_does_not_allow(header: bytes, why: str) -> None:
    with pytest.raises(AgeHeaderError, match=why):
        parse_header(header)


def test_an_empty_last_line_ends_a_body_of_whole_lines() -> None:
    header = parse_header(INTRO + b"-> a\n" + b"A" * 64 + b"\n\n" + MAC)
    assert header.stanzas == (Stanza(args=("a",), body=bytes(48)),)


def test_the_mac_covers_everything_up_to_the_mark(identity: PublicIdentity) -> None:
    raw = seal_header(bytes(16), [identity.recipient()])
    assert raw.count(b"\n---") == 1
    tricky = serialise((Stanza(args=("---", "---"), body=b""),), KEY)
    signed = tricky[: tricky.rindex(b"---") + 3]
    assert parse_header(tricky).mac == hmac.digest(KEY, signed, hashlib.sha256)
    parse_header(tricky).authenticate(KEY)


@pytest.mark.parametrize(
    ("start", "endless"),
    [(b"-> ", b"a" * 5000), (b"-> a\n", (b"A" * 64 + b"\n") * 80), (b"", b"-> a b c\nAAAA\n" * 300)],
    ids=["one line", "one body", "many stanzas"],
)
def test_a_header_without_end_is_refused_in_bounded_memory(start: bytes, endless: bytes) -> None:
    parser = HeaderParser()
    parser.feed(INTRO + start)
    with pytest.raises(AgeHeaderError, match="too long"):
        _feed_without_end(parser, endless)
    assert len(parser._raw) <= MAX_HEADER_BYTES + 1


def _feed_without_end(parser: HeaderParser, endless: bytes) -> None:
    for _ in range(2 * MAX_HEADER_BYTES // len(endless)):
        parser.feed(endless)


def test_a_header_that_ends_just_beyond_the_limit_is_refused() -> None:
    fill = MAX_HEADER_BYTES - len(INTRO + b"-> \n\n" + MAC)
    assert len(parse_header(INTRO + b"-> " + b"a" * fill + b"\n\n" + MAC).raw) == MAX_HEADER_BYTES
    with pytest.raises(AgeHeaderError, match="too long"):
        parse_header(INTRO + b"-> " + b"a" * (fill + 1) + b"\n\n" + MAC)
    with pytest.raises(AgeHeaderError, match="too long"):
        serialise((Stanza(args=("a" * (fill + 1),), body=b""),), KEY)


@pytest.mark.parametrize("argument", ["", "a b", "a\nb", "é"])
def test_arguments_that_would_break_a_line_are_not_written(argument: str) -> None:
    with pytest.raises(AgeHeaderError):
        serialise((Stanza(args=("a", argument), body=b""),), KEY)
    with pytest.raises(AgeHeaderError):
        serialise((), KEY)


@given(st.binary(max_size=100))
def test_unpadded_base64_round_trip(data: bytes) -> None:
    assert decode_unpadded(encode_unpadded(data)) == data


@given(st.binary(max_size=20))
def test_unpadded_base64_has_one_spelling(text: bytes) -> None:
    try:
        data = decode_unpadded(text)
    except AgeHeaderError:
        return
    assert encode_unpadded(data) == text


def test_a_header_is_a_value() -> None:
    raw = serialise((Stanza(("a",), b""),), KEY)
    assert parse_header(raw) == parse_header(raw)
    assert isinstance(parse_header(raw), Header)

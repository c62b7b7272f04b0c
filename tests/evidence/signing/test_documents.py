"""Signed documents: the examples of docs/formats.md, and what a reader refuses."""

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.documents import (
    ClipStart,
    Config,
    DocumentError,
    Head,
    LogEvent,
    LogLine,
    Manifest,
    SyncPoint,
    clip_name,
    decode,
    encode,
)
from evidence.errors import EvidenceError

TYPES = (
    "preroll-clip-start-v1",
    "preroll-sync-v1",
    "preroll-end-v1",
    "preroll-manifest-v1",
    "preroll-receipt-v1",
    "preroll-head-v1",
    "preroll-log-v1",
    "preroll-handover-v1",
    "preroll-disposal-v1",
    "preroll-config-v1",
    "preroll-checkpoint-v1",
    "preroll-epoch-v1",
)
FORMATS = (Path(__file__).parents[3] / "docs" / "formats.md").read_text("utf-8")


def test_each_type_has_a_structure_and_an_example(
    examples: dict[str, bytes], kinds: dict[str, type[msgspec.Struct]]
) -> None:
    assert set(examples) == set(kinds) == set(TYPES)


@pytest.mark.parametrize("name", TYPES)
def test_example_is_read_and_written_byte_for_byte(
    name: str, examples: dict[str, bytes], kinds: dict[str, type[msgspec.Struct]]
) -> None:
    document = decode(examples[name], kinds[name])
    assert encode(document) == examples[name]


@pytest.mark.parametrize("name", TYPES)
def test_every_field_is_documented(name: str, kinds: dict[str, type[msgspec.Struct]]) -> None:
    for field in kinds[name].__struct_fields__:
        assert re.search(rf"`{field}`|\"{field}\"", FORMATS), field


@pytest.mark.parametrize("name", TYPES)
def test_every_missing_or_doubled_or_moved_key_is_refused(
    name: str, examples: dict[str, bytes], kinds: dict[str, type[msgspec.Struct]]
) -> None:
    whole: dict[str, msgspec.Raw] = msgspec.json.decode(examples[name], type=dict[str, msgspec.Raw])
    pairs = [b'"' + key.encode() + b'":' + bytes(value) for key, value in whole.items()]
    for index, pair in enumerate(pairs):
        others = pairs[:index] + pairs[index + 1 :]
        for altered in (others, [*pairs, pair], [*others, pair] if others[-1:] != [pair] else [pair, *others]):
            if altered == pairs:
                continue
            with pytest.raises(DocumentError):
                decode(b"{" + b",".join(altered) + b"}", kinds[name])


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"type"', b'{ "type"'),
        (b'{"type"', b'{"unknown":1,"type"'),
        (b'"}', b'"}\n'),
        (b"preroll-", b"pr\\u0065roll-"),
        (b"-v1", b"-v2"),
        (b"{", b"\xef\xbb\xbf{"),
    ],
)
def test_other_spellings_are_refused(
    name: str, old: bytes, new: bytes, examples: dict[str, bytes], kinds: dict[str, type[msgspec.Struct]]
) -> None:
    example = examples[name]
    altered = example + b"\n" if old == b'"}' else example.replace(old, new, 1)
    assert altered != example
    with pytest.raises(DocumentError):
        decode(altered, kinds[name])


@pytest.mark.parametrize(
    ("name", "old", "new", "field"),
    [
        ("preroll-head-v1", b'"number":318', b'"number":318.0', "number"),
        ("preroll-head-v1", b'"number":318', b'"number":-1', "number"),
        ("preroll-head-v1", b'"number":318', b'"number":9223372036854775808', "number"),
        ("preroll-head-v1", b'"cam0042"', b'"Cam0042"', "device"),
        ("preroll-head-v1", b'"cam0042"', b'"cam0042\\n"', "device"),
        ("preroll-head-v1", b'"cam0042"', b'"cam\xef\xbc\x9042"', "device"),
        ("preroll-head-v1", b"04:10:02.112000Z", b"04:10:02.112Z", "utc"),
        ("preroll-head-v1", b"2026-11-22", b"2026-02-30", "UTC"),
        ("preroll-head-v1", b"2c26b46b", b"2C26b46b", "start_sha256"),
        ("preroll-clip-start-v1", b"-000317", b"-000318", "number"),
        ("preroll-clip-start-v1", b"-000317", b"-0000317", "number"),
        ("preroll-clip-start-v1", b"20261122T035453Z-cam0042", b"notime-cam0042", "utc"),
        ("preroll-sync-v1", b'"policy_before_press"', b'"camera_dropped"', "silences"),
        ("preroll-sync-v1", b'"end_ns":9090388000000', b'"end_ns":9089888000000', "silences"),
        ("preroll-sync-v1", b'"frames":15', b'"frames":0', "last_pts_ns"),
        ("preroll-end-v1", b'"stopped"', b'"power_loss"', "ended"),
        ("preroll-end-v1", b'"bytes":50000216', b'"bytes":50000217', "ciphertext"),
        ("preroll-manifest-v1", b'"complete":true', b'"complete":false', "plaintext"),
        ("preroll-manifest-v1", b'"generation":1', b'"generation":2', "start"),
        ("preroll-receipt-v1", b'"version":1', b'"version":2', "version"),
        ("preroll-receipt-v1", b'"name":"journal.jsonl"', b'"name":"../journal"', "name"),
        ("preroll-config-v1", b'"window_ns":30000000000', b'"window_ns":120000000001', "window_ns"),
    ],
)
def test_the_error_names_the_field(  # noqa: PLR0917 - pytest passes by name
    name: str,
    old: bytes,
    new: bytes,
    field: str,
    examples: dict[str, bytes],
    kinds: dict[str, type[msgspec.Struct]],
) -> None:
    assert old in examples[name]
    with pytest.raises(DocumentError, match=field):
        decode(examples[name].replace(old, new, 1), kinds[name])


def test_an_error_does_not_carry_control_characters(examples: dict[str, bytes]) -> None:
    altered = examples["preroll-head-v1"].replace(b'"type":"preroll-head-v1"', b'"type":"\\u001b[2J\\n"')
    with pytest.raises(DocumentError) as caught:
        decode(altered, Head)
    assert str(caught.value).isprintable()


@given(st.binary(max_size=200))
def test_any_bytes_give_a_document_error(data: bytes) -> None:
    with pytest.raises(DocumentError):
        decode(data, Config)


@given(data=st.data())
def test_a_mutated_example_is_refused_or_means_what_its_bytes_say(
    data: st.DataObject, examples: dict[str, bytes]
) -> None:
    example = bytearray(examples["preroll-sync-v1"])
    for _ in range(data.draw(st.integers(1, 4))):
        example[data.draw(st.integers(0, len(example) - 1))] = data.draw(st.integers(0, 255))
    try:
        document = decode(bytes(example), SyncPoint)
    except DocumentError:
        return
    assert encode(document) == example


@given(
    detail=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True),
        st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=50),
    )
)
def test_whatever_an_event_says_survives(
    detail: dict[str, str | int | bool | None], examples: dict[str, bytes]
) -> None:
    line = msgspec.structs.replace(
        decode(examples["preroll-log-v1"], LogLine), events=(LogEvent("press", 1, detail),)
    )
    assert decode(encode(line), LogLine) == line


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(DocumentError):
        decode(b'{"type":"preroll-manifest-v1","start":' + b"[" * 100_000, Manifest)


@pytest.mark.parametrize(
    ("number", "utc_ns", "name"),
    [
        (317, 1_795_319_693_999_999_999, "20261122T035453Z-cam0042-000317"),
        (1_000_000, None, "notime-cam0042-1000000"),
    ],
)
def test_clip_names(number: int, utc_ns: int | None, name: str, start: ClipStart) -> None:
    assert clip_name("cam0042", number, utc_ns) == name
    utc = None if utc_ns is None else start.utc
    assert msgspec.structs.replace(start, clip=name, number=number, utc=utc).clip == name


def test_a_structure_made_in_code_is_held_to_the_same_rules(start: ClipStart) -> None:
    with pytest.raises(ValueError, match="previous_start"):
        msgspec.structs.replace(start, previous_start=None)
    with pytest.raises((ValueError, EvidenceError), match="recipients"):
        msgspec.structs.replace(start, recipients=())

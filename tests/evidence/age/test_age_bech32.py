"""Bech32 against BIP 173's own vectors, and its strictness."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.age import AgeKeyError, bech32

# BIP 173, "Test vectors": valid Bech32 whose data part is whole bytes or may be regrouped.
VALID = [
    "A12UEL5L",
    "a12uel5l",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
]
INVALID = [
    "pzry9x0s0muk",  # no separator
    "1pzry9x0s0muk",  # empty prefix
    "x1b4n0q5v",  # a character outside the set
    "li1dgmt3",  # checksum too short
    "A1G7SGD8",  # checksum computed with the upper-case prefix
    "10a06t8",
    "1qzzfhee",
    "a12UEL5L",  # mixed case
    "\x201nwldj5",  # a prefix that is not printable
    "\x7f1axkwrx",
    "\x801eym55h",
    "de1lg7wt\xff",
    "",
]


@pytest.mark.parametrize("text", VALID)
def test_valid_strings_of_bip_173_survive_a_round_trip(text: str) -> None:
    prefix, data = bech32.decode(text)
    assert bech32.encode(prefix, data) == text


@pytest.mark.parametrize("text", INVALID)
def test_invalid_strings_of_bip_173_are_refused(text: str) -> None:
    with pytest.raises(AgeKeyError):
        bech32.decode(text)


def test_unused_bits_must_be_zero() -> None:
    # Five bits of data make no byte; a valid checksum does not help.
    assert bech32._polymod([*bech32._expand("x"), 1, *_checksum("x", [1])]) == 1
    with pytest.raises(AgeKeyError):
        bech32.decode(_spell("x", [1]))
    with pytest.raises(AgeKeyError, match="unused bits"):
        bech32.decode(_spell("x", [0, 1]))
    assert bech32.decode(_spell("x", [0, 4])) == ("x", b"\x01")


@given(prefix=st.sampled_from(["age", "AGE-SECRET-KEY-", "age1pq"]), data=st.binary(max_size=1300))
def test_round_trip_without_length_limit(prefix: str, data: bytes) -> None:
    text = bech32.encode(prefix, data)
    assert bech32.decode(text) == (prefix, data)
    assert text == (text.lower() if prefix.islower() else text.upper())


@given(
    data=st.binary(min_size=32, max_size=32), place=st.integers(4, 61), other=st.sampled_from(bech32._CHARSET)
)
def test_one_wrong_character_is_noticed(data: bytes, place: int, other: str) -> None:
    text = bech32.encode("age", data)
    if text[place] == other:
        return
    with pytest.raises(AgeKeyError):
        bech32.decode(text[:place] + other + text[place + 1 :])


@given(st.text(max_size=80))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    try:
        prefix, data = bech32.decode(text)
    except AgeKeyError:
        return
    assert bech32.encode(prefix, data) == text


def _checksum(prefix: str, values: list[int]) -> list[int]:
    check = bech32._polymod([*bech32._expand(prefix), *values, *[0] * 6]) ^ 1
    return [check >> 5 * (5 - i) & 31 for i in range(6)]


def _spell(prefix: str, values: list[int]) -> str:
    return f"{prefix}1{''.join(bech32._CHARSET[value] for value in [*values, *_checksum(prefix, values)])}"

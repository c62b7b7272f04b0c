"""Bech32 (BIP 173) without its length limit, as age spells recipients and identities.

https://github.com/bitcoin/bips/blob/master/bip-0173.mediawiki
"""

from evidence.age.errors import AgeKeyError

__all__ = ["decode", "encode"]

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_CHARSET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6
_GROUP_BITS = 5
_FIRST_PRINTABLE, _LAST_PRINTABLE = 33, 126


def encode(prefix: str, data: bytes) -> str:
    """Encode `data` under a prefix (human-readable part) of one case; the result has the case of the prefix.

    Raises:
        AgeKeyError: the prefix is empty, has both cases or a character that is not printable ASCII.
    """
    _check_prefix(prefix)
    lower = prefix.lower()
    values = _regroup(data, 8, 5)
    if (used := len(data) * 8 % 5) != 0:
        values.append(data[-1] << (5 - used) & 31)
    checksum = _polymod([*_expand(lower), *values, *[0] * _CHECKSUM_LENGTH]) ^ 1
    values += [checksum >> 5 * (5 - i) & 31 for i in range(_CHECKSUM_LENGTH)]
    text = f"{lower}1{''.join(_CHARSET[value] for value in values)}"
    return text if prefix == lower else text.upper()


def decode(text: str) -> tuple[str, bytes]:
    """Return prefix (in the case that it was written in) and data.

    Raises:
        AgeKeyError: mixed case, no separator, a foreign character, a wrong checksum or unused bits set. The
            error never quotes the text, which may be secret.
    """
    prefix, separator, body = text.rpartition("1")
    if not separator or len(body) < _CHECKSUM_LENGTH:
        raise _malformed("a prefix, the digit 1 and at least six characters")
    if not text.isascii():
        raise _malformed("ASCII alone")  # the Kelvin sign, for one, is a `k` in lower case
    if text not in (text.lower(), text.upper()):
        raise _malformed("one case throughout")
    _check_prefix(prefix)
    try:
        values = [_VALUES[character] for character in body.lower()]
    except KeyError:
        raise _malformed("Bech32 characters only") from None  # the cause would quote a character of a secret
    if _polymod([*_expand(prefix.lower()), *values]) != 1:
        raise _malformed("a matching checksum")
    payload = values[:-_CHECKSUM_LENGTH]
    unused = len(payload) * _GROUP_BITS % 8
    if unused >= _GROUP_BITS or (unused and payload[-1] & ((1 << unused) - 1)):
        raise _malformed("unused bits that are zero and fewer than five")
    return prefix, bytes(_regroup(payload, 5, 8))


def _malformed(expected: str) -> AgeKeyError:
    return AgeKeyError("not a Bech32 string", expected=expected, remedy="copy it again in full")


def _check_prefix(prefix: str) -> None:
    if not prefix or prefix not in (prefix.lower(), prefix.upper()):
        raise _malformed("a prefix in one case")
    if not all(_FIRST_PRINTABLE <= ord(character) <= _LAST_PRINTABLE for character in prefix):
        raise _malformed("a prefix of printable ASCII")


def _expand(prefix: str) -> list[int]:
    codes = [ord(character) for character in prefix]
    return [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes)]


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check


def _regroup(values: bytes | list[int], width: int, target: int) -> list[int]:
    """Regroup `width`-bit values into whole `target`-bit ones; the bits left over are dropped."""
    accumulator = bits = 0
    groups = []
    for value in values:
        accumulator = (accumulator << width | value) & 0xFFF
        bits += width
        while bits >= target:
            bits -= target
            groups.append(accumulator >> bits & ((1 << target) - 1))
    return groups

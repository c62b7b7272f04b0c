"""Point 3 of the issue: one bit flipped anywhere in a clip is exit 3, never 0, never a traceback.

`make test` takes a seeded sample, `make long` every bit of manifest, signature and journal and 2,000 places of
the ciphertext, and writes docs/reports/bit-flips.md.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.evidence.verify.conftest import Verify

_REPORT = Path(__file__).parents[3] / "docs" / "reports" / "bit-flips.md"
_SIGNED = ("manifest.json", "manifest.p7s", "journal.jsonl")
_CIPHERTEXT_PLACES = 2_000
_SAMPLE = 20  # one in so many


def flipped(path: Path, bits: Iterable[int], clip: Path, verify: "Verify") -> dict[int, int]:
    """Flip each bit alone and verify; returns how often each exit status came."""
    good = path.read_bytes()
    statuses: dict[int, int] = {}
    for bit in bits:
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        status = verify(clip).status
        assert status == 3, f"{path.name}, bit {bit % 8} of byte {bit // 8}: exit {status}"
        statuses[status] = statuses.get(status, 0) + 1
    path.write_bytes(good)
    assert verify(clip).status == 0
    return statuses


def sample(name: str, bits: int, count: int) -> list[int]:
    return random.Random(name).sample(range(bits), count)


@pytest.mark.parametrize("name", _SIGNED)
def test_a_sample_of_bits(name: str, clip: Path, verify: "Verify") -> None:
    bits = (clip / name).stat().st_size * 8
    flipped(clip / name, sample(name, bits, max(10, bits // _SAMPLE + 1)), clip, verify)


def test_a_sample_of_places_of_the_ciphertext(clip: Path, verify: "Verify") -> None:
    path = clip / "clip.mp4.age"
    flipped(path, sample(path.name, path.stat().st_size * 8, _CIPHERTEXT_PLACES // _SAMPLE), clip, verify)


@pytest.mark.long
def test_every_bit(clip: Path, verify: "Verify") -> None:
    rows = []
    for name in (*_SIGNED, "clip.mp4.age"):
        size = (clip / name).stat().st_size
        bits = range(size * 8) if name in _SIGNED else sample(name, size * 8, _CIPHERTEXT_PLACES)
        statuses = flipped(clip / name, bits, clip, verify)
        rows.append(
            f"| `{name}` | {size} | {len(bits)} | {statuses.get(3, 0)} | {len(bits) - statuses.get(3, 0)} |"
        )
    _REPORT.parent.mkdir(exist_ok=True)
    _REPORT.write_text("\n".join((*_HEAD, *rows, "")), encoding="utf-8")


_HEAD = (
    "# Bit flips",
    "",
    "Written by `make long` (`tests/evidence/verify/test_verify_flips.py`): one bit of a short, complete clip",
    "is flipped, `preroll clip verify` is called, the bit is put back. All bits of what is signed, and 2,000",
    "random places of the ciphertext. An exit status other than 3, or an exception, ends the campaign.",
    "",
    "| file | bytes | bits flipped | exit 3 | other |",
    "|---|---|---|---|---|",
)

"""The worked example of the docs: made again, and judged by readers that know nothing of how it was made."""

import hashlib
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.documents import Manifest, decode
from evidence.journal import JournalReader
from scripts.worked_example import example_ciphertext, worked_example

PAGE = Path(__file__).parents[2] / "docs" / "worked-example.md"


def value(row: str) -> str:
    found = re.search(rf"\| {row} \| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"))
    assert found, row
    return found[1]


def block(title: str) -> str:
    section = PAGE.read_text(encoding="utf-8").split(f"## `{title}`")[1]
    return section.split("```json\n")[1].split("\n```")[0]


def test_the_page_is_what_the_code_makes() -> None:
    assert PAGE.read_text(encoding="utf-8") == worked_example(), "run `make docs`"


def test_its_journal_verifies_with_the_key_of_the_page() -> None:
    x, y = (int(value(f"its public point, {name}"), 16) for name in "xy")
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    reader = JournalReader(io.BytesIO(block("journal.jsonl").encode() + b"\n"), key)
    assert [line.number for line in reader] == [0, 1, 2]
    manifest = decode(block("manifest.json").encode(), Manifest)
    assert manifest.complete
    assert manifest.journal == reader.figures


def test_its_plaintext_has_the_digest_of_the_manifest() -> None:
    plaintext = bytes(index % 251 for index in range(66_536))
    said = json.loads(block("manifest.json"))["plaintext"]
    assert said == {"bytes": len(plaintext), "sha256": hashlib.sha256(plaintext).hexdigest()}


def test_the_recipient_is_the_identitys() -> None:
    if shutil.which("age-keygen") is None:
        pytest.skip("age-keygen is not installed")
    identity = value("identity").encode()
    told = subprocess.run(["age-keygen", "-y"], input=identity, capture_output=True, check=True)
    assert told.stdout.decode().strip() == value("recipient")


def test_debians_age_opens_it_with_the_identity_of_the_page(tmp_path: Path) -> None:
    if shutil.which("age") is None:
        pytest.skip("age is not installed")
    (tmp_path / "identity").write_text(value("identity"), encoding="ascii")
    opened = subprocess.run(
        ["age", "-d", "-i", tmp_path / "identity"], input=example_ciphertext(), capture_output=True, check=True
    )
    assert opened.stdout == bytes(index % 251 for index in range(66_536))

"""Checking a sealed clip: what each alteration comes to."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from evidence.check import Finding, Outcome, check_sealed_clip
from evidence.cms import sign_cms
from evidence.documents import Ended, Manifest
from evidence.roles import Role

if TYPE_CHECKING:
    from tests.evidence.signing.conftest import ClipMaker, Pki


def outcomes(directory: Path, pki: "Pki") -> tuple[Finding, dict[str, Outcome], dict[str, str]]:
    report = check_sealed_clip(directory, pki.roots)
    by_name = {check.name: check.outcome for check in report.checks}
    assert len(by_name) == len(report.checks)
    return report.finding, by_name, {check.name: check.detail for check in report.checks}


def test_a_good_clip_is_authentic(clips: "ClipMaker", pki: "Pki") -> None:
    finding, found, _ = outcomes(clips.make(), pki)
    assert set(found.values()) == {Outcome.PASSED, Outcome.NOT_CHECKED}
    unasked = {name for name, outcome in found.items() if outcome is Outcome.NOT_CHECKED}
    assert unasked == {"receipt", "revocation", "handover", "plaintext", "media"}
    assert finding is Finding.AUTHENTIC


def test_an_interrupted_clip_is_authentic_and_incomplete(clips: "ClipMaker", pki: "Pki") -> None:
    directory = clips.make(ended=False, beyond=b"a chunk without its end", torn=b'{"l":')
    finding, found, details = outcomes(directory, pki)
    assert finding is Finding.INCOMPLETE
    assert {name for name, outcome in found.items() if outcome is Outcome.INCOMPLETE} == {"completeness"}
    assert set(found.values()) == {Outcome.PASSED, Outcome.NOT_CHECKED, Outcome.INCOMPLETE}
    assert "5 torn bytes" in details["journal"]


@pytest.mark.parametrize(
    ("file", "check"),
    [
        ("manifest.json", "signature"),
        ("manifest.p7s", "signature"),
        ("journal.jsonl", "journal"),
        ("clip.mp4.age", "ciphertext"),
    ],
)
def test_a_file_that_is_absent_leaves_the_question_open(
    file: str, check: str, clips: "ClipMaker", pki: "Pki"
) -> None:
    directory = clips.make()
    (directory / file).unlink()
    finding, found, details = outcomes(directory, pki)
    assert (finding, found[check]) == (Finding.CANNOT_TELL, Outcome.MISSING)
    assert file in details[check]
    assert Outcome.FAILED not in found.values()


def test_each_altered_place_of_the_ciphertext_names_its_interval(clips: "ClipMaker", pki: "Pki") -> None:
    directory = clips.make(points=3)
    path = directory / "clip.mp4.age"
    good = path.read_bytes()
    header_bytes = good.index(b"\n--- ") + 49
    for at, line in ((20, 1), (header_bytes + 5, 1), (70_000, 2), (140_000, 3), (len(good) - 1, 4)):
        altered = bytearray(good)
        altered[at] ^= 0x10
        path.write_bytes(altered)
        finding, found, details = outcomes(directory, pki)
        assert (finding, found["ciphertext"]) == (Finding.NOT_AUTHENTIC, Outcome.FAILED)
        assert f"interval of line {line}" in details["intervals"]
        assert found["journal"] is Outcome.PASSED


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: data[:0], lambda data: data[:50]]
)
def test_a_ciphertext_of_another_length(
    change: Callable[[bytes], bytes], clips: "ClipMaker", pki: "Pki"
) -> None:
    directory = clips.make()
    path = directory / "clip.mp4.age"
    path.write_bytes(change(path.read_bytes()))
    finding, found, _ = outcomes(directory, pki)
    assert (finding, found["ciphertext"]) == (Finding.NOT_AUTHENTIC, Outcome.FAILED)


@pytest.mark.parametrize("at", [100, 1500, 2500, -3, -1])
def test_an_altered_journal(at: int, clips: "ClipMaker", pki: "Pki") -> None:
    directory = clips.make()
    path = directory / "journal.jsonl"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    finding, found, _ = outcomes(directory, pki)
    assert (finding, found["journal"]) == (Finding.NOT_AUTHENTIC, Outcome.FAILED)


def test_a_journal_without_its_last_line(clips: "ClipMaker", pki: "Pki") -> None:
    directory = clips.make()
    path = directory / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    finding, found, _ = outcomes(directory, pki)
    assert (finding, found["journal"]) == (Finding.NOT_AUTHENTIC, Outcome.FAILED)
    assert found["agreement"] is Outcome.FAILED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frames", 1),
        ("duration_ns", 1),
        ("ended", Ended.SHUTDOWN),
        ("stop_ns", 1),
        ("bookmarks", (1,)),
        ("silences", ()),
        ("start_sha256", "0" * 64),
    ],
)
def test_a_manifest_that_says_something_else_than_its_journal(
    field: str, value: object, clips: "ClipMaker", pki: "Pki"
) -> None:
    def change(manifest: Manifest) -> Manifest:
        return msgspec.structs.replace(manifest, **{field: value})

    finding, found, details = outcomes(clips.make(change=change), pki)
    assert (finding, found["signature"], found["agreement"]) == (
        Finding.NOT_AUTHENTIC,
        Outcome.PASSED,
        Outcome.FAILED,
    )
    assert field in details["agreement"]


@pytest.mark.parametrize(
    "role", [Role.DOCK_RECEIPT, Role.CONFIG, Role.CUSTODIAN, Role.CAMERA_LINK, Role.DOCK_LINK]
)
def test_a_manifest_signed_by_another_role(role: Role, clips: "ClipMaker", pki: "Pki") -> None:
    directory = clips.make()
    content = (directory / "manifest.json").read_bytes()
    (directory / "manifest.p7s").write_bytes(sign_cms(content, pki.signer(role)))
    finding, found, details = outcomes(directory, pki)
    assert (finding, found["signature"], found["certificate"]) == (
        Finding.NOT_AUTHENTIC,
        Outcome.PASSED,
        Outcome.FAILED,
    )
    assert str(role) in details["certificate"]


def test_a_clip_of_another_device(clips: "ClipMaker", pki: "Pki") -> None:
    """cam0042 signs, truly, a clip that says it is of cam0043."""
    name = clips.start.clip.replace("cam0042", "cam0043")
    clips.start = msgspec.structs.replace(clips.start, device="cam0043", clip=name)
    finding, found, details = outcomes(clips.make(), pki)
    assert (finding, found["identity"]) == (Finding.NOT_AUTHENTIC, Outcome.FAILED)
    assert "another device" in details["identity"]


def test_a_renamed_clip(clips: "ClipMaker", pki: "Pki") -> None:
    directory = clips.make()
    renamed = directory.rename(directory.with_name("20261122T035453Z-cam0042-000318"))
    finding, found, _ = outcomes(renamed, pki)
    assert (finding, found["identity"]) == (Finding.NOT_AUTHENTIC, Outcome.FAILED)


def test_another_agency(clips: "ClipMaker", tmp_path: Path) -> None:
    from evidence.agency import create_agency
    from evidence.paths import load_roots

    other = create_agency("Another", tmp_path / "other")
    report = check_sealed_clip(clips.make(), load_roots(other.root_certificate))
    assert report.finding is Finding.NOT_AUTHENTIC


def test_an_age_header_for_someone_more(clips: "ClipMaker", pki: "Pki") -> None:
    """The camera encrypted to more recipients than it says."""
    directory = clips.make(
        change=lambda manifest: msgspec.structs.replace(
            manifest,
            start=msgspec.structs.replace(manifest.start, recipients=manifest.start.recipients * 2),
        )
    )
    finding, found, details = outcomes(directory, pki)
    assert (finding, found["header"]) == (Finding.NOT_AUTHENTIC, Outcome.FAILED)
    assert "X25519, X25519" in details["header"]


def test_a_missing_tail_leaves_the_question_open(clips: "ClipMaker", pki: "Pki") -> None:
    from evidence.documents import NamedBlob

    tail = NamedBlob(name="tail.bin", bytes=4, sha256=hashlib.sha256(b"tail").hexdigest())
    directory = clips.make(ended=False, change=lambda manifest: msgspec.structs.replace(manifest, tail=tail))
    assert outcomes(directory, pki)[0] is Finding.CANNOT_TELL
    (directory / "tail.bin").write_bytes(b"tail")
    assert outcomes(directory, pki)[0] is Finding.INCOMPLETE
    (directory / "tail.bin").write_bytes(b"liat")
    assert outcomes(directory, pki)[0] is Finding.NOT_AUTHENTIC


def test_files_of_another_clip_do_not_fit(clips: "ClipMaker", pki: "Pki") -> None:
    first = clips.make()
    clips.start = msgspec.structs.replace(
        clips.start, number=318, clip=clips.start.clip.replace("317", "318"), previous_start="1" * 64
    )
    second = clips.make()
    for name in ("clip.mp4.age", "journal.jsonl"):
        kept = (first / name).read_bytes()
        shutil.copy(second / name, first / name)
        assert outcomes(first, pki)[0] is Finding.NOT_AUTHENTIC, name
        (first / name).write_bytes(kept)
    assert outcomes(first, pki)[0] is Finding.AUTHENTIC

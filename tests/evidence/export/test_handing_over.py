"""Handing over: the same payload under a new header, and everything signed as it was."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidence.age import AgeKeyError, AgeNoIdentityError, parse_identities, parse_recipient, salvage_file
from evidence.check import check_sealed_clip
from evidence.documents import Handover, Manifest
from evidence.export import handing_over
from evidence.export.gate import UnauthenticClipError
from evidence.export.handing_over import hand_over
from evidence.export.target import OutputExistsError
from evidence.findings import Finding
from evidence.handover import HandoverError
from evidence.paths import PathError
from evidence.roles import Role
from evidence.signer import SoftwareSigner, load_signer
from evidence.storage import StorageError

if TYPE_CHECKING:
    from tests.evidence.export.conftest import Place

HandOver = Callable[..., Handover]


@pytest.fixture
def run(place: "Place") -> HandOver:
    def call(clip: Path, output: Path, **changed: object) -> Handover:
        chosen: dict[str, object] = {
            "check": place.check,
            "identities": place.identities,
            "recipients": [parse_recipient(place.recipient())],
            "signer": load_signer(place.directory / "custodian", Role.CUSTODIAN),
            "reason": "incident 2026-4711, joint unit",
            "utc": "2026-11-25T10:00:00.000000Z",
        }
        return hand_over(clip, output, **(chosen | changed))  # type: ignore[arg-type]  # the tests mix them

    return call


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def shell(command: str, directory: Path) -> str:
    return subprocess.run(["sh", "-c", command], cwd=directory, capture_output=True, check=True).stdout.decode()


def test_the_new_directory_verifies_and_the_old_one_is_untouched(
    filmed: Path, tmp_path: Path, place: "Place", run: HandOver
) -> None:
    before = digests(filmed)
    output = tmp_path / filmed.name
    record = run(filmed, output)

    assert digests(filmed) == before
    report = place.check(output)
    assert report.finding is Finding.AUTHENTIC
    assert [check.outcome.value for check in report.checks if check.name == "handover"] == ["passed"]
    after = digests(output)
    assert sorted(after) == [
        "clip.mp4.age",
        "handover.json",
        "handover.p7s",
        "header.orig",
        "journal.jsonl",
        "manifest.json",
        "manifest.p7s",
    ]
    assert all(after[name] == before[name] for name in ("journal.jsonl", "manifest.json", "manifest.p7s"))
    assert (record.operator, record.recipients) == ("j.doe", (place.recipient(),))


def test_the_payload_is_the_original_by_hand(
    filmed: Path, tmp_path: Path, run: HandOver, manifest_of: Callable[[Path], Manifest]
) -> None:
    output = tmp_path / "any-name"
    record = run(filmed, output)
    found = shell(f"(cat header.orig; tail -c +{record.new_header.bytes + 1} clip.mp4.age) | sha256sum", output)
    manifest = manifest_of(filmed)
    assert manifest.ciphertext is not None
    assert found.split()[0] == manifest.ciphertext.sha256
    assert hashlib.sha256((output / "manifest.json").read_bytes()).hexdigest() == record.manifest_sha256


@pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed")
def test_the_new_agency_opens_it_with_age_and_the_old_one_does_not(
    filmed: Path, tmp_path: Path, place: "Place", run: HandOver, manifest_of: Callable[[Path], Manifest]
) -> None:
    output = tmp_path / "handed"
    run(filmed, output)
    command = ["age", "-d", "-i", str(place.other_identity), str(output / "clip.mp4.age")]
    opened = subprocess.run(command, capture_output=True, check=True).stdout
    manifest = manifest_of(filmed)
    assert manifest.plaintext is not None
    assert hashlib.sha256(opened).hexdigest() == manifest.plaintext.sha256
    command[3] = str(place.identity)
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_several_recipients_and_the_other_kind(
    filmed: Path, tmp_path: Path, place: "Place", run: HandOver
) -> None:
    both = [parse_recipient(place.recipient(name)) for name in ("other", "agency")]
    run(filmed, tmp_path / "both", recipients=both)
    run(filmed, tmp_path / "quantum", recipients=[parse_recipient(place.recipient("quantum"))])
    assert place.check(tmp_path / "quantum").finding is Finding.AUTHENTIC
    with pytest.raises(AgeKeyError, match="one kind"):
        run(filmed, tmp_path / "mixed", recipients=[*both, parse_recipient(place.recipient("quantum"))])
    assert not (tmp_path / "mixed").exists()


def test_an_interrupted_clip_is_handed_over_as_it_is(
    cut_off: Path, tmp_path: Path, place: "Place", run: HandOver
) -> None:
    run(cut_off, tmp_path / "handed")
    assert place.check(tmp_path / "handed").finding is Finding.INCOMPLETE
    opened = tmp_path / "opened"
    with (tmp_path / "handed" / "clip.mp4.age").open("rb") as source, opened.open("wb") as target:
        found = salvage_file(source, target, parse_identities(place.other_identity.read_text()))
    assert found.plaintext_bytes == opened.stat().st_size > 0


def test_a_receipt_goes_with_the_clip(stored: Path, tmp_path: Path, run: HandOver, place: "Place") -> None:
    run(stored, tmp_path / "handed")
    for name in ("receipt.json", "receipt.p7s"):
        assert (tmp_path / "handed" / name).read_bytes() == (stored / name).read_bytes()
    assert place.check(tmp_path / "handed").finding is Finding.AUTHENTIC


def test_the_custodians_own_issuer_vouches_for_the_camera(
    filmed: Path, tmp_path: Path, place: "Place", run: HandOver
) -> None:
    signer = load_signer(place.directory / "custodian", Role.CUSTODIAN)
    run(filmed, tmp_path / "handed", check=lambda path: check_sealed_clip(path, signer.chain[-1:]))
    assert place.check(tmp_path / "handed").finding is Finding.AUTHENTIC


@pytest.mark.parametrize("stem", ["dock-receipt", "dock-link"])
def test_another_role_hands_nothing_over(
    filmed: Path, tmp_path: Path, place: "Place", run: HandOver, stem: str
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    for suffix in (".key", ".pem"):
        shutil.copy(place.directory / "dock" / f"{stem}{suffix}", keys / f"custodian{suffix}")
    with pytest.raises(PathError, match="role"):
        run(filmed, tmp_path / "handed", signer=load_signer(keys, Role.CUSTODIAN))
    assert not (tmp_path / "handed").exists()


def test_a_chain_of_the_leaf_alone_is_refused(
    filmed: Path, tmp_path: Path, place: "Place", run: HandOver
) -> None:
    signer = load_signer(place.directory / "custodian", Role.CUSTODIAN)
    alone = SoftwareSigner(signer._private_key, signer.chain[:1])
    with pytest.raises(HandoverError, match="intermediate"):
        run(filmed, tmp_path / "handed", signer=alone)


def test_what_is_not_authentic_is_not_handed_over(clip: Path, tmp_path: Path, run: HandOver) -> None:
    data = bytearray((clip / "clip.mp4.age").read_bytes())
    data[-100] ^= 4
    (clip / "clip.mp4.age").write_bytes(data)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UnauthenticClipError):
        run(clip, out / "handed")
    assert list(out.iterdir()) == []


def test_what_was_handed_over_is_not_handed_over_again(filmed: Path, tmp_path: Path, run: HandOver) -> None:
    run(filmed, tmp_path / "first")
    with pytest.raises(HandoverError, match="handed over itself"):
        run(tmp_path / "first", tmp_path / "second")


def test_nothing_is_overwritten(filmed: Path, tmp_path: Path, run: HandOver) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputExistsError, match="there already"):
        run(filmed, tmp_path / "mine")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(OutputExistsError, match="there already"):
        run(filmed, tmp_path / "link")


def test_a_stranger_hands_nothing_over(filmed: Path, tmp_path: Path, place: "Place", run: HandOver) -> None:
    with pytest.raises(AgeNoIdentityError):
        run(filmed, tmp_path / "handed", identities=parse_identities(place.other_identity.read_text()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["_copy_payload", "_copy_files", "_sign", "_publish"])
def test_what_fails_half_way_leaves_nothing(
    filmed: Path, tmp_path: Path, run: HandOver, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("cannot write", OSError(28, "No space left on device"))

    monkeypatch.setattr(handing_over, step, fail)
    with pytest.raises(StorageError):
        run(filmed, tmp_path / "handed")
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_changes_while_it_is_copied_is_noticed(
    clip: Path, tmp_path: Path, place: "Place", run: HandOver
) -> None:
    def check_then_change(path: Path) -> object:
        report = place.check(path)
        data = bytearray((clip / "clip.mp4.age").read_bytes())
        data[-1] ^= 1
        (clip / "clip.mp4.age").write_bytes(data)
        return report

    with pytest.raises(HandoverError, match="changed"):
        run(clip, tmp_path / "handed", check=check_then_change)
    assert not (tmp_path / "handed").exists()

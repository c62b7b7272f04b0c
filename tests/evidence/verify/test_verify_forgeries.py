"""Point 3 of the issue: each named forgery of a clip, through the command, by its exit status."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidence.cms import sign_cms
from evidence.roles import Role

if TYPE_CHECKING:
    from tests.evidence.verify.conftest import Agency, Camera, Verify

CHUNK = 65_536 + 16


def payload_start(data: bytes) -> int:
    return data.index(b"\n--- ") + 49 + 16


def test_a_good_clip(clip: Path, verify: "Verify") -> None:
    result = verify(clip)
    assert (result.status, result.report["finding"]) == (0, "authentic")
    assert set(result.outcomes().values()) == {"passed", "not_checked"}
    assert not result.report["revocation"]["checked"]


def test_chunks_swapped(clip: Path, verify: "Verify") -> None:
    path = clip / "clip.mp4.age"
    data = path.read_bytes()
    start = payload_start(data)
    first, second = data[start : start + CHUNK], data[start + CHUNK : start + 2 * CHUNK]
    assert len(second) == CHUNK
    path.write_bytes(data[:start] + second + first + data[start + 2 * CHUNK :])
    result = verify(clip)
    assert result.status == 3
    assert "interval of line 1" in result.details()["intervals"]


def test_truncated_at_each_chunk_boundary(clip: Path, verify: "Verify") -> None:
    path = clip / "clip.mp4.age"
    data = path.read_bytes()
    boundaries = range(payload_start(data), len(data), CHUNK)
    assert len(boundaries) >= 3
    for boundary in (0, *boundaries):
        path.write_bytes(data[:boundary])
        result = verify(clip)
        assert result.status == 3, boundary
        assert "ends inside the interval" in result.details()["intervals"]


def remove_line(lines: list[bytes], at: int) -> list[bytes]:
    return lines[:at] + lines[at + 1 :]


def double_line(lines: list[bytes], at: int) -> list[bytes]:
    return lines[: at + 1] + lines[at:]


def swap_lines(lines: list[bytes], at: int) -> list[bytes]:
    other = (at + 1) % len(lines)
    lines[at], lines[other] = lines[other], lines[at]
    return lines


@pytest.mark.parametrize("change", [remove_line, double_line, swap_lines])
def test_journal_lines(change: Callable[[list[bytes], int], list[bytes]], clip: Path, verify: "Verify") -> None:
    path = clip / "journal.jsonl"
    good = path.read_bytes()
    for at in range(good.count(b"\n")):
        path.write_bytes(b"".join(change(good.splitlines(keepends=True), at)))
        result = verify(clip)
        assert result.status == 3, at
        assert result.outcomes()["journal"] == "failed"


@pytest.mark.parametrize("files", [("manifest.json", "manifest.p7s"), ("journal.jsonl",), ("clip.mp4.age",)])
def test_files_of_another_clip(
    files: tuple[str, ...], camera: "Camera", tmp_path: Path, verify: "Verify"
) -> None:
    first, second = camera.record(tmp_path), camera.record(tmp_path)
    for name in files:
        shutil.copy(second / name, first / name)
    assert verify(first).status == 3
    assert verify(second).status == 0


@pytest.mark.parametrize(
    ("who", "role"),
    [
        ("dock7", Role.DOCK_RECEIPT),
        ("dock7", Role.DOCK_LINK),
        ("j.doe", Role.CUSTODIAN),
        ("policy", Role.CONFIG),
        ("cam0042", Role.CAMERA_LINK),
    ],
)
def test_a_manifest_signed_by_another_role(
    who: str, role: Role, clip: Path, agency: "Agency", verify: "Verify"
) -> None:
    content = (clip / "manifest.json").read_bytes()
    (clip / "manifest.p7s").write_bytes(sign_cms(content, agency.signer(who, role)))
    result = verify(clip)
    assert result.status == 3
    assert f"found {role}" in result.details()["certificate"]


def test_a_renamed_clip(clip: Path, verify: "Verify") -> None:
    result = verify(clip.rename(clip.with_name(clip.name.replace("000001", "000002"))))
    assert (result.status, result.outcomes()["identity"]) == (3, "failed")


def test_a_clip_of_another_agency(clip: Path, other_agency: "Agency", verify: "Verify") -> None:
    result = verify(clip, ca=other_agency.ca)
    assert (result.status, result.outcomes()["certificate"]) == (3, "failed")


def test_a_camera_that_speaks_for_another(
    make_camera: "type[Camera]", agency: "Agency", tmp_path: Path, verify: "Verify"
) -> None:
    result = verify(make_camera(agency, "cam0043", keys="cam0042").record(tmp_path))
    assert (result.status, result.outcomes()["identity"]) == (3, "failed")


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 65_552, b"another chunk"])
def test_a_forged_tail(tail: bytes, clip: Path, verify: "Verify") -> None:
    with (clip / "clip.mp4.age").open("ab") as file:
        file.write(tail)
    assert verify(clip).status == 3


def test_a_forged_tail_of_an_interrupted_clip(camera: "Camera", tmp_path: Path, verify: "Verify") -> None:
    clip = camera.record(tmp_path, interrupted=True)
    assert verify(clip).status == 4
    with (clip / "clip.mp4.age").open("ab") as file:
        file.write(b"what was never filmed")
    assert verify(clip).status == 3


def test_a_planted_tail_file_is_not_looked_at(clip: Path, verify: "Verify") -> None:
    """A file that no manifest names proves nothing, and harms nothing."""
    (clip / "tail.bin").write_bytes(b"planted")
    assert verify(clip).status == 0


@pytest.mark.parametrize("name", ["clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s"])
@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x30\x80" * 50, b'{"l":' * 10_000])
def test_a_file_that_cannot_be_parsed(name: str, content: bytes, clip: Path, verify: "Verify") -> None:
    (clip / name).write_bytes(content)
    assert verify(clip).status == 3


@pytest.mark.parametrize("name", ["clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s"])
def test_a_file_that_is_absent(name: str, clip: Path, verify: "Verify") -> None:
    (clip / name).unlink()
    result = verify(clip)
    assert result.status == 5
    assert any(name in detail for detail in result.details().values())


def test_a_file_that_cannot_be_read(clip: Path, verify: "Verify") -> None:
    (clip / "journal.jsonl").unlink()
    (clip / "journal.jsonl").mkdir()
    assert verify(clip).status == 5


def test_a_signature_without_its_intermediate(clip: Path, agency: "Agency", verify: "Verify") -> None:
    from evidence.signer import SoftwareSigner

    whole = agency.signer("cam0042", Role.CAMERA_EVIDENCE)
    alone = SoftwareSigner(whole._private_key, whole.chain[:1])
    (clip / "manifest.p7s").write_bytes(sign_cms((clip / "manifest.json").read_bytes(), alone))
    result = verify(clip)
    assert (result.status, result.outcomes()["certificate"]) == (5, "missing")


def test_with_an_identity(clip: Path, agency: "Agency", other_agency: "Agency", verify: "Verify") -> None:
    result = verify(clip, "--identity", agency.identity)
    assert (result.status, result.outcomes()["plaintext"], result.outcomes()["media"]) == (
        0,
        "passed",
        "passed",
    )
    assert "10 pictures" in result.details()["media"]
    result = verify(clip, "--identity", other_agency.identity)
    assert (result.status, result.outcomes()["plaintext"]) == (5, "missing")


def test_an_interrupted_clip_with_an_identity(
    camera: "Camera", tmp_path: Path, agency: "Agency", verify: "Verify"
) -> None:
    result = verify(camera.record(tmp_path, interrupted=True), "--identity", agency.identity)
    assert (result.status, result.outcomes()["plaintext"], result.outcomes()["media"]) == (
        4,
        "passed",
        "passed",
    )
    assert "the end is missing" in result.details()["plaintext"]


def test_over_several_clips_three_comes_before_five_before_four(
    camera: "Camera", tmp_path: Path, verify: "Verify"
) -> None:
    good, interrupted, bare, forged = (
        camera.record(tmp_path / "a"),
        camera.record(tmp_path / "b", interrupted=True),
        camera.record(tmp_path / "c"),
        camera.record(tmp_path / "d"),
    )
    (bare / "manifest.json").unlink()
    with (forged / "journal.jsonl").open("ab") as file:
        file.write(b"\n")
    assert verify(good, interrupted).status == 4
    assert verify(interrupted, bare, good).status == 5
    assert verify(bare, interrupted, forged, good).status == 3

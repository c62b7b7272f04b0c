"""Exports: byte for byte, verified first, all three files or none."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidence.age import AgeNoIdentityError, decrypt_file, parse_identities, salvage_file
from evidence.documents import Manifest
from evidence.export.gate import DoubtfulClipError, UnauthenticClipError
from evidence.export.moments import MomentError, parse_moment
from evidence.export.report import Exported, ExportRequest, export_clip
from evidence.export.target import OutputExistsError
from evidence.findings import Finding

if TYPE_CHECKING:
    from tests.evidence.export.conftest import Place

NS = 1_000_000_000


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    directory = tmp_path / "out"
    directory.mkdir()
    return directory


@pytest.fixture
def export(place: "Place", out: Path) -> Callable[..., Exported]:
    def run(clip: Path, **times: str) -> Exported:
        moments = {name: parse_moment(text) for name, text in times.items()}
        return export_clip(
            ExportRequest(clip=clip, output=out / "clip.mp4", **moments),
            check=place.check,
            identities=place.identities,
            made_utc="2026-11-22T08:00:00.000000Z",
            software="Preroll test",
        )

    return run


def test_a_whole_clip_comes_out_byte_for_byte(
    filmed: Path,
    place: "Place",
    out: Path,
    *,
    export: Callable[..., Exported],
    manifest_of: Callable[[Path], Manifest],
    decoded: Callable[[bytes], int],
) -> None:
    exported = export(filmed)

    plain = out / "plain"
    with (filmed / "clip.mp4.age").open("rb") as source, plain.open("wb") as target:
        decrypt_file(source, target, place.identities)
    data = (out / "clip.mp4").read_bytes()
    assert data == plain.read_bytes()
    manifest = manifest_of(filmed)
    assert manifest.plaintext is not None
    assert exported.report.output.sha256 == hashlib.sha256(data).hexdigest() == manifest.plaintext.sha256
    assert decoded(data) == manifest.frames == exported.report.covered_frames
    assert exported.complete
    assert names(out) == ["clip.mp4", "clip.mp4.html", "clip.mp4.json", "plain"]


def test_an_interrupted_clip_comes_out_as_far_as_it_goes_and_says_so(
    cut_off: Path, place: "Place", out: Path, export: Callable[..., Exported], decoded: Callable[[bytes], int]
) -> None:
    exported = export(cut_off)

    assert not exported.complete
    assert exported.report.finding is Finding.INCOMPLETE
    plain = out / "plain"
    with (cut_off / "clip.mp4.age").open("rb") as source, plain.open("wb") as target:
        salvage_file(source, target, place.identities)
    data = (out / "clip.mp4").read_bytes()
    assert data == plain.read_bytes()
    assert exported.report.recording.frames <= decoded(data) <= 5 * 30
    assert exported.report.recording.frames > 4 * 30
    html = (out / "clip.mp4.html").read_text()
    assert "the end is missing" in html
    assert "not that nothing followed" in html


def test_an_excerpt_of_an_interrupted_clip(
    cut_off: Path, out: Path, export: Callable[..., Exported], decoded: Callable[[bytes], int]
) -> None:
    exported = export(cut_off, start="1.5", end="2.5")
    assert (exported.report.covered.start_ns, exported.report.covered.end_ns) == (NS, 3 * NS)
    assert decoded((out / "clip.mp4").read_bytes()) == 60
    assert not exported.complete


def test_utc_finds_the_same_place_as_seconds(
    filmed: Path, out: Path, export: Callable[..., Exported], manifest_of: Callable[[Path], Manifest]
) -> None:
    first = export(filmed).report.recording.whole.start_utc
    assert first is not None
    for name in names(out):
        (out / name).unlink()
    date, rest = first.split("T")
    seconds = float(rest[6:-1])
    assert seconds < 50
    exported = export(filmed, start=f"{date}T{rest[:6]}{seconds + 2.5:09.6f}Z", end="4")
    assert (exported.report.covered.start_ns, exported.report.covered.end_ns) == (2 * NS, 4 * NS)
    assert exported.report.covered.start_utc is not None
    assert exported.report.covered.start_utc > first
    assert exported.report.excerpt is not None
    assert exported.report.excerpt.asked_to == "4"


@pytest.mark.parametrize(
    "text", ["", "-1", "1e3", "12:30", "2026-11-22", "2026-13-01T00:00:00Z", "2026-11-22T00:00:00", "nan"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(MomentError):
        parse_moment(text)


def test_a_clip_that_fails_a_check_is_not_exported(
    clip: Path, out: Path, export: Callable[..., Exported]
) -> None:
    data = bytearray((clip / "clip.mp4.age").read_bytes())
    data[len(data) // 2] ^= 1
    (clip / "clip.mp4.age").write_bytes(data)
    with pytest.raises(UnauthenticClipError, match="intervals"):
        export(clip)
    assert names(out) == []


def test_a_clip_of_which_it_cannot_be_told_is_not_exported(
    clip: Path, out: Path, export: Callable[..., Exported]
) -> None:
    (clip / "journal.jsonl").unlink()
    with pytest.raises(DoubtfulClipError, match="journal"):
        export(clip)
    assert names(out) == []


def test_a_stranger_gets_nothing(filmed: Path, place: "Place", out: Path) -> None:
    for start in (None, parse_moment("1")):
        with pytest.raises(AgeNoIdentityError):
            export_clip(
                ExportRequest(clip=filmed, output=out / "clip.mp4", start=start),
                check=place.check,
                identities=parse_identities(place.other_identity.read_text()),
                made_utc="2026-11-22T08:00:00.000000Z",
                software="Preroll test",
            )
        assert names(out) == []


def test_a_clip_that_changes_after_it_was_checked_is_not_exported(
    clip: Path, cut_off: Path, out: Path, place: "Place"
) -> None:
    def check_then_swap(path: Path) -> object:
        report = place.check(path)
        shutil.copy(cut_off / "clip.mp4.age", path)
        return report

    with pytest.raises(UnauthenticClipError, match="not the one that was checked"):
        export_clip(
            ExportRequest(clip=clip, output=out / "clip.mp4"),
            check=check_then_swap,  # type: ignore[arg-type]  # it returns what `check` returns
            identities=place.identities,
            made_utc="2026-11-22T08:00:00.000000Z",
            software="Preroll test",
        )
    assert names(out) == []


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mp4.html", "clip.mp4.json"])
def test_nothing_is_overwritten(filmed: Path, out: Path, export: Callable[..., Exported], name: str) -> None:
    (out / name).write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        export(filmed)
    assert names(out) == [name]
    assert (out / name).read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mp4.html"])
@pytest.mark.parametrize("unnamed", [True, False])
def test_what_comes_in_between_is_not_overwritten_either(
    filmed: Path, out: Path, place: "Place", *, monkeypatch: pytest.MonkeyPatch, name: str, unnamed: bool
) -> None:
    if not unnamed:
        _refuse_unnamed_files(monkeypatch)

    def come_between(_: int) -> None:
        (out / name).write_bytes(b"mine")

    with pytest.raises(OutputExistsError):
        export_clip(
            ExportRequest(clip=filmed, output=out / "clip.mp4"),
            check=place.check,
            identities=place.identities,
            made_utc="2026-11-22T08:00:00.000000Z",
            software="Preroll test",
            advance=come_between,
        )
    assert names(out) == [name]
    assert (out / name).read_bytes() == b"mine"


@pytest.mark.parametrize("unnamed", [True, False])
def test_half_way_there_is_no_plaintext_under_any_visible_name(
    filmed: Path, out: Path, place: "Place", monkeypatch: pytest.MonkeyPatch, unnamed: bool
) -> None:
    if not unnamed:
        _refuse_unnamed_files(monkeypatch)
    seen: list[list[str]] = []

    def stop(_: int) -> None:
        seen.append(names(out))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_clip(
            ExportRequest(clip=filmed, output=out / "clip.mp4"),
            check=place.check,
            identities=place.identities,
            made_utc="2026-11-22T08:00:00.000000Z",
            software="Preroll test",
            advance=stop,
        )
    assert all(name.startswith(".") and name.endswith(".tmp") for name in seen[0])
    assert not unnamed or seen == [[]]
    assert names(out) == []


def test_a_file_system_without_unnamed_files(
    filmed: Path, out: Path, export: Callable[..., Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_unnamed_files(monkeypatch)
    exported = export(filmed)
    assert names(out) == ["clip.mp4", "clip.mp4.html", "clip.mp4.json"]
    assert hashlib.sha256((out / "clip.mp4").read_bytes()).hexdigest() == exported.report.output.sha256


def test_a_file_system_without_links(
    filmed: Path, out: Path, export: Callable[..., Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_unnamed_files(monkeypatch)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    export(filmed)
    assert names(out) == ["clip.mp4", "clip.mp4.html", "clip.mp4.json"]


def _refuse_unnamed_files(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Path, flags: int, *rest: int, **named: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "no unnamed files here")
        return real(path, flags, *rest, **named)

    monkeypatch.setattr("evidence.export.target.os.open", refuse)

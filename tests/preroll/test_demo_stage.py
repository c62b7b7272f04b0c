"""What the demo finds and makes in its directory."""

from pathlib import Path

import pytest

from evidence.agency import SubjectKind, create_agency
from evidence.errors import EvidenceError
from preroll.demo import stage as stage_module
from preroll.demo.errors import StageError
from preroll.demo.stage import set_stage


def contents(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_the_stage_is_set_once_and_its_keys_stay(tmp_path: Path) -> None:
    first = set_stage(tmp_path, "synthetic", 5)
    before = contents(tmp_path)
    again = set_stage(tmp_path, "synthetic", 5)
    assert contents(tmp_path) == before
    assert first == again
    assert first.config.policy.keep_released_hours == 0
    assert first.config.dockport.serial == (str(first.camera_line),)
    assert [bay.serial for bay in first.dock.bay] == [str(first.dock_line)]
    assert (Path(first.dock.store.path), Path(first.dock.dock.root)) == (first.store, first.root)
    assert first.identity.exists()


@pytest.mark.parametrize("name", ["device.toml", "dock.toml"])
def test_a_configuration_of_somebody_else_is_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('[device]\nid = "cam0042"\n')
    before = contents(tmp_path)
    with pytest.raises(StageError, match=r"not of a demo.*--dir"):
        set_stage(tmp_path, "synthetic", 5)
    assert contents(tmp_path) == before


def test_a_path_too_long_for_a_socket_is_said_before_anything_is_filmed(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    with pytest.raises(StageError, match="at most 107 bytes"):
        set_stage(deep, "synthetic", 5)


def test_keys_that_were_interrupted_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(kind: SubjectKind, subject: str, agency: Path, out: Path) -> None:
        out.mkdir(parents=True)
        (out / "evidence.key").write_text("half")
        raise EvidenceError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(stage_module, "issue_new", cut)
        with pytest.raises(EvidenceError, match="cut off"):
            set_stage(tmp_path, "synthetic", 5)
    assert not (tmp_path / "keys" / "camera").exists()
    set_stage(tmp_path, "synthetic", 5)
    names = {path.name for path in (tmp_path / "keys").iterdir()}
    assert names == {"agency", "camera", "dock"}
    assert b"half" not in (tmp_path / "keys" / "camera" / "evidence.key").read_bytes()


def test_an_agency_that_is_there_is_used(tmp_path: Path) -> None:
    made = create_agency("Ours", tmp_path / "keys" / "agency")
    root = made.root_certificate.read_bytes()
    assert set_stage(tmp_path, "synthetic", 5).root.read_bytes() == root

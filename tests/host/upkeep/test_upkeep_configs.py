"""The directory of configurations: what is taken from it, and what is announced instead."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidence.documents import Gestures
from evidence.revoke import revoke
from evidence.roles import Role
from host.upkeep import ConfigShelf

if TYPE_CHECKING:
    from tests.host.upkeep.conftest import Office


@pytest.fixture
def heard() -> list[str]:
    return []


def shelf_of(office: "Office", heard: list[str], *lists: Path) -> ConfigShelf:
    revocations = office.revocations(*lists)
    office.shelf.mkdir(exist_ok=True)
    return ConfigShelf(office.shelf, office.pki.trust.roots, revocations, heard.append)


def version(shelf: ConfigShelf, device: str = "cam0042") -> int | None:
    found = shelf.newest_for(device)
    return None if found is None else found.config.version


def test_the_newest_for_each_camera(office: "Office", heard: list[str]) -> None:
    shelf = shelf_of(office, heard)
    assert version(shelf) is None
    office.put("all", office.config(7, devices=("cam0042", "cam0043")))
    assert (version(shelf), version(shelf, "cam0043"), version(shelf, "cam0044")) == (7, 7, None)
    office.put("one", office.config(9))
    assert (version(shelf), version(shelf, "cam0043")) == (9, 7)
    (office.shelf / "one.json").unlink()
    assert version(shelf) == 7
    assert heard == []


@pytest.mark.parametrize(
    ("who", "role"),
    [
        ("dock7", Role.DOCK_RECEIPT),
        ("dock7", Role.DOCK_LINK),
        ("cam0042", Role.CAMERA_EVIDENCE),
    ],
)
def test_one_signed_by_anyone_else_is_no_configuration(
    office: "Office", heard: list[str], who: str, role: Role
) -> None:
    shelf = shelf_of(office, heard)
    office.put("good", office.config(7))
    office.put("bad", office.config(8), who, role)
    assert version(shelf) == 7
    assert len(heard) == 1
    assert "bad.json" in heard[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"gestures": Gestures(hold_ns=1, confirm_stop=False, confirm_ns=5 * 10**9)},
        {"recipients": ("age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwx",)},
        {"window_ns": -1},
    ],
    ids=["gestures", "recipients", "window"],
)
def test_one_that_a_camera_would_refuse_is_not_sent(
    office: "Office", heard: list[str], changes: dict[str, object]
) -> None:
    shelf = shelf_of(office, heard)
    office.put("good", office.config(7))
    office.put("bad", office.config(8, **changes))
    assert version(shelf) == 7
    assert next(iter(changes)) in heard[0]


def test_changed_bytes_and_a_missing_signature(office: "Office", heard: list[str]) -> None:
    shelf = shelf_of(office, heard)
    office.put("one", office.config(7))
    path = office.shelf / "one.json"
    path.write_bytes(path.read_bytes().replace(b'"version":7', b'"version":8'))
    assert version(shelf) is None
    (office.shelf / "one.p7s").unlink()
    assert version(shelf) is None
    assert "not of these bytes" in heard[0]
    assert "one.p7s is not there" in heard[1]


def test_two_of_one_version_are_nobodys_intention(office: "Office", heard: list[str]) -> None:
    shelf = shelf_of(office, heard)
    office.put("one", office.config(7))
    shutil.copy(office.shelf / "one.json", office.shelf / "copy.json")
    shutil.copy(office.shelf / "one.p7s", office.shelf / "copy.p7s")
    assert version(shelf) == 7
    office.put("two", office.config(7, stealth=True))
    assert version(shelf) is None
    assert "different ones of version 7" in heard[0]
    office.put("three", office.config(8))
    assert version(shelf) == 8


def test_one_by_a_revoked_key_counts_no_more(office: "Office", heard: list[str], tmp_path: Path) -> None:
    shutil.copytree(office.pki.directory / "agency", tmp_path / "agency")
    crl = revoke(office.pki.directory / "config" / "config.pem", tmp_path / "agency", "keyCompromise").crl
    shelf = shelf_of(office, heard, crl)
    office.put("new", office.config(9))
    office.put("former", office.config(8), "former")
    assert version(shelf) == 8
    assert "revoked" in heard[0]


def test_a_directory_that_is_not_there_is_said_and_found_later(office: "Office", heard: list[str]) -> None:
    shelf = shelf_of(office, heard)
    office.shelf.rmdir()
    assert version(shelf) is None
    assert "cannot be read" in heard[0]
    office.put("one", office.config(7))
    assert version(shelf) == 7

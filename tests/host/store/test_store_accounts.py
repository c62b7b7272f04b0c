"""Which numbers a store accounts for, and disposals that were made behind the agent's back."""

from pathlib import Path
from typing import TYPE_CHECKING

from evidence.agency import SubjectKind, issue_new
from evidence.dispose import dispose
from evidence.roles import Role
from evidence.signer import load_signer
from host.store import FileStore, accounts, log_disposals

if TYPE_CHECKING:
    from tests.host.store.conftest import Dock


def test_numbers_are_accounted_for_up_to_the_head(dock: "Dock") -> None:
    one = dock.clips.make(1)
    two = dock.clips.make(2, previous_start=one.start_sha256)
    four = dock.clips.make(4)
    for clip in (one, two, four):
        dock.intake.take(dock.fetch(clip), dock.moment)
    dock.store.keep_head(dock.head(6), dock.pki.trust)
    (found,) = accounts(dock.store)
    assert (found.here, found.missing, found.last) == (((1, 2), (4, 4)), ((3, 3), (5, 6)), 6)
    assert found.forks == ()
    assert accounts(dock.store, "cam0043") == ()


def test_a_clip_that_names_another_start_before_it_is_a_fork(dock: "Dock") -> None:
    for clip in (dock.clips.make(1), dock.clips.make(2, previous_start="ee" * 32)):
        dock.intake.take(dock.fetch(clip), dock.moment)
    (found,) = accounts(dock.store)
    assert [fork.number for fork in found.forks] == [1]


def test_a_disposal_by_the_command_gets_into_the_log_once(
    file_dock: "Dock", root: Path, tmp_path: Path
) -> None:
    clip = file_dock.clips.make(1)
    file_dock.intake.take(file_dock.fetch(clip), file_dock.moment)
    issue_new(SubjectKind.CUSTODIAN, "j.doe", file_dock.pki.directory / "agency", tmp_path / "custodian")
    signer = load_signer(tmp_path / "custodian", Role.CUSTODIAN)
    dispose(root / "clips" / "cam0042" / clip.key.clip, "retention ended", signer, file_dock.moment.utc_ns)
    file_dock.store.close()
    file_dock.store = FileStore(root)
    counts = [log_disposals(file_dock.store, file_dock.custody, file_dock.moment.utc_ns) for _ in range(2)]
    assert counts == [1, 0]
    assert [read.entry.kind for read in file_dock.custody.entries()] == ["clip_stored", "clip_disposed"]
    (found,) = accounts(file_dock.store)
    assert (found.here, found.disposed, found.missing) == ((), ((1, 1),), ())
    assert file_dock.store.find(clip.key) is None

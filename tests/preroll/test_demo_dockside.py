"""How far the dock has come with the demo's clip, and what counts as movement."""

from pathlib import Path

import msgspec
import pytest

from host.bays import BayState, BayStatus
from preroll.demo.acts import Act, Playbill
from preroll.demo.dockside import ClipPlaces, DemoDock, Movement
from preroll.demo.errors import DemoError
from preroll.demo.run import _House
from preroll.demo.stage import set_stage
from preroll.demo.view import MuteView


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_a_clip_goes_through_the_acts_as_its_files_say(tmp_path: Path) -> None:
    vault, store = tmp_path / "vault", tmp_path / "store"
    places = ClipPlaces(
        on_camera=vault / "clip", tombstone=vault / "stone", in_store=store / "clip", shown=store / "stone"
    )
    put(places.on_camera / "clip.mp4.age")
    assert places.act(docked=False) is Act.DOCK
    assert places.act(docked=True) is Act.OFFLOAD
    put(places.in_store / "clip.mp4.age")
    assert places.act(docked=True) is Act.OFFLOAD
    put(places.in_store / "receipt.json")
    assert places.act(docked=True) is Act.RECEIPT
    put(places.on_camera / "receipt.json")
    assert places.act(docked=True) is Act.RELEASE
    places.tombstone.mkdir()
    places.shown.mkdir()
    assert places.act(docked=True) is Act.RELEASE  # the clip is still there
    for path in places.on_camera.iterdir():
        path.unlink()
    places.on_camera.rmdir()
    assert places.act(docked=True) is Act.REPORT


def test_a_session_that_fails_again_and_again_is_no_movement() -> None:
    movement = Movement()
    idle = BayStatus("1", "serial")
    busy = BayStatus("1", "serial", state=BayState.OFFLOADING, clip="c", step="ciphertext", clip_bytes=9)
    first = movement.mark(idle)
    second = movement.mark(busy)
    assert second != first
    third = movement.mark(msgspec.structs.replace(busy, done_bytes=5))
    assert third != second
    for bay in (idle, busy, msgspec.structs.replace(busy, done_bytes=4, state=BayState.FAULT)):
        assert movement.mark(bay) == third
    assert movement.mark(msgspec.structs.replace(busy, done_bytes=6)) != third


def test_without_movement_patience_ends_and_says_where() -> None:
    bill = Playbill()
    house = _House(MuteView(), bill, patience_s=-1.0)  # whatever the clock says, it is over
    house.reach(Act.OFFLOAD)
    house._require_movement("one", "")
    house._require_movement("two", "")
    with pytest.raises(DemoError, match=r"no further than `offload`.*the bay says why.*--patience"):
        house._require_movement("two", "the bay says why")


def test_a_dock_that_was_never_begun_leaves_nothing_open(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, "synthetic", 1)
    dock = DemoDock(stage)
    dock.close()
    dock.close()
    again = DemoDock(stage)  # the store's lock is free
    assert again.bay.device is None
    again.close()
    assert not (tmp_path / "dock" / "agent.sock").exists()

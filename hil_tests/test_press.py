"""From press to clip on a board: its kernel's own lines, card and USB, and power that is really cut."""

from collections.abc import Callable

import pytest

from hil_tests.board.protocol import Board, Capability
from hil_tests.camera_rig import CameraRig
from hil_tests.clips import pictures, start_line
from hil_tests.conftest import NewCamera, NewDock
from hil_tests.edge_times import edge_spans, watch_edges
from hil_tests.storage_times import first_sync_ns, inode, watch_syncs

Record = Callable[[str, object], None]

_NS_PER_MS = 1_000_000
_INTERRUPTED = 4  # exit status of verify: authentic, and cut short


def started(camera: CameraRig) -> CameraRig:
    camera.start()
    camera.wait_ready()
    return camera


@pytest.mark.needs(Capability.INPUTS, Capability.LINE_TIMES, Capability.TRACE)
def test_press_is_dated_by_its_edge_made_durable_then_lit(
    board: Board, new_camera: NewCamera, record_property: Record
) -> None:
    watch_syncs(board)
    camera = started(new_camera())
    watch_edges(board)
    press = camera.tap()
    light = camera.wait_recording(since_ns=press.after_ns)
    camera.wait_recording(since_ns=light.at_ns + 1)  # it blinks: renewed by what reaches storage
    camera.hold()
    (clip,) = camera.wait_sealed()
    durable_ns = first_sync_ns(board, inode(board, f"{clip}/clip.mp4.age"))
    edge_ns = start_line(board, clip)["trigger"]["edge_ns"]
    kernel = edge_spans(board)[0]
    assert kernel.entry_ns <= edge_ns <= kernel.exit_ns, "dated by something else than the edge"
    assert light.at_ns >= durable_ns, "the recording light was on before anything was on storage"
    record_property("press_to_durable_ms", (durable_ns - edge_ns) / _NS_PER_MS)
    record_property("press_to_light_ms", (light.at_ns - edge_ns) / _NS_PER_MS)
    assert camera.stop() == 0
    assert pictures(camera.verify(), status=0).keys() == {clip}


@pytest.mark.needs(Capability.HARD_CUT, Capability.INPUTS, Capability.LINE_TIMES)
def test_recording_cut_off_is_recovered_and_verifies(board: Board, new_camera: NewCamera) -> None:
    camera = started(new_camera())
    first = camera.tap()
    light = camera.wait_recording(since_ns=first.after_ns)
    camera.hold()
    (whole,) = camera.wait_sealed(1)
    second = camera.tap()
    light = camera.wait_recording(since_ns=max(second.after_ns, light.at_ns))
    camera.wait_recording(since_ns=light.at_ns + 1)
    board.cut_power()

    board.boot()
    board.mount_card()
    started(camera)
    sealed = camera.wait_sealed(2)
    assert camera.stop() == 0
    found = pictures(camera.verify(), status=_INTERRUPTED)
    assert sorted(found) == sorted(sealed)
    assert whole in found
    assert min(found.values()) > 0
    assert pictures(camera.verify(whole), status=0).keys() == {whole}


@pytest.mark.needs(Capability.INPUTS, Capability.LINE_TIMES, Capability.USB_SERIAL)
def test_clip_goes_to_the_dock_over_usb(board: Board, new_camera: NewCamera, new_dock: NewDock) -> None:
    camera = started(new_camera(docked=True))
    press = camera.tap()
    camera.wait_recording(since_ns=press.after_ns)
    camera.hold()
    (clip,) = camera.wait_sealed()
    dock = new_dock()
    board.plug(docked=True)
    dock.start()
    name = clip.rpartition("/")[2]
    stored = dock.wait_stored(name)
    assert pictures(dock.verify(), status=0).keys() == {stored}
    assert dock.stop() == 0
    assert camera.stop() == 0

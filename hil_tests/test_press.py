"""From press to clip on a board: its kernel's own lines, card and USB, and power that is cut."""

from pathlib import Path

import pytest

from hil_tests.board.protocol import Board, Capability
from hil_tests.camera_rig import CameraRig
from hil_tests.clips import pictures
from hil_tests.conftest import NewCamera, NewDock
from hil_tests.edge_times import edge_spans, watch_edges
from hil_tests.event_log import outcomes
from hil_tests.figures import write_figure
from hil_tests.storage_times import first_syncs_ns, inode, watch_syncs

_NS_PER_MS = 1_000_000
_INTERRUPTED = 4  # exit status of verify: authentic, and cut short
_PRESSES = 12
_NOTE = "from the kernel's time of the edge, {count} presses"


def started(camera: CameraRig) -> CameraRig:
    camera.start()
    camera.wait_ready()
    return camera


@pytest.mark.needs(Capability.INPUTS, Capability.LINE_TIMES, Capability.TRACE)
def test_press_is_dated_by_its_edge_made_durable_then_lit(
    board: Board, new_camera: NewCamera, tmp_path: Path
) -> None:
    watch_syncs(board)
    camera = started(new_camera())
    watch_edges(board)
    lights = []
    for _ in range(_PRESSES):
        lights.append(camera.record())
        camera.end()
    clips = camera.wait_sealed(_PRESSES)
    durable_ns = first_syncs_ns(board, [inode(board, f"{clip}/clip.mp4.age") for clip in clips])
    assert camera.stop() == 0
    vault = camera.copy_vault(tmp_path)
    assert len(vault.verify()) == _PRESSES
    assert outcomes(vault.events()) == ["start", "noted", "stop"] * _PRESSES
    edges_ns = [vault.journal(name)[0]["trigger"]["edge_ns"] for name in vault.names]
    kernel = edge_spans(board)
    for edge_ns, synced_ns, light in zip(edges_ns, durable_ns, lights, strict=True):
        assert any(span.entry_ns <= edge_ns <= span.exit_ns for span in kernel), (
            "dated by something else than the edge"
        )
        assert edge_ns < synced_ns <= light.since_ns, "the recording light came before the footage"
    note = _NOTE.format(count=_PRESSES)
    durable_ms = [(at - edge) / _NS_PER_MS for at, edge in zip(durable_ns, edges_ns, strict=True)]
    lit_ms = [(light.since_ns - edge) / _NS_PER_MS for light, edge in zip(lights, edges_ns, strict=True)]
    write_figure("press to first durable byte", "ms", durable_ms, note=f"{note}, to the end of the first sync")
    write_figure("press to recording light", "ms", lit_ms, note=f"{note}, to the red line")


@pytest.mark.needs(Capability.HARD_CUT, Capability.INPUTS, Capability.LINE_TIMES)
def test_recording_cut_off_is_recovered_and_verifies(
    board: Board, new_camera: NewCamera, tmp_path: Path
) -> None:
    camera = started(new_camera())
    camera.record()
    camera.end()
    (whole,) = camera.wait_sealed(1)
    light = camera.record()
    camera.wait_recording(since_ns=light.since_ns + 1)  # it blinks: renewed by what reaches storage
    board.cut_power()

    board.boot()
    board.mount_card()
    started(camera)
    camera.wait_sealed(2)
    assert camera.stop() == 0
    vault = camera.copy_vault(tmp_path)
    found = vault.verify(status=_INTERRUPTED)
    assert sorted(found) == vault.names
    assert min(found.values()) > 0
    name = whole.rpartition("/")[2]
    assert vault.verify(name).keys() == {name}


@pytest.mark.needs(Capability.INPUTS, Capability.LINE_TIMES, Capability.USB_SERIAL)
def test_clip_goes_to_the_dock_over_usb(board: Board, new_camera: NewCamera, new_dock: NewDock) -> None:
    camera = started(new_camera(docked=True))
    camera.record()
    camera.end()
    (clip,) = camera.wait_sealed()
    dock = new_dock()
    board.plug(docked=True)
    dock.start()
    name = clip.rpartition("/")[2]
    stored = dock.wait_stored(name)
    camera.wait_state("docked")
    assert pictures(dock.verify(), status=0).keys() == {stored}
    assert dock.stop() == 0
    assert camera.stop() == 0

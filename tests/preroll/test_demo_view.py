"""What the demo shows, on a terminal and elsewhere."""

import io

import msgspec
import pytest
from rich.console import Console

from device.controls.patterns import Line
from device.recording.machine import State
from device.recording.recorder import RecorderStatus
from host.bays import BayState, BayStatus
from preroll.demo.acts import Act, Playbill
from preroll.demo.messages import Message
from preroll.demo.picture import WIDTH, draw
from preroll.demo.view import LinesView, Scene

MIB = 1024 * 1024
CLIP = "20260101T000000Z-cam-demo-000001"
RECORDING = RecorderStatus(
    state=State.RECORDING,
    clip=CLIP,
    clips_ended=0,
    frames=120,
    caught_up=True,
    free_bytes=None,
    minutes_left=1234.5,
)
TAKING = BayStatus(
    "1",
    "serial",
    state=BayState.OFFLOADING,
    device="cam-demo",
    clip=CLIP,
    step="ciphertext",
    done_bytes=MIB,
    clip_bytes=4 * MIB,
)


def scene(bill: Playbill, elapsed_s: float, bay: BayStatus | None = None) -> Scene:
    return Scene(
        elapsed_s=elapsed_s,
        act=bill.current,
        turns=bill.turns,
        window_s=30,
        held_s=15,
        held_bytes=3 * MIB,
        recorder=RECORDING,
        lit=frozenset({Line.RED, Line.BUZZER}),
        waits_s=None,
        bay=bay,
    )


def drawn(shown: Scene) -> str:
    page = io.StringIO()
    Console(width=WIDTH, file=page).print(draw(shown))
    return page.getvalue()


def test_lines_tell_each_act_once_each_state_once_and_something_every_few_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bill, view = Playbill(), LinesView()
    bill.reach(Act.FILM, 0.0)
    view.show(scene(bill, 0.1))
    view.show(scene(bill, 0.2))
    bill.reach(Act.RECEIPT, 7.0)  # it went by so fast that nobody saw what lies between
    view.show(scene(bill, 7.1, TAKING))
    view.show(scene(bill, 7.2, TAKING))
    view.show(scene(bill, 13.0, TAKING))
    view.close()
    lines = capsys.readouterr().out.splitlines()
    acts = [line.split()[2] for line in lines if line.startswith("   ") and " s  " in line[:10]]
    assert acts == ["film", "record", "dock", "offload", "receipt"]
    assert sum("recording: 15.0 s, 3.0 MiB in memory, 120 frames on storage" in line for line in lines) == 1
    assert sum("1 of 4 MiB" in line for line in lines) == 1
    assert len(lines) == 7


def test_the_picture_shows_acts_camera_and_dock() -> None:
    bill = Playbill()
    bill.reach(Act.RECORD, 1.0)
    before = drawn(scene(bill, 2.0))
    assert "✓ film ▶ record · dock" in before
    assert "15.0 of 30 s" in before
    assert "empty" in before
    assert "1,234 min left" in before
    bill.reach(Act.OFFLOAD, 3.0)
    during = drawn(scene(bill, 4.0, TAKING))
    assert "✓ dock ▶ offload · receipt" in during
    assert f"{CLIP}  ciphertext" in during
    assert "1.0 of 4.0 MiB" in during


def test_what_came_over_mqtt_is_shown_in_lines_and_in_the_picture(capsys: pytest.CaptureFixture[str]) -> None:
    bill, view = Playbill(), LinesView()
    bill.reach(Act.OFFLOAD, 0.0)
    moving = {"state": "offloading", "clip": CLIP, "step": "ciphertext", "clip_bytes": 4 * MIB}
    got = [
        Message(
            1.0, "preroll/demo/dock-demo/bay/1", retained=False, payload={**moving, "done_bytes": done * MIB}
        )
        for done in range(4)
    ]
    event = {"number": 7, "kind": "clip_stored", "device": "cam-demo", "clip": CLIP}
    got.append(Message(2.0, "preroll/demo/dock-demo/event", retained=False, payload=event))
    shown = msgspec.structs.replace(scene(bill, 3.0, TAKING), broker="mosquitto 2", messages=tuple(got))
    view.show(shown)
    view.show(shown)
    lines = [line for line in capsys.readouterr().out.splitlines() if "mqtt " in line]
    assert len(lines) == 2  # of the step that moved bytes, only how far it came
    assert "3.0 of 4.0 MiB" in lines[0]
    assert f"7 clip_stored cam-demo {CLIP}" in lines[1]
    page = drawn(shown)
    assert "mosquitto 2; 5 messages" in page
    assert "dock-demo/event  7 clip_stored" in page


def test_a_stored_clip_fills_its_bar_and_a_fault_says_why() -> None:
    bill = Playbill()
    bill.reach(Act.RELEASE, 1.0)
    stored = msgspec.structs.replace(TAKING, state=BayState.READY, clip=None, step=None, stored=1)
    assert "4.0 of 4.0 MiB" in drawn(scene(bill, 2.0, stored))
    assert "1 stored" in drawn(scene(bill, 2.0, stored))
    fault = msgspec.structs.replace(stored, state=BayState.FAULT, detail="no room")
    assert "fault  cam-demo  no room" in drawn(scene(bill, 2.0, fault))

"""The board itself: what the rest of the suite takes for granted."""

from pathlib import Path

import pytest

from hil_tests.board.faults import CardLayer, delayed, failing, linear
from hil_tests.board.protocol import Board, BoardError, Capability, PinEdge

_LINE, _SPARE = 5, 6
_NS_PER_MS = 1_000_000
_LONG_MS = 400
_UTC_NS = 1_000_000_000_000_000_000  # 2001-09-09T01:46:40Z


def test_program_answers_with_status_output_and_errors(board: Board) -> None:
    done = board.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.status, done.output, done.errors) == (3, "out\n", "err\n")


def test_program_that_is_not_there_says_so(board: Board) -> None:
    done = board.run("/no/such/program")
    assert done.status == 127
    assert "/no/such/program" in done.errors


def test_service_is_logged_signalled_and_started_again(board: Board) -> None:
    for round_number in range(2):
        service = board.start("loop", "sh", "-c", f"echo up {round_number}; exec sleep 1000")
        service.wait_log(f"up {round_number}")
        assert service.stop() == -15
    with pytest.raises(BoardError, match="ended without"):
        service.wait_log("never said")


def test_files_go_to_the_board_and_back(board: Board, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_bytes(bytes(range(256)) * 1000)
    path = board.put(tmp_path / "there", "there")
    assert board.run("cp", "-r", path, board.places.card).status == 0
    board.get(f"{board.places.card}/there", tmp_path / "back")
    assert (tmp_path / "back" / "file").read_bytes() == bytes(range(256)) * 1000


def test_long_message_comes_through_whole(board: Board) -> None:
    text = "x" * 50_000
    board.write("/tmp/long", text)
    assert board.read("/tmp/long") == text


@pytest.mark.needs(Capability.EXACT_INPUTS)
def test_train_of_edges_keeps_its_times(board: Board) -> None:
    offsets = [0, 1, 2, 5, 6, 20, 21]
    times = board.drive(
        [PinEdge(_SPARE, number % 2 == 0, ms * _NS_PER_MS) for number, ms in enumerate(offsets)]
    )
    gaps = [later.after_ns - times[0].after_ns for later in times]
    assert all(gap_ns >= ms * _NS_PER_MS - _NS_PER_MS // 2 for gap_ns, ms in zip(gaps, offsets, strict=True))
    assert all(time.before_ns > time.after_ns for time in times)


@pytest.mark.needs(Capability.BATTERY)
def test_battery_says_what_it_is_set_to(board: Board) -> None:
    board.set_battery(percent=7, charging=False)
    supply = "/sys/class/power_supply/test_battery"
    assert board.read(f"{supply}/capacity") == "7\n"
    assert board.read(f"{supply}/status") == "Discharging\n"


@pytest.mark.needs(Capability.CLOCK)
def test_wall_clock_is_set(board: Board) -> None:
    board.set_clock(_UTC_NS)
    assert board.run("date", "-u", "+%Y-%m-%d").output == "2001-09-09\n"


@pytest.mark.needs(Capability.USB_SERIAL)
def test_both_ends_of_the_usb_line_talk(board: Board) -> None:
    assert not board.dock_side.exists(board.dock_port)
    board.plug(docked=True)
    script = (
        "import serial, sys, time\n"
        "end = time.monotonic() + 60\n"
        "while True:\n"
        "    try:\n"
        "        dock = serial.Serial(sys.argv[1], timeout=60)\n"
        "        break\n"
        "    except serial.SerialException:\n"
        "        assert time.monotonic() < end\n"
        "        time.sleep(0.05)\n"
        "camera = serial.Serial(sys.argv[2], timeout=60)\n"
        "dock.write(b'ping\\n')\n"
        "print(camera.read_until())\n"
        "camera.write(b'pong\\n')\n"
        "print(dock.read_until())\n"
    )
    done = board.run(board.places.python, "-c", script, board.dock_port, board.places.camera_port)
    assert done.output == "b'ping\\n'\nb'pong\\n'\n", done.errors
    board.plug(docked=False)
    assert not board.dock_side.exists(board.dock_port)


@pytest.mark.needs(Capability.MICROPHONE)
def test_microphone_hears_what_is_played(board: Board, tmp_path: Path) -> None:
    rate, loud = 48_000, (12_345).to_bytes(2, "little", signed=True)
    (tmp_path / "loud.raw").write_bytes(loud * rate * 60)
    script = (
        "import alsaaudio\n"
        "pcm = alsaaudio.PCM(type=alsaaudio.PCM_CAPTURE, device='hw:Loopback,0', rate=48000, channels=1,\n"
        "    format=alsaaudio.PCM_FORMAT_S16_LE, periodsize=480)\n"
        "heard = set()\n"
        "while 12345 not in heard:\n"
        "    data = pcm.read()[1]\n"
        "    heard |= {int.from_bytes(data[i:i + 2], 'little', signed=True) for i in range(0, len(data), 2)}\n"
        "print('heard')\n"
    )
    player = board.play(tmp_path / "loud.raw", rate=rate, channels=1)
    done = board.run(board.places.python, "-c", script)
    player.signal(9)
    assert done.output == "heard\n", done.errors


@pytest.mark.needs(Capability.CARD_FAULTS)
def test_card_fails_stalls_and_works_again(board: Board) -> None:
    board.unmount_card()
    layer = CardLayer(board, linear(board.places.card_device))
    board.mount_card(layer.path)
    file = f"{board.places.card}/file"
    write = ("dd", "if=/dev/zero", f"of={file}", "bs=4096", "count=1", "conv=fsync")
    assert board.run(*write).status == 0
    layer.change(delayed(board.places.card_device, write_ms=_LONG_MS))
    before_ns = board.now_ns()
    assert board.run(*write).status == 0
    assert board.now_ns() - before_ns >= _LONG_MS * _NS_PER_MS
    layer.change(failing(board.places.card_device, up_s=0, down_s=1000))
    assert board.run(*write).status != 0
    layer.change(linear(board.places.card_device))
    board.unmount_card()
    layer.remove()
    board.mount_card()
    assert board.exists(file)


@pytest.mark.needs(Capability.HARD_CUT)
def test_two_power_cuts_leave_two_boots_and_no_process(board: Board) -> None:
    boots = {board.boot_id}
    for _ in range(2):
        service = board.start("idle", "sleep", "1000")
        board.cut_power()
        with pytest.raises(BoardError, match=r"gone|away|off"):
            service.signal(0)
        board.boot()
        boots.add(board.boot_id)
    assert len(boots) == 3

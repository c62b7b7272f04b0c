"""A large interrupted clip and a press: the next clip opens at once, and memory does not grow with length."""

import hashlib
import os
import shutil
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device.config import parse_config
from device.controls.bench_board import BenchBoard
from device.recording.machine import State
from device.service import DeviceService, ServiceParts
from device.vault.layout import open_layout
from device.vault.recovery import VaultRecovery
from device.vault.vault import ClipPlace, Vault
from evidence.age import AgeWriter, parse_recipient
from evidence.documents import Manifest, SyncPoint, decode
from evidence.journal import JournalBuilder, JournalReader
from evidence.storage import create_file
from tests.device.vault_recovery.rig import DEVICE, FIRST_PTS_NS, Camera, start_facts

CHUNK, SEALED = 65_536, 65_552
CHUNKS_A_LINE = 10  # half a second at 10 Mbit/s
MIB = 1024 * 1024
_PATIENCE_S = 120.0
_TOML = """\
[device]
id = "cam0042"
vault = "vault"
keys = "keys/camera"
[camera]
source = "synthetic"
width = 160
height = 96
rate = 25
bitrate_kbps = 300
gop_s = 0.4
[sound]
microphone = "none"
[ring]
limit_mib = 16
[policy]
recipients_file = "keys/agency/identity/recipients.txt"
window_s = 2.0
hold_s = 0.5
"""


def interrupt_large(camera: Camera, size_bytes: int) -> Path:
    """Leave a clip of about this size without its last line; what follows the header is a hole in the file."""
    layout = open_layout(camera.root, DEVICE)
    try:
        journal = JournalBuilder(camera.signer)

        def line0(place: ClipPlace) -> tuple[str, bytes]:
            start = start_facts(place, camera.recipient)
            return start.clip, journal.line(start)

        clip = Vault(layout).claim(line0)
    finally:
        layout.close()
    header = bytearray()
    AgeWriter([parse_recipient(camera.recipient)], header.extend).abandon()
    create_file(clip.directory / "clip.mp4.age", bytes(header))
    zeros = bytes(CHUNKS_A_LINE * SEALED)
    later = hashlib.sha256(zeros).hexdigest()
    lines = size_bytes // len(zeros)
    for number in range(1, lines + 1):
        plaintext = number * CHUNKS_A_LINE * CHUNK
        point = SyncPoint(
            line=number,
            previous=journal.previous,
            ciphertext_bytes=len(header) + number * len(zeros),
            plaintext_bytes=plaintext,
            interval=hashlib.sha256(header + zeros).hexdigest() if number == 1 else later,
            frames=15 * number,
            last_pts_ns=FIRST_PTS_NS + 500_000_000 * number,
            gaps=(),
            silences=(),
            bookmarks=(),
            triggers=(),
            monotonic_ns=FIRST_PTS_NS + 500_000_000 * number,
        )
        clip.journal.append(journal.line(point))
    clip.journal.close()
    os.truncate(clip.directory / "clip.mp4.age", len(header) + lines * len(zeros) + 1000)
    return clip.directory


class Firmware:
    """The whole camera beside an interrupted clip."""

    def __init__(self, place: Path) -> None:
        config = parse_config(_TOML, "device.toml")
        self.board = BenchBoard(config.controls)
        self.service = DeviceService(config, place, ServiceParts(factory=self.board.factory))
        self._thread = threading.Thread(target=self.service.run, name="firmware")

    def start(self) -> None:
        self._thread.start()

    def wait(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up, self.service.recorder.status
            threading.Event().wait(0.002)

    def press(self) -> float:
        """Press until a clip records; returns seconds from the edge to the first frames on storage."""
        self.wait(lambda: self.service.recorder.status.state is State.READY)
        before = self.service.recorder.status.clip
        began = time.monotonic()
        self.board.press()
        self.wait(lambda: self._records_after(before))
        took = time.monotonic() - began
        self.board.release()
        return took

    def _records_after(self, before: str | None) -> bool:
        status = self.service.recorder.status
        return status.state is State.RECORDING and status.clip not in {before, None} and status.frames > 0

    def stop_clip(self) -> None:
        ended = self.service.recorder.status.clips_ended
        threading.Event().wait(0.3)
        self.board.press()
        self.wait(lambda: self.service.recorder.status.clips_ended > ended)
        self.board.release()
        threading.Event().wait(0.3)

    def shut_down(self) -> None:
        self.service.stop("the test is over")
        self._thread.join()
        self.board.close()


@pytest.fixture
def place(tmp_path: Path, keys: Path) -> Path:
    shutil.copytree(keys.parent, tmp_path / "keys")
    return tmp_path


@pytest.fixture
def make_firmware(place: Path) -> Iterator[Callable[[], Firmware]]:
    running: list[Firmware] = []

    def make() -> Firmware:
        running.append(Firmware(place))
        return running[-1]

    yield make
    for firmware in running:
        firmware.shut_down()


def require_recovered(clip: Path, size_bytes: int) -> Manifest:
    manifest = decode((clip / "manifest.json").read_bytes(), Manifest)
    assert manifest.ciphertext is not None
    assert manifest.ciphertext.bytes == (clip / "clip.mp4.age").stat().st_size >= size_bytes - 2 * MIB
    assert manifest.unattested is not None
    assert manifest.unattested.bytes == 1000
    return manifest


def test_memory_does_not_grow_with_the_clip(make_camera: Callable[[str], Camera]) -> None:
    peaks = []
    for size in (10 * MIB, 100 * MIB):
        camera = make_camera(f"vault{size}")
        clip = interrupt_large(camera, size)
        tracemalloc.start()
        camera.recover()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        require_recovered(clip, size)
    assert peaks[1] < peaks[0] + MIB
    assert peaks[1] < 8 * MIB


def test_a_press_in_the_midst_of_recovery_opens_the_next_clip(
    place: Path, make_firmware: Callable[[], Firmware], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recovery is held where it reads, for as long as the press and its clip take."""
    camera = Camera(place / "vault", place / "keys" / "camera")
    clip = interrupt_large(camera, 100 * MIB)
    reading, gate = threading.Event(), threading.Event()
    pace = VaultRecovery._pace

    def held(recovery: VaultRecovery, size: int) -> None:
        if size >= MIB // 2:
            reading.set()
            gate.wait(_PATIENCE_S)
        pace(recovery, size)

    monkeypatch.setattr(VaultRecovery, "_pace", held)
    firmware = make_firmware()
    firmware.start()
    assert reading.wait(_PATIENCE_S)
    firmware.press()
    firmware.stop_clip()
    assert firmware.service.recovery.report.state_of(clip.name) == "recovering"
    assert not (clip / "manifest.json").exists()
    gate.set()
    firmware.wait(lambda: not firmware.service.recovery.report.waiting)
    require_recovered(clip, 100 * MIB)
    (second,) = (path for path in (place / "vault" / "clips").iterdir() if path.name.endswith("000002"))
    manifest = decode((second / "manifest.json").read_bytes(), Manifest)
    with (clip / "journal.jsonl").open("rb") as file:
        line0 = next(iter(JournalReader(file, camera.signer.public_key)))
    assert manifest.start.previous_start == line0.sha256
    assert manifest.complete


@pytest.mark.long
def test_presses_during_the_recovery_of_eight_gigabytes(
    place: Path, make_firmware: Callable[[], Firmware], capsys: pytest.CaptureFixture[str]
) -> None:
    """Free-running: the same presses before and after, and during, for comparison."""
    size = 8 * 1024 * MIB
    camera = Camera(place / "vault", place / "keys" / "camera")
    clip = interrupt_large(camera, size)
    firmware = make_firmware()
    began = time.monotonic()
    firmware.start()
    during: list[float] = []
    for _ in range(5):
        during.append(firmware.press())
        assert firmware.service.recovery.report.state_of(clip.name) == "recovering"
        firmware.stop_clip()
    give_up = time.monotonic() + 1800
    while firmware.service.recovery.report.waiting and time.monotonic() < give_up:
        threading.Event().wait(0.2)
    took = time.monotonic() - began
    after = []
    for _ in range(5):
        after.append(firmware.press())
        firmware.stop_clip()
    require_recovered(clip, size)
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what the test is for
            f"\n8 GiB recovered in {took:.0f} s; press to first frames on storage, ms: during "
            f"{[round(one * 1000) for one in during]}, after {[round(one * 1000) for one in after]}"
        )

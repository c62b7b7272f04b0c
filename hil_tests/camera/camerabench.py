"""The bench of the real camera stack: the built libcamera, firmware in a process of its own, and its clips."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgspec

from device.capture.stamp import FrameStamp, read_stamp
from evidence.age.keyfiles import parse_identities
from evidence.age.reader import decrypt_file
from evidence.documents import Manifest, decode

__all__ = ["ROOT", "Clip", "Firmware", "Stack", "find_stack"]

ROOT = Path(__file__).resolve().parents[2]
NS_PER_S = 1_000_000_000
_WHOLE_NS = 4 * NS_PER_S  # the window, the GOP that it begins in, and one more
_PATIENCE_S = 90.0  # only how long a test that has failed takes to say so
_BUILD = ROOT / "hil_tests/camera/build-libcamera"
_TOML = """\
[device]
id = "cam0042"
vault = "vault"
keys = "keys/camera"

[camera]
source = "picamera"
width = {width}
height = {height}
rate = 30
bitrate_kbps = {bitrate_kbps}

[sound]
microphone = "synthetic"

[policy]
recipients_file = "keys/agency/identity/recipients.txt"
window_s = 2.0
hold_s = 0.5
"""


class Stack(msgspec.Struct, frozen=True):
    """A built libcamera: where it is, what it was made from."""

    place: Path
    source: str

    def environment(self, orders: Path) -> dict[str, str]:
        """Return the environment of a process that is to use it; `orders` is what the sensor obeys."""
        (packages,) = self.place.glob("lib/python3*/*-packages")  # "dist" for Debian's Python, else "site"
        return os.environ | {
            "PYTHONPATH": str(packages),
            "LD_LIBRARY_PATH": str(self.place / "lib"),
            "LIBCAMERA_LOG_LEVELS": "*:ERROR",
            "PREROLL_SENSOR_ORDERS": str(orders),
        }


def find_stack() -> Stack | None:
    """Find what `build-libcamera` has built; `None` if it has built nothing."""
    asked = subprocess.run(
        [_BUILD, "--where"],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=True,
    )
    place = Path(asked.stdout.strip())
    note = place / "source"
    return Stack(place, note.read_text(encoding="ascii").strip()) if note.is_file() else None


class Clip(msgspec.Struct, frozen=True):
    """A sealed clip, decrypted and decoded; `times_ns` are on CLOCK_MONOTONIC, in presentation order."""

    directory: Path
    video: Path
    manifest: Manifest
    stamps: tuple[FrameStamp, ...]
    times_ns: tuple[int, ...]
    tick_ns: int  # of the file's time base, rounded up

    @property
    def numbers(self) -> list[int]:
        """What the sensor drew: the number of each frame."""
        return [stamp.number for stamp in self.stamps]


class Firmware:
    """`preroll device run` in a process, its camera the virtual one, its button here."""

    def __init__(self, stack: Stack, place: Path, keys: Path, *, size: tuple[int, int] = (640, 480)) -> None:
        self.place = place
        self.orders = place / "orders"
        if not (place / "keys").exists():
            shutil.copytree(keys, place / "keys")
        width, height = size
        text = _TOML.format(width=width, height=height, bitrate_kbps=width * height * 3 // 1000)
        (place / "device.toml").write_text(text, encoding="ascii")
        self.log = place / "firmware.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hil_tests.camera.firmware", place / "device.toml"],
                cwd=ROOT,
                env=stack.environment(self.orders),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # as a unit has one; its priority is the session's
            )

    def ask(self, order: str = "status") -> dict[str, Any]:
        """Give an order and return how the firmware is then."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the firmware ended: {self.log.read_text(errors='replace')[-2000:]}"
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def wait(self, condition: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Wait until the firmware's state is such, and return it."""
        give_up = time.monotonic() + _PATIENCE_S
        while not condition(status := self.ask()):
            told = self.log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < give_up, f"waited in vain: {what}; {status}\n{told}"
            time.sleep(0.05)
        return status

    def wait_picture(self) -> dict[str, Any]:
        """Wait until the pre-event seconds are there, and no gap of before is among them."""
        last: dict[str, Any] = {"gaps": None, "newest_pts_ns": None}

        def is_whole(now: dict[str, Any]) -> bool:
            if last["newest_pts_ns"] is None or now["gaps"] != last["gaps"]:
                last.update(gaps=now.get("gaps"), newest_pts_ns=now.get("newest_pts_ns"))
                return False
            since_ns: int = now["newest_pts_ns"] - last["newest_pts_ns"]
            return since_ns > _WHOLE_NS and now["state"] == "ready"

        return self.wait(is_whole, "a filled ring")

    def run_for(self, seconds: float) -> dict[str, Any]:
        """Let so much picture go by."""
        until_ns = (self.ask()["newest_pts_ns"] or time.monotonic_ns()) + int(seconds * NS_PER_S)
        return self.wait(lambda now: (now["newest_pts_ns"] or 0) >= until_ns, f"{seconds} s more")

    def start(self) -> dict[str, Any]:
        """Press and let go: a clip begins."""
        before = self.wait_picture()
        self.ask("press")
        time.sleep(0.1)
        self.ask("release")
        self.wait(lambda now: now["state"] == "recording", "a recording")
        return before

    def stop(self) -> Clip:
        """Hold until the clip ends; return it."""
        ended = self.ask()["clips_ended"]
        self.ask("press")
        self.wait(lambda now: now["state"] != "recording", "the hold to end it")
        self.ask("release")
        self.wait(lambda now: now["clips_ended"] > ended, "the clip sealed")
        return self.open(self.clips()[-1])

    def order(self, text: str) -> None:
        """Tell the sensor to fail; the file is there whole or not at all."""
        draft = self.orders.with_suffix(".draft")
        draft.write_text(text, encoding="ascii")
        draft.replace(self.orders)

    def relent(self) -> None:
        """Let the sensor work again."""
        self.orders.unlink(missing_ok=True)

    def clips(self) -> list[Path]:
        """Return the clips' directories by number."""
        found = [path for path in (self.place / "vault/clips").iterdir() if not path.name.startswith(".")]
        return sorted(found, key=lambda path: path.name.rpartition("-")[2])

    def open(self, directory: Path) -> Clip:
        """Decrypt a clip and read what the sensor drew into every picture."""
        manifest = decode((directory / "manifest.json").read_bytes(), Manifest)
        video = self.place / f"{directory.name}.mp4"
        identity = (self.place / "keys/agency/identity/identity.txt").read_text(encoding="ascii")
        with (directory / "clip.mp4.age").open("rb") as source, video.open("wb") as target:
            decrypt_file(source, target, parse_identities(identity))
        stamps: list[FrameStamp] = []
        times: list[int] = []
        with av.open(video) as container:
            time_base = container.streams.video[0].time_base
            assert time_base is not None
            for picture in container.decode(video=0):
                stamp = read_stamp(picture)
                assert stamp is not None, f"picture {len(stamps)} has no stamp that can be read"
                assert picture.pts is not None
                stamps.append(stamp)
                times.append(picture.pts)
        first = times[0]
        return Clip(
            directory=directory,
            video=video,
            manifest=manifest,
            stamps=tuple(stamps),
            times_ns=tuple(
                manifest.first_pts_ns + round((each - first) * time_base * NS_PER_S) for each in times
            ),
            tick_ns=int(Fraction(NS_PER_S) * time_base) + 1,
        )

    def verify(self, clip: Clip) -> "subprocess.CompletedProcess[str]":
        """Run `preroll clip verify` over it, with the key that opens it."""
        agency = self.place / "keys/agency"
        program = Path(sys.executable).with_name("preroll")
        identity = agency / "identity/identity.txt"
        return subprocess.run(
            [program, "clip", "verify", clip.directory, "--ca", agency / "root/root.pem", "-i", identity],
            capture_output=True,
            text=True,
            check=False,
        )

    def shut_down(self) -> int:
        """Stop it as systemd does; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(_PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return status

    def kill(self) -> None:
        """End it in any case."""
        self.relent()
        if self.process.poll() is None:
            self.process.kill()
        self.shut_down()

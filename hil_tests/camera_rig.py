"""A camera on a board: keys, configuration, the real firmware as a process, a finger on its button."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hil_tests.board.kernel import CHECKOUT
from hil_tests.board.protocol import Board, BoardError, Finished, LineChange, PinEdge, PinTime, Service

__all__ = ["BUTTON", "BUZZER", "GREEN", "RED", "VIBRATION", "CameraRig", "CameraSettings", "Keys", "make_keys"]

CAMERA_ID = "cam-bench"
DOCK_ID = "dock-bench"
BUTTON, RED, GREEN, BUZZER, VIBRATION = 17, 22, 27, 23, 24
"""BCM numbers, those of docs/controls.md."""
_PREROLL = CHECKOUT / ".venv" / "bin" / "preroll"
_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
_MARGIN_MS = 300  # beyond the hold, so that it is one

_TOML = """\
[device]
id = "{camera}"
vault = "{card}/vault"
keys = "{files}/keys/camera"

[camera]
source = {source}
width = {width}
height = {height}
rate = {rate}
bitrate_kbps = {bitrate_kbps}
gop_s = {gop_s}

[sound]
microphone = {microphone}

[ring]
limit_mib = 64

[policy]
recipients_file = "{files}/keys/agency/identity/recipients.txt"
window_s = {window_s}
hold_s = {hold_s}

[dockport]
serial = [{port}]
anchors = "{files}/keys/agency/root/root.pem"
"""


@dataclass(frozen=True)
class Keys:
    """An agency, a camera of it and a dock of it, in a directory of the host."""

    directory: Path

    @property
    def root(self) -> Path:
        """The agency's root certificate."""
        return self.directory / "agency" / "root" / "root.pem"

    @property
    def identity(self) -> Path:
        """What opens its clips."""
        return self.directory / "agency" / "identity" / "identity.txt"


def make_keys(directory: Path) -> Keys:
    """Make them, with the project's own command.

    Raises:
        BoardError: it fails.
    """
    agency = directory / "agency"
    _preroll("keys", "agency", "Bench", "--out", str(agency))
    for kind, name, place in (("camera", CAMERA_ID, "camera"), ("dock", DOCK_ID, "dock")):
        out = str(directory / place)
        _preroll("keys", "issue", kind, name, "--agency", str(agency), "--new", "--out", out)
    return Keys(directory)


@dataclass(frozen=True)
class CameraSettings:
    """What of the camera's configuration a test may choose; `more` is TOML put at the end."""

    source: str = "synthetic"
    width: int = 160
    height: int = 96
    rate: int = 25
    bitrate_kbps: int = 300
    gop_s: float = 0.4
    microphone: str = "synthetic"
    window_s: float = 2.0
    hold_s: float = 0.5
    docked: bool = False
    more: str = ""


class CameraRig:
    """One camera. The card must be mounted before `start`."""

    def __init__(self, board: Board, keys: Keys, settings: CameraSettings | None = None) -> None:
        self.board = board
        self.keys = keys
        self.settings = settings or CameraSettings()
        self.service: Service | None = None
        self.vault = f"{board.places.card}/vault"
        board.put(keys.directory, "keys")
        self._config = self._write_config()

    def start(self) -> Service:
        """Start the firmware."""
        command = [self.board.places.preroll, "device", "run", "--config", self._config]
        self.service = self.board.start("camera", *command)
        return self.service

    def stop(self) -> int:
        """Stop it in order; returns its exit status."""
        assert self.service is not None
        return self.service.stop()

    def wait_ready(self, *, since_ns: int = 0, timeout_s: float = 60) -> LineChange:
        """Wait for the flash that says ready: green without red."""
        return self._wait_light(GREEN, since_ns, timeout_s)

    def wait_recording(self, *, since_ns: int = 0, timeout_s: float = 60) -> LineChange:
        """Wait for the recording light: red without green."""
        return self._wait_light(RED, since_ns, timeout_s)

    def press(self) -> PinTime:
        """Close the button's contact; returns when."""
        return self.board.drive([PinEdge(BUTTON, high=False)])[0]

    def release(self) -> PinTime:
        """Open it."""
        return self.board.drive([PinEdge(BUTTON, high=True)])[0]

    def tap(self, length_ms: float = 100) -> PinTime:
        """Press for so long; returns when the contact closed."""
        return self.play([(False, 0), (True, length_ms)])[0]

    def hold(self) -> PinTime:
        """Hold long enough to stop; returns when the contact closed."""
        return self.tap(self.settings.hold_s * 1000 + _MARGIN_MS)

    def play(self, levels: Sequence[tuple[bool, float]]) -> list[PinTime]:
        """Give the button's line levels (high is open) at their milliseconds; returns when it had each."""
        return self.board.drive([PinEdge(BUTTON, high, round(ms * _NS_PER_MS)) for high, ms in levels])

    def clips(self) -> list[str]:
        """Return the paths of the clips on the card, in order of their names."""
        listed = self.board.run("ls", f"{self.vault}/clips")
        return [f"{self.vault}/clips/{name}" for name in listed.output.split()]

    def wait_sealed(self, count: int = 1, *, timeout_s: float = 60) -> list[str]:
        """Wait until so many clips have their manifest; returns their paths."""
        script = (
            "import glob, sys, time\n"
            "found, end = [], time.monotonic() + float(sys.argv[3])\n"
            "while len(found) < int(sys.argv[2]) and time.monotonic() < end:\n"
            "    time.sleep(0.05)\n"
            "    found = sorted(glob.glob(sys.argv[1] + '/clips/*/manifest.json'))\n"
            "print('\\n'.join(each.rpartition('/')[0] for each in found))"
        )
        arguments = [self.vault, str(count), str(timeout_s)]
        done = self.board.run(self.board.places.python, "-ISc", script, *arguments, timeout_s=timeout_s + 60)
        found = done.output.split()
        if len(found) < count:
            log = self.service.log[-3000:] if self.service else ""
            raise BoardError(
                f"{len(found)} of {count} clips sealed in {timeout_s:g} s; the camera says:\n{log}"
            )
        return found

    def verify(self, *paths: str) -> Finished:
        """Verify clips, or the vault, on the board."""
        root = f"{self.board.places.files}/keys/agency/root/root.pem"
        identity = f"{self.board.places.files}/keys/agency/identity/identity.txt"
        command = [self.board.places.preroll, "clip", "verify", *(paths or (self.vault,)), "--ca", root]
        return self.board.run(*command, "--identity", identity, "--json")

    def _wait_light(self, line: int, since_ns: int, timeout_s: float) -> LineChange:
        """Wait for red or green alone: the other one is off and stays so, or both would be amber."""
        other = GREEN if line == RED else RED
        lit = {RED: False, GREEN: False}
        start: LineChange | None = None

        def alone(change: LineChange) -> bool:
            nonlocal start
            if change.line not in lit:
                return False
            lit[change.line] = change.high
            if change.line == line and change.high and not lit[other]:
                start = change
                return False
            # The pair is switched within one go, red first: what follows tells amber from red.
            ended = start is not None and change.line == line and not change.high
            if change.line == other and change.high:
                start = None
            return ended and start is not None and start.at_ns >= since_ns

        self.board.wait_change(alone, timeout_s=timeout_s)
        assert start is not None
        return start

    def _write_config(self) -> str:
        chosen, places = self.settings, self.board.places
        text = _TOML.format(
            camera=CAMERA_ID,
            card=places.card,
            files=places.files,
            source=json.dumps(chosen.source),
            width=chosen.width,
            height=chosen.height,
            rate=chosen.rate,
            bitrate_kbps=chosen.bitrate_kbps,
            gop_s=float(chosen.gop_s),
            microphone=json.dumps(chosen.microphone),
            window_s=float(chosen.window_s),
            hold_s=float(chosen.hold_s),
            port=json.dumps(places.camera_port) if chosen.docked else "",
        )
        path = f"{places.files}/device.toml"
        self.board.write(path, text + chosen.more)
        return path


def _preroll(*arguments: str) -> None:
    done = subprocess.run([_PREROLL, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BoardError(f"preroll {' '.join(arguments)} failed with {done.returncode}: {done.stderr.strip()}")

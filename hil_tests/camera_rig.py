"""A camera on a board: keys, configuration, the real firmware as a process, a finger on its button."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hil_tests.board.protocol import Board, BoardError, PinEdge, PinTime, Service
from hil_tests.clips import PREROLL, VaultCopy
from hil_tests.event_log import LogEvent, details, read_events
from hil_tests.lights import Step, wait_colour, wait_for, wait_signal, wait_state
from hil_tests.sounds import Played
from hil_tests.wiring import BUTTON

__all__ = ["CAMERA_ID", "DOCK_ID", "CameraRig", "CameraSettings", "Keys", "make_keys"]

CAMERA_ID = "cam-bench"
DOCK_ID = "dock-bench"
_NS_PER_MS = 1_000_000
_MARGIN_MS = 400  # beyond the hold, so that it is one, also where an edge is late
_REST_MS = 100
_POLL_S = 0.1
_SIGNAL_S = 10.0

_TOML = """\
[device]
{identity}
vault = "{vault}"
keys = "{keys}"

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
{policy}

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
    """What of the camera's configuration a test may choose.

    `policy` is TOML put at the end of `[policy]`, `more` at the end of all.
    """

    source: str = "synthetic"
    width: int = 160
    height: int = 96
    rate: int = 15
    bitrate_kbps: int = 300
    gop_s: float = 0.4
    microphone: str = "synthetic"
    window_s: float = 2.0
    hold_s: float = 1.0  # longer than the sound of a start, so that the sound of the stop comes by itself
    docked: bool = False
    policy: str = ""
    more: str = ""


class CameraRig:
    """One camera. The card must be mounted before `start`. `nobody`: it has no keys yet, and no id."""

    def __init__(
        self, board: Board, keys: Keys, settings: CameraSettings | None = None, *, nobody: bool = False
    ) -> None:
        self._keys_at = f"{board.places.card}/no-keys" if nobody else f"{board.places.files}/keys/camera"
        self._nobody = nobody
        self.board = board
        self.keys = keys
        self.settings = settings or CameraSettings()
        self.service: Service | None = None
        self.vault = f"{board.places.card}/{'nobodys' if nobody else 'vault'}"
        board.put(keys.directory, "keys")
        self.config = f"{board.places.files}/device.toml"

    def start(self, *command: str, environment: Mapping[str, str] | None = None) -> Service:
        """Start the firmware; `command` stands before its arguments in place of `preroll device run`."""
        self._write_config()
        command = command or (self.board.places.preroll, "device", "run")
        self.service = self.board.start("camera", *command, "--config", self.config, environment=environment)
        return self.service

    def run_with(self, settings: CameraSettings) -> None:
        """Have the firmware run with these settings, ready; restarts it if it does not so already."""
        if self._is_running and settings == self.settings and self._is_idle():
            return
        if self._is_running:
            self.stop()
        self.settings = settings
        since_ns = self.board.now_ns()
        self.start()
        self.wait_events(lambda events: bool(details(events, "power_on", "source", since_ns=since_ns)), "start")
        if "stealth = true" not in settings.policy:
            self.wait_ready(since_ns=since_ns)

    def start_anew(self) -> None:
        """Stop the firmware, whatever it does, and have it run again, ready."""
        self.stop()
        self.run_with(self.settings)

    def stop(self) -> int:
        """Stop it in order; returns its exit status."""
        assert self.service is not None
        return self.service.stop()

    def wait_ready(self, *, since_ns: int = 0, timeout_s: float = 60) -> Step:
        """Wait for the flash that says ready: from dark, as green is left for a moment where amber goes out."""
        return wait_colour(self.board, "green", after="off", since_ns=since_ns, timeout_s=timeout_s)

    def wait_recording(self, *, since_ns: int = 0, timeout_s: float = 60) -> Step:
        """Wait for the recording light."""
        return wait_colour(self.board, "red", since_ns=since_ns, timeout_s=timeout_s)

    def wait_state(self, name: str, *, since_ns: int = 0, timeout_s: float = 60) -> Step:
        """Wait for a state in light, sound and vibration, as docs/controls.md has it."""
        return wait_state(self.board, name, since_ns=since_ns, timeout_s=timeout_s)

    def wait_signal(self, name: str, *, since_ns: int = 0, timeout_s: float = 60) -> Played:
        """Wait for a signal, the same."""
        return wait_signal(self.board, name, since_ns=since_ns, timeout_s=timeout_s)

    def press(self) -> PinTime:
        """Close the button's contact; returns when."""
        return self.board.drive([PinEdge(BUTTON, high=False)])[0]

    def release(self) -> PinTime:
        """Open it, long enough to be a release."""
        return self.play([(True, 0)])[0]

    def tap(self, length_ms: float = 100) -> PinTime:
        """Press for so long; returns when the contact closed."""
        return self.play([(False, 0), (True, length_ms)])[0]

    def hold(self) -> PinTime:
        """Hold long enough to stop; returns when the contact closed."""
        return self.tap(self.settings.hold_s * 1000 + _MARGIN_MS)

    def record(self) -> Step:
        """Start a clip by a press, and wait for its light."""
        return self.wait_recording(since_ns=self.tap().after_ns)

    def end(self) -> Played:
        """End the clip by a hold, and wait for the signal that it has ended, and until the log says so too."""
        held_ns = self.hold().after_ns
        stopped = self.wait_signal("stopped", since_ns=held_ns)
        self.wait_stop("stopped", since_ns=held_ns)  # urgent: with it all that was told before is in the log
        return stopped

    def be_refused(self, *, tries: int = 5) -> None:
        """Press, and wait for the refusal in log, light and sound; again where a state's sound ran into it."""
        for left in reversed(range(tries)):
            since_ns = self.tap().after_ns
            self._wait_refusal(since_ns)
            try:
                self.wait_signal("refused", since_ns=since_ns, timeout_s=_SIGNAL_S)
            except (BoardError, AssertionError):
                if not left:
                    raise
            else:
                return

    def wait_stop(self, ended: str, *, since_ns: int) -> None:
        """Wait until the event log says that a clip has ended since, and how."""
        self.wait_events(
            lambda events: ended in details(events, "stop", "ended", since_ns=since_ns), f"clip ended: {ended}"
        )

    def play(self, levels: Sequence[tuple[bool, float]]) -> list[PinTime]:
        """Give the button's line levels (high is open) at their milliseconds; returns when it had each.

        The last one is left alone for a while: an opening shorter than the contact's `settle_ms` is no release.
        """
        high, last_ms = levels[-1]
        edges = [
            PinEdge(BUTTON, high, round(ms * _NS_PER_MS)) for high, ms in (*levels, (high, last_ms + _REST_MS))
        ]
        return self.board.drive(edges)[:-1]

    def clips(self) -> list[str]:
        """Return the paths of the clips on the card, in order of their names."""
        names = self.board.names(f"{self.vault}/clips")
        return [f"{self.vault}/clips/{name}" for name in names if not name.startswith(".")]

    def wait_sealed(self, count: int = 1, *, timeout_s: float = 60) -> list[str]:
        """Wait until so many clips have their manifest; returns their paths."""
        sealed: list[str] = []
        give_up = time.monotonic() + timeout_s
        while len(sealed) < count and time.monotonic() < give_up:
            time.sleep(_POLL_S)
            sealed = [path for path in self.clips() if self.board.exists(f"{path}/manifest.json")]
        if len(sealed) < count:
            raise BoardError(f"{len(sealed)} of {count} clips sealed in {timeout_s:g} s; {self._says()}")
        return sealed

    def events(self) -> list[LogEvent]:
        """Return what the event log says, oldest first; what is not urgent comes there within a minute."""
        return read_events(self.board.read_all(f"{self.vault}/log", ".jsonl"))

    def wait_events(
        self, found: Callable[[list[LogEvent]], bool], what: str, *, timeout_s: float = 60
    ) -> list[LogEvent]:
        """Wait until the event log says something; returns all of it.

        Raises:
            BoardError: it doesn't in time.
        """
        events: list[LogEvent] = []

        def look(_: object, __: int) -> list[LogEvent] | None:
            nonlocal events
            events = self.events()
            return events if found(events) else None

        try:
            return wait_for(self.board, look, what, timeout_s)
        except BoardError as error:
            raise BoardError(f"{error}; the log's end: {events[-12:]}; {self._says()}") from error

    def copy_vault(self, place: Path) -> VaultCopy:
        """Copy the vault to the bench's host, to be judged there; the firmware should have stopped."""
        self.board.get(self.vault, place / "vault")
        return VaultCopy(place / "vault", self.keys.root, self.keys.identity)

    def _wait_refusal(self, since_ns: int) -> None:
        self.wait_events(
            lambda events: bool(details(events, "refusal", "reason", since_ns=since_ns)), "refusal in the log"
        )

    @property
    def _is_running(self) -> bool:
        return self.service is not None and not self.service.ended

    def _is_idle(self) -> bool:
        """Whether every clip that was begun has ended: a test that failed may leave one open."""
        kinds = [event.kind for event in self.events()]
        return kinds.count("start") <= kinds.count("stop") + kinds.count("recovered")

    def _says(self) -> str:
        return f"the camera says:\n{self.service.log[-3000:]}" if self.service else "no camera was started"

    def _write_config(self) -> None:
        chosen, places = self.settings, self.board.places
        text = _TOML.format(
            identity="" if self._nobody else f'id = "{CAMERA_ID}"',
            keys=self._keys_at,
            vault=self.vault,
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
            policy=chosen.policy,
            port=json.dumps(places.camera_port) if chosen.docked else "",
        )
        self.board.write(self.config, text + chosen.more)


def _preroll(*arguments: str) -> None:
    done = subprocess.run([PREROLL, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BoardError(f"preroll {' '.join(arguments)} failed with {done.returncode}: {done.stderr.strip()}")

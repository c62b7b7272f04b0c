"""A whole camera in a test: real firmware, mock pins, real files; and what is in its clips, read back."""

import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import msgspec
import pytest

from device.buffer.ring import Ring
from device.capture.source import FrameSink, SourceOptions, StateListener
from device.capture.stamp import FrameStamp, read_stamp
from device.capture.synthetic import SyntheticSource
from device.config import DeviceConfig, parse_config
from device.controls.bench_board import BenchBoard
from device.controls.patterns import IndicatorState, Signal
from device.recording.machine import State
from device.service import DeviceService, ServiceParts
from device.vault.eventlog import LOG_PREFIX
from evidence.age.keyfiles import parse_identities
from evidence.age.reader import decrypt_file
from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.check import CheckReport, check_sealed_clip
from evidence.documents import LogEvent, LogLine, Manifest, decode
from evidence.lines import LineReader
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.signer import load_signer

NS_PER_S = 1_000_000_000
_PATIENCE_S = 60.0  # only how long a test that has failed takes to say so
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
microphone = "{microphone}"

[ring]
limit_mib = 16

[[controls.triggers]]
name = "holster"
pin = 5

[policy]
recipients_file = "keys/agency/identity/recipients.txt"
window_s = {window_s}
hold_s = 0.5
"""


class Opened(msgspec.Struct, frozen=True):
    """A clip decrypted and decoded: what the pictures show, in presentation order, and the packets' times."""

    path: Path
    stamps: tuple[FrameStamp, ...]
    pts: tuple[int, ...]
    dts: tuple[int, ...]
    time_base: Fraction
    sound_frames: int

    @property
    def numbers(self) -> list[int]:
        return [stamp.number for stamp in self.stamps]


class Clip:
    """A clip in a vault, and the ways to look at it."""

    def __init__(self, directory: Path, place: Path) -> None:
        self.directory = directory
        self._place = place

    @property
    def sealed(self) -> bool:
        return (self.directory / "manifest.json").is_file()

    @property
    def manifest(self) -> Manifest:
        return decode((self.directory / "manifest.json").read_bytes(), Manifest)

    def check(self) -> CheckReport:
        return check_sealed_clip(
            self.directory, load_roots(self._place / "keys" / "agency" / "root" / "root.pem")
        )

    def open(self) -> Opened:
        path = self._place / f"{self.directory.name}.mp4"
        text = (self._place / "keys" / "agency" / "identity" / "identity.txt").read_text(encoding="ascii")
        with (self.directory / "clip.mp4.age").open("rb") as source, path.open("wb") as target:
            decrypt_file(source, target, parse_identities(text))
        with av.open(path) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
            time_base = packets[0].time_base
        assert time_base is not None
        with av.open(path) as container:
            stamps = [read_stamp(picture) for picture in container.decode(video=0)]
        with av.open(path) as container:
            sound_frames = sum(1 for _ in container.decode(audio=0))
        assert None not in stamps, "a picture whose stamp cannot be read"
        return Opened(
            path=path,
            stamps=tuple(stamp for stamp in stamps if stamp is not None),
            pts=tuple(sorted(packet.pts for packet in packets if packet.pts is not None)),
            dts=tuple(packet.dts for packet in packets if packet.dts is not None),
            time_base=time_base,
            sound_frames=sound_frames,
        )


class Witness:
    """What the wearer was told, in order, each with the time of the call."""

    def __init__(self, panel: Any) -> None:
        self.signals: list[tuple[Signal, int]] = []
        self.states: list[IndicatorState] = []
        self.renewals: list[int] = []
        self.on_signal: Callable[[Signal], None] = lambda _kind: None
        self._panel_signal, self._panel_show, self._panel_renew = panel.signal, panel.show, panel.renew
        panel.signal, panel.show, panel.renew = self._signal, self._show, self._renew

    def kinds(self) -> list[Signal]:
        return [kind for kind, _ in self.signals]

    def _signal(self, kind: Signal) -> None:
        self.on_signal(kind)
        self.signals.append((kind, time.monotonic_ns()))
        self._panel_signal(kind)

    def _show(self, state: IndicatorState) -> None:
        self.states.append(state)
        self._panel_show(state)

    def _renew(self, until_ns: int) -> None:
        self.renewals.append(time.monotonic_ns())
        self._panel_renew(until_ns)


class Camera:
    """A running camera: hands on its pins, eyes on its state."""

    def __init__(self, config: DeviceConfig, place: Path, parts: ServiceParts) -> None:
        self.config = config
        self.place = place
        self.vault = place / config.device.vault
        self.board = BenchBoard(config.controls)
        self.service = DeviceService(config, place, msgspec.structs.replace(parts, factory=self.board.factory))
        self.witness = Witness(self.service.panel)
        self._thread = threading.Thread(target=self.service.run, name="firmware")
        self._thread.start()

    @property
    def ring(self) -> Ring:
        return self.service.ring

    @property
    def state(self) -> State:
        return self.service.recorder.status.state

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something that has no event of its own."""
        give_up = time.monotonic() + _PATIENCE_S
        pause = threading.Event()
        while not condition():
            assert time.monotonic() < give_up, f"waited in vain: {what}; state {self.state}"
            pause.wait(0.01)

    def wait_state(self, *states: State) -> None:
        self.wait(lambda: self.state in states, f"state {states}")

    def wait_filled(self, seconds: float) -> None:
        """Wait until the ring holds so much, a little more, and the recorder is ready."""
        self.wait(lambda: self.ring.stats().held_ns >= seconds * NS_PER_S, f"{seconds} s in the ring")
        self.wait_state(State.READY)

    def run_for(self, seconds: float) -> None:
        """Let the picture go on by so much."""
        newest_ns = self.ring.stats().newest_pts_ns or time.monotonic_ns()
        until_ns = newest_ns + int(seconds * NS_PER_S)
        self.wait(lambda: (self.ring.stats().newest_pts_ns or 0) >= until_ns, f"{seconds} s more")

    def tap(self) -> None:
        """Press and let go, so that both edges count."""
        self.board.press()
        self.run_for(0.06)
        self._let_go()

    def hold(self) -> None:
        """Press until the hold has had its effect, and let go."""
        self.board.press()
        held_ns = time.monotonic_ns() + int((self.config.policy.hold_s + 0.1) * NS_PER_S)
        self.wait(lambda: time.monotonic_ns() >= held_ns, "the end of the hold")
        self._let_go()

    def _let_go(self) -> None:
        """Open the contact, and wait until that was taken for a release: the next press is no bounce then."""
        self.board.release()
        self.wait(lambda: not self.service.panel.core.button.is_down, "the release")
        self.run_for(0.06)

    def start(self) -> None:
        self.tap()
        self.wait_state(State.RECORDING)

    def stop(self) -> None:
        ended = self.service.recorder.status.clips_ended
        self.hold()
        self.wait_ended(ended + 1)

    def wait_ended(self, count: int) -> None:
        self.wait(lambda: self.service.recorder.status.clips_ended >= count, f"{count} clips ended")

    def clips(self) -> list[Clip]:
        paths = (path for path in (self.vault / "clips").iterdir() if not path.name.startswith("."))
        return [Clip(path, self.place) for path in sorted(paths, key=lambda path: path.name.rpartition("-")[2])]

    def shut_down(self, reason: str = "the test is over") -> None:
        self.service.stop(reason)
        self._thread.join()
        self.board.close()

    def log_lines(self) -> list[LogLine]:
        """Read the whole event log, verified: signatures by the reader, the chain over all files here."""
        key = load_signer(self.place / self.config.device.keys, Role.CAMERA_EVIDENCE).public_key
        lines: list[LogLine] = []
        previous: str | None = None
        for path in sorted((self.vault / "log").iterdir()):
            for signed in LineReader(BytesIO(path.read_bytes()), LOG_PREFIX, key):
                line = decode(signed.value, LogLine)
                assert line.previous == previous, f"the chain breaks at {path.name} line {signed.number}"
                assert line.index == len(lines) + 1
                previous = signed.sha256
                lines.append(line)
        return lines

    def log_events(self, kind: str) -> list[LogEvent]:
        return [event for line in self.log_lines() for event in line.events if event.kind == kind]


MakeCamera = Callable[..., Camera]


class HeldBack(SyntheticSource):
    """A camera that takes its time to start: no frame before `let_go`."""

    def start(self, sink: FrameSink, on_state: StateListener) -> None:
        self._later = (sink, on_state)

    def let_go(self) -> None:
        super().start(*self._later)


@pytest.fixture
def held_back_source() -> Callable[[], HeldBack]:
    return lambda: HeldBack(
        SourceOptions(width=160, height=96, rate=Fraction(25), bitrate_bps=300_000, gop_ns=400_000_000)
    )


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agency and a camera's keys, made once."""
    place = tmp_path_factory.mktemp("keys")
    create_agency("Test agency", place / "agency")
    issue_new(SubjectKind.CAMERA, "cam0042", place / "agency", place / "camera")
    return place


@pytest.fixture
def camera_place(tmp_path: Path, keys: Path) -> Path:
    """A directory with keys, for a camera to live in."""
    shutil.copytree(keys, tmp_path / "keys")
    return tmp_path


@pytest.fixture
def toml() -> Callable[..., str]:
    """Return the text of a configuration: one that works, with lines put in or replaced."""

    def make(window_s: float = 2.0, *, microphone: str = "synthetic", **changes: str) -> str:
        text = _TOML.format(window_s=window_s, microphone=microphone)
        for key, value in changes.items():
            kept = [line for line in text.splitlines() if not line.startswith(f"{key} =")]
            section = next(index for index, line in enumerate(text.splitlines()) if line.startswith(f"{key} ="))
            text = "\n".join([*kept[:section], f"{key} = {value}", *kept[section:], ""])
        return text

    return make


@pytest.fixture
def make_camera(camera_place: Path, toml: Callable[..., str]) -> Iterator[MakeCamera]:
    """Start cameras; whatever still runs at the end is shut down. `policy` are lines for that table."""
    with ExitStack() as running:

        def make(
            window_s: float = 2.0, *, policy: str = "", parts: ServiceParts | None = None, **changes: Any
        ) -> Camera:
            text = toml(window_s, **changes) + policy
            camera = Camera(parse_config(text, "device.toml"), camera_place, parts or ServiceParts())
            running.callback(_shut_down_once, camera)
            return camera

        yield make


def _shut_down_once(camera: Camera) -> None:
    if camera._thread.is_alive():
        camera.shut_down()


@pytest.fixture
def noisy_source() -> Callable[[int], SyntheticSource]:
    """A synthetic source that needs its bit rate: noise over the picture."""

    def make(bitrate_bps: int) -> SyntheticSource:
        options = SourceOptions(
            width=160,
            height=96,
            rate=Fraction(25),
            bitrate_bps=bitrate_bps,
            gop_ns=400_000_000,
            noise=120,
        )
        return SyntheticSource(options)

    return make


@pytest.fixture
def assert_sound_clip() -> Callable[..., Opened]:
    """Hold a clip against all that every clip promises; returns it opened."""

    def check(clip: Clip, *, gaps: int = 0) -> Opened:
        manifest, opened = clip.manifest, clip.open()
        report = clip.check()
        assert str(report.finding) == "authentic", report.checks
        assert manifest.frames == len(opened.stamps) == len(opened.pts)
        assert len(set(opened.pts)) == len(opened.pts)
        assert all(earlier < later for earlier, later in itertools.pairwise(opened.dts))
        assert opened.stamps[0].monotonic_ns == manifest.first_pts_ns
        assert len(manifest.gaps) == gaps
        if not gaps:
            first = opened.numbers[0]
            assert opened.numbers == list(range(first, first + len(opened.stamps)))
        return opened

    return check


@pytest.fixture(scope="session")
def preroll() -> str:
    """The command line as people have it: the program beside this interpreter."""
    program = Path(sys.executable).with_name("preroll")
    if not program.exists():
        pytest.skip("preroll is not installed beside this interpreter")
    return str(program)


@pytest.fixture(scope="session")
def run_preroll(preroll: str) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def run(*arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
        command = [preroll, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, **options)

    return run


class Demo(msgspec.Struct):
    """A demo on its way, and where it puts things."""

    process: "subprocess.Popen[str]"
    place: Path


Demos = Callable[[str], Demo]
_FOOTAGE = {
    "bikes.mp4": "30",
    "bigbuckbunny.mp4": "3",
    "carphone_distorted.mp4": "3",
    "carphone_pristine.mp4": "3",
}
"""Which videos are replayed, with how many seconds before the press."""


@pytest.fixture(scope="session", autouse=True)
def demos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demos]:
    """The demos that the selected tests ask for, all started at once: they take as long as the footage does."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "preroll" / "footage"
    asked = " ".join(item.nodeid for item in request.session.items)
    runs: dict[str, Demo] = {}
    for name, seconds in _FOOTAGE.items():
        if name in asked and (cache / name).exists():
            place = tmp_path_factory.mktemp(name.partition(".")[0])
            command = [
                request.getfixturevalue("preroll"),
                "demo",
                "--json",
                "--camera",
                f"replay:{cache / name}",
            ]
            command += ["--preroll", seconds, "--seconds", "4", "--dir", str(place)]
            pipe = subprocess.PIPE
            runs[name] = Demo(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True), place)

    def get(name: str) -> Demo:
        if name not in runs:
            pytest.skip(f"{name} is not there: run scripts/fetch-footage")
        return runs[name]

    yield get
    for run in runs.values():
        run.process.kill()
        run.process.communicate()

"""One contract for all microphones, and what each of them is for."""

import itertools
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from device.capture.pacing import CaptureClock, MonotonicClock
from device.capture.sound.alsa import AlsaMicrophone
from device.capture.sound.file import FileMicrophone, LoopTimeline
from device.capture.sound.microphone import Microphone, MicrophoneError, PcmBlock, index_at
from device.capture.sound.synthetic import SyntheticMicrophone, SyntheticSound
from device.errors import DeviceError

S = 1_000_000_000
MS = 1_000_000
FindClicks = Callable[[int, bytes], list[int]]


def blocks(microphone: Microphone, count: int) -> list[PcmBlock]:
    found: list[PcmBlock] = []
    stop = threading.Event()
    while len(found) < count:
        block = microphone.read(stop)
        if block is not None:
            found.append(block)
    return found


@pytest.fixture(scope="module")
def alsa_plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Devices of the real alsa-lib that need no sound card: `nothing` and `samples`, a file of a ramp."""
    pytest.importorskip("alsaaudio")
    folder = tmp_path_factory.mktemp("alsa")
    (folder / "ramp.raw").write_bytes(array("h", range(20_000)).tobytes())
    (folder / "alsa.conf").write_text(
        "pcm.nothing { type null }\n"
        f'pcm.samples {{ type file slave.pcm nothing file /dev/null infile "{folder}/ramp.raw" format raw }}\n'
        "pcm.converted { type plug slave { pcm samples format S16_LE rate 48000 channels 1 } }\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALSA_CONFIG_PATH", str(folder / "alsa.conf"))
        yield


@pytest.fixture(params=["synthetic", "file", "alsa nothing", "alsa samples", "alsa converted"])
def microphone(request: pytest.FixtureRequest, alsa_plugins: None, sound_file: Path) -> Iterator[Microphone]:
    made: Microphone
    if request.param == "synthetic":
        made = SyntheticMicrophone()
    elif request.param == "file":
        made = FileMicrophone(sound_file, LoopTimeline(time.monotonic_ns(), 2 * S))
    else:
        made = AlsaMicrophone(request.param.removeprefix("alsa "))
    yield made
    made.close()


def test_contract_blocks_are_of_now_and_of_one_format(microphone: Microphone) -> None:
    begin_ns = time.monotonic_ns()
    microphone.open()
    for block in blocks(microphone, 5):
        now_ns = time.monotonic_ns()
        assert len(block.pcm_s16le) == 2 * block.samples > 0
        assert begin_ns - S < block.first_sample_ns < now_ns
        assert block.samples <= 4_800


def test_contract_a_set_stop_ends_the_wait(microphone: Microphone) -> None:
    stop = threading.Event()
    stop.set()
    microphone.open()
    assert microphone.read(stop) is None


def test_contract_closed_means_closed_and_may_be_opened_again(microphone: Microphone) -> None:
    with pytest.raises(MicrophoneError, match="not open"):
        microphone.read(threading.Event())
    microphone.open()
    blocks(microphone, 1)
    microphone.close()
    microphone.close()
    with pytest.raises(MicrophoneError, match="not open"):
        microphone.read(threading.Event())
    microphone.open()
    assert blocks(microphone, 1)
    assert microphone.name


@pytest.mark.parametrize("make", ["synthetic", "file"])
def test_contract_times_follow_from_the_samples(make: str, clock: CaptureClock, sound_file: Path) -> None:
    microphone: Microphone = SyntheticMicrophone(clock=clock)
    if make == "file":
        microphone = FileMicrophone(sound_file, LoopTimeline(clock.now_ns(), 2 * S), clock=clock)
    microphone.open()
    found = blocks(microphone, 300)
    for before, after in itertools.pairwise(found):
        assert abs(after.first_sample_ns - before.first_sample_ns - before.samples * S / 48_000) < 30_000
    assert clock.now_ns() >= found[-1].first_sample_ns + found[-1].samples * S // 48_000 - 1


def test_synthetic_clicks_on_the_second(clock: CaptureClock, find_clicks: FindClicks) -> None:
    microphone = SyntheticMicrophone(SyntheticSound(jitter_ns=3 * MS), clock=clock)
    microphone.open()
    first_index = index_at(clock.now_ns())
    pcm = b"".join(block.pcm_s16le for block in blocks(microphone, 150))
    clicks = find_clicks(first_index, pcm)
    assert len(clicks) == 3
    assert all(min(click % S, S - click % S) < 40_000 for click in clicks)


def test_synthetic_begins_late_if_told_so(clock: CaptureClock) -> None:
    microphone = SyntheticMicrophone(SyntheticSound(first_sound_ns=700 * MS), clock=clock)
    opened_ns = clock.now_ns()
    microphone.open()
    assert microphone.read(threading.Event()) is None
    assert blocks(microphone, 1)[0].first_sample_ns == opened_ns + 700 * MS


def test_synthetic_can_be_unplugged_and_plugged_in_again(clock: CaptureClock) -> None:
    start_ns = clock.now_ns()
    gone = (start_ns + 500 * MS, start_ns + S)
    microphone = SyntheticMicrophone(SyntheticSound(unplugged=[gone]), clock=clock)
    microphone.open()
    with pytest.raises(MicrophoneError, match="unplugged"):
        blocks(microphone, 100)
    microphone.close()
    with pytest.raises(MicrophoneError, match="no microphone"):
        microphone.open()
    clock.wait_until(gone[1], threading.Event())
    microphone.open()
    assert blocks(microphone, 1)[0].first_sample_ns >= gone[1]


def test_file_is_looped_at_the_pictures_period(
    clock: CaptureClock, sound_file: Path, find_clicks: FindClicks
) -> None:
    origin_ns = clock.now_ns()
    microphone = FileMicrophone(sound_file, LoopTimeline(origin_ns, 1_800 * MS, 100 * MS), clock=clock)
    microphone.open()
    found = blocks(microphone, 300)
    clicks = [c for block in found for c in find_clicks(index_at(block.first_sample_ns), block.pcm_s16le)]
    expected = [origin_ns + at * MS for at in (400, 1_400, 2_200, 3_200, 4_000, 5_000)]
    assert [abs(click - want) < MS for click, want in zip(clicks, expected, strict=False)] == [True] * 6


def test_a_loop_longer_than_its_sound_has_a_hole(clock: CaptureClock, sound_file: Path) -> None:
    origin_ns = clock.now_ns()
    microphone = FileMicrophone(sound_file, LoopTimeline(origin_ns, 3 * S), clock=clock)
    microphone.open()
    found = blocks(microphone, 60)
    before, after = next(pair for pair in itertools.pairwise(found) if pair[1].after_hole)
    assert abs(before.first_sample_ns + before.samples * S // 48_000 - origin_ns - 2 * S) < MS
    assert after.first_sample_ns == origin_ns + 3 * S


def test_file_opened_late_joins_in(clock: CaptureClock, sound_file: Path, find_clicks: FindClicks) -> None:
    origin_ns = clock.now_ns() - 9 * S - 100 * MS
    microphone = FileMicrophone(sound_file, LoopTimeline(origin_ns, 2 * S), clock=clock)
    microphone.open()
    found = blocks(microphone, 40)
    assert clock.now_ns() - 2 * S < found[0].first_sample_ns <= origin_ns + 9 * S + 100 * MS
    clicks = [c for block in found for c in find_clicks(index_at(block.first_sample_ns), block.pcm_s16le)]
    assert abs(clicks[0] - (origin_ns + 9 * S + 500 * MS)) < MS


def test_files_without_sound_are_refused_in_one_line(tmp_path: Path) -> None:
    absent = FileMicrophone(tmp_path / "absent.mp4", LoopTimeline(0, S))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(bytes(2_000))
    soundless = tmp_path / "soundless.mp4"
    with av.open(str(soundless), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 16
        for packet in (*stream.encode(av.VideoFrame(16, 16, "yuv420p")), *stream.encode(None)):
            container.mux(packet)
    for microphone in (absent, *(FileMicrophone(path, LoopTimeline(0, S)) for path in (broken, soundless))):
        with pytest.raises(MicrophoneError, match="no sound") as caught:
            microphone.open()
        assert "\n" not in str(caught.value)


def test_alsa_device_that_is_not_there_is_one_clear_line(alsa_plugins: None) -> None:
    with pytest.raises(DeviceError, match="no microphone nowhere") as caught:
        AlsaMicrophone("nowhere").open()
    assert "arecord -L" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_alsa_reads_what_the_device_has(alsa_plugins: None) -> None:
    microphone = AlsaMicrophone("samples")
    microphone.open()
    pcm = array("h", b"".join(block.pcm_s16le for block in blocks(microphone, 4)))
    assert all(after - before == 1 for before, after in itertools.pairwise(pcm))
    microphone.close()


def test_the_real_clock_paces_in_real_time() -> None:
    microphone = SyntheticMicrophone(clock=MonotonicClock())
    begin_ns = time.monotonic_ns()
    microphone.open()
    blocks(microphone, 10)
    assert time.monotonic_ns() - begin_ns >= 200 * MS

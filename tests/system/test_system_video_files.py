"""Point 2: real footage through the command line, opened by Debian's age and judged by ffprobe."""

import itertools
import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.conftest import Demos

NS_PER_S = 1_000_000_000
LONG = "bikes.mp4"
SHORT = ("bigbuckbunny.mp4", "carphone_distorted.mp4", "carphone_pristine.mp4")


def probed(path: Path) -> dict[str, Any]:
    program = shutil.which("ffprobe")
    if program is None:
        pytest.skip("ffprobe is not installed")
    show = "stream=index,codec_name,time_base,nb_read_frames:packet=stream_index,pts,dts,flags"
    run = subprocess.run(
        [program, "-v", "error", "-count_frames", "-show_entries", show, "-of", "json", str(path)],
        capture_output=True,
        check=True,
        text=True,
    )
    assert run.stderr == ""
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.mark.parametrize("name", [*SHORT, LONG])
def test_the_clip_of_real_footage_is_whole(name: str, demos: "Demos", tmp_path: Path) -> None:
    run = demos(name)
    age = shutil.which("age")
    if age is None:
        pytest.skip("Debian's age is not installed")
    output, errors = run.process.communicate(timeout=300)
    assert run.process.returncode == 0, errors
    (clip,) = (run.place / "store" / "clips" / "cam-demo").iterdir()
    assert Path(json.loads(output)["clip"]) == clip
    identity = run.place / "keys" / "agency" / "identity" / "identity.txt"
    opened = tmp_path / "clip.mp4"
    subprocess.run([age, "-d", "-i", identity, "-o", opened, clip / "clip.mp4.age"], check=True)
    _judge(probed(opened), json.loads((clip / "manifest.json").read_bytes()))


def _judge(found: dict[str, Any], manifest: dict[str, Any]) -> None:
    video, audio = found["streams"]
    assert (video["codec_name"], audio["codec_name"]) == ("h264", "aac")
    packets = [packet for packet in found["packets"] if packet["stream_index"] == video["index"]]
    assert len(packets) == manifest["frames"] == int(video["nb_read_frames"])
    assert "K" in packets[0]["flags"]
    dts = [packet["dts"] for packet in packets]
    assert all(one < two for one, two in itertools.pairwise(dts))
    pts = sorted(packet["pts"] for packet in packets)
    rate = manifest["media"]["video"]
    tick = Fraction(video["time_base"])
    frame = Fraction(rate["rate_den"], rate["rate_num"])
    # No picture is doubled or missing: each comes one frame after the one before, to the rounding of a tick.
    assert all(abs((two - one) * tick - frame) <= 2 * tick for one, two in itertools.pairwise(pts))
    _judge_span(pts, tick, frame, packets, manifest)


def _judge_span(
    pts: list[int], tick: Fraction, frame: Fraction, packets: list[dict[str, Any]], manifest: dict[str, Any]
) -> None:
    edge_ns, first_ns, stop_ns = (
        manifest["start"]["trigger"]["edge_ns"],
        manifest["first_pts_ns"],
        manifest["stop_ns"],
    )
    assert packets[0]["pts"] == pts[0]
    before_s = Fraction(edge_ns - first_ns, NS_PER_S)
    length_s = (pts[-1] - pts[0]) * tick + frame
    assert before_s * NS_PER_S >= manifest["preevent"]["requested_ns"] >= 3 * NS_PER_S
    assert manifest["preevent"] == {
        "requested_ns": manifest["preevent"]["requested_ns"],
        "delivered_ns": edge_ns - first_ns,
        "shortfall": None,
    }
    assert 0 < before_s < length_s
    to_stop_s = Fraction(stop_ns - first_ns, NS_PER_S)
    assert to_stop_s <= length_s + tick  # footage up to the stop,
    assert length_s <= to_stop_s + 1  # and no more than was written before the stop was told


def test_thirty_seconds_were_asked_for(demos: "Demos") -> None:
    run = demos(LONG)
    assert run.process.wait(timeout=300) == 0
    (clip,) = (run.place / "store" / "clips" / "cam-demo").iterdir()
    manifest = json.loads((clip / "manifest.json").read_bytes())
    assert manifest["preevent"]["requested_ns"] == 30 * NS_PER_S
    assert manifest["preevent"]["delivered_ns"] >= 30 * NS_PER_S

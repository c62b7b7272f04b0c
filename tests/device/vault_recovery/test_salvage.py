"""Footage of an interrupted clip: all whole chunks, not a byte that is not authentic, and a plain word."""

import io
from pathlib import Path

import pytest

from evidence.age import parse_identities
from evidence.errors import EvidenceError
from evidence.salvage import Salvaged, salvage_clip
from tests.device.vault_recovery.rig import CHUNK, Camera, Death, frames

WHOLE = b"".join(frame.data for frame in frames())


def salvage(clip: Path, keys: Path) -> tuple[bytes, Salvaged]:
    text = (keys.parent / "agency" / "identity" / "identity.txt").read_text("ascii")
    out = io.BytesIO()
    salvaged = salvage_clip(clip, out, parse_identities(text))
    assert salvaged.plaintext_bytes == len(out.getvalue())
    return out.getvalue(), salvaged


def test_a_complete_clip_is_all_there(camera: Camera, keys: Path) -> None:
    data, salvaged = salvage(camera.record(), keys)
    assert data == WHOLE
    assert salvaged.word == "complete"


@pytest.mark.parametrize("recovered", [False, True])
def test_an_interrupted_clip_ends_with_its_last_whole_chunk(
    camera: Camera, keys: Path, recovered: bool
) -> None:
    with Death(16):
        camera.record()
    (clip,) = (camera.root / "clips").iterdir()
    with (clip / "clip.mp4.age").open("ab") as file:
        file.write(b"half a chunk")
    if recovered:
        camera.recover()
    data, salvaged = salvage(clip, keys)
    assert data == WHOLE[: len(data)]
    assert len(data) >= CHUNK
    assert len(data) % CHUNK == 0
    assert not salvaged.complete
    assert "interrupted" in salvaged.word


def test_what_follows_a_chunk_that_is_not_authentic_stays_where_it_is(camera: Camera, keys: Path) -> None:
    clip = camera.record()
    path = clip / "clip.mp4.age"
    data = bytearray(path.read_bytes())
    data[-150_000] ^= 1
    path.write_bytes(data)
    found, salvaged = salvage(clip, keys)
    assert found == WHOLE[: len(found)]
    assert (salvaged.complete, salvaged.damaged) == (False, True)


def test_a_claim_that_holds_nothing(camera: Camera, keys: Path) -> None:
    with Death(9):
        camera.record()
    camera.recover()
    (clip,) = (camera.root / "clips").iterdir()
    with pytest.raises(EvidenceError, match="nothing to salvage"):
        salvage(clip, keys)

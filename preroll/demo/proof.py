"""The end of the demo: verify what the dock stored without a key, then open the clip, decode it, and count."""

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from evidence.age.keyfiles import parse_identities
from evidence.age.reader import decrypt_file
from evidence.attestations import read_tombstone
from evidence.documents import Manifest, Receipt, Verdict
from evidence.errors import EvidenceError
from evidence.findings import Check, Finding
from evidence.holdings import find_holdings
from evidence.paths import load_roots
from evidence.survey import Circumstances, ClipVerdict, DocumentVerdict, Survey, survey
from host.custody import CustodyEntry, CustodyReader
from preroll.demo.dockside import ClipPlaces
from preroll.demo.stage import Stage

__all__ = ["Opened", "Proof", "StoreProof", "instructions", "open_clip", "prove_store"]

_NS_PER_S = 1_000_000_000
_EXPECTED_ENTRIES = ("docked", "clip_stored", "receipt_accepted", "undocked")


class StoreProof(msgspec.Struct, frozen=True):
    """What store and vault hold beside the clip itself; `defects` is empty if all is good.

    `finding` is over everything in both, `clips` their number; `custody` is the trail of the demo's clip.
    """

    finding: Finding
    clips: int
    receipt: Receipt
    receipt_by: str
    tombstone: Path
    custody: tuple[CustodyEntry, ...]
    notes: tuple[str, ...]
    defects: tuple[str, ...]


class Proof(msgspec.Struct, frozen=True):
    """The clip in the store: what its camera signed, what each check said, and what speaks for it around it."""

    manifest: Manifest
    checks: tuple[Check, ...]
    finding: Finding
    store: StoreProof


class Opened(msgspec.Struct, frozen=True):
    """What decoding the opened clip found; `defects` is empty if all is as the manifest says."""

    frames: int
    delivered_s: float
    duration_s: float
    sound_frames: int
    defects: tuple[str, ...]


def prove_store(stage: Stage, places: ClipPlaces) -> Proof:
    """Verify store and vault without a key, as `preroll clip verify STORE VAULT` does, and read the trail.

    Raises:
        EvidenceError: tombstone, receipt or custody log are not good.
        OSError: one of them cannot be read.
    """
    roots = load_roots(stage.root)
    found = survey([find_holdings(stage.store), find_holdings(stage.vault)], Circumstances(roots))
    stone = read_tombstone(places.tombstone, roots)
    trail = _read_trail(stage.store / "custody.jsonl", stone.receipt)
    mine = next((each for each in found.clips if each.path == places.in_store), None)
    kept = (places.in_store / "receipt.json").read_bytes()
    kinds = {entry.kind for entry in trail}
    defects = [
        *(["the clip is not in the store"] if mine is None else []),
        *(["the store keeps another receipt than the camera"] if kept != stone.receipt_signed.content else []),
        *([] if stone.receipt.verdict is Verdict.STORED else [f"the receipt says {stone.receipt.verdict}"]),
        *(f"the custody log has no entry {kind}" for kind in _EXPECTED_ENTRIES if kind not in kinds),
        *_defects(found),
    ]
    store = StoreProof(
        finding=found.finding,
        clips=len(found.clips),
        receipt=stone.receipt,
        receipt_by=stone.receipt_signed.identity.subject_id,
        tombstone=places.tombstone,
        custody=trail,
        notes=tuple(
            f"{each.clip}: {each.finding}, left by an earlier demo"
            for each in found.clips
            if each.path != places.in_store and each.finding is not Finding.AUTHENTIC
        ),
        defects=tuple(defects),
    )
    return Proof(
        manifest=stone.manifest,
        checks=mine.checks if mine else (),
        finding=mine.finding if mine else Finding.CANNOT_TELL,
        store=store,
    )


def _defects(found: Survey) -> Iterator[str]:
    """Say what is wrong with store and vault; that an earlier demo left a clip interrupted is not."""
    verdicts: tuple[ClipVerdict | DocumentVerdict, ...] = (*found.clips, *found.documents)
    for each in verdicts:
        if each.finding in (Finding.NOT_AUTHENTIC, Finding.CANNOT_TELL):
            yield f"{each.path}: {each.finding}"
    for account in found.accounts:
        if account.missing:
            yield f"numbers missing of epoch {account.place.generation}: {account.missing}"
        if account.forks:
            yield f"numbers given twice in epoch {account.place.generation}: {len(account.forks)}"


def _read_trail(path: Path, receipt: Receipt) -> tuple[CustodyEntry, ...]:
    """Verify the whole custody log; return what it says of this clip, and of the camera's last docking."""
    trail: list[CustodyEntry] = []
    signed_head = ""
    with path.open("rb") as file:
        for read in CustodyReader(file, receipt.store):
            entry = read.entry
            if entry.index == receipt.custody.entries:
                signed_head = read.sha256
            if entry.kind == "docked" and entry.device == receipt.device:
                trail = [kept for kept in trail if kept.clip is not None]  # of an earlier docking
            if entry.device == receipt.device and entry.clip in (None, receipt.clip):
                trail.append(entry)
    if signed_head != receipt.custody.head:
        raise EvidenceError(
            "the custody log is not the one that the receipt names",
            expected=receipt.custody.head,
            found=signed_head or "no such entry",
        )
    return tuple(trail)


def open_clip(clip: Path, identity: Path, output: Path, manifest: Manifest) -> Opened:
    """Decrypt a clip to `output`, decode every frame, and hold what is there against the manifest.

    Raises:
        AgeError: it does not open.
        av.FFmpegError: it does not decode.
    """
    identities = parse_identities(identity.read_text(encoding="ascii"))
    with (clip / "clip.mp4.age").open("rb") as source, output.open("wb") as target:
        decrypt_file(source, target, identities)
    frames, pts, dts, first_key = _decode(output)
    defects = []
    if frames != manifest.frames:
        defects.append(f"{frames} pictures decode, the manifest says {manifest.frames}")
    if not first_key:
        defects.append("the first frame is not a keyframe")
    if len(set(pts)) != len(pts):
        defects.append("a picture is doubled")
    if dts != sorted(set(dts)):
        defects.append("decode times do not increase")
    sound = _sound_frames(output)
    if not sound:
        defects.append("there is no sound track")
    return Opened(
        frames=frames,
        delivered_s=manifest.preevent.delivered_ns / _NS_PER_S,
        duration_s=manifest.duration_ns / _NS_PER_S,
        sound_frames=sound,
        defects=tuple(defects),
    )


def instructions(clip: Path, root: Path, identity: Path) -> list[str]:
    """Commands with which anybody can do the same without Preroll; only those whose tools are installed."""
    lines = []
    if shutil.which("openssl"):
        lines.append(
            f"openssl cms -verify -binary -inform DER -in {_quoted(clip / 'manifest.p7s')}"
            f" -content {_quoted(clip / 'manifest.json')} -CAfile {_quoted(root)} -out /dev/null"
        )
    if shutil.which("age"):
        lines.append(f"age -d -i {_quoted(identity)} -o clip.mp4 {_quoted(clip / 'clip.mp4.age')}")
    return lines


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _decode(path: Path) -> tuple[int, list[int], list[int], bool]:
    import av

    with av.open(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        pts = [packet.pts for packet in packets if packet.pts is not None]
        dts = [packet.dts for packet in packets if packet.dts is not None]
        first_key = bool(packets) and packets[0].is_keyframe
    with av.open(path) as container:
        frames = sum(1 for _ in container.decode(video=0))
    return frames, pts, dts, first_key


def _sound_frames(path: Path) -> int:
    import av

    with av.open(path) as container:
        if not container.streams.audio:
            return 0
        return sum(1 for _ in container.decode(audio=0))

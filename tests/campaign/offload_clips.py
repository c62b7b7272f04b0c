"""Clips of any size in a camera's vault, by the camera's own vault and clip writer, with simple media."""

import hashlib
import itertools
from pathlib import Path

import msgspec

from device.vault.vault import ClaimedClip
from evidence.age import parse_recipient
from evidence.clipwriter import ClipWriter, WriterLimits
from evidence.documents import ClipEnd, Ended, Manifest, decode
from evidence.frames import EncodedFrame, Track
from evidence.journal import JournalBuilder
from evidence.manifest import JournalSummary
from tests.device.vault_recovery.rig import FIRST_PTS_NS, FRAME_BYTES, FRAME_NS, Camera, SimpleMedia

__all__ = ["MadeClip", "make_clips"]


class MadeClip(msgspec.Struct, frozen=True):
    """A sealed clip that waits beside the vault; `interval_bytes` is its longest between two sync points."""

    directory: Path
    manifest: Manifest
    manifest_sha256: str
    interval_bytes: int

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def size_bytes(self) -> int:
        assert self.manifest.ciphertext is not None
        return self.manifest.ciphertext.bytes

    def measure(self) -> str:
        """Return the SHA-256 of the ciphertext, while it waits."""
        with (self.directory / "clip.mp4.age").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class _Recorder(Camera):
    """Records clips of a size, with sync points so many bytes apart."""

    size_bytes = FRAME_BYTES
    interval_bytes = 1 << 20

    def _write(self, claimed: ClaimedClip, journal: JournalBuilder, summary: JournalSummary) -> ClipEnd:
        writer = ClipWriter(
            journal=journal,
            journal_file=claimed.journal,
            media_file=claimed.open_file(claimed.directory / "clip.mp4.age"),
            recipients=[parse_recipient(self.recipient)],
            make_media=SimpleMedia,  # type: ignore[arg-type]  # the part that the writer uses
            give_up_reserve=lambda: None,
            on_line=summary.add,
            limits=WriterLimits(flush_bytes=self.interval_bytes),
        )
        now_ns = FIRST_PTS_NS
        for number in range(self.size_bytes // FRAME_BYTES + 1):
            pts_ns = FIRST_PTS_NS + number * FRAME_NS
            data = bytes([number % 256]) * FRAME_BYTES
            writer.write(EncodedFrame(Track.VIDEO, data, pts_ns, pts_ns, FRAME_NS, number == 0))
            now_ns += FRAME_NS
            writer.sync_if_due(now_ns, live=False)
        return writer.finish(Ended.STOPPED, now_ns, now_ns)


def make_clips(vault: Path, keys: Path, *, count: int, size_bytes: int, interval_bytes: int) -> list[MadeClip]:
    """Record clips and set them aside in `VAULT.waiting`, so that each can be put back in its turn."""
    recorder = _Recorder(vault, keys)
    recorder.size_bytes, recorder.interval_bytes = size_bytes, interval_bytes
    made = [recorder.record() for _ in range(count)]
    waiting = vault.with_name(f"{vault.name}.waiting")
    waiting.mkdir()
    return [_described(path.rename(waiting / path.name)) for path in made]


def _described(directory: Path) -> MadeClip:
    document = (directory / "manifest.json").read_bytes()
    lines = (directory / "journal.jsonl").read_bytes().splitlines()[1:]
    ends = [0, *(msgspec.json.decode(line)["l"]["ciphertext_bytes"] for line in lines)]
    return MadeClip(
        directory=directory,
        manifest=decode(document, Manifest),
        manifest_sha256=hashlib.sha256(document).hexdigest(),
        interval_bytes=max(end - start for start, end in itertools.pairwise(ends)),
    )

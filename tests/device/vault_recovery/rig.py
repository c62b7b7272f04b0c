"""One clip by the camera's own code, with simple media, and a way to die at any named step.

`python -m tests.device.vault_recovery.rig VAULT KEYS STEP` is killed by SIGKILL right before its STEPth step.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from device.vault.layout import format_vault, open_layout
from device.vault.vault import ClaimedClip, ClipPlace, Vault
from evidence.age import parse_recipient
from evidence.clipwriter import ClipWriter, WriterLimits
from evidence.clock import ClockSource, format_utc
from evidence.documents import (
    AudioFacts,
    ClipEnd,
    ClipStart,
    Clock,
    Ended,
    LogHead,
    LogLine,
    MediaFacts,
    Requested,
    Trigger,
    VideoFacts,
    clip_name,
)
from evidence.documents.fields import ConfigRef
from evidence.frames import EncodedFrame, Span, Track
from evidence.interrupted import interruption_cause
from evidence.journal import JournalBuilder
from evidence.manifest import BytesPresent, JournalSummary, build_manifest
from evidence.media.clipstream import Contained
from evidence.media.fmp4 import Fragment
from evidence.recover import Recovered, recover_clip
from evidence.roles import Role
from evidence.seal import seal_clip
from evidence.signer import Signer, load_signer
from evidence.steps import Operation, set_step_hook, step_name

BOOT = "0f" * 16
DEVICE = "cam0042"
FIRST_PTS_NS = 10_000_000_000
FRAME_NS = 33_333_333
FRAME_BYTES = 30_000
FRAMES = 8
CHUNK = 65_536


class KilledError(BaseException):
    """The process is gone: whatever it would still do on storage raises this again."""


class SimpleMedia:
    """The part of `MediaWriter` that a clip's writer uses; a frame is a run of its own bytes."""

    def __init__(self, sink: Callable[[bytes], object], on_fragment: Callable[[Fragment], object]) -> None:
        self._sink = sink
        self._on_fragment = on_fragment
        self._written = 0

    def write(self, frame: EncodedFrame) -> None:
        self._sink(frame.data)
        start, self._written = self._written, self._written + len(frame.data)
        self._on_fragment(
            Fragment(start, self._written, FRAME_NS, frame.dts_ns, (frame.pts_ns,), (self._written,))
        )

    def advance(self, now_ns: int) -> None:
        """Nothing waits here."""

    def contained(self, plaintext_bytes: int) -> Contained:
        whole = plaintext_bytes // FRAME_BYTES
        return Contained(whole, FIRST_PTS_NS + (whole - 1) * FRAME_NS if whole else None)

    def fill_chunk(self, limit_ns: int) -> int:
        return 0

    def take_silences(self) -> list[Span]:
        return []

    def close(self) -> None:
        """Every byte has been passed on."""


def frames() -> Iterable[EncodedFrame]:
    for number in range(FRAMES):
        pts_ns = FIRST_PTS_NS + number * FRAME_NS
        yield EncodedFrame(
            Track.VIDEO, bytes([number % 256]) * FRAME_BYTES, pts_ns, pts_ns, FRAME_NS, number == 0
        )


def start_facts(
    place: ClipPlace, recipient: str, log: LogHead | None = None, utc_ns: int | None = None
) -> ClipStart:
    return ClipStart(
        clip=clip_name(place.device, place.number, utc_ns),
        device=place.device,
        epoch=place.epoch,
        generation=place.generation,
        number=place.number,
        previous_start=place.previous_start,
        log=log,
        trigger=Trigger(source="button", edge_ns=FIRST_PTS_NS),
        preevent=Requested(requested_ns=0, available_ns=0, shortfall=None),
        first_pts_ns=FIRST_PTS_NS,
        boot=BOOT,
        monotonic_ns=FIRST_PTS_NS,
        utc=None if utc_ns is None else format_utc(utc_ns),
        clock=Clock(source=ClockSource.NONE, error_ns=None, set_ns=None),
        config=ConfigRef(version=0, sha256="0" * 64),
        recipients=(recipient,),
        wearer=None,
        media=MediaFacts(
            video=VideoFacts(codec="h264", width=640, height=480, rate_num=30, rate_den=1),
            audio=AudioFacts(codec="aac", sample_rate=48_000, channels=1),
        ),
        firmware="0.0.0",
    )


class Camera:
    """A vault and a key; each method does what the firmware does at that point."""

    def __init__(self, root: Path, keys: Path) -> None:
        self.root = root
        self.signer: Signer = load_signer(keys, Role.CAMERA_EVIDENCE)
        self.recipient = (keys.parent / "agency" / "identity" / "recipients.txt").read_text().split()[-1]
        if not (root / "vault.json").exists():
            root.mkdir(parents=True, exist_ok=True)
            format_vault(root, DEVICE)

    def record(self, *, seal: bool = True, log: LogHead | None = None, utc_ns: int | None = None) -> Path:
        """Make one clip from the claim to the seal."""
        layout = open_layout(self.root, DEVICE)
        try:
            vault = Vault(layout)
            journal = JournalBuilder(self.signer)
            starts: list[ClipStart] = []

            def line0(place: ClipPlace) -> tuple[str, bytes]:
                starts.append(start_facts(place, self.recipient, log, utc_ns))
                return starts[-1].clip, journal.line(starts[-1])

            claimed = vault.claim(line0)
            summary = JournalSummary(starts[-1], journal.previous)
            end = self._write(claimed, journal, summary)
            if seal:
                present = BytesPresent(journal=journal.figures, ciphertext=end.ciphertext, header=end.header)
                seal_clip(claimed.directory, build_manifest(summary, present), self.signer)
            return claimed.directory
        finally:
            layout.close()

    def _write(self, claimed: ClaimedClip, journal: JournalBuilder, summary: JournalSummary) -> ClipEnd:
        writer = ClipWriter(
            journal=journal,
            journal_file=claimed.journal,
            media_file=claimed.open_file(claimed.directory / "clip.mp4.age"),
            recipients=[parse_recipient(self.recipient)],
            make_media=SimpleMedia,  # type: ignore[arg-type]  # the part that the writer uses
            give_up_reserve=lambda: None,
            on_line=summary.add,
            limits=WriterLimits(flush_bytes=100_000),
        )
        now_ns = FIRST_PTS_NS
        for frame in frames():
            writer.write(frame)
            now_ns += FRAME_NS
            writer.sync_if_due(now_ns, live=False)
        return writer.finish(Ended.STOPPED, now_ns, now_ns)

    def recover(self, log: Iterable[LogLine] = ()) -> list[Recovered]:
        """Recover all clips, as a start does."""
        layout = open_layout(self.root, DEVICE)
        try:
            return [
                recover_clip(
                    directory,
                    signer=self.signer,
                    rejected=layout.rejected,
                    cause=lambda start: interruption_cause(start, log),
                )
                for directory in sorted(layout.clips.iterdir())
            ]
        finally:
            layout.close()


class Death:
    """A step hook: notes every step, and ends the process before the `at`th (from 0; `None` never).

    `synced` is what was on storage: for each file (by inode) the size at the last sync that returned.
    """

    def __init__(self, at: int | None = None, *, signal_number: int | None = None) -> None:
        self.at = at
        self.names: list[str] = []
        self.synced: dict[int, int] = {}
        self.dead = False
        self._signal = signal_number
        self._syncing: Path | None = None

    def __call__(self, operation: Operation, path: Path) -> None:
        if self.dead:
            raise KilledError
        self._settle()
        if len(self.names) == self.at:
            self.dead = True
            if self._signal is not None:
                os.kill(os.getpid(), self._signal)
            raise KilledError
        self.names.append(step_name(operation, path))
        self._syncing = path if operation is Operation.SYNC else None

    def _settle(self) -> None:
        """The sync that was begun has returned."""
        if self._syncing is None:
            return
        path = self._syncing
        if not path.exists():  # the journal was opened before its claim got the clip's name
            path = next(path.parent.parent.glob(f"[!.]*/{path.name}"), path)
        if path.exists():
            status = path.stat()
            self.synced[status.st_ino] = status.st_size

    def __enter__(self) -> Self:
        set_step_hook(self)
        return self

    def __exit__(self, *_: object) -> bool:
        set_step_hook(None)
        return self.dead


def main(vault: str, keys: str, at: str) -> None:
    camera = Camera(Path(vault), Path(keys))
    with Death(int(at), signal_number=signal.SIGKILL):
        camera.record()


if __name__ == "__main__":
    main(*sys.argv[1:])

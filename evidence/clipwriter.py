"""Writing one clip: frames in; ciphertext, journal and sync points out, in the order that makes them proof.

Order on storage (docs/formats.md, "Sync points"): clip data, `fdatasync`, journal line, `fdatasync`. A sync
point covers only whole chunks, so what it says can be decrypted, and only whole frames, so what it says can be
seen.
"""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from evidence.age.keys import Recipient
from evidence.cipherfile import CipherFile
from evidence.documents import ClipEnd, SyncPoint, Trigger
from evidence.documents.fields import Ended
from evidence.frames import EncodedFrame, Span, Track
from evidence.journal import JournalBuilder
from evidence.media.clipstream import MediaWriter
from evidence.media.fmp4 import Fragment, Sink
from evidence.storage import AppendFile, StorageError

__all__ = ["ClipWriter", "MakeMedia", "WriterLimits"]

_Facts = partial[SyncPoint]
MakeMedia = Callable[[Sink, Callable[[Fragment], object]], MediaWriter]
"""Makes the media of a clip: takes the sink of its plaintext, and who hears of each fragment."""


class WriterLimits(msgspec.Struct, frozen=True):
    """When a sync point is due (docs/formats.md): per fragment while live, per so many bytes while flushing."""

    flush_bytes: int = 4 * 1024 * 1024
    """Most ciphertext between two sync points while flushing, as long as a single fragment is not more."""
    waiting_ns: int = 200_000_000
    """Most media that may wait in an unfilled chunk at a sync point; more is pushed out by a `free` box."""


class ClipWriter:
    """The files of one clip, from the claim to the last line. One thread calls it.

    `journal` has written line 0, which is on storage; `media_file` is new and empty; `on_line` hears of each
    line that has come onto storage, in a hurry from another thread.

    Attributes:
        sync_points: how many are on storage.
    """

    def __init__(
        self,
        *,
        journal: JournalBuilder,
        journal_file: AppendFile,
        media_file: AppendFile,
        recipients: Sequence[Recipient],
        make_media: MakeMedia,
        give_up_reserve: Callable[[], None],
        on_line: Callable[[SyncPoint | ClipEnd], None],
        limits: WriterLimits | None = None,
    ) -> None:
        self._journal = journal
        self._journal_file = journal_file
        self._give_up_reserve = give_up_reserve
        self._on_line = on_line
        self._limits = limits or WriterLimits()
        self._cipher = CipherFile(recipients, media_file, give_up_reserve)
        self._fragments = 0
        self._largest_fragment_bytes = 0
        self._media = make_media(self._cipher.write, self._count_fragment)
        self._gaps: list[Span] = []
        self._bookmarks: list[int] = []
        self._triggers: list[Trigger] = []
        self._first_pts_ns: int | None = None
        self._end_ns = 0
        self._due_from_bytes = 0  # what the last sync point covers, which may still be under way
        self._due_from_fragments = 0
        self._begun = False
        self._frames_synced = 0
        self.sync_points = 0

    @property
    def full(self) -> bool:
        """Whether storage was full; the reserve has been given up, and the clip should end."""
        return self._cipher.full

    @property
    def fragment_due_ns(self) -> int | None:
        """When the running fragment, and with it the next live sync point, can be due at the earliest."""
        return self._media.fragment_due_ns

    @property
    def frames_synced(self) -> int:
        """Frames that the last sync point on storage covers."""
        return self._frames_synced

    @property
    def sync_begun(self) -> bool:
        """Whether there is a sync point that covers a frame, on storage or on its way."""
        return self._begun

    @property
    def ciphertext_bytes(self) -> int:
        """Bytes of the encrypted file so far."""
        return self._cipher.ciphertext_bytes

    def hurry(self, *, on: bool) -> None:
        """Say whether seconds count, as in a flush, or CPU time, as live.

        In a hurry another thread writes, syncs and attests, in the same order as without it, while this one
        muxes and encrypts what comes next; errors of storage come from a later call. Turned off, all is done.

        Raises:
            StorageError: storage refused.
        """
        self._cipher.hurry(on=on)

    def write(self, item: EncodedFrame | Span) -> None:
        """Take the next frame or gap of the sequence.

        Raises:
            StorageError: storage refuses.
            EvidenceError: a frame that cannot be muxed.
        """
        if isinstance(item, Span):
            self._gaps.append(item)
            return
        if item.track is Track.VIDEO:
            self._first_pts_ns = item.pts_ns if self._first_pts_ns is None else self._first_pts_ns
            self._end_ns = max(self._end_ns, item.pts_ns + item.duration_ns)
        self._media.write(item)

    def advance(self, now_ns: int) -> None:
        """Let what there is reach storage while no picture comes.

        Raises:
            StorageError: storage refuses.
        """
        self._media.advance(now_ns)

    def cut(self) -> None:
        """Close the running fragment, and let the next sync point cover all pictures but the newest.

        Raises:
            StorageError: storage refuses.
        """
        self._media.cut()
        if self._fragments > self._due_from_fragments:
            self._media.fill_chunk(0)

    def bookmark(self, at_ns: int) -> None:
        """Note a bookmark for the next sync point."""
        self._bookmarks.append(at_ns)

    def trigger(self, trigger: Trigger) -> None:
        """Note a further trigger for the next sync point."""
        self._triggers.append(trigger)

    def sync_if_due(self, now_ns: int, *, live: bool) -> bool:
        """Reach a sync point if one is due; whether it was. While flushing, to be asked after each frame.

        In a hurry it is on its way then, and `sync_points` says when it is reached.

        Raises:
            StorageError: storage refuses.
        """
        if live:
            due = self._fragments > self._due_from_fragments
        else:
            unsynced = self._cipher.ciphertext_bytes - self._due_from_bytes
            due = unsynced > 0 and unsynced + self._largest_fragment_bytes > self._limits.flush_bytes
        if due:
            self._sync(now_ns, live=live)
        return due

    def finish(self, ended: Ended, stop_ns: int, now_ns: int) -> ClipEnd:
        """Write what is left, the last chunk and the last line; the clip is then complete and not yet sealed.

        Raises:
            StorageError: storage refuses.
        """
        self.hurry(on=False)
        self._media.close()
        self._cipher.close()
        end = ClipEnd(
            **msgspec.structs.asdict(self._synced(self._facts(now_ns))),
            ended=ended,
            stop_ns=stop_ns,
            ciphertext=self._cipher.ciphertext,
            plaintext=self._cipher.plaintext,
            header=self._cipher.header,
            duration_ns=0 if self._first_pts_ns is None else self._end_ns - self._first_pts_ns,
        )
        self._append_line(self._journal.line(end))
        self._on_line(end)
        self._cipher.release()
        self._journal_file.close()
        return end

    def abandon(self) -> None:
        """Let go of the files as they are; recovery finds what the last sync point attests."""
        self._cipher.abandon()
        self._journal_file.close()

    def _sync(self, now_ns: int, *, live: bool) -> None:
        if live:
            self._media.fill_chunk(self._limits.waiting_ns)
        self._cipher.flush_full()
        facts = self._facts(now_ns)
        self._cipher.then(partial(self._attest, facts))
        self._begun = self._begun or facts.keywords["frames"] > 0
        self._gaps.clear()
        self._bookmarks.clear()
        self._triggers.clear()
        self._due_from_bytes = self._cipher.ciphertext_bytes
        self._due_from_fragments = self._fragments

    def _attest(self, facts: _Facts) -> None:
        """Reach the sync point that states these facts; in a hurry in the other thread."""
        point = self._synced(facts)
        self._append_line(self._journal.line(point))
        self._on_line(point)
        self._frames_synced = point.frames
        self.sync_points += 1

    def _synced(self, facts: _Facts) -> SyncPoint:
        """Put the ciphertext on storage and say what it then holds."""
        interval = self._cipher.sync()
        return facts(line=self._journal.next_line, previous=self._journal.previous, interval=interval)

    def _facts(self, now_ns: int) -> _Facts:
        """Return what a sync point says of all that was written so far, but for what only its writing tells."""
        held = self._media.contained(self._cipher.plaintext_sealed)
        return partial(
            SyncPoint,
            ciphertext_bytes=self._cipher.ciphertext_bytes,
            plaintext_bytes=self._cipher.plaintext_sealed,
            frames=held.frames,
            last_pts_ns=held.last_pts_ns,
            gaps=tuple(self._gaps),
            silences=tuple(self._media.take_silences()),
            bookmarks=tuple(self._bookmarks),
            triggers=tuple(self._triggers),
            monotonic_ns=now_ns,
        )

    def _count_fragment(self, fragment: Fragment) -> None:
        self._fragments += 1
        size = fragment.end_offset_bytes - fragment.offset_bytes
        self._largest_fragment_bytes = max(self._largest_fragment_bytes, size)

    def _append_line(self, line: bytes) -> None:
        """Put a line on storage; a full one costs the reserve, and the line goes on from where it stopped."""
        before = self._journal_file.size_bytes
        try:
            self._journal_file.append(line)
        except StorageError as error:
            if not error.full or self._cipher.full:
                raise
            self._cipher.full = True
            self._give_up_reserve()
            self._journal_file.append(line[self._journal_file.size_bytes - before :])
        self._journal_file.sync()

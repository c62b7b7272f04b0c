"""The writer of one clip: a thread that carries frames from its ring cursor to storage, and seals the clip.

A clip has a writer of its own, so no press waits until the last clip is sealed. What is waited for is storage
alone; the cursor keeps what storage has not taken yet in the ring.
"""

import logging
import queue
import threading
from fractions import Fraction

import msgspec

from device.buffer.cursor import Cursor, Item
from device.recording.cut import Cut, Verdict
from device.recording.events import ClipEnded, ClipFailed, ClipProgress
from device.recording.writercontext import WriterContext
from device.vault.vault import ClaimedClip, ClipPlace
from evidence.clipwriter import ClipWriter
from evidence.clock import UtcMapping, format_utc
from evidence.documents import (
    AudioFacts,
    ClipEnd,
    ClipStart,
    Clock,
    MediaFacts,
    Requested,
    Trigger,
    VideoFacts,
    clip_name,
)
from evidence.documents.fields import Ended
from evidence.errors import EvidenceError, ExplainedError
from evidence.frames import EncodedFrame, Span, Track, VideoFormat
from evidence.journal import JournalBuilder
from evidence.manifest import BytesPresent, JournalSummary, build_manifest
from evidence.media.clipstream import MediaWriter
from evidence.media.h264 import picture_size
from evidence.seal import seal_clip
from evidence.storage import StorageError

__all__ = ["ClipThread", "WriterContext"]

_log = logging.getLogger(__name__)

_FIRST_READ_BYTES = 1024 * 1024
"""The first sync point comes early, so that the light can answer the press."""
_READ_BYTES = 3 * 1024 * 1024
_NS_PER_S = 1_000_000_000
_REST_NS = _NS_PER_S // 2  # the longest sleep, whatever the clocks say: a fragment lasts no longer
_LIVE_NS = 600_000_000
"""Less behind the newest frame than this is live: one fragment and what the encoder holds."""


class _Claim(msgspec.Struct, frozen=True):
    """A claimed number, and what was said of it in line 0."""

    clip: ClaimedClip
    journal: JournalBuilder
    summary: JournalSummary
    mapping: UtcMapping


class _Bookmark(msgspec.Struct, frozen=True):
    at_ns: int


class _Stop(msgspec.Struct, frozen=True):
    ended: Ended
    stop_ns: int


class ClipThread:
    """Writes one clip; implements the recorder's `ClipHandle`."""

    def __init__(self, context: WriterContext, source: str, edge_ns: int, cursor: Cursor) -> None:
        self._context = context
        self._trigger = Trigger(source=source, edge_ns=edge_ns)
        self._cursor = cursor
        self._orders: queue.SimpleQueue[_Bookmark | _Stop | Trigger] = queue.SimpleQueue()
        self._stop: _Stop | None = None
        self._cut = Cut(context.sound_lag_ns)
        self._name = ""
        self._live = self._flushes = False
        self._reported = 0  # sync points
        self._caught_up_ns: int | None = None
        self.turn_ns = context.now_ns()  # the last turn of any of its loops: what a watchdog goes by
        self._done = threading.Event()
        self._pause = threading.Event()  # never set
        self._ordered_end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clip-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def bookmark(self, at_ns: int) -> None:
        """Note a bookmark."""
        self._orders.put(_Bookmark(at_ns))

    def add_trigger(self, source: str, edge_ns: int) -> None:
        """Note a further trigger."""
        self._orders.put(Trigger(source=source, edge_ns=edge_ns))

    def end(self, ended: Ended, stop_ns: int) -> None:
        """End the clip; the first stop counts."""
        self._orders.put(_Stop(ended, stop_ns))
        self._ordered_end.set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until the clip is sealed or has failed, and that is told; whether it is."""
        if timeout_s != 0:
            self._thread.join(timeout_s)
        return self._done.is_set()

    def _run(self) -> None:
        event: ClipEnded | ClipFailed = self._failed("an error of the program; the system's log has it")
        try:
            event = self._write()
        except ExplainedError as error:
            event = self._failed(str(error), full=isinstance(error, StorageError) and error.full)
        finally:  # whatever happened: nobody waits for a writer that is gone, and its end is seen
            self._cursor.close()
            self._done.set()
            self._context.post(event)

    def _failed(self, reason: str, *, full: bool = False) -> ClipFailed:
        return ClipFailed(self._name, self._trigger.edge_ns, reason, full)

    def _write(self) -> ClipEnded | ClipFailed:
        items = self._first_items()
        if not items or self._begins_after_stop(items[0]):
            return ClipFailed(
                "", self._trigger.edge_ns, "no frame came before the stop", full=False, empty=True
            )
        first = items[0]
        if isinstance(first, Span) or first.track is not Track.VIDEO or not first.keyframe:
            raise EvidenceError("a clip cannot start here", expected="a keyframe", found="another item")
        claim = self._claim(first, _media_facts(first, self._context.rate))
        self._name = claim.clip.name
        clip = self._open(claim, first)
        try:
            self._carry(clip, items)
            end = self._finish(clip)
        except ExplainedError:
            clip.abandon()
            raise
        self._cursor.close()  # what it pinned is free before the manifest is written
        sealed = self._seal(claim, end)
        return ClipEnded(
            clip=self._name,
            edge_ns=self._trigger.edge_ns,
            ended=end.ended,
            sealed=sealed,
            frames=end.frames,
            caught_up_ns=self._caught_up_ns,
        )

    def _begins_after_stop(self, first: Item) -> bool:
        return self._stop is not None and isinstance(first, EncodedFrame) and first.pts_ns > self._stop.stop_ns

    def _first_items(self) -> list[Item]:
        """Wait for the first frame; after a stop, only as long as one can still be on its way."""
        while True:
            self.turn_ns = self._context.now_ns()
            items = self._cursor.read(limit_bytes=_FIRST_READ_BYTES, timeout_s=self._context.drain_s)
            self._take_orders(None)
            while items and isinstance(items[0], Span):
                del items[0]  # a gap before the first frame: the start says how much was available
            if items or self._stop is not None or self._cursor.closed:
                return items

    def _claim(self, first: EncodedFrame, media: MediaFacts) -> _Claim:
        """Claim a number; a storage that refuses is asked again, and the ring keeps the frames meanwhile."""
        mapping = self._context.read_mapping()
        tries_left = self._context.claim_tries
        while True:
            self.turn_ns = self._context.now_ns()
            try:
                return self._claim_once(first, media, mapping)
            except StorageError as error:
                tries_left -= 1
                if error.full or error.read_only or tries_left <= 0:
                    raise
                _log.warning("claiming a number: %s", error)
                # A stop cuts no pause short: what it ends is in the ring, and still to be claimed.
                self._pause.wait(self._context.claim_retry_s)

    def _claim_once(self, first: EncodedFrame, media: MediaFacts, mapping: UtcMapping) -> _Claim:
        journal = JournalBuilder(self._context.signer)
        starts: list[ClipStart] = []

        def line0(place: ClipPlace) -> tuple[str, bytes]:
            start = self._start_facts(place, first, media, mapping)
            starts.append(start)
            return start.clip, journal.line(start)

        claimed = self._context.vault.claim(line0)
        return _Claim(claimed, journal, JournalSummary(starts[0], journal.previous), mapping)

    def _start_facts(
        self, place: ClipPlace, first: EncodedFrame, media: MediaFacts, mapping: UtcMapping
    ) -> ClipStart:
        context = self._context
        document = context.policy.document
        cursor = self._cursor
        return ClipStart(
            clip=clip_name(place.device, place.number, mapping.utc_at(first.pts_ns)),
            device=place.device,
            epoch=place.epoch,
            generation=place.generation,
            number=place.number,
            previous_start=place.previous_start,
            log=context.log_head(),
            trigger=self._trigger,
            preevent=Requested(
                requested_ns=cursor.window_ns, available_ns=cursor.available_ns, shortfall=cursor.shortfall
            ),
            first_pts_ns=first.pts_ns,
            boot=context.boot,
            monotonic_ns=mapping.monotonic_ns,
            utc=None if mapping.utc_ns is None else format_utc(mapping.utc_ns),
            clock=Clock(source=mapping.source, error_ns=mapping.error_ns, set_ns=mapping.set_ns),
            config=context.policy.reference,
            recipients=document.recipients,
            wearer=context.wearer(mapping),
            media=media,
            firmware=context.firmware,
        )

    def _open(self, claim: _Claim, first: EncodedFrame) -> ClipWriter:
        sound = self._context.policy.document.sound
        sound_from_ns = None
        if sound.recording:
            sound_from_ns = first.dts_ns if sound.before_press else self._trigger.edge_ns
        facts = claim.summary.start.media.video
        video = VideoFormat(facts.width, facts.height, self._context.rate)
        return ClipWriter(
            journal=claim.journal,
            journal_file=claim.clip.journal,
            media_file=claim.clip.open_file(claim.clip.directory / "clip.mp4.age"),
            recipients=self._context.policy.recipients,
            make_media=lambda sink, on_fragment: MediaWriter(
                first,
                video,
                sound_from_ns=sound_from_ns,
                utc=claim.mapping,
                sink=sink,
                on_fragment=on_fragment,
                lag_ns=self._context.sound_lag_ns,
            ),
            give_up_reserve=self._context.vault.reserve.give_up,
            on_line=claim.summary.add,
        )

    def _carry(self, clip: ClipWriter, items: list[Item]) -> None:
        """Carry items from the ring into the clip until it ends."""
        self._flushes = self._cursor.available_ns > _LIVE_NS
        clip.hurry(on=self._cursor.lag_ns > _LIVE_NS)
        over = self._put(clip, items)
        while not over:
            self.turn_ns = self._context.now_ns()
            live = self._live = self._cursor.lag_ns <= _LIVE_NS
            clip.hurry(on=not live)
            if live and self._caught_up_ns is None and self._put_rest(clip):
                return
            # The first does not wait for its share of the flush: it is what lights the lamp.
            due = clip.sync_if_due(self._context.now_ns(), live=live or not clip.sync_begun)
            self._report(clip, live=live and due)
            if clip.full:
                self._stop = _Stop(Ended.STORAGE_FULL, self._context.now_ns())
                return
            if live and (self._caught_up_ns is not None or not self._flushes):
                self._rest(clip)
            items = self._cursor.read(limit_bytes=_READ_BYTES, timeout_s=self._context.drain_s)
            self._take_orders(clip)
            if not items:
                if self._stop is not None:
                    return  # the camera gives no more: the clip ends with what there is
                clip.advance(self._context.now_ns())
            over = self._put(clip, items)

    def _rest(self, clip: ClipWriter) -> None:
        """Sleep while no frame that exists can complete a fragment, instead of waking for each of them.

        Nothing comes onto storage later for it: a fragment is closed by a frame that is not taken before its
        own time, and up to then what was read would wait in the muxer as it waits in the ring.
        """
        due_ns = clip.fragment_due_ns
        if due_ns is None or self._stop is not None:
            return
        rest_ns = min(due_ns - self._context.now_ns(), _REST_NS)
        if rest_ns > 0:
            self._context.rest(self._ordered_end, rest_ns / _NS_PER_S)

    def _put_rest(self, clip: ClipWriter) -> bool:
        """Write what little is left of the flush, and close its last fragment; whether the clip is over.

        So the sync point that says "caught up" attests it too, and is not a fragment and more behind the ring.
        """
        items = self._cursor.read_nowait(limit_bytes=_READ_BYTES)
        self._take_orders(clip)
        over = self._put(clip, items)
        if self._flushes:
            clip.cut()
        return over

    def _put(self, clip: ClipWriter, items: list[Item]) -> bool:
        """Write items; whether the clip is over."""
        judge = self._cut.judge
        for item in items:
            verdict = judge(item)
            if verdict is Verdict.END:
                return True
            if verdict is Verdict.WRITE:
                clip.write(item if self._stop is None else self._up_to_stop(item))
                # One read may hold more than may lie between two sync points of the flush, the last one too.
                flushing = not self._live or self._caught_up_ns is None
                if flushing:
                    clip.sync_if_due(self._context.now_ns(), live=False)
                    self._report(clip, live=False)
        return False

    def _up_to_stop(self, item: Item) -> Item:
        """Cut a gap that reaches over the stop: what is missing after it was never part of the clip."""
        assert self._stop is not None
        if not isinstance(item, Span) or item.end_ns <= self._stop.stop_ns:
            return item
        return Span(item.start_ns, self._stop.stop_ns, item.cause)

    def _take_orders(self, clip: ClipWriter | None) -> None:
        held: list[_Bookmark | Trigger] = []
        while not self._orders.empty():
            order = self._orders.get()
            if isinstance(order, _Stop):
                if self._stop is None:
                    self._stop = order
                    self._cut.stop(order.stop_ns)
            elif clip is None:
                held.append(order)
            elif isinstance(order, _Bookmark):
                clip.bookmark(order.at_ns)
            else:
                clip.trigger(order)
        for order in held:
            self._orders.put(order)

    def _report(self, clip: ClipWriter, *, live: bool) -> None:
        """Tell of a new sync point; `live`: it was reached live, and so with nothing left in the ring."""
        if clip.sync_points == self._reported:
            return
        self._reported = clip.sync_points
        now_ns = self._context.now_ns()
        if live and self._caught_up_ns is None:
            self._caught_up_ns = now_ns - self._trigger.edge_ns
        self._context.post(
            ClipProgress(
                clip=self._name,
                edge_ns=self._trigger.edge_ns,
                frames=clip.frames_synced,
                ciphertext_bytes=clip.ciphertext_bytes,
                caught_up=self._caught_up_ns is not None,
                at_ns=now_ns,
            )
        )

    def _finish(self, clip: ClipWriter) -> ClipEnd:
        assert self._stop is not None  # the loop ends with one
        self.turn_ns = self._context.now_ns()
        gap = self._cursor.open_gap
        if gap is not None and gap.start_ns < self._stop.stop_ns:
            clip.write(Span(gap.start_ns, self._stop.stop_ns, gap.cause))
        return clip.finish(self._stop.ended, self._stop.stop_ns, self._context.now_ns())

    def _seal(self, claim: _Claim, end: ClipEnd) -> bool:
        """Write the manifest; if that fails nothing is lost, because the clip has its last line."""
        present = BytesPresent(journal=claim.journal.figures, ciphertext=end.ciphertext, header=end.header)
        manifest = build_manifest(claim.summary, present)
        try:
            try:
                seal_clip(claim.clip.directory, manifest, self._context.signer)
            except StorageError as error:
                if not error.full:
                    raise
                self._context.vault.reserve.give_up()  # this is what it is kept for
                seal_clip(claim.clip.directory, manifest, self._context.signer)
        except StorageError as error:
            _log.error("sealing %s: %s", self._name, error)
            return False
        return True


def _media_facts(first: EncodedFrame, rate: Fraction) -> MediaFacts:
    width, height = picture_size(first.data)
    return MediaFacts(
        video=VideoFacts(
            codec="h264", width=width, height=height, rate_num=rate.numerator, rate_den=rate.denominator
        ),
        audio=AudioFacts(codec="aac", sample_rate=48_000, channels=1),
    )

"""What the demo ends with, for people: the clip, its custody, its checks, and how to do the same without us."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from host.custody import CustodyEntry
from preroll.demo.messages import NO_BROKER
from preroll.demo.proof import instructions
from preroll.demo.run import DemoResult

__all__ = ["report_lines"]

_NS_PER_S = 1_000_000_000
_SHOWN_DIGITS = 16


def report_lines(result: DemoResult, directory: Path) -> Iterator[str]:
    """Yield the report; `directory` is the demo's."""
    yield ""
    yield from _footage(result)
    yield from _custody(result)
    yield from _messages(result)
    for check in result.checks:
        yield f"check      {check.name}: {check.outcome}; {check.detail}"
    whole = f"store and vault, {_clips(result)}: {result.store.finding}"
    yield f"verdict    the clip is {'authentic' if result.authentic else 'NOT proven'}; {whole}"
    yield from (f"note       {note}" for note in result.store.notes)
    yield from (f"DEFECT     {defect}" for defect in (*result.store.defects, *result.opened.defects))
    if not result.released:
        yield "DEFECT     the camera has not released the clip"
    yield ""
    yield f"all of it is in {directory}; the opened clip is {result.output}"
    yield from _again(result, directory)


def _footage(result: DemoResult) -> Iterator[str]:
    manifest, opened = result.manifest, result.opened
    yield f"clip       {manifest.clip}"
    yield f"trigger    {manifest.start.trigger.source}; ended: {manifest.ended}"
    short = f", short because {manifest.preevent.shortfall}" if manifest.preevent.shortfall else ""
    requested_s = manifest.preevent.requested_ns / _NS_PER_S
    yield f"before     {opened.delivered_s:.3f} s of {requested_s:g} s asked for{short}"
    yield f"picture    {opened.frames} frames decode, {opened.duration_s:.3f} s"
    yield f"gaps       {len(manifest.gaps)}"
    spans = [f"{(span.end_ns - span.start_ns) / _NS_PER_S:.1f} s ({span.cause})" for span in manifest.silences]
    yield f"sound      {opened.sound_frames} frames, silent: {', '.join(spans) or 'nowhere'}"


def _custody(result: DemoResult) -> Iterator[str]:
    receipt, stone = result.store.receipt, result.store.tombstone
    size = sum(file.bytes for file in receipt.files)
    yield (
        f"receipt    {receipt.verdict} in {receipt.store}, {receipt.utc}, signed by {result.store.receipt_by}:"
        f" {len(receipt.files)} files, {size:,} bytes, re-read: {receipt.reread}"
    )
    for file in receipt.files:
        yield f"           {file.sha256}  {file.name}"
    gone = (
        "deleted on the camera, tombstone in" if result.released else "NOT deleted on the camera; tombstone in"
    )
    yield f"released   {gone} {stone.parent.parent.name}/{stone.parent.name}/{stone.name}"
    for entry in result.store.custody:
        yield f"custody    {entry.index:>4}  {entry.utc}  {entry.kind:<16} {_said(entry)}".rstrip()


def _messages(result: DemoResult) -> Iterator[str]:
    messages = result.messages
    if messages is None:
        yield f"DEFECT     {NO_BROKER}"
        return
    yield (
        f"mqtt       {messages.broker}, MQTT {messages.protocol}: {len(messages.live)} messages to a live"
        f" subscriber, {messages.events} of them events; {len(messages.late)} kept for a late one"
    )
    if not messages.defects:
        yield f"           clip_stored came with the receipt's head of the custody log, {messages.custody_head}"
    yield from (f"DEFECT     {defect}" for defect in messages.defects)


def _said(entry: CustodyEntry) -> str:
    return ", ".join(
        f"{name} {value[:_SHOWN_DIGITS] + '…' if name == 'sha256' and isinstance(value, str) else value}"
        for name, value in entry.detail.items()
    )


def _clips(result: DemoResult) -> str:
    count = result.store.clips
    return f"{count} clip{'' if count == 1 else 's'}"


def _again(result: DemoResult, directory: Path) -> Iterator[str]:
    agency = directory / "keys" / "agency"
    root = agency / "root" / "root.pem"
    yield "the same again:"
    command = ("preroll", "clip", "verify", directory / "store", directory / "vault", "--ca", root)
    yield f"    {shlex.join(map(str, command))}"
    lines = instructions(result.clip, root, agency / "identity" / "identity.txt")
    if lines:
        yield "and without Preroll:"
        yield from (f"    {line}" for line in lines)

"""Making events: what is told at once, and what is made from the custody log (docs/mqtt.md).

No I/O, no clock.
"""

from collections.abc import Callable

import msgspec

from evidence.clock import format_utc, parse_utc
from evidence.custody.entries import CustodyEntry
from host.publish.outbox import Draft
from host.publish.payloads import DataValue, EventPayload, encode_payload
from host.publish.projection import checked, plain

__all__ = ["FOLLOWED", "draft_event", "draft_of_entry"]

_DETAILS: dict[str, Callable[[CustodyEntry], str]] = {
    "clip_stored": lambda _entry: "stored",
    "clip_quarantined": lambda entry: str(entry.detail.get("reason", "")),
    "quarantine_released": lambda _entry: "released by an operator",
    "fork": lambda entry: f"another {str(entry.detail.get('what', 'clip')).replace('_', ' ')} for its number",
}
FOLLOWED = frozenset(_DETAILS)
"""Kinds of custody entries that are events, of the same name; operators and their reasons stay in the log."""


def draft_event(
    dock: str,
    series: str,
    utc_ns: int,
    kind: str,
    *,
    device: str | None = None,
    clip: str | None = None,
    detail: str = "",
    data: dict[str, DataValue] | None = None,
    custody: int | None = None,
) -> Draft:
    """Make an event.

    Raises:
        PayloadError: it is not of its format.
    """
    payload = EventPayload(
        dock=dock,
        series=series,
        number=1,
        utc=format_utc(utc_ns),
        kind=kind,
        device=device,
        clip=clip,
        detail=plain(detail),
        data=data or {},
    )
    checked(payload)
    return Draft(
        kind, utc_ns, lambda number: encode_payload(msgspec.structs.replace(payload, number=number)), custody
    )


def draft_of_entry(dock: str, series: str, entry: CustodyEntry, sha256: str, *, at_start: bool) -> Draft | None:
    """Make the event of an entry of the custody log, with the log's head right after it; most have none.

    `at_start`: it was entered before this run of the agent, which was killed, or had no broker, then.

    Raises:
        PayloadError: it is not of its format.
    """
    if entry.kind not in FOLLOWED:
        return None
    data: dict[str, DataValue] = {"custody_entries": entry.index, "custody_head": sha256}
    if at_start:
        data["made_at_start"] = True
    return draft_event(
        dock,
        series,
        parse_utc(entry.utc),
        entry.kind,
        device=entry.device,
        clip=entry.clip,
        detail=_DETAILS[entry.kind](entry),
        data=data,
        custody=entry.index,
    )

"""The camera's event log, as its files on the card say it (docs/formats.md)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["LogEvent", "details", "outcomes", "read_events"]


@dataclass(frozen=True)
class LogEvent:
    """One event; `at_ns` is the board's CLOCK_MONOTONIC."""

    kind: str
    at_ns: int
    detail: dict[str, Any]


def read_events(text: str) -> list[LogEvent]:
    """Return the events of all whole lines, in order; the signatures are `preroll clip verify`'s affair."""
    whole = text[: text.rfind("\n") + 1]
    lines = [json.loads(line)["l"] for line in whole.splitlines()]
    return [
        LogEvent(event["kind"], event["monotonic_ns"], event["detail"])
        for line in lines
        for event in line["events"]
    ]


def outcomes(events: Iterable[LogEvent], *, since_ns: int = 0, source: str = "") -> list[str]:
    """Return what came of the presses since an instant, in the log's order; `source` for one line's alone."""
    return [
        str(event.detail["outcome"])
        for event in events
        if event.kind == "press" and event.at_ns >= since_ns and source in {"", event.detail["source"]}
    ]


def details(events: Iterable[LogEvent], kind: str, key: str, *, since_ns: int = 0) -> list[Any]:
    """Return one detail of all events of a kind since an instant."""
    return [event.detail.get(key) for event in events if event.kind == kind and event.at_ns >= since_ns]

"""The report as one HTML page: no script, nothing from outside, made to be printed on A4.

It shows what is in `ExportReport` and nothing else. All text goes through `evidence.export.markup`, which
escapes.
"""

from collections.abc import Iterable, Sequence

from evidence.export.facts import CheckFacts, ExportReport, Mark, RecordingFacts, Stretch
from evidence.export.markup import Child, Markup, join, style, tag
from evidence.export.repeat import NOTHING
from evidence.export.sheet import SHEET
from evidence.export.timeline import timeline
from evidence.export.words import (
    CLOCKS,
    ENDINGS,
    FINDINGS,
    GAPS,
    OUTCOMES,
    SHORTFALLS,
    SILENCES,
    duration,
)
from evidence.frames import Span

__all__ = ["page"]

_MOST_ROWS = 100
"""So many gaps, silences or marks are listed; all of them are in the JSON beside the page."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: ExportReport) -> str:
    """Return the page, UTF-8 to be."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{report.clip}: evidence report"),
        style(SHEET),
    )
    body = tag("body", tag("main", *_sections(report)), tag("footer", _footer(report)))
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _sections(report: ExportReport) -> Iterable[Markup]:
    yield _title(report)
    if report.excerpt:
        yield tag(
            "p",
            tag("strong", "This is the report of an excerpt. "),
            "It covers a part of the clip; the proof is the whole clip, whose manifest has the digest ",
            _code(report.manifest_sha256),
            ".",
            class_="note",
        )
    yield _section("Timeline", tag("figure", timeline(report)), _legend(report.recording))
    yield _section("What and when", _what(report))
    yield _section("Before the press", _before(report.recording))
    yield _section("What is missing", *_missing(report.recording))
    yield _section("Checks", _checks(report), class_="checks")
    yield _section("Repeating the checks without Preroll", *_repeat(report))
    yield _section("Custody so far", _custody(report))
    yield _section("What this does not prove", tag("ul", *(tag("li", each) for each in report.limits)))


def _title(report: ExportReport) -> Markup:
    whose = "The whole clip: " if report.excerpt else ""
    return tag(
        "header",
        tag("p", "Evidence report", class_="kind"),
        tag("h1", report.clip),
        tag("p", f"{whose}{FINDINGS[report.finding]}", class_=f"finding {report.finding.value}"),
    )


def _what(report: ExportReport) -> Markup:
    facts = report.recording
    video = facts.media.video
    digest = _code(report.output.sha256)
    rate = f"{video.rate_num / video.rate_den:.4g}"
    return _facts(
        ("Camera", f"{report.device}, clip number {report.number} of epoch {report.epoch[:8]}…"),
        ("Wearer", report.wearer or "not assigned (a pseudonym, where a dock assigned one)"),
        ("Recorded", _when(facts.whole)),
        ("Clock", _clock(facts)),
        ("Started by", _mark(facts.trigger)),
        ("Further triggers", _listed([_mark(each) for each in facts.triggers])),
        ("Bookmarks", _listed([duration(at_ns) for at_ns in facts.bookmarks])),
        ("Ended by", ENDINGS[facts.ended]),
        ("Picture", f"H.264, {video.width} by {video.height}, {rate} per second, {facts.frames} frames"),
        ("Sound", f"AAC, {facts.media.audio.sample_rate // 1000} kHz"),
        ("Firmware, policy", f"{report.firmware}; configuration version {report.config_version}"),
        ("File", join((report.output.name, f", {report.output.bytes} bytes, SHA-256 ", digest))),
        ("Covers", f"{_when(report.covered)}, {report.covered_frames} frames"),
        ("Asked for", _asked(report)),
        ("Manifest", join(("SHA-256 ", _code(report.manifest_sha256)))),
    )


def _before(facts: RecordingFacts) -> Markup:
    preevent = facts.preevent
    enough = preevent.delivered_ns >= preevent.requested_ns
    why = SHORTFALLS[preevent.shortfall] if preevent.shortfall else "the clip ends before the press"
    return _facts(
        ("Asked for", duration(preevent.requested_ns)),
        ("Delivered", duration(preevent.delivered_ns) + (", nothing is lacking" if enough else "")),
        ("Why less", None if enough else why),
    )


def _missing(facts: RecordingFacts) -> Iterable[Markup]:
    yield tag("h3", "Picture")
    yield _spans(facts.gaps, GAPS, "No gap: every picture that the camera took is there.")
    yield tag("h3", "Sound")
    yield _spans(facts.silences, SILENCES, "Sound throughout.")


def _spans(spans: tuple[Span, ...], words: dict[str, str], none: str) -> Markup:
    if not spans:
        return tag("p", none)
    rows = [
        (duration(max(0, span.start_ns)), duration(span.end_ns), words.get(span.cause, span.cause))
        for span in spans
    ]
    return _table(("from", "to", "why"), rows)


def _checks(report: ExportReport) -> Markup:
    rows = [(check.question, _outcome(check), check.detail) for check in report.checks]
    return _table(("check", "result", "found"), rows)


def _outcome(check: CheckFacts) -> Markup:
    return tag("span", OUTCOMES[check.outcome], class_=f"outcome {check.outcome.value}")


def _repeat(report: ExportReport) -> Iterable[Markup]:
    yield tag(
        "p",
        "For a POSIX shell, in the clip's directory, with ",
        _code("age"),
        ", ",
        _code("openssl"),
        " and ",
        _code("sha256sum"),
        "; ",
        _code("root.pem"),
        " is the agency's root certificate, to be had from the agency itself, ",
        _code("identity.txt"),
        " the identity that opens the clip. The commands are in this order.",
    )
    for check in report.checks:
        if check.repeat:
            yield _repetition(check)


def _repetition(check: CheckFacts) -> Markup:
    pieces: list[Child] = [tag("h3", check.question)]
    for command in check.repeat:
        expect = _code(command.expect) if command.expect != NOTHING else NOTHING
        pieces += [tag("pre", command.run), tag("p", "prints ", expect, class_="expect")]
    return tag("div", *pieces, class_="repeat")


def _custody(report: ExportReport) -> Markup:
    if not report.custody:
        return tag("p", "No receipt and no handover lies with the clip, and it lies in no store.")
    rows = [(each.utc, each.what, each.by, each.detail, each.document) for each in report.custody]
    return _table(("when (UTC)", "what", "by", "said", "document"), rows)


def _legend(facts: RecordingFacts) -> Markup:
    entries = [("pre", "before the press"), ("rec", "after the press"), ("sound", "sound")]
    entries += [("silence", "no sound")] if facts.silences else []
    entries += [("gap", "no picture")] if facts.gaps else []
    entries += [("bookmark", "bookmark")] if facts.bookmarks else []
    entries += [("trigger", "further trigger")] if facts.triggers else []
    return tag("p", *(tag("span", tag("i", class_=kind), words) for kind, words in entries), class_="legend")


def _footer(report: ExportReport) -> Markup:
    return tag(
        "p",
        f"Made by {report.software} at {report.made_utc}. This report is not signed: it repeats what signed "
        "documents say, and how to check them.",
    )


def _asked(report: ExportReport) -> Child:
    if report.excerpt is None:
        return None
    asked = f"{report.excerpt.asked_from or 'the start'} to {report.excerpt.asked_to or 'the end'}"
    return f"{asked}; widened to whole groups of pictures, so that nothing had to be encoded again"


def _clock(facts: RecordingFacts) -> str:
    words = CLOCKS[facts.clock.source]
    if facts.clock.error_ns is not None:
        words += f"; off by at most {duration(facts.clock.error_ns)}"
    elif facts.whole.start_utc is not None:
        words += "; no bound of its error is known"
    if facts.clock.set_before_ns is not None:
        words += f"; set {duration(facts.clock.set_before_ns)} before the press"
    return words


def _when(stretch: Stretch) -> str:
    long = duration(stretch.end_ns - stretch.start_ns)
    if stretch.start_utc is None:
        return f"from {duration(stretch.start_ns)} to {duration(stretch.end_ns)} ({long}); time of day unknown"
    return f"{stretch.start_utc} to {stretch.end_utc} ({long})"


def _mark(mark: Mark) -> str:
    return f"{mark.source} at {duration(mark.at_ns)}" + (f" ({mark.utc})" if mark.utc else "")


def _listed(entries: list[str]) -> Child:
    more = len(entries) - _MOST_ROWS
    return ", ".join(entries[:_MOST_ROWS]) + (f", and {more} more" if more > 0 else "") or None


def _section(title: str, *children: Child, class_: str | None = None) -> Markup:
    return tag("section", tag("h2", title), *children, class_=class_)


def _facts(*rows: tuple[str, Child]) -> Markup:
    return tag("dl", *(join((tag("dt", name), tag("dd", value))) for name, value in rows if value))


def _table(head: tuple[str, ...], rows: Sequence[tuple[Child, ...]]) -> Markup:
    shown = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows[:_MOST_ROWS]]
    if len(rows) > _MOST_ROWS:
        words = f"and {len(rows) - _MOST_ROWS} more, in the JSON beside this page"
        shown.append(tag("tr", tag("td", words, colspan=len(head))))
    columns = tag("thead", tag("tr", *(tag("th", name) for name in head)))
    return tag("table", columns, tag("tbody", *shown))


def _code(text: str) -> Markup:
    return tag("code", text)

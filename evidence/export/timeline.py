"""The clip as a picture: one line each for picture and sound, with the press, and what is missing.

An SVG of bounded size: what falls into the same pixel is drawn once, however many gaps there are.
"""

from collections.abc import Iterable, Sequence

from evidence.export.facts import ExportReport, RecordingFacts
from evidence.export.markup import Markup, tag
from evidence.export.words import duration
from evidence.frames import Span

__all__ = ["timeline"]

_WIDTH, _HEIGHT = 1000, 236
_LEFT, _RIGHT = 64, 976
_PICTURE, _SOUND, _BAR = 72, 108, 26
_AXIS = 150
_NS_PER_S = 1_000_000_000
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
_MOST_TICKS = 12
_EDGE_PX = 60


class _Scale:
    def __init__(self, total_ns: int) -> None:
        self.total_ns = max(1, total_ns)

    def x(self, time_ns: int) -> float:
        inside = min(max(0, time_ns), self.total_ns)
        return _LEFT + (_RIGHT - _LEFT) * inside / self.total_ns


def timeline(report: ExportReport) -> Markup:
    """Draw the clip of a report, with what of it was exported."""
    facts = report.recording
    total_ns = max(facts.whole.end_ns, facts.stop_ns or 0, facts.trigger.at_ns)
    scale = _Scale(total_ns)
    return tag(
        "svg",
        tag("title", f"Timeline of {report.clip}"),
        *_bars(facts, scale),
        *_axis(scale),
        *_marks(facts, scale),
        *(_excerpt(report, scale) if report.excerpt else ()),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT if report.excerpt else _AXIS + 30}",
        role="img",
        xmlns="http://www.w3.org/2000/svg",
    )


def _bars(facts: RecordingFacts, scale: _Scale) -> Iterable[Markup]:
    press, end = facts.trigger.at_ns, facts.whole.end_ns
    yield _text(_LEFT - 8, _PICTURE + 18, "Picture", "row", "end")
    yield _text(_LEFT - 8, _SOUND + 18, "Sound", "row", "end")
    yield _bar(scale, 0, min(press, end), _PICTURE, "pre")
    yield _bar(scale, min(press, end), end, _PICTURE, "rec")
    yield _bar(scale, 0, end, _SOUND, "sound")
    for start_ns, end_ns in _merged(facts.silences, scale):
        yield _bar(scale, start_ns, end_ns, _SOUND, "silence")
    for start_ns, end_ns in _merged(facts.gaps, scale):
        yield _bar(scale, start_ns, end_ns, _PICTURE, "gap")
    if not facts.complete:
        x = scale.x(end)
        yield _line(x, _PICTURE - 6, _SOUND + _BAR + 6, "torn")
        yield _text(x - 6, _PICTURE + 18, "end missing", "inside", "end")


def _axis(scale: _Scale) -> Iterable[Markup]:
    yield tag("line", x1=_LEFT, y1=_AXIS, x2=_RIGHT, y2=_AXIS, class_="axis")
    step_ns = _step_ns(scale.total_ns)
    for at_ns in range(0, scale.total_ns + 1, step_ns):
        x = scale.x(at_ns)
        yield _line(x, _AXIS, _AXIS + 5, "axis")
        yield _text(x, _AXIS + 19, _clock(at_ns), "tick", "middle")


def _marks(facts: RecordingFacts, scale: _Scale) -> Iterable[Markup]:
    for at_ns in _distinct(facts.bookmarks, scale):
        x = scale.x(at_ns)
        y = _PICTURE - 11
        points = f"{x:.1f},{y + 7} {x - 5:.1f},{y} {x:.1f},{y - 7} {x + 5:.1f},{y}"
        yield tag("polygon", tag("title", f"bookmark at {duration(at_ns)}"), points=points, class_="bookmark")
    for at_ns in _distinct([mark.at_ns for mark in facts.triggers], scale):
        yield _line(scale.x(at_ns), _PICTURE - 18, _SOUND + _BAR, "trigger")
    press = facts.trigger
    yield _line(scale.x(press.at_ns), 34, _SOUND + _BAR + 8, "press")
    yield _flag(scale.x(press.at_ns), 28, f"press ({press.source}) at {duration(press.at_ns)}", "press")
    if facts.stop_ns is not None:
        yield _line(scale.x(facts.stop_ns), 52, _SOUND + _BAR + 8, "stop")
        yield _flag(scale.x(facts.stop_ns), 46, f"end at {duration(facts.stop_ns)}", "stop")


def _excerpt(report: ExportReport, scale: _Scale) -> Iterable[Markup]:
    left, right = scale.x(report.covered.start_ns), scale.x(report.covered.end_ns)
    y = _AXIS + 36
    yield tag("rect", x=left, y=y, width=max(2.0, right - left), height=12, class_="cut")
    words = f"this excerpt: {duration(report.covered.start_ns)} to {duration(report.covered.end_ns)}"
    yield _flag((left + right) / 2, y + 30, words, "cut")


def _flag(x: float, y: int, words: str, kind: str) -> Markup:
    """Write words at a mark, so that they stay inside the picture."""
    room = 7 * len(words) / 2 + _EDGE_PX / 4
    anchor = "start" if x < _LEFT + room else "end" if x > _RIGHT - room else "middle"
    return _text(x, y, words, kind, anchor)


def _bar(scale: _Scale, start_ns: int, end_ns: int, y: int, kind: str) -> Markup:
    x = scale.x(start_ns)
    return tag("rect", x=x, y=y, width=max(1.0, scale.x(end_ns) - x), height=_BAR, class_=kind)


def _line(x: float, y1: int, y2: int, kind: str) -> Markup:
    return tag("line", x1=x, y1=y1, x2=x, y2=y2, class_=kind)


def _text(x: float, y: int, words: str, kind: str, anchor: str) -> Markup:
    return tag("text", words, x=x, y=y, class_=kind, text_anchor=anchor)


def _merged(spans: Sequence[Span], scale: _Scale) -> list[tuple[int, int]]:
    """Join spans that are less than a pixel apart: they cannot be told apart, and their number is bounded."""
    pixel_ns = scale.total_ns // (_RIGHT - _LEFT)
    merged: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda each: each.start_ns):
        if span.end_ns <= 0 or span.start_ns >= scale.total_ns:
            continue
        if merged and span.start_ns - merged[-1][1] <= pixel_ns:
            merged[-1] = (merged[-1][0], max(merged[-1][1], span.end_ns))
        else:
            merged.append((span.start_ns, span.end_ns))
    return merged


def _distinct(times_ns: Iterable[int], scale: _Scale) -> list[int]:
    """Keep one of the times that fall on the same pixel."""
    by_pixel = {int(scale.x(at_ns)): at_ns for at_ns in sorted(times_ns, reverse=True)}
    return sorted(by_pixel.values())


def _step_ns(total_ns: int) -> int:
    for step_s in _STEPS_S:
        if total_ns / (step_s * _NS_PER_S) <= _MOST_TICKS:
            return int(step_s * _NS_PER_S)
    return -(-total_ns // _MOST_TICKS)


def _clock(at_ns: int) -> str:
    minutes, seconds = divmod(at_ns / _NS_PER_S, 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{seconds:04.1f}" if at_ns % _NS_PER_S else f"{int(seconds):02d}"
    return f"{hours}:{minutes:02d}:{shown}" if hours else f"{minutes}:{shown}"

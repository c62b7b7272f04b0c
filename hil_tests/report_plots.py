"""Plots of what was measured, as SVG that stands inside a page: how often a value was at most so large."""

import math
from collections.abc import Sequence
from html import escape

__all__ = ["distribution", "figure_text", "quantile", "ticks"]

_WIDTH, _HEIGHT = 460, 168
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 16, 22, 34
_TICKS = 5
_SHOWN_BOUND = 4.0  # a bound further away than so many times the worst value would squeeze the curve


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest measured value that at least `share` of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def figure_text(value: float) -> str:
    """Write a value with three digits that count, and no more zeros than it has."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def ticks(low: float, high: float) -> list[float]:
    """Return some round values within a range, ends included where they are round."""
    if high <= low:
        return [low]
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


class _Scale:
    """Where a value lies from left to right."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def x(self, value: float) -> float:
        return _LEFT + (value - self.low) / (self.high - self.low) * (_WIDTH - _LEFT - _RIGHT)


def _scale(values: Sequence[float], bound: float | None) -> _Scale:
    low, high = min(0.0, *values), max(0.0, *values)
    if bound is not None and bound <= _SHOWN_BOUND * high:
        high = max(high, bound)
        low = min(low, -bound) if low < 0 else low
    margin = (high - low) * 0.04 or 1.0
    return _Scale(low - margin if low < 0 else low, high + margin)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def distribution(values: Sequence[float], unit: str, *, bound: float | None = None, title: str = "") -> str:
    """Return the cumulative curve of at least two values, with each value, median, worst and bound marked."""
    ordered, scale = sorted(values), _scale(values, bound)
    parts = [*_axes(scale, unit), *_curve(ordered, scale)]
    rug = "".join(f"M{scale.x(value):.1f} {_y(0):.1f}v-5" for value in ordered)
    parts.append(f'<path class="rug" d="{rug}"/>')
    parts.append(_mark(scale, quantile(ordered, 0.5), "median", "middle"))
    if bound is not None and scale.low <= bound <= scale.high:
        parts.append(_mark(scale, bound, "bound", "end"))
    label = escape(title or "distribution", quote=True)
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        + "".join(parts)
        + "</svg>"
    )


def _curve(ordered: Sequence[float], scale: _Scale) -> list[str]:
    """Draw the steps, and the area below them."""
    steps = [f"M{scale.x(ordered[0]):.1f} {_y(0):.1f}"]
    for number, value in enumerate(ordered, start=1):
        steps.append(f"H{scale.x(value):.1f}V{_y(number / len(ordered)):.1f}")
    line = "".join(steps) + f"H{scale.x(scale.high):.1f}"
    return [f'<path class="area" d="{line}V{_y(0):.1f}Z"/>', f'<path class="curve" d="{line}"/>']


def _axes(scale: _Scale, unit: str) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = _y(share)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{share:.0%}</text>')
    for value in ticks(scale.low, scale.high):
        x = scale.x(value)
        parts.append(f'<path class="grid" d="M{x:.1f} {_y(0):.1f}v4"/>')
        y = _HEIGHT - _BOTTOM + 16
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{figure_text(value)}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{escape(unit)}</text>')
    return parts


def _mark(scale: _Scale, value: float, kind: str, anchor: str) -> str:
    x = scale.x(value)
    text = f"{kind} {figure_text(value)}"
    anchor = "start" if x < _LEFT + 60 else "end" if x > _WIDTH - _RIGHT - 60 else anchor
    return (
        f'<path class="{kind}" d="M{x:.1f} {_y(0):.1f}V{_TOP - 6}"/>'
        f'<text class="{kind}" x="{x:.1f}" y="{_TOP - 10}" text-anchor="{anchor}">{text}</text>'
    )

"""A run of the bench as one HTML page: no script, nothing from elsewhere, readable on paper and in the dark."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from hil_tests.figures import Figure
from hil_tests.report_plots import distribution, figure_text, quantile
from hil_tests.report_run import POWER, BoardFacts, Outcome, Run, outcome_counts

__all__ = ["page"]

_CSS = Path(__file__).with_name("report.css")
_BAD = ("failed", "error")
_FEW = 3  # up to so many values are shown as they are


def page(run: Run) -> str:
    """Return the page."""
    parts = [
        _head(run),
        _verdict(run),
        '<section class="cards">',
        _build_card(run),
        _board_card(run.board, run.boots),
        _power_card(run.proofs),
        "</section>",
        f'<p class="command"><code>{escape(run.command)}</code></p>',
        _figures(run.figures),
        _tests(run.outcomes),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Bench report: {escape(run.build.described)}</title>"
        f"<style>\n{_CSS.read_text(encoding='utf-8')}</style></head>\n"
        f"<body><main>\n{chr(10).join(parts)}\n</main></body></html>\n"
    )


def _head(run: Run) -> str:
    when = f"{run.began:%-d %B %Y, %H:%M} UTC, {_duration(run.seconds)}"
    return f'<header><h1>Bench report</h1><p class="soft">{when}</p></header>'


def _verdict(run: Run) -> str:
    counts = outcome_counts(run.outcomes)
    bad = sum(counts.get(kind, 0) for kind in _BAD)
    word = "No test ran" if not counts.get("passed") and not bad else f"{bad} failed" if bad else "Passed"
    told = " · ".join(f"{count} {kind}" for kind, count in counts.items())
    power = "" if run.proofs else " · not shown that power is really cut"
    kind = "good" if word == "Passed" else "bad"
    return f'<p class="verdict {kind}">{word}<span>{told}{power}</span></p>'


def _build_card(run: Run) -> str:
    build = run.build
    rows = {
        "Build": build.described,
        "Commit": build.commit,
        "Of": f"{build.committed} {build.subject}".strip(),
        "Bench host": build.host,
    }
    return _card("What was tried", _list(rows))


def _board_card(board: BoardFacts | None, boots: int) -> str:
    if board is None:
        return _card("Board", '<p class="soft">No test of this run needed the board.</p>')
    rows = {"Board": board.name, "Kernel": f"Linux {board.kernel}", "Boots": str(boots)}
    chips = [f'<span class="chip">{escape(_words(each))}</span>' for each in board.able]
    chips += [f'<span class="chip no">{escape(_words(each))}</span>' for each in board.unable]
    return _card("Board, and what it can do", _list(rows) + f'<div class="chips">{"".join(chips)}</div>')


def _power_card(proofs: Mapping[str, str]) -> str:
    if not proofs:
        text = '<p class="soft">Not shown in this run: <code>test_power_is_really_cut</code> did not pass.</p>'
        return _card("Power is really cut", text)
    return _card("Power is really cut", _list(proofs))


def _figures(figures: Sequence[Figure]) -> str:
    if not figures:
        return ""
    cards = "\n".join(_figure(figure) for figure in figures)
    return f'<h2>Measured</h2>\n<section class="cards plots">\n{cards}\n</section>'


def _figure(figure: Figure) -> str:
    values, bound = figure.values, figure.bound
    numbers: list[tuple[str, str, bool]] = []
    if len(values) <= _FEW:
        numbers += [(figure_text(value), "measured", _is_over(value, bound)) for value in values]
    else:
        worst = max(values, key=abs) if min(values) < 0 else max(values)
        numbers.append((figure_text(quantile(values, 0.5)), "median", False))
        numbers.append((figure_text(quantile(values, 0.95)), "95 %", False))
        numbers.append((figure_text(worst), "worst", _is_over(worst, bound)))
        numbers.append((str(len(values)), "values", False))
    if bound is not None:
        numbers.append((figure_text(bound), "bound", False))
    told = "".join(
        f'<div class="{"over" if over else "within"}"><b>{value}</b><small>{escape(label)}</small></div>'
        for value, label, over in numbers
    )
    plot = distribution(values, figure.unit, bound=bound, title=figure.name) if len(values) > _FEW else ""
    note = f'<p class="soft">{escape(figure.note)}</p>' if figure.note else ""
    title = f"{figure.name}, {figure.unit}"
    where = f'<p class="where">{escape(figure.test)}</p>'
    return _card(title, f'{note}<div class="numbers">{told}</div>{plot}{where}')


def _is_over(value: float, bound: float | None) -> bool:
    return bound is not None and abs(value) > bound


def _tests(outcomes: Sequence[Outcome]) -> str:
    parts = ["<h2>Tests</h2>"]
    bad = [outcome for outcome in outcomes if outcome.kind in _BAD]
    if bad:
        parts += ["<h3>Not passed</h3>", _table(bad)]
    for file, group in groupby(outcomes, key=lambda outcome: outcome.test.partition("::")[0]):
        parts += [f'<h3 style="margin-top:18px"><code>{escape(file)}</code></h3>', _table(list(group))]
    return "\n".join(parts)


def _table(outcomes: Sequence[Outcome]) -> str:
    return "<table>" + "".join(_row(outcome) for outcome in outcomes) + "</table>"


def _row(outcome: Outcome) -> str:
    name = outcome.test.partition("::")[2] or outcome.test
    said = ""
    if outcome.kind == "skipped":
        said = f'<div class="said">{escape(outcome.detail)}</div>'
    elif outcome.detail:
        pre = f"<pre>{escape(outcome.detail)}</pre>"
        said = f"<details><summary>{escape(_last_line(outcome.detail))}</summary>{pre}</details>"
    kept = {key: value for key, value in outcome.properties.items() if not key.startswith(POWER)}
    told = " · ".join(f"{escape(_words(key))} {escape(value)}" for key, value in kept.items())
    properties = f'<div class="said">{told}</div>' if told else ""
    title = escape(_words(name.removeprefix("test_")))
    return (
        f'<tr><td><span class="mark {outcome.kind}">{outcome.kind}</span></td>'
        f"<td>{title}{said}{properties}</td><td>{outcome.seconds:.1f} s</td></tr>"
    )


def _last_line(text: str) -> str:
    """Return the line that pytest marks as the error, or the last one."""
    lines = [line for line in text.splitlines() if line.strip()]
    return next((line[1:].strip() for line in lines if line.startswith("E ")), lines[-1] if lines else "")[:200]


def _card(title: str, body: str) -> str:
    return f'<div class="card"><h3>{escape(title)}</h3>{body}</div>'


def _list(rows: Mapping[str, str]) -> str:
    told = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items() if value)
    return f"<dl>{told}</dl>"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""The page that `governor policy simulate --html` writes: one file, no script, nothing fetched."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from governor.cli.policy_simulate import TITLES, cells, dollars, doubts, first, headline, named, people, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from governor.rehearsal.spend import Curve
    from governor.rehearsal.tally import Found

MOST_PEOPLE = 500
WIDTH, HEIGHT, MARGIN = 720, 180, 24
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
       color: #1d1d1f; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child, th.left, td.left { text-align: left; }
svg { width: 100%; height: auto; } .then { stroke: #8e8e93; } .new { stroke: #0a66c2; }
.limit { stroke: #c0392b; stroke-dasharray: 6 4; } polyline, line { fill: none; stroke-width: 2; }
.doubt { color: #8a6d00; } text { font: 11px system-ui, sans-serif; fill: #555; }
@media (prefers-color-scheme: dark) { body { background: #1c1c1e; color: #f2f2f7; }
  th, td { border-color: #444; } text { fill: #aaa; } .doubt { color: #e0c060; } }
"""


def page(policy: str, journal: str, found: Found, drawn: Sequence[Curve]) -> str:
    """The page as text; whatever comes from the journal or the files is escaped."""
    total = found.total()
    rows = [cells(name, "all", counts) for name, counts in found.departments().items()]
    rows += [cells(*key, counts) for key, counts in people(found)[:MOST_PEOPLE]]
    causes = [
        (
            named(cause),
            f"{counts.downgraded:,}",
            f"{counts.blocked:,}",
            f"{counts.false_blocks:,}",
            first(counts.first_blocked_ms),
        )
        for cause, counts in worst(found)
    ]
    title = f"{total.calls:,} calls under policy {policy}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(journal)}: {first(found.first_ms)} to {first(found.last_ms)} UTC</p>",
        f"<p><strong>{escape(headline(total))}</strong></p>",
        _table(TITLES, rows, left=2),
        "<h2>Because of</h2>" if causes else "",
        _table(("budget", "downgraded", "blocked", "false blocks", "first blocked"), causes)
        if causes
        else "",
        *map(_figure, drawn),
        *(f'<p class="doubt">{escape(line)}</p>' for line in doubts(found)),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    def row(cell: str, values: Sequence[str]) -> str:
        marks = (' class="left"' if index < left else "" for index in range(len(values)))
        told = (f"<{cell}{mark}>{escape(value)}</{cell}>" for mark, value in zip(marks, values, strict=True))
        return f"<tr>{''.join(told)}</tr>"

    body = "\n".join(row("td", values) for values in rows)
    return f"<table><thead>{row('th', titles)}</thead>\n<tbody>{body}</tbody></table>"


def _figure(curve: Curve) -> str:
    """A department's spend as lines: then grey, new blue, the limit dashed."""
    most, step = curve.most_nanos, (WIDTH - 2 * MARGIN) / max(len(curve.points) - 1, 1)

    def y(nanos: int) -> float:
        return round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (nanos / most), 1)

    def line(name: str, values: Iterable[int]) -> str:
        spots = " ".join(
            f"{round(MARGIN + index * step, 1)},{y(nanos)}" for index, nanos in enumerate(values)
        )
        return f'<polyline class="{name}" points="{spots}"/>'

    parts = [
        line("then", (point.then_nanos for point in curve.points)),
        line("new", (point.new_nanos for point in curve.points)),
    ]
    limit = ""
    if curve.limit_nanos:
        at, limit = y(curve.limit_nanos), f", limit {dollars(curve.limit_nanos)}"
        parts.append(f'<line class="limit" x1="{MARGIN}" y1="{at}" x2="{WIDTH - MARGIN}" y2="{at}"/>')
    ends = ((MARGIN, "start", curve.points[0].day), (WIDTH - MARGIN, "end", curve.points[-1].day))
    parts += [
        f'<text x="{x}" y="{HEIGHT - 6}" text-anchor="{anchor}">{escape(day)}</text>'
        for x, anchor, day in ends
    ]
    title = escape(f"{curve.department}: spent in the {curve.period}{limit}")
    drawing = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg>'
    return f"<h2>{title}</h2>\n<p>grey: then; blue: new; dashed: the limit</p>\n{drawing}"

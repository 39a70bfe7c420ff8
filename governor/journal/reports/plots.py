"""Charts as SVG, drawn by matplotlib in the page's own colours, so that they follow light and dark.

Text stays text: it can be read aloud, searched and selected, and any script is drawn by the reader's fonts.
"""

from __future__ import annotations

import io
import math
import re
import unicodedata
import warnings
from typing import TYPE_CHECKING, Any, Literal

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from governor.journal.reports.showing import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from governor.journal.reports.page import Chart, Unit

Size = Literal["wide", "narrow"]

_INCHES: dict[str, tuple[float, float]] = {"wide": (9.0, 3.1), "narrow": (4.0, 2.9)}
_NAMES: dict[str, int] = {"wide": 34, "narrow": 16}
_TICKS: dict[str, int] = {"wide": 9, "narrow": 4}
_FONT_PT = {"wide": 10.0, "narrow": 10.5}

WHOLE = ("usd", "count", "tokens", "ms", "time")
"""Units whose values are whole numbers."""

BARS = 25
"""So many bars a chart has at most; the table below it has all."""

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}")

INK, GRID, LIMIT = "#000101", "#000202", "#000303"
LINES = ("#000401", "#000402", "#000403", "#000404", "#000405")
"""Colours that stand for those of the page's style sheet."""

_NAMED = {INK: "--ink", GRID: "--grid", LIMIT: "--limit"} | {one: f"--c{n}" for n, one in enumerate(LINES)}
_DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
_HATCHES = ("", "///", "...", "xxx", "\\\\\\")
"""Series differ by more than their colour."""

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "governor",
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "hatch.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def plot(chart: Chart, prefix: str, size: Size) -> str:
    """A chart as an `<svg>` element without a title of its own.

    Args:
        chart: The chart.
        prefix: Before every id in it: several charts stand on one page.
        size: For a screen wider than a phone's, or for a phone's.
    """
    settings: Any = {**_SETTINGS, "font.size": _FONT_PT[size]}
    with rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # matplotlib's fonts lack glyphs that the reader's have
        width, height = _INCHES[size]
        if chart.kind == "bar":
            height = 0.9 + 0.3 * max(2, min(BARS, len(chart.labels)) * max(1, len(chart.series)) * 0.9)
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_alpha(0.0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0.0)
        (_bars if chart.kind == "bar" else _lines)(axes, chart, size)
        many = len(chart.series) + (chart.limit is not None) + any(one.low for one in chart.series)
        if many > 1:
            axes.legend(
                loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3 if size == "wide" else 2, frameon=False,
                borderaxespad=0.2, handlelength=2.2, columnspacing=1.4,
            )  # fmt: skip
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return _clean(out.getvalue(), prefix)


def _lines(axes: Axes, chart: Chart, size: Size) -> None:
    places = range(len(chart.labels))
    for number, one in enumerate(chart.series):
        colour, dash = LINES[number % len(LINES)], _DASHES[number % len(_DASHES)]
        values = _numbers(one.values, len(chart.labels))
        if one.low and one.high:
            low, high = (_numbers(edge, len(chart.labels)) for edge in (one.low, one.high))
            axes.fill_between(places, low, high, color=colour, alpha=0.22, linewidth=0, label="its range")
        alone = sum(value == value for value in values) == 1  # noqa: PLR0124 - what is not itself is missing
        axes.plot(
            places, values, color=colour, linestyle=dash, linewidth=2.0, marker="o" if alone else "",
            label=_name(one.title, size),
        )  # fmt: skip
    if chart.limit is not None:
        axes.axhline(chart.limit, color=LIMIT, linewidth=1.4, linestyle=(0, (6, 3)), label=_limit(chart))
    _scale(axes.yaxis, chart.unit)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    axes.grid(axis="y", linewidth=0.6)
    axes.tick_params(length=0)
    step = max(1, math.ceil(len(chart.labels) / _TICKS[size]))
    shown = list(places)[::step]
    axes.set_xticks(shown, [_name(_short(chart.labels, place), size) for place in shown])
    axes.margins(x=0.02)


def _bars(axes: Axes, chart: Chart, size: Size) -> None:
    labels = chart.labels[:BARS]
    thick = 0.8 / max(1, len(chart.series))
    for number, one in enumerate(chart.series):
        colour = LINES[number % len(LINES)]
        offset = (number - (len(chart.series) - 1) / 2) * thick
        values = [0.0 if value != value else value for value in _numbers(one.values, len(labels))]  # noqa: PLR0124
        axes.barh(
            [place + offset for place in range(len(labels))], values, height=thick * 0.9, color=colour,
            hatch=_HATCHES[number % len(_HATCHES)], edgecolor=GRID, linewidth=0, label=_name(one.title, size),
        )  # fmt: skip
    if chart.limit is not None:
        axes.axvline(chart.limit, color=LIMIT, linewidth=1.4, linestyle=(0, (6, 3)), label=_limit(chart))
    _scale(axes.xaxis, chart.unit, most=5 if size == "wide" else 3)
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.set_yticks(range(len(labels)), [_name(label or "(none)", size) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)


def _numbers(values: tuple[float | int | None, ...], many: int) -> list[float]:
    """Values for drawing, so many: where there is none, not a number."""
    found = [math.nan if value is None else float(value) for value in values[:many]]
    return found + [math.nan] * (many - len(found))


def _scale(axis: Any, unit: Unit, most: int = 5) -> None:
    axis.set_major_locator(MaxNLocator(most, integer=unit in ("count", "tokens")))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, unit)))


def _tick(value: float, unit: Unit) -> str:
    shown = show(round(value) if unit in WHOLE else value, unit)
    return (
        re.sub(r"(\.\d*?)0+(?=\D*$)", r"\1", shown).replace(".$", "") if unit == "percent" else _trim(shown)
    )


def _trim(shown: str) -> str:
    """`$1,000.00` as an axis has it: `$1,000`."""
    return shown.removesuffix(".00") if "." in shown else shown


def _limit(chart: Chart) -> str:
    return f"limit {_tick(chart.limit or 0, chart.unit)}"


def _short(labels: tuple[str, ...], place: int) -> str:
    """A date or time without the year, or the day, that all of them have: `11-21`, `14:00`."""
    for common in (11, 5):
        beginnings = {one[:common] for one in labels}
        if len(labels) > 1 and len(beginnings) == 1 and _ISO.match(labels[0]) and len(labels[0]) > common:
            return labels[place][common:]
    return labels[place]


def _name(text: str, size: Size) -> str:
    """A name in as many characters as there is room for, without what no page may have."""
    clean = "".join(
        "\ufffd" if unicodedata.category(char)[0] == "C" and char != "\u200d" else char for char in text
    )
    most = _NAMES[size]
    wide = sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in clean)
    if wide <= most:
        return clean or "(none)"
    most = most * len(clean) // wide
    return f"{clean[: most - most // 3 - 1]}…{clean[-(most // 3) :]}"


def _clean(svg: str, prefix: str) -> str:
    """The `<svg>` element alone: with ids of its own, in the page's colours, as wide as its place."""
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = re.sub(r"(?<=<svg)(.*?)>", _without_size, text, count=1, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{prefix}-", text)
    text = re.sub(r"font: [^;\"]*?(\d+(?:\.\d+)?)px [^;\"]*", r"font-size: \1px", text)
    for colour, name in _NAMED.items():
        text = text.replace(colour, f"var({name})")
    return re.sub(r"\n\s*", "\n", text)


def _without_size(found: re.Match[str]) -> str:
    kept = re.sub(r'\s(?:width|height|version)="[^"]*"', "", found[1])
    return f'{kept} aria-hidden="true" focusable="false">'

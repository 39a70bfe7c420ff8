"""The rows of `governor top` as texts of a given width; the live screen and the plain snapshot share them.

Nothing is told by colour alone: what is red also says so in a word, a mark or a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import unquote

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from governor.budgets import Rolling, Unit
from governor.cli.top_picture import NOBODY, alert_began_ms, full
from governor.cli.typed import harmless
from governor.money import NANOS_PER_DOLLAR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.cli.top_picture import Flight, ModelLoad, Picture, Spender
    from governor.story.decision import BudgetView

POSTED, HELD, FREE, OVER = "▇", "▒", "·", "▶"
WARN_AT, BAD_AT = 0.8, 0.95
"""From which share of its limit a budget is shown as filling, and as full."""

_GAP = 2
_LEAST_NAME, _LEAST_BAR = 16, 8
_WIDE = 96
"""From which width on budgets have a column of what is held."""

_K, _M = 10_000, 10_000_000


@dataclass(frozen=True, slots=True)
class Ink:
    """The styles, for a dark or a light background; empty ones leave a text as it is."""

    good: str = ""
    warn: str = ""
    bad: str = ""
    dim: str = ""
    strong: str = ""


PLAIN = Ink()
DARK = Ink("#6fd08c", "#ffb454", "#ff7b72", "#9aa4b2", "bold")
LIGHT = Ink("#0b6b2e", "#8a5200", "#b3001b", "#5a6472", "bold")


class Column(NamedTuple):
    """A column: its title, how wide it is, and on which side its texts stand."""

    title: str
    width: int
    side: Literal["left", "right"] = "left"


Row = tuple[str, tuple[Text, ...]]
"""What tells a row from the others, and its cells."""


def amount(unit: Unit, value: int) -> str:
    """An amount as narrow columns have it: `$1,234`, `$12.34`, `$0.0123`, `12.3k`."""
    return usd(value) if unit is Unit.USD else count(value)


def usd(nanos: int) -> str:
    """Dollars with the digits that matter: cents below $1,000, hundredths of a cent below $1."""
    sign, whole = "-" if nanos < 0 else "", abs(nanos)
    if whole >= 1000 * NANOS_PER_DOLLAR:
        return f"{sign}${whole // NANOS_PER_DOLLAR:,}"
    digits = 2 if whole >= NANOS_PER_DOLLAR or not whole else 4
    part = whole % NANOS_PER_DOLLAR * 10**digits // NANOS_PER_DOLLAR
    return f"{sign}${whole // NANOS_PER_DOLLAR}.{part:0{digits}d}"


def count(number: int) -> str:
    """A count: `9,999`, `12.3k`, `45.6M`."""
    if abs(number) >= _M:
        return f"{number / 1_000_000:.1f}M"
    return f"{number / 1_000:.1f}k" if abs(number) >= _K else f"{number:,}"


def span(seconds: float) -> str:
    """A length of time in one or two words: `12 s`, `3 min`, `5 h`, `8 d`."""
    whole = max(0, int(seconds))
    for length, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= 2 * length or (whole >= length and word != "min"):
            return f"{whole // length} {word}"
    return f"{whole} s"


def clip(text: str, width: int) -> str:
    """*text* in at most *width* columns: what is too long loses its middle."""
    shown = harmless(text)
    if cell_len(shown) <= width:
        return shown
    if width <= 1:
        return "…"[:width]
    left = (width - 1) - (width - 1) // 2
    tail = shown[::-1]
    right = set_cell_size(tail, (width - 1) // 2)[::-1]
    return set_cell_size(shown, left).rstrip() + "…" + right.lstrip()


def title(identity: str) -> str:
    """A budget's name for people: `engineering / run pr-7 · $ life`; the organisation's own is `org`."""
    *scope, unit, period = identity.split("/")
    words = []
    for one in scope:
        name, _, value = one.partition("=")
        words.append(
            unquote(value) if name in ("department", "org") and value else f"{name} {unquote(value)}"
        )
    what = "$" if unit == Unit.USD else unit
    return f"{' / '.join(word.strip() for word in words)} · {what} {period.replace('-', ' ')}"


def bar(view: BudgetView, width: int, ink: Ink) -> Text:
    """A budget's bar: spent, held, free; what is above the limit is marked at its end."""
    limit = max(1, view.limit)
    posted = min(width, view.posted * width // limit)
    held = min(width, (view.posted + view.held) * width // limit) - posted
    if view.posted and not posted:
        posted, held = 1, max(0, held - 1)
    style = _fill(view, ink)
    text = Text.assemble((POSTED * posted, style), (HELD * held, style))
    text.append(FREE * (width - posted - held), ink.dim)
    if view.posted > view.limit:
        text = text[: width - 1]
        text.append(OVER, ink.bad)
    return text


def _fill(view: BudgetView, ink: Ink) -> str:
    if view.frozen is not None:
        return ink.bad
    share = full(view)
    return ink.bad if share >= BAD_AT else ink.warn if share >= WARN_AT else ink.good


def until(view: BudgetView, now_ms: int) -> str:
    """When a budget resets: `8 d`, `41 s`, `never`; of a rolling one, when spend first leaves it."""
    if view.resets_at is None:
        return "rolls" if isinstance(view.period, Rolling) else "never"
    return span(view.resets_at.timestamp() - now_ms / 1000)


def budget_columns(width: int) -> list[Column]:
    """Those of budgets, over the given width."""
    rest = [Column("spent", 8, "right"), Column("limit", 8, "right"), Column("%", 4, "right")]
    rest.append(Column("resets", 6, "right"))
    if width >= _WIDE:  # else the bar alone shows what is held
        rest.insert(1, Column("held", 8, "right"))
    room = width - sum(one.width for one in rest) - _GAP * (len(rest) + 2)
    name = max(_LEAST_NAME, min(60, room * 7 // 10))
    meter = max(_LEAST_BAR, room - name)
    key = f"{POSTED} spent {HELD} held"
    return [Column("budget", name), Column(key if len(key) <= meter else "", meter), *rest]


def budget_row(view: BudgetView, columns: Sequence[Column], picture: Picture, ink: Ink) -> Row:
    """One budget."""
    _, (_, meter, _), *rest = columns
    cells = {
        "spent": amount(view.unit, view.posted),
        "held": amount(view.unit, view.held) if view.held else "-",
        "limit": amount(view.unit, view.limit),
        "resets": until(view, picture.now_ms),
    }
    name = title(view.identity)
    if view.frozen is not None:
        name = f"FROZEN {name}"
    share = Text(str(min(int(full(view) * 100), 9999)), _fill(view, ink))  # rounded down: 100 is full
    texts = [
        share if column.title == "%" else Text(clip(cells[column.title], column.width)) for column in rest
    ]
    shown = Text(clip(name, columns[0].width), ink.bad if view.frozen is not None else "")
    return f"{view.identity} {view.window}", (shown, bar(view, meter, ink), *texts)


def flight_columns(width: int) -> list[Column]:
    """Those of open holds."""
    room = width - 9 - 9 - _GAP * 6
    who, model = room * 36 // 100, room * 28 // 100
    rest = room - who - model
    return [
        Column("age", 9, "right"),
        Column("who", who),
        Column("for", rest),
        Column("model", model),
        Column("held", 9, "right"),
    ]


def flight_row(flight: Flight, columns: Sequence[Column], picture: Picture, ink: Ink) -> Row:
    """One open hold."""
    if flight.began_ms is None:
        age = f"> {span((picture.now_ms - picture.since_ms) / 1000)}"
    else:
        age = span((picture.now_ms - flight.began_ms) / 1000)
    dead = flight.expires_ms <= picture.now_ms
    purpose = " · ".join(one for one in (flight.feature, flight.run and f"run {flight.run}") if one)
    texts = (
        Text(f"{age} †" if dead else age, ink.bad if dead else ""),
        Text(clip(flight.user or flight.department or NOBODY, columns[1].width)),
        Text(clip(purpose or flight.department or "-", columns[2].width)),
        Text(clip(short_model(flight.model) or "-", columns[3].width)),
        Text("-" if flight.held_nanos is None else usd(flight.held_nanos)),
    )
    return flight.id, texts


def short_model(model: str) -> str:
    """A model's id without what they all begin with."""
    return model.removeprefix("claude-")


def model_columns(width: int) -> list[Column]:
    """Those of models."""
    fixed = (6, 8, 7, 7, 7)
    room = width - sum(fixed) - _GAP * 7
    name = max(12, room * 45 // 100)
    titles = ("load", "flying", "sent/m", "pushed", "takes")
    rest = [Column(*pair, "right") for pair in zip(titles, fixed, strict=True)]
    return [Column("model", name), *rest, Column("breaker", max(8, room - name))]


def model_row(model: ModelLoad, columns: Sequence[Column], _: Picture, ink: Ink) -> Row:
    """One model."""
    load, style = model.load_bp / 100, ink.good
    if model.load_bp >= 8_000:
        style = ink.bad
    elif model.load_bp >= 5_000:
        style = ink.warn
    said = model.breaker
    if model.breaker != "closed":
        said = f"{model.breaker.upper()}, tried in {span(model.opens_in_s)}: {model.why}"
    flying = count(model.in_flight) + (f" +{model.waiting}w" if model.waiting else "")
    texts = (
        Text(clip(short_model(model.model), columns[0].width)),
        Text(f"{load:.0f} %", style),
        Text(flying),
        Text(count(model.sent_per_min)),
        Text(f"{model.pushed * 100 // model.answers} %" if model.answers else "-"),
        Text(f"{model.latency_ms / 1000:.1f} s" if model.latency_ms else "-"),
        Text(clip(said, columns[6].width), ink.good if model.breaker == "closed" else ink.bad),
    )
    return model.model, texts


def spender_columns(width: int) -> list[Column]:
    """Those of who spends."""
    fixed = (9, 9, 7, 8, 7)
    name = max(_LEAST_NAME, width - sum(fixed) - _GAP * 6)
    titles = ("spent", "per hour", "calls", "blocked", "flying")
    return [Column("who", name), *(Column(*pair, "right") for pair in zip(titles, fixed, strict=True))]


def spender_row(one: Spender, columns: Sequence[Column], picture: Picture, ink: Ink) -> Row:
    """One who spends."""
    name = one.name or NOBODY
    if one.name and one.department and one.department != one.name:
        name = f"{name} ({one.department})"
    texts = (
        Text(clip(name, columns[0].width), "" if one.name else ink.dim),
        Text(usd(one.cost_nanos)),
        Text(usd(picture.per_hour(one.cost_nanos))),
        Text(count(one.calls) + (f" {one.failed}!" if one.failed else "")),
        Text(count(one.blocked) if one.blocked else "-", ink.bad if one.blocked else ""),
        Text(count(one.in_flight) if one.in_flight else "-"),
    )
    return f"{one.run_of}\n{one.name}", texts


def alert_columns(width: int) -> list[Column]:
    """Those of alerts."""
    return [
        Column("since", 8, "right"),
        Column("severity", 9),
        Column("alert", max(20, width - 17 - 3 * _GAP)),
    ]


def alert_row(told: dict[str, Any], columns: Sequence[Column], picture: Picture, ink: Ink) -> Row:
    """One alert."""
    severity = str(told.get("severity", ""))
    style = {"critical": ink.bad, "warning": ink.warn}.get(severity, "")
    began_ms = alert_began_ms(told)
    texts = (
        Text("-" if began_ms is None else span((picture.now_ms - began_ms) / 1000)),
        Text(clip(severity, 9), style),
        Text(clip(str(told.get("title", "")), columns[2].width)),
    )
    return str(told.get("key")), texts


def headline(picture: Picture) -> list[str]:
    """The figures above it all, the most important first; a narrow screen shows as many as fit."""
    calls, blocked, failed = picture.counts()
    spent = picture.spent_nanos
    told = [
        f"{usd(picture.per_hour(spent))}/h ({usd(spent)} in {span(picture.span_s)})",
        f"{picture.open:,} in flight, {usd(picture.held_nanos)} held",
        f"{calls:,} calls, {blocked:,} blocked, {failed:,} failed",
    ]
    if picture.alerts:
        told.insert(0, f"{len(picture.alerts)} ALERT{'S' if len(picture.alerts) > 1 else ''}")
    if picture.partly:
        told.append("busier than is read here: a part of the calls")
    return told

"""`governor report today`: the four questions of every morning, on one screen."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from governor.budgets import Unit, quoted
from governor.journal.reports.figures import Figures, change_percent
from governor.journal.reports.page import Chart, Column, Fact, Series, Table
from governor.journal.reports.showing import dollars, growth
from governor.journal.reports.spans import DAY_MS, HOUR_MS, day_span, hours_of, local_date, local_time
from governor.journal.reports.tables import dearest, grouped, padded, plural, summed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.journal.reports.asked import Asked, Only
    from governor.journal.reports.page import Page, Section, Value
    from governor.journal.reports.queries import Source
    from governor.journal.reports.spans import Span
    from governor.journal.reports.tables import Groups
    from governor.story.decision import BudgetView

SHOWN = 5
"""So many of each list fit on one screen."""


def today(source: Source, asked: Asked, budgets: Sequence[BudgetView]) -> Page:
    """Spend against yesterday, the slowest calls, what the API pushed back, who spends, what is nearly empty.

    Args:
        source: The calls.
        asked: Who asks.
        budgets: The budgets to look at, as the ledger has them.
    """
    now_ms, zone = asked.now_ms, asked.zone
    day = day_span(local_date(now_ms, zone), zone)
    before = day_span(local_date(now_ms, zone) - timedelta(days=1), zone)
    users = source.figures(day.start_ms, now_ms + 1, ("user", "department"), latency=False)
    pushed = source.figures(now_ms - DAY_MS, now_ms + 1, ("model",), latency=False)
    slow, since = _slowest(source, now_ms, day)
    spend, chart = _spend(source, asked, day, before)
    sections: list[Section] = [
        spend,
        _latency_fact(slow, since),
        _pushed_fact(pushed),
        _user_fact(users),
        chart,
        _latency_table(slow, since),
        _users_table(users),
        _pushed_table(pushed),
    ]
    fullest = _budgets_table(budgets, asked.only)
    sections += [fullest] if fullest.rows else []
    title = f"{local_time(now_ms, zone):%Y-%m-%d %H:%M}, {zone}{asked.only}"
    kept = tuple(one for one in sections if not isinstance(one, Table) or one.rows)
    return asked.page("today", "Today", title, kept)


def _spend(source: Source, asked: Asked, day: Span, before: Span) -> tuple[Fact, Chart]:
    mine, yesterday = source.by_hour(day, asked.now_ms + 1), source.by_hour(before, day.start_ms)
    hour_ms = _same_time_before(asked.now_ms, asked.zone)
    by_now = source.total(before.start_ms, hour_ms + 1, latency=False).cost_nanos
    spent, whole = sum(mine), sum(yesterday)
    note = (
        f"yesterday {dollars(by_now)} by this time ({growth(change_percent(spent, by_now))}), "
        f"{dollars(whole)} in all"
    )
    gone = (asked.now_ms - day.start_ms) // HOUR_MS + 1
    ahead = tuple(nanos if hour < gone else None for hour, nanos in enumerate(mine))
    labels = max(hours_of(day), hours_of(before), key=len)
    series = (
        Series("today", padded(ahead, len(labels))),
        Series("yesterday", padded(yesterday, len(labels))),
    )
    chart = Chart("spend_by_hour", "Spend by hour", "line", labels, series)
    return Fact("spend_nanos", "Spent today", spent, "usd", note), chart


def _same_time_before(now_ms: int, zone: str) -> int:
    """The instant of yesterday at which the clocks showed what they show now, Unix milliseconds."""
    now = local_time(now_ms, zone).replace(tzinfo=None) - timedelta(days=1)
    return int(now.replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000 + now_ms % 1000


def _slowest(source: Source, now_ms: int, day: Span) -> tuple[Groups, str]:
    """The last hour's calls by model and feature; today's where there was none."""
    by = ("model", "feature")
    found = source.figures(now_ms - HOUR_MS, now_ms + 1, by)
    if any(one.latencies for one in found.values()):
        return found, "in the last hour"
    return source.figures(day.start_ms, now_ms + 1, by), "today"


def _by_p95(slow: Groups) -> list[tuple[tuple[str, ...], Figures, int, int]]:
    told = [(key, one, *one.percentiles()) for key, one in slow.items()]
    known = [(key, one, p50, p95) for key, one, p50, p95 in told if p50 is not None and p95 is not None]
    return sorted(known, key=lambda one: (-one[3], one[0]))


def _latency_fact(slow: Groups, since: str) -> Fact:
    title = "Highest p95 latency"
    ordered = _by_p95(slow)
    if not ordered:
        return Fact("p95_ms", title, None, "ms", "no call was answered today")
    (model, feature), figures, _, p95 = ordered[0]
    what = f"{model}, {feature or 'no feature'}: {plural(figures.answered, 'answer')} {since}"
    return Fact("p95_ms", title, p95, "ms", what)


def _latency_table(slow: Groups, since: str) -> Table:
    columns = (
        Column("model", "Model"),
        Column("feature", "Feature"),
        Column("answered", "Answers", "count"),
        Column("p50_ms", "p50", "ms"),
        Column("p95_ms", "p95", "ms"),
    )
    rows: list[tuple[Value, ...]] = [
        (*key, figures.answered, p50, p95) for key, figures, p50, p95 in _by_p95(slow)[:SHOWN]
    ]
    return Table("latency", f"Slowest {since}", columns, tuple(rows))


def _pushed_fact(pushed: Groups) -> Fact:
    total = summed(pushed.values())
    calls = plural(total.calls - total.blocked, "call")
    note = f"of {calls}; 529s (overloaded): {total.pushed_529:,}"
    return Fact("pushed_429", "429s in 24 hours", total.pushed_429, "count", note)


def _pushed_table(pushed: Groups) -> Table:
    columns = (
        Column("model", "Model"),
        Column("calls", "Calls", "count"),
        Column("pushed_429", "429", "count"),
        Column("pushed_529", "529", "count"),
    )
    told = sorted(pushed.items(), key=lambda one: (-one[1].pushed_429 - one[1].pushed_529, one[0]))
    rows: list[tuple[Value, ...]] = [
        (*key, one.calls, one.pushed_429, one.pushed_529)
        for key, one in told
        if one.pushed_429 or one.pushed_529
    ]
    return Table("pushed_back", "Pushed back by the API in 24 hours", columns, tuple(rows[:SHOWN]))


def _user_fact(users: Groups) -> Fact:
    title = "Top user"
    ordered = _named_first(grouped(users, (0,)))
    if not any(figures.calls for _, figures in ordered):
        return Fact("top_user", title, None, "text", "nobody has called today")
    (name,), figures = ordered[0]
    if not name:
        return Fact("top_user", title, None, "text", "no call of today says whose it was")
    share = 100 * figures.cost_nanos // (summed(users.values()).cost_nanos or 1)
    note = f"{dollars(figures.cost_nanos)} today, {share} % of all, {plural(figures.calls, 'call')}"
    return Fact("top_user", title, name, "text", note)


def _named_first(users: Groups) -> list[tuple[tuple[str, ...], Figures]]:
    """The dearest first; what no record says the user of, or retention has removed it, is nobody's: last."""
    return sorted(dearest(users), key=lambda one: not one[0][0])


def _users_table(users: Groups) -> Table:
    columns = (
        Column("user", "User"),
        Column("department", "Department"),
        Column("calls", "Calls", "count"),
        Column("blocked", "Blocked", "count"),
        Column("cost_nanos", "Cost", "usd"),
    )
    rows: list[tuple[Value, ...]] = [
        (*key, one.calls, one.blocked, one.cost_nanos) for key, one in _named_first(users)[:SHOWN]
    ]
    return Table("top_users", "Top users today", columns, tuple(rows))


def _budgets_table(budgets: Sequence[BudgetView], only: Only) -> Table:
    columns = (
        Column("budget", "Budget"),
        Column("window", "Window"),
        Column("percent", "Spent", "percent"),
        Column("posted_nanos", "Spent", "usd"),
        Column("held_nanos", "Held", "usd"),
        Column("limit_nanos", "Limit", "usd"),
        Column("resets_ms", "Resets", "time"),
    )
    mine = [
        one for one in budgets if one.unit is Unit.USD and (one.posted or one.held) and concerns(one, only)
    ]
    rows = [_budget_row(one) for one in sorted(mine, key=_fullness, reverse=True)[:SHOWN]]
    return Table("budgets", "Fullest budgets", columns, tuple(rows))


def concerns(budget: BudgetView, only: Only) -> bool:
    """Whether a budget is of the calls that a report is of: one of somebody else alone is not."""
    scope = dict(part.split("=", 1) for part in budget.identity.split("/")[:-2] if "=" in part)
    told = ((name, getattr(only, name)) for name in ("department", "feature", "user"))
    return all(value is None or scope.get(name, quoted(value)) == quoted(value) for name, value in told)


def _fullness(budget: BudgetView) -> tuple[float, str]:
    return (budget.posted + budget.held) / budget.limit if budget.limit else 1.0, budget.identity


def _budget_row(one: BudgetView) -> tuple[Value, ...]:
    full = 100 * one.posted / one.limit if one.limit else 100.0
    resets = None if one.resets_at is None else int(one.resets_at.timestamp()) * 1000
    return (one.identity, one.window, full, one.posted, one.held, one.limit, resets)

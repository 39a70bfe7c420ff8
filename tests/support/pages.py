"""A report with everything a page can have, and names as nasty as they come."""

from __future__ import annotations

from governor.journal.reports.page import Chart, Column, Fact, Page, Series, Table

NASTY = (
    "<script>alert(1)</script>",
    '"><img src=https://example.invalid/x.png onerror=alert(1)>',
    "אבג-" * 12 + "</td>",
    "👩‍👩‍👧‍👦 陳大文 " + "長" * 60,
    "a" * 200,
    "{{ 7 * 7 }} $x^2$ \\frac{1}{2} &amp; %s",
    "\x00\x1b[31m\u2028\ud800",
    "",
)
NOON_MS = 1_795_176_000_000
"""2026-11-20, 12:00 UTC."""


def nasty_page(rows: int = 12) -> Page:
    """Facts, charts of both kinds with and without gaps, ranges and limits, tables of every unit."""
    names = [NASTY[n % len(NASTY)] for n in range(rows)]
    hours = tuple(f"2026-11-20T{hour:02d}:00" for hour in range(24))
    days = tuple(f"2026-11-{day:02d}" for day in range(1, 31))
    spent = tuple(n * n * 40_000_000 if n < 15 else None for n in range(24))
    ahead = (*[None] * 19, *(n * 1_000_000_000 for n in range(400, 511, 10)))[:30]
    columns = (
        Column("user", "User"),
        Column("cost_nanos", "Spent", "usd"),
        Column("calls", "Calls", "count"),
        Column("tokens", "Tokens", "tokens"),
        Column("rate", "Error rate", "percent"),
        Column("p95_ms", "p95", "ms"),
        Column("last_ms", "Last call", "time"),
        Column("roi", "ROI", "ratio"),
        Column("change", "Change", "change"),
    )
    made = tuple(
        (
            name,
            123_456_789_012 * n,
            1234 * n,
            98_765_432 * n,
            n * 7.123,
            950 * n,
            NOON_MS + n,
            n / 3,
            n * 11 - 40.0,
        )
        for n, name in enumerate(names)
    )
    hole = (None,) * len(columns)
    return Page(
        "today",
        f"Today {NASTY[0]}",
        "acme",
        NOON_MS,
        "2026-11-20, Europe/Berlin",
        (
            Fact("spend_nanos", "Spent today", 412_345_678_901, "usd", "yesterday $390.12 by now"),
            Fact("p95_ms", "Highest p95 latency", 4321, "ms", f"claude-opus-5-5, {NASTY[3]}"),
            Fact("pushed_429", "429s in 24 hours", 17, "count", "of 12,345 calls; 529s (overloaded): 3"),
            Fact("user", "Top user", NASTY[4]),
            Chart(
                "hours", "Spend by hour", "line", hours,
                (Series("today", spent), Series("yesterday", tuple(n * 250_000_000 for n in range(24)))),
            ),
            Chart(
                "month", f"department=eng/{NASTY[1]}", "line", days,
                (
                    Series("spent", (*(n * 20_000_000_000 for n in range(20)), *[None] * 10)),
                    Series("expected", ahead, tuple(v and v * 9 // 10 for v in ahead),
                           tuple(v and v * 12 // 10 for v in ahead)),
                ),
                limit=600_000_000_000,
            ),
            Chart("users", "Spend by user", "bar", tuple(names),
                  (Series("spent", tuple(n * 1_234_567_890 for n in range(rows, 0, -1))),)),
            Chart("empty", "Nothing yet", "line", (), (Series("today", ()),), "count"),
            Chart("one", "One day", "line", ("2026-11-20",), (Series("calls", (7,)),), "count"),
            Table("users", "Users", columns, (*made, hole), "Exact in the CSV.", ("All", *made[-1][1:])),
            Table("none", "Nobody", columns, ()),
        ),
        "Europe/Berlin",
    )  # fmt: skip

"""`governor policy simulate`: what would other policies have made of the calls in a journal?"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.context import JSON, PRICES, load_policies, load_prices
from governor.cli.output import Failure, console, print_json, print_rows, stamp, usage
from governor.cli.progress import progress
from governor.story.decision import instant, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.journal.feed import Journal
    from governor.policy import Policies
    from governor.pricing import PriceTable
    from governor.rehearsal.backtest import Range
    from governor.rehearsal.spend import Curve
    from governor.rehearsal.tally import Cause, Counts, Found

NEW: Any = typer.Argument(..., metavar="NEW", help="The policies to try: a folder, or one file.")
JOURNAL: Any = typer.Option(
    ...,
    "--journal",
    metavar="ARCHIVE|URL",
    help="What `governor ledger archive` wrote (a file, a database's URL), or a ledger's URL.",
)
FROM: Any = typer.Option(
    None,
    "--from",
    help="Only calls from this instant on: ISO, UTC where it names no zone.",
    show_default=False,
)
UNTIL: Any = typer.Option(None, "--until", help="Only calls before this instant.", show_default=False)
DEPARTMENT: Any = typer.Option(
    None, "--department", help="Show this department only; may be repeated.", show_default=False
)
HTML: Any = typer.Option(
    None, "--html", metavar="FILE", help="Write a page for the pull request, too.", show_default=False
)
AGAIN = "nothing was changed; run it again"
SHOWN = 20
BAR = 36


def simulate(
    new: str = NEW,
    journal: str = JOURNAL,
    from_: str | None = FROM,
    until: str | None = UNTIL,
    department: list[str] | None = DEPARTMENT,
    html: Path | None = HTML,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Replay a journal's calls under other policies: who is downgraded or blocked, when, and what it saves.

    Nothing is changed, sent or held. The journal says what the calls really cost.
    """
    from governor.cli.policy import refuse_ledger, refuse_unpriced  # noqa: PLC0415 - `--help` need not pay for it
    from governor.journal.feed import find_journal  # noqa: PLC0415 - as above
    from governor.rehearsal.spend import curves  # noqa: PLC0415 - as above

    refuse_ledger(new)
    policies, table = load_policies(new), load_prices(prices)
    refuse_unpriced(policies, table)
    policies.directory = lambda *_: {}  # who is in a journal was known to the application
    within = _range(from_, until)
    source = find_journal(journal, policies.organization)
    found = _replay(source, policies, table, within, alone=Path(new).is_file())
    if department:
        _refuse_unknown(department, found)
        found.only(department)
    if html is not None:
        from governor.cli.policy_simulate_html import page  # noqa: PLC0415 - only with --html

        _write(html, page(policies.hash, source.name, found, curves(found, policies)))
    if as_json:
        print_json(_json(policies, source, found))
        return
    _say(policies, source, found, curves(found, policies))
    if html is not None:
        console().print(f"{html} is written", style="green", soft_wrap=True)


def _replay(source: Journal, policies: Policies, prices: PriceTable, within: Range, *, alone: bool) -> Found:
    """Read the journal to its end; *alone*: NEW is one file, and says nothing of other departments."""
    from governor.journal.feed import reading  # noqa: PLC0415 - as above
    from governor.rehearsal.backtest import Backtest  # noqa: PLC0415 - as above

    test = Backtest(policies, prices, within, policies.departments if alone else None)
    with progress("records replayed", AGAIN) as tell, reading(source) as batches, _no_search_for_circles():
        for batch in batches:
            more = test.read(batch.events)
            test.found.gaps = batch.gaps
            tell(test.found.records, max(batch.total, test.found.records))
            if not more:
                break
    return test.end()


@contextmanager
def _no_search_for_circles() -> Iterator[None]:
    """A replay makes millions of objects and no circle of them: looking for some takes a tenth of it."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _range(from_: str | None, until: str | None) -> Range:
    from governor.rehearsal.backtest import Range  # noqa: PLC0415 - as above

    start, end = _unix_ms("--from", from_) or 0, _unix_ms("--until", until)
    if end is not None and end <= start:
        raise usage(f"--until {until} is not after --from {from_}: correct one of them")
    return Range(start, end)


def _unix_ms(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise usage(f"{option} {text!r} is no ISO instant: write for example 2026-11-01") from None


def _refuse_unknown(asked: Sequence[str], found: Found) -> None:
    known = sorted({department for department, _ in found.people})
    missing = [name for name in asked if name not in known]
    if missing:
        told = ", ".join(known) or "none"
        raise usage(f"--department {missing[0]!r}: no call of it was replayed; there are calls of: {told}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(
            f"{path} cannot be written: {error.strerror}; check its folder and permissions"
        ) from None


def _say(policies: Policies, source: Journal, found: Found, drawn: Sequence[Curve]) -> None:
    out, total = console(), found.total()
    if not total.calls:
        out.print(
            f"{source.name}: {found.records:,} records, and no call to replay", style="yellow", soft_wrap=True
        )
    else:
        span = f"{stamp(found.first_ms)[:16]} to {stamp(found.last_ms)[:16]} UTC"
        text = f"{total.calls:,} calls of {source.name}, {span}, under policy {policies.hash}"
        out.print(text, style="bold", soft_wrap=True)
        out.print(headline(total), style="green" if not total.changed else None, soft_wrap=True)
        out.print()
        print_rows(TITLES, [*_rows(found)], left=2)
    if found.causes:
        out.print()
        print_rows(("because of", "downgraded", "blocked", "false blocks", "first blocked"), _causes(found))
    for curve in drawn:
        _draw(curve)
    for line in doubts(found):
        out.print(line, style="yellow", soft_wrap=True)


LEFT_OUT = ("gaps", "unreadable", "ends_alone", "open", "unasked", "uncovered", "tierless", "late", "leases")
TITLES = (
    "department",
    "user",
    "calls",
    "downgraded",
    "first downgraded",
    "blocked",
    "false",
    "first blocked",
    "spent then",
    "would have spent",
    "saved",
)


def headline(total: Counts) -> str:
    """What changes, in one sentence."""
    if not total.changed:
        return f"nothing changes: every call would have gone as it went; {dollars(total.saved_nanos)} saved"
    parts = [
        f"{total.downgraded:,} downgraded",
        f"{total.blocked:,} blocked ({total.false_blocks:,} of them false blocks)",
        f"{dollars(total.saved_nanos)} saved of {dollars(total.then_nanos)}",
    ]
    parts += [f"{total.raised:,} served by a dearer line"] if total.raised else []
    parts += [f"{total.shrunk:,} served with a smaller max_tokens"] if total.shrunk else []
    parts += [f"{total.freed:,} served that were refused"] if total.freed else []
    return "; ".join(parts)


def people(found: Found) -> list[tuple[tuple[str, str], Counts]]:
    """Departments and users for whom something changes, those with the most changed calls first."""
    changed = [item for item in found.people.items() if item[1].changed]
    return sorted(changed, key=lambda item: (-item[1].changed, item[0]))


def _rows(found: Found) -> Iterator[tuple[str, ...]]:
    for department, counts in found.departments().items():
        yield cells(department, "", counts)
    touched = people(found)
    for (department, user), counts in touched[:SHOWN]:
        yield cells(department, user, counts)
    if len(touched) > SHOWN:
        yield (f"and {len(touched) - SHOWN:,} more", "see --json", *("",) * (len(TITLES) - 2))


def cells(department: str, user: str, counts: Counts) -> tuple[str, ...]:
    """One row of the table of people."""
    return (
        department,
        user,
        f"{counts.calls:,}",
        f"{counts.downgraded:,}",
        first(counts.first_downgraded_ms),
        f"{counts.blocked:,}",
        f"{counts.false_blocks:,}",
        first(counts.first_blocked_ms),
        dollars(counts.then_nanos),
        dollars(counts.new_nanos),
        dollars(counts.saved_nanos),
    )


def dollars(nanos: int) -> str:
    """A sum to the cent, rounded half up: `$1,234.57`, `-$0.50`."""
    cents = (abs(nanos) + 5_000_000) // 10_000_000
    return f"{'-' if nanos < 0 and cents else ''}${cents // 100:,}.{cents % 100:02d}"


def first(unix_ms: int) -> str:
    """An instant to the minute in UTC; `-` for never."""
    return stamp(unix_ms)[:16] if unix_ms else "-"


def worst(found: Found) -> list[tuple[Cause, Counts]]:
    """What downgraded and blocked, the most first."""
    return sorted(found.causes.items(), key=lambda item: (-item[1].blocked - item[1].downgraded, item[0]))


def named(cause: Cause) -> str:
    """A cause as people read it: `legal.yaml:8: user, usd a day ($40.00)`."""
    limit = f" ({show(_unit(cause.unit), cause.limit)})" if cause.unit else ""
    return f"{cause.source}: {cause.budget}{limit}" if cause.source else cause.budget


def _unit(text: str) -> Any:
    from governor.budgets import Unit  # noqa: PLC0415 - as above

    return Unit(text)


def _causes(found: Found) -> list[tuple[str, ...]]:
    return [
        (
            named(cause),
            f"{counts.downgraded:,}",
            f"{counts.blocked:,}",
            f"{counts.false_blocks:,}",
            first(counts.first_blocked_ms),
        )
        for cause, counts in worst(found)[:SHOWN]
    ]


def _draw(curve: Curve) -> None:
    out = console()
    limit = f", limit {dollars(curve.limit_nanos)}" if curve.limit_nanos else ""
    out.print()
    out.print(f"{curve.department}: spent in the {curve.period}{limit}  (█ new, ░ then)", style="bold")
    most = curve.most_nanos
    for point in curve.points:
        then, new = (spent * BAR // most for spent in (point.then_nanos, point.new_nanos))
        bar = "█" * new + "░" * max(0, then - new)
        if curve.limit_nanos:
            at = min(curve.limit_nanos * BAR // most, BAR)
            bar = f"{bar[:at].ljust(at)}│{bar[at:]}"
        money = f"{dollars(point.then_nanos)} then, {dollars(point.new_nanos)} new"
        out.print(f"  {point.day}  {bar.ljust(BAR + 1)}  {money}", soft_wrap=True)


def doubts(found: Found) -> Iterator[str]:
    """What the replay could not know, or left out, one sentence each."""
    told = (
        (found.gaps, "gaps in the archive: what they posted is missing"),
        (found.unreadable, "records could not be read, and were left out"),
        (found.ends_alone, "calls ended that began before the journal or the range: left out"),
        (found.open, "calls had not ended where the journal does: their cost is in neither sum"),
        (found.unasked, "calls went through while the ledger was away: they would under any policy"),
        (
            found.uncovered,
            "calls of departments without a file in NEW: posted to the organization as they went",
        ),
        (found.tierless, "calls of users whose tier only the application knows: posted as they went"),
        (found.late, "calls settled after their hold had expired"),
        (found.leases, "records of leases, whose holds are left out"),
        (found.estimated, "calls that were refused would be served: their cost is an estimate"),
        (found.priced, "ceilings were worked out anew, for another model, max_tokens or price table"),
    )
    yield from (f"{count:,} {text}" for count, text in told if count)


def _json(policies: Policies, source: Journal, found: Found) -> dict[str, Any]:
    from governor.rehearsal.spend import curves  # noqa: PLC0415 - as above

    return {
        "policy": policies.hash,
        "journal": source.name,
        "records": found.records,
        "from": instant(found.first_ms),
        "until": instant(found.last_ms),
        "total": _counts_json(found.total()),
        "outcomes": dict(found.outcomes),
        "departments": {name: _counts_json(counts) for name, counts in found.departments().items()},
        "users": [
            {"department": department, "user": user, **_counts_json(counts)}
            for (department, user), counts in sorted(found.people.items())
        ],
        "causes": [{**cause._asdict(), **_cause_json(counts)} for cause, counts in worst(found)],
        "spend": [
            {
                "department": curve.department,
                "limit_nanos": curve.limit_nanos,
                "window": str(curve.period),
                "days": [point._asdict() for point in curve.points],
            }
            for curve in curves(found, policies)
        ],
        "left_out": {name: getattr(found, name) for name in LEFT_OUT},
        "estimates": {name: getattr(found, name) for name in ("estimated", "priced", "scaled")},
    }


def _counts_json(counts: Counts) -> dict[str, Any]:
    return {
        **_cause_json(counts),
        "calls": counts.calls,
        "raised": counts.raised,
        "shrunk": counts.shrunk,
        "freed": counts.freed,
        "still_refused": counts.still_refused,
        "then_nanos": counts.then_nanos,
        "new_nanos": counts.new_nanos,
        "saved_nanos": counts.saved_nanos,
    }


def _cause_json(counts: Counts) -> dict[str, Any]:
    return {
        "downgraded": counts.downgraded,
        "blocked": counts.blocked,
        "false_blocks": counts.false_blocks,
        "first_downgraded": instant(counts.first_downgraded_ms),
        "first_blocked": instant(counts.first_blocked_ms),
    }

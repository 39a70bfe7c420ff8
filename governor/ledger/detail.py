"""What the ledger itself writes into a journal record, as text that both stores write alike.

Lua may not turn an amount into JSON (it loses digits above 2**46), so a detail is words and integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.budgets import unit_of
from governor.ledger.commands import Balance, BudgetRow, Crossing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def write_balances(candidate: int | None, balances: Iterable[Balance]) -> str:
    """Of a reserve: the chosen candidate (`-`: none), then posted, held, limit and frozen of each budget."""
    rows = (f"{b.posted}:{b.held}:{b.limit}:{0 if b.frozen is None else 1}" for b in balances)
    return ("-" if candidate is None else str(candidate)) + " " + ",".join(rows)


def read_balances(detail: str) -> tuple[int | None, tuple[Balance, ...]]:
    """The inverse of `write_balances`; the reason of a freeze is not kept in it."""
    chosen, _, rows = detail.partition(" ")
    fields = [row.split(":") for row in rows.split(",") if row]
    balances = tuple(
        Balance(int(p), int(h), int(limit), "frozen" if f == "1" else None) for p, h, limit, f in fields
    )
    return (None if chosen == "-" else int(chosen)), balances


def write_closing(
    *, overrun: bool, amounts: Sequence[int], crossed: str, unknown: Sequence[BudgetRow] | None = None
) -> str:
    """Of a settle, release or expire: flags, what was posted to each budget, and the thresholds crossed.

    Where the hold was *unknown* the budgets themselves follow: no reserve's record names them.
    """
    posted = ",".join(str(amount) for amount in amounts)
    text = f"overrun={int(overrun)} unknown={int(unknown is not None)} posted={posted} crossed={crossed}"
    if unknown is None:
        return text
    return f"{text} refs=" + ",".join(f"{b.identity};{b.window};{b.end_ms};{b.limit}" for b in unknown)


def read_closing(detail: str) -> dict[str, str]:
    """The fields of `write_closing` by name."""
    return dict(field.split("=", 1) for field in detail.split(" ") if "=" in field)


def read_refs(text: str) -> tuple[BudgetRow, ...]:
    """The budgets that `write_closing` names of an unknown hold; without start and steps."""
    rows = [row.split(";") for row in text.split(",") if row]
    return tuple(BudgetRow(i, window, 0, int(end), unit_of(i), int(limit)) for i, window, end, limit in rows)


def write_grant(amount: int, window: str) -> str:
    """Of a grant: how much, and in which window."""
    return f"{amount} {window}"


def read_grant(text: str) -> tuple[int, str]:
    """The inverse of `write_grant`; an empty window where an older record does not say."""
    amount, _, window = text.partition(" ")
    return int(amount), window


def write_limit(limit: int | None, until_ms: int) -> str:
    """Of a limit that was set (nothing: the file's again), and until when (0: until changed)."""
    return f"{'' if limit is None else limit} {until_ms}"


def read_limit(text: str) -> tuple[int | None, int]:
    """The inverse of `write_limit`."""
    limit, _, until_ms = text.partition(" ")
    return (int(limit) if limit else None), int(until_ms or 0)


def write_freeze(reason: str, until_ms: int) -> str:
    """Of a freeze: until when (0: until unfrozen), and why."""
    return f"{until_ms} {reason}"


def read_freeze(text: str) -> tuple[str, int]:
    """The inverse of `write_freeze`."""
    until_ms, _, reason = text.partition(" ")
    return reason, int(until_ms)


def write_crossings(rows: Iterable[tuple[int, int, int, int]]) -> str:
    """Crossings as `budget:step:posted:limit` joined by commas; *budget* is the index of the posting."""
    return ",".join(":".join(str(part) for part in row) for row in rows)


def read_crossings(text: str, refs: Sequence[tuple[str, str]]) -> tuple[Crossing, ...]:
    """The inverse of `write_crossings`; *refs* are the postings' (identity, window)."""
    rows = [[int(part) for part in row.split(":")] for row in text.split(",") if row]
    return tuple(Crossing(*refs[index], step, posted, limit) for index, step, posted, limit in rows)

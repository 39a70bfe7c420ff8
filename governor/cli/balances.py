"""What the ledger keeps and what the files say of it, brought together."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.budgets import Period, Rolling, Unit, balance_identity, span_of, unit_of, window_at
from governor.cli.output import budget_json, usage
from governor.errors import nearest
from governor.ledger import commands as c
from governor.story.decision import BudgetView, instant, show
from governor.story.matrix import reopens_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from governor.budgets import Window
    from governor.cli.context import Desk
    from governor.policy import BudgetRow, BudgetTerm

READ_AT_ONCE = 200
"""How many balances one command reads, so that no script runs long."""

NAMED_AT_MOST = 20
"""How many known budgets a hint lists."""


def views(desk: Desk, *, contains: str = "", past: bool = False) -> list[BudgetView]:
    """Every balance the ledger keeps, and the budgets of the files that no request has touched yet.

    Of the latter only those that administrators changed or froze, and those whose identity the files alone
    decide: of the organisation, of departments, of features, models and tags by name. Limits are the files'
    of this moment, with overrides and grants.

    Args:
        desk: Policies and ledger.
        contains: Only identities with this in them.
        past: Windows that are over too.
    """
    known = desk.ledger.execute(c.ListBalances(contains, past))
    rows = [row_of(desk, k.identity, k.window, k.end_ms, k.balance.limit) for k in known]
    kept = {(row.identity, row.window) for row, _ in rows}
    for new in of_files(desk):
        window = window_of(desk, new)
        if contains in new.identity and (new.identity, window.id) not in kept:
            rows.append(row_of(desk, new.identity, window.id, window.end_ms, new.limit))
    readings = read_rows(desk, [row for row, _ in rows])
    found: list[BudgetView] = []
    for index, ((row, term), reading) in enumerate(zip(rows, readings, strict=True)):
        # Where no file has the budget (any more), and of windows that are over, the ledger's own word holds.
        over = 0 < row.end_ms <= desk.now_ms
        balance = known[index].balance if term is None or over else reading
        found.append(view_from(row, term, balance))
    return sorted(found, key=lambda view: (_depth(view.identity), view.window))


def view_of(desk: Desk, term: BudgetTerm) -> BudgetView:
    """One budget in its window of this moment."""
    window = window_of(desk, term)
    row, _ = row_of(desk, term.identity, window.id, window.end_ms, term.limit)
    return view_from(row, term, read_rows(desk, [row])[0])


class Limits(NamedTuple):
    """Where a limit comes from: the file, and what administrators changed of it.

    Attributes:
        unit: What the budget counts; amounts are in it, nano-dollars for usd.
        file: The file's limit.
        override: What was set in its place and is in force.
        granted: What is granted and in force.
        coming: What is to come.
        frozen_until_ms: Until when it is frozen; 0: until it is unfrozen, `None`: it is not.
    """

    unit: Unit
    file: int
    override: int | None = None
    granted: int = 0
    coming: tuple[c.LimitChange, ...] = ()
    frozen_until_ms: int | None = None

    @property
    def limit(self) -> int:
        """The limit in force."""
        return (self.file if self.override is None else self.override) + self.granted

    def __str__(self) -> str:
        """For example `$3.25 (the file's $1.00 and $2.25 granted)`."""
        file, granted = show(self.unit, self.file), ""
        if self.granted:
            granted = f" and {show(self.unit, self.granted)} granted"
        if self.override is None:
            base = f"the file's {file}{granted}" if granted else "the file's"
        else:
            set_to = f"{show(self.unit, self.override)} " if granted else ""
            base = f"{set_to}set{granted}; the file's is {file}"
        return f"{show(self.unit, self.limit)} ({base})"


def limits_of(desk: Desk, term: BudgetTerm) -> Limits:
    """Where a budget's limit comes from, as of this moment."""
    found = desk.ledger.execute(c.ReadChanges(term.identity, window_of(desk, term).id))
    changes = _not_taken_back(found.limits)
    now = [change for change in changes if change.in_force(found.now_ms)]
    override = next((change.amount for change in reversed(now) if not change.added), None)
    granted = found.granted + sum(change.amount for change in now if change.added)
    coming = tuple(change for change in changes if change not in now)
    return Limits(term.unit, term.limit, override, granted, coming, found.frozen_until_ms)


def frozen_until_ms(desk: Desk, view: BudgetView) -> int | None:
    """Until when a budget is frozen, as `Limits` has it; the ledger is asked only where it is frozen."""
    if view.frozen is None:
        return None
    return desk.ledger.execute(c.ReadChanges(view.identity, view.window)).frozen_until_ms


def as_json(view: BudgetView, frozen_ms: int | None) -> dict[str, Any]:
    """A budget as JSON, with the end of its freeze, as `Limits` has that."""
    return {**budget_json(view), "frozen_until": instant(frozen_ms or 0)}


def _not_taken_back(changes: Iterable[c.LimitChange]) -> list[c.LimitChange]:
    kept: list[c.LimitChange] = []
    for change in changes:
        taken = replace(change, amount=-change.amount)
        if change.amount < 0 and taken in kept:
            kept.remove(taken)
        else:
            kept.append(change)
    return kept


def window_of(desk: Desk, term: BudgetTerm) -> Window:
    """The window of *term* that holds this moment of the ledger's clock."""
    return window_at(term.period, term.timezone, desk.now_ms)


def find_term(desk: Desk, identity: str) -> BudgetTerm | None:
    """The budget that the files have for *identity*, or `None`; whatever was typed."""
    if identity.count("/") < 2:
        return None
    return desk.policies.limit_of(identity)


def require_term(desk: Desk, identity: str) -> BudgetTerm:
    """The budget that the files have for *identity*.

    Raises:
        Failure: There is none; the message names the nearest one.
    """
    term = find_term(desk, identity)
    if term is None:
        raise unknown(desk, identity)
    return term


def unknown(desk: Desk, identity: str) -> Exception:
    """The error for an identity that neither the files nor the ledger know."""
    known = dict.fromkeys([view.identity for view in views(desk)])
    hint = nearest(identity, known)
    if not hint.startswith("did you mean"):
        names = list(known)[:NAMED_AT_MOST]
        more = f"\n  … and {len(known) - len(names)} more" if len(known) > len(names) else ""
        hint = "known budgets:" + "".join(f"\n  {name}" for name in names) + more
    return usage(f"there is no budget {identity!r}; {hint}\n`governor budget list` shows them all")


def part(name: str, value: str) -> str:
    """How an identity writes one dimension: `user=ada@example.com`, percent-encoded."""
    return balance_identity({name: value}, Unit.USD, Period.LIFE).split("/", 1)[0]


def of_files(desk: Desk) -> list[BudgetTerm]:
    """The budgets whose identity the files alone decide, and those that administrators changed or froze."""
    return list({term.identity: term for term in (*_untouched(desk), *_changed(desk))}.values())


def row_of(
    desk: Desk, identity: str, window: str, end_ms: int, limit: int
) -> tuple[c.BudgetRow, BudgetTerm | None]:
    """A balance as the ledger is asked for it, and the budget that the files have for it.

    Args:
        desk: For the policies.
        identity: The balance's.
        window: Its window's id; *end_ms* is when that ends (Unix ms; 0: never).
        end_ms: As said.
        limit: Where no file has it (any more).
    """
    term = find_term(desk, identity)
    file_limit = limit if term is None else term.limit
    period = span_of(identity)
    bucket_ms = period.bucket_ms if isinstance(period, Rolling) else 0
    row = c.BudgetRow(identity, window, 0, end_ms, unit_of(identity), file_limit, bucket_ms=bucket_ms)
    return row, term


def view_from(row: c.BudgetRow, term: BudgetTerm | None, balance: c.Balance) -> BudgetView:
    """A balance's reading, for people."""
    return BudgetView(
        identity=row.identity,
        window=row.window,
        unit=row.unit,
        limit=balance.limit,
        posted=balance.posted,
        held=balance.held,
        resets_at=instant(reopens_ms(row, balance)),
        frozen=balance.frozen,
        source="" if term is None else term.source,
    )


def read_rows(desk: Desk, rows: Sequence[c.BudgetRow]) -> list[c.Balance]:
    """The readings of *rows*, in order, so many at once."""
    found: list[c.Balance] = []
    for start in range(0, len(rows), READ_AT_ONCE):
        found += desk.ledger.execute(c.Read(tuple(rows[start : start + READ_AT_ONCE]))).balances
    return found


def _untouched(desk: Desk) -> Iterator[BudgetTerm]:
    """Every budget whose identity the files alone decide."""
    for row in desk.policies.all_terms():
        known = [_known_values(desk, row, scope) for scope in row.inner]
        for values in itertools.product(*known):
            term = find_term(desk, row.identity(dict(zip(row.inner, values, strict=True))))
            if term is not None:
                yield term


def _changed(desk: Desk) -> Iterator[BudgetTerm]:
    """Every budget that administrators froze, or changed for good, for a while or for the window of now."""
    for identity, window in desk.ledger.execute(c.ListChanged()):
        term = find_term(desk, identity)
        if term is not None and window in ("", window_of(desk, term).id):
            yield term


def _known_values(desk: Desk, row: BudgetRow, scope: str) -> Sequence[str]:
    """The values of one of a budget's scopes that the files name: all, where no request can bring others."""
    if scope in row.names:
        return (row.names[scope],)
    return desk.policies.departments if scope == "department" else ()


def _depth(identity: str) -> tuple[str, ...]:
    """Sorts a budget before those of its parts: a department's own before its users'."""
    *scope, unit, period = identity.split("/")
    return ("/".join(scope[:1]), "/".join(scope[1:]), unit, period)

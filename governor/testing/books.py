"""What is spent of every usd budget, as the assertions read and tell it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.budgets import LIFE, Unit, quoted, span_of, unit_of
from governor.errors import PolicyViolation
from governor.ledger import commands as c
from governor.policy.scopes import dimension
from governor.story.decision import BudgetView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from governor.budgets import Period, Rolling
    from governor.policy import BudgetRow, BudgetTerm, Policies

_LISTED = 30
"""How many budgets a message lists."""


class Scope(NamedTuple):
    """What a budget counts.

    Attributes:
        values: By scope: `{"user": "ada", "tag:project": "atlas"}`.
    """

    values: Mapping[str, str]

    @classmethod
    def of(cls, tags: Mapping[str, str] | None, **given: str | None) -> Scope:
        """What a budget has to count: *given* by scope, and *tags*; `None` is nothing."""
        values = {scope: value for scope, value in given.items() if value is not None}
        return cls(values | {f"tag:{name}": value for name, value in (tags or {}).items()})

    @property
    def parts(self) -> frozenset[str]:
        """As identities have it: `user=ada`, `tag.project=atlas`."""
        return frozenset(f"{dimension(scope)}={quoted(value)}" for scope, value in self.values.items())

    def __str__(self) -> str:
        return "/".join(sorted(self.parts)) or "the whole organization"


class Books(NamedTuple):
    """The usd budgets of a ledger in their windows of now.

    Attributes:
        views: Those that were touched, by identity.
        policies: The policies, if they are known.
    """

    views: Mapping[str, BudgetView]
    policies: Policies | None

    def of(self, scope: Scope, period: Period | Rolling | None) -> list[BudgetView]:
        """The budgets that count just *scope*.

        Without a department those of the departments where it was touched, if no other budget counts it.
        """
        known = {**{view.identity: view for view in self._untouched(scope)}, **self.views}
        found = [view for view in known.values() if _parts(view.identity) == scope.parts]
        if not found and scope.parts and "department" not in scope.values:
            inside = [view for view in known.values() if _within(view.identity) == scope.parts]
            touched = {_department(view.identity) for view in inside if view.identity in self.views}
            found = [view for view in inside if not touched or _department(view.identity) in touched]
        return [view for view in found if period in (None, span_of(view.identity))]

    def _untouched(self, scope: Scope) -> Iterator[BudgetView]:
        """What the files have for it, as no call has touched it yet."""
        if self.policies is None:
            return
        for row in self.policies.all_terms():
            if row.unit is not Unit.USD or not set(row.inner) <= set(scope.values):
                continue
            term = _reachable(self.policies, row.identity(scope.values))
            if term is not None:
                yield BudgetView(term.identity, "", Unit.USD, term.limit, 0, 0, None, source=term.source)

    def listed(self) -> str:
        """Every budget that was touched, with its numbers."""
        return listing("usd budgets touched in this window", map(str, self.views.values()))

    def lacks(self, scope: Scope, window: str | None) -> str:
        """What to tell whoever asks for a budget that is not there."""
        span = f" per {window}" if window else ""
        said = f"no usd budget counts {scope}{span}; budgets count exactly one scope, see the policy's `per:`"
        if self.policies is None:
            return f"{said}. A ledger knows only what was touched: give the governor\n{self.listed()}"
        rows = [row for row in self.policies.all_terms() if row.unit is Unit.USD]
        files = (f"{_named(row)}/usd/{row.period.value} ({row.source})" for row in rows)
        return f"{said}\n{listing('usd budgets of the policy', files)}\n{self.listed()}"


def listing(title: str, lines: Iterable[str]) -> str:
    """*title* and *lines* below it, of many the first."""
    shown = list(lines)
    more = [f"… and {len(shown) - _LISTED} more"] if len(shown) > _LISTED else []
    return "\n  ".join([f"{title}:", *(shown[:_LISTED] or ["none"]), *more])


def _reachable(policies: Policies, identity: str) -> BudgetTerm | None:
    """The budget that the files have for *identity*, if a request can touch it."""
    term = policies.limit_of(identity)
    try:
        if term is not None:
            policies.refuse_unreachable(identity)
    except PolicyViolation:
        return None
    return term


def _named(row: BudgetRow) -> str:
    """What a budget counts, with the values that its file gives: `department=legal/user`."""
    values = {"department": row.department, **{dimension(scope): name for scope, name in row.names.items()}}
    return "/".join(f"{name}={values[name]}" if values.get(name) else name for name in row.dimensions)


def _parts(identity: str) -> frozenset[str]:
    """What an identity says of the scope that it counts."""
    return frozenset(part for part in identity.split("/")[:-2] if part != "org")


def _within(identity: str) -> frozenset[str] | None:
    """The same of a department's budget, without the department; `None` of any other."""
    return _parts(identity) - {_department(identity)} if identity.startswith("department=") else None


def _department(identity: str) -> str:
    return identity.split("/", 1)[0]


def books_of(where: Any) -> Books:
    """The books of a governor or a ledger, blocking or async.

    Raises:
        TypeError: It is neither, or an async ledger that can only be awaited.
    """
    ledger = getattr(where, "ledger", where)
    ledger = getattr(ledger, "blocking", ledger)
    execute = getattr(ledger, "execute", None)
    if execute is None:
        raise TypeError(f"{where!r:.80} is neither a governor nor a ledger: give what Governor.load returned")
    if inspect.iscoroutinefunction(execute):
        raise TypeError(
            f"{ledger!r:.80} is read on its event loop only: give assert_spent the same ledger, opened with "
            "governor.ledger.open_ledger(url, organization, clock=…)"
        )
    known: tuple[c.KnownBalance, ...] = execute(c.ListBalances())
    usd = (_view(one) for one in known if unit_of(one.identity) is Unit.USD)
    return Books({view.identity: view for view in usd}, getattr(where, "policies", None))


def _view(known: c.KnownBalance) -> BudgetView:
    balance = known.balance
    return BudgetView(
        identity=known.identity,
        window=known.window or LIFE,
        unit=Unit.USD,
        limit=balance.limit,
        posted=balance.posted,
        held=balance.held,
        resets_at=None,
        frozen=balance.frozen,
    )

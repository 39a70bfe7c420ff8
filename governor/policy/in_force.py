"""What a file may already say and this release does not enforce yet: said aloud, never silently ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.budgets import Unit
from governor.policy.department import floor_bearer
from governor.policy.schema import DepartmentPolicy
from governor.policy.shape import dotted
from governor.policy.terms import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.policy.shape import PolicyFile
    from governor.policy.terms import BudgetRow


def not_in_force(file: PolicyFile, rows: Sequence[BudgetRow]) -> Iterator[Notice]:
    """What this file says that is not in force yet, and what happens instead; in the file's order.

    Args:
        file: The file.
        rows: The budgets its users are under: the organisation's and its own, as `budget_rows` has them.
    """
    found = [
        *_idle_floors(file, rows),
        *_nothing_to_lease(file, rows),
    ]
    yield from sorted(found, key=lambda notice: (notice.line, notice.column))


def _notice(file: PolicyFile, path: tuple[Any, ...], instead: str) -> Notice:
    line, column = file.document.place(path, on_key=True)
    return Notice(file.name, line, column, dotted(path), f"not in force yet: {instead}")


def _idle_floors(file: PolicyFile, rows: Sequence[BudgetRow]) -> Iterator[Notice]:
    """Floors, once for each tier of users who have no usd budget."""
    policy = file.policy
    if not isinstance(policy, DepartmentPolicy) or not policy.routing.floors:
        return
    for tier in sorted(policy.user_tiers, key=lambda tier: tier or ""):
        if floor_bearer(rows, tier) is not None:
            continue
        whom = "users without a user_tier" if tier is None else f"users of the user_tier {tier!r}"
        path = ("routing", "floors")
        line, column = file.document.place(path, on_key=True)
        text = f"not in force for {whom}, who have no usd budget of their own"
        yield Notice(file.name, line, column, dotted(path), text)


def _nothing_to_lease(file: PolicyFile, rows: Sequence[BudgetRow]) -> Iterator[Notice]:
    """A lease, where no usd budget is touched by every request of the department."""
    policy = file.policy
    if not isinstance(policy, DepartmentPolicy) or policy.if_ledger_is_down != "lease":
        return
    if not any(row.scope in ("organization", "department") and row.unit is Unit.USD for row in rows):
        instead = "there is no usd budget per organization or department to lease, so requests are refused"
        yield _notice(file, ("if_ledger_is_down",), instead)

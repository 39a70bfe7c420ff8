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

_ONE_TIER = "every request is of the standard tier"
_PATHS: dict[tuple[str, ...], str] = {
    ("routing", "complexity"): "`auto` is the line the standard tier prefers, however hard the request is",
    ("routing", "choose"): _ONE_TIER,
    ("routing", "tiers", "premium"): _ONE_TIER,
    ("routing", "tiers", "economy"): _ONE_TIER,
    ("routing", "tiers", "standard", "context"): "no candidate is skipped; limits.input_tokens still refuses",
    ("routing", "shrink"): "a request is refused without a smaller max_tokens being offered",
}
_VALUES: dict[tuple[str, object], str] = {
    ("retry_uncertain", True): "a request that was sent and never answered is not sent again",
}


def not_in_force(file: PolicyFile, rows: Sequence[BudgetRow]) -> Iterator[Notice]:
    """What this file says that is not in force yet, and what happens instead; in the file's order.

    Args:
        file: The file.
        rows: The budgets its users are under: the organisation's and its own, as `budget_rows` has them.
    """
    found = [
        *_by_path(file),
        *_by_value(file),
        *_idle_floors(file, rows),
        *_nothing_to_lease(file, rows),
    ]
    yield from sorted(found, key=lambda notice: (notice.line, notice.column))


def _notice(file: PolicyFile, path: tuple[Any, ...], instead: str) -> Notice:
    line, column = file.document.place(path, on_key=True)
    return Notice(file.name, line, column, dotted(path), f"not in force yet: {instead}")


def _by_path(file: PolicyFile) -> Iterator[Notice]:
    for path, instead in _PATHS.items():
        if file.document.find(path) is not None:
            yield _notice(file, path, instead)


def _by_value(file: PolicyFile) -> Iterator[Notice]:
    if not isinstance(file.policy, DepartmentPolicy):
        return
    for (key, value), instead in _VALUES.items():
        if getattr(file.policy, key) == value:
            yield _notice(file, (key,), instead)


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

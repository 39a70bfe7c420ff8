"""One department, compiled: its own file and the organisation's, as they hold together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from governor.budgets import Period, Rolling, Unit
from governor.errors import PolicyViolation, nearest
from governor.policy.routes import routes_of
from governor.policy.terms import FULL_BP, LINES, BudgetRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from governor.policy.routes import Routes
    from governor.policy.schema import (
        DepartmentPolicy,
        Feature,
        Limits,
        OrganizationPolicy,
        PolicyBase,
        Workspace,
    )
    from governor.policy.shape import PolicyFile

EVERYONE = "*"
_BINDING = ("cost_per_request", "input_tokens", "max_tokens", "tool_uses")
"""The limits that refuse or alter a request."""
_DAY_MS = 86_400_000
_LENGTHS_MS = {
    Period.MINUTE: 60_000,
    Period.HOUR: 3_600_000,
    Period.DAY: _DAY_MS,
    Period.WEEK: 7 * _DAY_MS,
    Period.MONTH: 365.25 / 12 * _DAY_MS,
    Period.LIFE: float("inf"),
}
"""How long each is, on average."""
Bound = tuple[BudgetRow, "Mapping[str, int]"]
"""A budget, and the floors it bears: line to nano-dollars."""


if TYPE_CHECKING:
    Directory = Callable[[str, str], Mapping[str, str] | None]
    """Asked with a user and a department: what a file would say of the user; `None` of an unknown one."""


@dataclass(frozen=True, slots=True)
class Department:
    """One department, compiled: nothing of it is computed again per request.

    Attributes:
        file: Its file.
        policy: What that says.
        routes: What it says of routing.
        limits: The strictest of the files that are enforced.
        watched: The strictest of those in shadow.
        enforced: Whether anything may refuse its requests.
        estimate: How a prompt is measured; likewise `strict_tools`, `workspace` and `owner` as in `Rules`.
        rows: Tier of users to the budgets they are under, each with its floors.
    """

    file: str
    policy: DepartmentPolicy
    routes: Routes
    limits: Limits
    watched: Limits
    enforced: bool
    estimate: str
    strict_tools: bool
    workspace: Workspace
    owner: str
    rows: Mapping[str | None, tuple[Bound, ...]]

    @property
    def shadow(self) -> bool:
        """Whether its file only watches."""
        return self.policy.mode == "shadow"

    def tier_of(self, user: str, directory: Directory | None = None) -> str | None:
        """The tier of a user: by the file, else by the *directory*, else as everybody else's.

        Raises:
            PolicyViolation: None of them knows the user, or the directory gives a tier of no budget.
        """
        users = self.policy.users or {}
        entry = users.get(user)
        if entry is None and self.policy.asks_application:
            told = self._told(user, directory)
            if told is not None:
                return self._known_tier(user, told.get("user_tier"))
        elif self.policy.users is None:
            return None
        entry = entry or users.get(EVERYONE)
        if entry is None:
            raise PolicyViolation(
                f"unknown user {user!r} in the department {self.policy.department!r}: "
                f'add the user, or "{EVERYONE}" for everybody else, under `users` in {self.file}'
            )
        return entry.user_tier

    def _told(self, user: str, directory: Directory | None) -> Mapping[str, str] | None:
        if directory is None:
            raise PolicyViolation(
                f"{self.file} says `users_from: application`, and this process was given no callable: "
                "Governor.load(..., users=…)"
            )
        return directory(user, self.policy.department)

    def _known_tier(self, user: str, tier: str | None) -> str | None:
        if tier in self.rows:
            return tier
        hint = nearest(str(tier), [known for known in self.rows if known])
        raise PolicyViolation(f"the application says that {user!r} is of the user_tier {tier!r}: {hint}")

    def feature(self, name: str | None) -> Feature | None:
        """What the file says of a feature; `None` where it says nothing.

        Raises:
            PolicyViolation: The file names features, and neither this one nor any other.
        """
        features = self.policy.features
        if name is None or not features:
            return None
        feature = features.get(name) or features.get(EVERYONE)
        if feature is None:
            hint = nearest(name, features)
            where = f'add it, or "{EVERYONE}" for any other, under `features` in {self.file}'
            raise PolicyViolation(f"unknown feature {name!r} ({hint}): {where}")
        return feature


def compiled(
    file: PolicyFile,
    shared: OrganizationPolicy | None,
    shared_rows: Sequence[BudgetRow],
    own: Sequence[BudgetRow],
) -> Department:
    """Compile a department's file.

    Args:
        file: The file.
        shared: The organisation's, if there is one.
        shared_rows: The organisation's budgets.
        own: The department's.
    """
    policy: DepartmentPolicy = file.policy  # type: ignore[assignment]
    both = [policy, *([shared] if shared else [])]
    routes = routes_of(policy.routing)
    rows = [*shared_rows, *own]
    tiers = {None, *policy.user_tiers, *(row.user_tier for row in rows)}
    in_force = [one for one in both if one.mode == "enforce"]
    limits = _strictest(both, in_force)
    enforced = (
        policy.mode == "enforce"
        or any(not row.shadow for row in shared_rows)
        or any(getattr(limits, name) is not None for name in _BINDING)
    )
    return Department(
        file=file.name,
        policy=policy,
        routes=routes,
        limits=limits,
        watched=_strictest(both, [one for one in both if one.mode == "shadow"]),
        enforced=enforced,
        estimate=next((one.estimate for one in both if one.estimate), "auto") if enforced else "local",
        strict_tools=any(one.server_tools == "strict" for one in both),
        workspace=_workspace(both),
        owner=next((one.owner for one in both if one.owner), ""),
        rows={
            tier: _bind([*shared_rows, *own], tier, _floors(policy, routes.lines), next(iter(routes.lines)))
            for tier in tiers
        },
    )


def _strictest(files: Sequence[PolicyBase], meant: Sequence[PolicyBase]) -> Limits:
    """The smallest of every limit of the files that are *meant*, and the largest result of a tool of all."""
    found: dict[str, int | None] = {
        name: least(getattr(file.limits, name) for file in meant) for name in _BINDING
    }
    results = [file.limits.tool_result_tokens for file in files]
    found["tool_result_tokens"] = max((size for size in results if size is not None), default=None)
    return files[0].limits.model_copy(update=found)


def _workspace(files: Sequence[PolicyBase]) -> Workspace:
    """Where requests are served: in the dearer region that a file says; at the department's own endpoint."""
    own, shared = files[0].workspace, files[-1].workspace
    geos = (own.inference_geo, shared.inference_geo)
    geo = "us" if "us" in geos else next(filter(None, geos), None)
    return own.model_copy(update={"inference_geo": geo, "endpoint": own.endpoint or shared.endpoint})


def least(values: Iterable[int | None]) -> int | None:
    """The smallest of those that are given; `None` where none is."""
    return min((value for value in values if value is not None), default=None)


def _floors(policy: DepartmentPolicy, lines: Mapping[str, str]) -> dict[str, int]:
    """The floor of every line above the cheapest: the largest of its own and of those below it."""
    written: Mapping[str, int] = {str(line): nanos for line, nanos in policy.routing.floors.items()}
    floors, largest = {}, 0
    for line in LINES[LINES.index(next(iter(lines))) + 1 :]:
        largest = max(largest, written.get(line, 0))
        if largest:
            floors[line] = largest
    return floors


def floor_bearer(rows: Iterable[BudgetRow], tier: str | None) -> BudgetRow | None:
    """The budget on which floors are judged for users of *tier*: their longest in usd; `None` without one.

    One of the user alone, in all they do: not of a user and something else.
    """
    of_user = [
        row
        for row in rows
        if row.scopes == ("user",) and row.unit is Unit.USD and row.user_tier in (None, tier)
    ]
    return max(of_user, key=lambda row: (_length_ms(row.period), row.department is not None), default=None)


def _length_ms(period: Period | Rolling) -> float:
    return period.length_ms if isinstance(period, Rolling) else _LENGTHS_MS[period]


def _bind(
    rows: Iterable[BudgetRow], tier: str | None, floors: Mapping[str, int], cheapest: str
) -> tuple[Bound, ...]:
    """The rows for users of one tier; floors go to their longest usd budget.

    No step down caps a department's *cheapest* line: there is nothing below it to step down to.
    """
    mine = [_uncapped(row, cheapest) for row in rows if row.user_tier in (None, tier)]
    bearer = floor_bearer(mine, tier)
    return tuple((row, floors if row is bearer else {}) for row in mine)


def _uncapped(row: BudgetRow, line: str) -> BudgetRow:
    if row.caps.get(line, FULL_BP) >= row.block_bp:
        return row
    caps = {one: mark for one, mark in row.caps.items() if one != line}
    if row.block_bp < FULL_BP:
        caps[line] = row.block_bp
    floor_caps = {one: mark for one, mark in row.floor_caps.items() if one != line}
    return replace(row, caps=caps, floor_caps=floor_caps)

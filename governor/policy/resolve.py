"""Whose policy? Which budgets a request touches and which rules it is under. Pure: no file is read here."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from governor.errors import PolicyViolation, nearest
from governor.policy.department import compiled, least
from governor.policy.scopes import clean_name, scope_of
from governor.policy.terms import (
    MAX_ID,
    MAX_TAGS,
    Rules,
    Watched,
    clean_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from governor.policy.department import Bound, Department, Directory
    from governor.policy.schema import OrganizationPolicy
    from governor.policy.shape import PolicyFile
    from governor.policy.terms import Attribution, BudgetRow, BudgetTerm, Notice

DEFAULT_ORGANIZATION = "default"
_CACHED_REQUESTS = 1024
R = TypeVar("R")


class Policies:
    """Every policy file of an organisation, compiled. Made by `governor.policy.load`.

    Attributes:
        organization: The organisation's name, the ledger's namespace; `default` without `organization.yaml`.
        hash: 12 hexadecimal digits of a SHA-256 over what the files mean: comments do not change it.
        departments: The names of the departments, in the order of their files.
        files: The files as they were read, the organisation's first.
        sources: Their names.
        not_in_force: What they say that this release does not enforce yet.
        directory: Tells of users that the files do not name; asked for every request, so it must be quick.
    """

    def __init__(
        self,
        organization: PolicyFile | None,
        departments: Sequence[PolicyFile],
        rows: Mapping[str, Sequence[BudgetRow]],
        not_in_force: Iterable[Notice],
    ) -> None:
        """Compile files that were found right.

        Args:
            organization: The organisation's file, if there is one.
            departments: The departments' files.
            rows: File name to its budgets, as `budget_rows` compiled them.
            not_in_force: What to report as such.
        """
        shared: OrganizationPolicy | None = organization.policy if organization else None  # type: ignore[assignment]
        self.files = (*([organization] if organization else []), *departments)
        self.organization = shared.organization if shared else DEFAULT_ORGANIZATION
        self.hash = _hash(self.files)
        self.sources = tuple(file.name for file in self.files)
        self.not_in_force = tuple(not_in_force)
        self._shared_rows = tuple(rows[organization.name]) if organization else ()
        self.directory: Directory | None = None
        self._departments = {}
        for file in departments:
            department = compiled(file, shared, self._shared_rows, rows[file.name])
            self._departments[department.policy.department] = department
        self.departments = tuple(self._departments)
        self._rules_of = lru_cache(maxsize=_CACHED_REQUESTS)(self._find_rules)
        self._terms = lru_cache(maxsize=_CACHED_REQUESTS)(self._find_terms)
        self._rows = (*self._shared_rows, *(row for file in departments for row in rows[file.name]))

    def rules(self, who: Attribution) -> Rules:
        """What the files say of a request besides its budgets.

        Raises:
            PolicyViolation: The department, the user or the feature is not one the files allow, or a value
                cannot be an id, or a tag cannot be one.
        """
        _refuse_odd_ids(who)  # of no other is it known that it can be a key
        return self._rules_of(who, *self._tier_of(who))

    def _tier_of(self, who: Attribution) -> tuple[str | None, tuple[str, ...]]:
        """The user's tier, and what a file in shadow would have refused the user for."""
        department = self._department(who.department)
        complaints: list[str] = []
        tier = _overlooked(department, complaints, lambda: department.tier_of(who.user, self.directory))
        return tier, tuple(complaints)

    def _find_rules(self, who: Attribution, user_tier: str | None, of_user: tuple[str, ...]) -> Rules:
        department = self._department(who.department)
        policy, routing = department.policy, department.policy.routing
        complaints = list(of_user)
        feature = _overlooked(department, complaints, lambda: department.feature(who.feature))
        feature_max = feature.max_tokens if feature else None
        watched = department.watched
        return Rules(
            attribution=who,
            user_tier=user_tier,
            routes=department.routes,
            feature_lines=tuple(feature.lines) if feature and feature.lines else None,
            value_nanos=feature.value if feature else None,
            max_tokens=least((None if department.shadow else feature_max, department.limits.max_tokens)),
            cost_per_request_nanos=department.limits.cost_per_request,
            input_tokens=department.limits.input_tokens,
            max_wait_s=routing.when_contended.max_wait,
            deadline_s=None if department.shadow else policy.deadline,
            retry_uncertain=policy.retry_uncertain and not department.shadow,
            uncertain_whole=policy.uncertain == "hold",
            on_expiry_charge=policy.on_expiry == "charge",
            if_ledger_is_down=policy.if_ledger_is_down if department.enforced else "allow",
            policy_hash=self.hash,
            owner=department.owner,
            estimate=department.estimate,
            tool_uses=department.limits.tool_uses,
            tool_result_tokens=department.limits.tool_result_tokens,
            strict_tools=department.strict_tools,
            inference_geo=department.workspace.inference_geo,
            endpoint=department.workspace.endpoint or "",
            shadow=department.shadow,
            enforced=department.enforced,
            watched=Watched(
                least((feature_max if department.shadow else None, watched.max_tokens)),
                watched.cost_per_request,
                watched.input_tokens,
            ),
            complaints=tuple(complaints),
        )

    def budgets(self, who: Attribution, models: Sequence[str]) -> tuple[BudgetTerm, ...]:
        """The budgets a request touches: the organisation's, then the department's, in file order.

        Args:
            who: Who asks and what for.
            models: The ids of the models that may serve it; budgets per model are of these only.

        Raises:
            PolicyViolation: As from `rules`.
        """
        _refuse_odd_ids(who)
        return self._terms(who, self._tier_of(who)[0], tuple(models))

    def _find_terms(
        self, who: Attribution, tier: str | None, models: tuple[str, ...]
    ) -> tuple[BudgetTerm, ...]:
        bound = self._department(who.department).rows[tier]
        return tuple(term for row, floors in bound for term in row.terms(who, models, floors))

    def everybodys(self) -> tuple[BudgetTerm, ...]:
        """The budgets of the organisation as a whole, which every request touches, whoever asks."""
        return tuple(row.term({}, {}, kept=True) for row in self._shared_rows if row.dimensions == ("org",))

    def all_terms(self) -> tuple[BudgetRow, ...]:
        """Every budget as the files write it, the organisation's first, before it is known who asks."""
        return self._rows

    def limit_of(self, identity: str) -> BudgetTerm | None:
        """The budget that a balance's identity belongs to, or `None` where no file has it (any more).

        It is given as it is for requests that no part is kept for. Where the user's departments disagree on
        the tier, the smallest limit is given.
        """
        if identity.count("/") < 2:
            return None
        *_, unit, period = identity.split("/")
        names, values = _dimensions(identity)
        if not all(clean_id(value) for scope, value in values.items() if scope != "org"):
            return None
        terms = [
            row.term(values, floors, kept=True)
            for row, floors in self._bound_to(names, values)
            if (row.dimensions, row.unit, row.period.value) == (names, unit, period) and row.is_for(values)
        ]
        return min(terms, key=lambda term: term.limit, default=None)

    def refuse_unreachable(self, identity: str, line: str | None = None) -> None:
        """Refuse a budget that no request can touch, for no department would let one through.

        Args:
            identity: One that `limit_of` knows.
            line: Of the model in it, if there is one.

        Raises:
            PolicyViolation: There is no such department, or none that knows the user and the feature, or lets
                the feature use the line; the message says what to add.
        """
        _, values = _dimensions(identity)
        one = values.get("department")
        refusal = None
        for name in self._departments if one is None else (one,):
            try:
                return self._let_through(self._department(name), values, line)
            except PolicyViolation as error:
                refusal = refusal or error
        raise refusal or PolicyViolation("no policy file names a department")

    def _let_through(self, department: Department, values: Mapping[str, str], line: str | None) -> None:
        if "user" in values and not self._unasked(department):
            department.tier_of(values["user"], self.directory)
        name = values.get("feature")
        feature = department.feature(name)
        if line and feature and feature.lines and line not in feature.lines:
            only = ", ".join(feature.lines)
            raise PolicyViolation(f"the feature {name!r} may use {only} only, by {department.file}")

    def _bound_to(self, names: tuple[str, ...], values: Mapping[str, str]) -> Iterator[Bound]:
        """The budgets, with floors, that could be meant by an identity's dimensions and their values."""
        own, user = names[0] == "department", values.get("user")
        if not own and (user is None or not self._departments):
            yield from ((row, {}) for row in self._shared_rows)
            return
        one = values.get("department")
        for name, department in self._departments.items():
            if one not in (None, name):
                continue
            try:
                tier = None if user is None else department.tier_of(user, self.directory)
            except PolicyViolation:
                tiers = tuple(department.rows) if self._unasked(department) else ()
            else:
                tiers = (tier,)
            mine = name if own else None
            bound = (one for each in tiers for one in department.rows[each])
            yield from ((row, floors) for row, floors in bound if row.department == mine)

    def _unasked(self, department: Department) -> bool:
        """Whether only the application knows the department's users, and cannot be asked here."""
        return department.policy.asks_application and self.directory is None

    def _department(self, name: str) -> Department:
        department = self._departments.get(name)
        if department is None:
            hint = nearest(name, self._departments) or "no policy file names a department"
            raise PolicyViolation(f"unknown department {name!r}: it has no policy file ({hint})")
        return department


def _overlooked(department: Department, complaints: list[str], find: Callable[[], R]) -> R | None:
    """What *find* finds; where a file in shadow would refuse it, nothing, and a complaint."""
    try:
        return find()
    except PolicyViolation as error:
        if not department.shadow:
            raise
        complaints.append(str(error))
        return None


def _dimensions(identity: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The names in an identity, and the value of each scope."""
    parts = [part.partition("=") for part in identity.split("/")[:-2]]
    return tuple(name for name, *_ in parts), {scope_of(name): unquote(value) for name, _, value in parts}


def _refuse_odd_ids(who: Attribution) -> None:
    for name in ("department", "user", "feature", "run", "priority"):
        value = getattr(who, name)
        if value is not None or name in ("department", "user"):
            _refuse_odd_id(name, value)
    if len(who.tags) > MAX_TAGS:
        raise PolicyViolation(f"a request carries at most {MAX_TAGS} tags, this one has {len(who.tags)}")
    for name, value in who.tags:
        if not isinstance(name, str) or not clean_name(name):
            shown = repr(name)[:60]
            raise PolicyViolation(f"{shown} cannot be a tag's name: give 1 to 64 of a-z, 0-9, - and _")
        _refuse_odd_id(f"value of the tag {name}", value)


def _refuse_odd_id(what: str, value: object) -> None:
    if not isinstance(value, str) or not clean_id(value):
        raise PolicyViolation(
            f"{repr(value)[:60]} cannot be a {what}: "
            f"give 1 to {MAX_ID} characters, none of them a control character"
        )


def _meant(file: PolicyFile) -> dict[str, Any]:
    """What a file means; a key that is younger than known hashes is left out where it is not given."""
    said = file.policy.model_dump(mode="json")
    return said if said["runaway"] is not None else {k: v for k, v in said.items() if k != "runaway"}


def _hash(files: Iterable[PolicyFile]) -> str:
    content = sorted(json.dumps(_meant(file), sort_keys=True) for file in files)
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:12]

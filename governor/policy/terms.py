"""The value types of the policy room: who asks, which budgets that touches, and what else the files say."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from governor.budgets import Period, Unit, balance_identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Line = Literal["haiku", "sonnet", "opus", "fable", "mythos"]
LINES: tuple[str, ...] = get_args(Line)
"""The lines of models, cheapest first; a step to a line caps every line after it."""

Scope = Literal["organization", "department", "user", "feature", "model", "run"]


MAX_ID = 256


def clean_id(value: str) -> bool:
    """Whether *value* may name a user, feature, run or model: 1 to 256 characters, no control characters."""
    if not 0 < len(value) <= MAX_ID:
        return False
    if value.isascii() and value.isprintable():
        return True
    return not any(unicodedata.category(char) in ("Cc", "Cs") for char in value)


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who and what a request is for. Every value: 1 to 256 characters, none of them a control character."""

    department: str
    user: str
    feature: str | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True)
class BudgetTerm:
    """One budget that one request touches.

    Attributes:
        identity: What its balance is kept under; see `governor.budgets.balance_identity`.
        scope: What it counts per: organization, department, user, feature, model or run.
        unit: What it counts.
        period: How long a window of it lasts.
        timezone: IANA name; calendar windows start there.
        limit: Nano-dollars for usd, else a count.
        steps: Every threshold, in basis points of the limit, ascending; only usd budgets have any.
        warn_steps: Those of them that warn.
        caps: Line to the mark (basis points) up to which it may fill the budget; absent: 10000.
        floors: Line to the nano-dollars that must be left for it, those of the lines below it included. Only
            on the user's longest usd budget, never for the cheapest line.
        model: Only candidates served by this model touch it; `None`: all do.
        source: File and line it was written at, for explanations: `policies/engineering.yaml:8`.
    """

    identity: str
    scope: str
    unit: Unit
    period: Period
    timezone: str
    limit: int
    steps: tuple[int, ...]
    warn_steps: tuple[int, ...]
    caps: Mapping[str, int]
    floors: Mapping[str, int]
    model: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What the files say of a request besides its budgets.

    Attributes:
        attribution: The request they were read for.
        user_tier: The user's tier, or `None` where the file gives none.
        lines: Line to model id, cheapest first.
        default: What `model="auto"` or no model means: `auto`, a line, or a model id.
        preferred_line: The line `auto` stands for: the one the standard tier prefers.
        feature_lines: The only lines the feature may use, as the file orders them; `None`: all.
        max_tokens: The bound on `max_tokens`, the feature's or the file's, or `None`.
        cost_per_request_nanos: The most one request may cost, nano-dollars, or `None`.
        input_tokens: The most input tokens one request may have, or `None`.
        timeout_s: Seconds of silence after which a call is given up.
        retries: How often a failed call is sent again.
        max_wait_s: Seconds to wait for held money before `BudgetContended`.
        on_expiry_charge: Whether a hold that expires is charged; else it is given back.
        if_ledger_is_down: `refuse`, `allow` or `lease`.
        policy_hash: The hash of the whole policy, as `Policies.hash`.
        owner: Whom to ask about the file; may be empty.
        estimate: How a prompt is measured: `auto`, `count` or `local`.
        tool_uses: How often each server tool may run in one request, or `None`.
        tool_result_tokens: Tokens that one use of one may bring into the prompt; `None`: as is usual.
        strict_tools: Whether the whole context window is held for every pass of a server tool's loop.
        inference_geo: Where a request that does not say is served, or `None`.
        endpoint: The kind of cloud endpoint that serves; '' where none is written.
    """

    attribution: Attribution
    user_tier: str | None
    lines: Mapping[str, str]
    default: str
    preferred_line: str
    feature_lines: tuple[str, ...] | None
    max_tokens: int | None
    cost_per_request_nanos: int | None
    input_tokens: int | None
    timeout_s: float
    retries: int
    max_wait_s: float
    on_expiry_charge: bool
    if_ledger_is_down: str
    policy_hash: str
    owner: str
    estimate: str
    tool_uses: int | None
    tool_result_tokens: int | None
    strict_tools: bool
    inference_geo: str | None
    endpoint: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a file says that its author should know about, though the file is right.

    Attributes:
        file: The file, as it was named to the loader.
        line: Line, counted from 1; likewise `column`.
        path: Where in the file: `routing.tiers.premium`.
        text: What to know.
    """

    file: str
    line: int
    column: int
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.path}: {self.text}"


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One budget as a file writes it, before it is known who asks.

    Attributes:
        department: The department whose file it is in; `None`: the organisation's.
        scope: What it counts per.
        name: The one feature or model it is for; `None`: each has its own balance.
        user_tier: The only tier of users it is for; `None`: all.
        unit: What it counts; likewise `period`, `timezone`, `limit`, `steps`, `warn_steps`, `caps` and
            `source` as in `BudgetTerm`.
    """

    department: str | None
    scope: Scope
    name: str | None
    user_tier: str | None
    unit: Unit
    period: Period
    timezone: str
    limit: int
    steps: tuple[int, ...]
    warn_steps: tuple[int, ...]
    caps: Mapping[str, int]
    source: str

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names in its balances' identity: the file's scope, then what it counts per."""
        file_scope = "org" if self.department is None else "department"
        per_file = self.scope in ("organization", file_scope)
        return (file_scope,) if per_file else (file_scope, self.scope)

    def identity(self, value: str | None) -> str:
        """The balance of one user, feature, model, run or department (*value*) under this budget."""
        scope, *rest = self.dimensions
        values: dict[str, str | None] = {scope: self.department}
        values.update(dict.fromkeys(rest, value))
        return balance_identity(values, self.unit, self.period)

    def terms(
        self, who: Attribution, models: Sequence[str], floors: Mapping[str, int]
    ) -> Iterator[BudgetTerm]:
        """The budgets of this row that a request touches: none, one, or one per model."""
        if self.scope == "model":
            for model in models:
                if self.name in (None, model):
                    yield self.term(model, floors)
            return
        value = None if self.scope == "organization" else getattr(who, self.scope)
        if self.scope in ("feature", "run") and (value is None or self.name not in (None, value)):
            return
        yield self.term(value, floors)

    def term(self, value: str | None, floors: Mapping[str, int]) -> BudgetTerm:
        """The budget of one value of the row's dimension, with the floors it bears."""
        return BudgetTerm(
            identity=self.identity(value),
            scope=self.scope,
            unit=self.unit,
            period=self.period,
            timezone=self.timezone,
            limit=self.limit,
            steps=self.steps,
            warn_steps=self.warn_steps,
            caps=self.caps,
            floors=floors,
            model=value if self.scope == "model" else None,
            source=self.source,
        )

"""The value types of the policy room: who asks, which budgets that touches, and what else the files say."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from governor.budgets import Period, Rolling, Unit, balance_identity
from governor.policy.scopes import dimension, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.policy.routes import Routes

Line = Literal["haiku", "sonnet", "opus", "fable", "mythos"]
LINES: tuple[str, ...] = get_args(Line)
"""The lines of models, cheapest first; a step to a line caps every line after it."""

FULL_BP = 10_000
"""A whole limit, in basis points."""

MAX_ID = 256
MAX_TAGS = 16
"""The most tags that one request may carry."""


def clean_id(value: str) -> bool:
    """Whether *value* may name a user, feature, run or model: 1 to 256 characters, no control characters."""
    if not 0 < len(value) <= MAX_ID:
        return False
    if value.isascii() and value.isprintable():
        return True
    return not any(unicodedata.category(char) in ("Cc", "Cs") for char in value)


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who and what a request is for. Every value: 1 to 256 characters, none of them a control character.

    Attributes:
        department: Whose policy file.
        user: Who asks.
        feature: What for, or `None`.
        run: The agent run or job, or `None`.
        tags: Name and value of each tag, sorted by name; a name is 1 to 64 of `a-z 0-9 _ -`.
        priority: How urgent it is, in the policy's own words, or `None`.
    """

    department: str
    user: str
    feature: str | None = None
    run: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    priority: str | None = None

    def value_of(self, scope: str) -> str | None:
        """What the request is counted under per *scope* (not the model's); `None` where it has nothing."""
        tag = tag_of(scope)
        if tag is not None:
            return next((value for name, value in self.tags if name == tag), None)
        value: str | None = getattr(self, scope)
        return value


@dataclass(frozen=True, slots=True)
class BudgetTerm:
    """One budget that one request touches.

    Attributes:
        identity: What its balance is kept under; see `governor.budgets.balance_identity`.
        scope: What it counts per: `user`, `tag:project`, `user and model`.
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
        block_bp: The mark that no line may pass, basis points; it is in *caps* too.
        paced: Whether its steps, but for a block, wait for an even pace.
        share_bp: How much of it this request may fill, with what is held; less than 10000 where the rest is
            kept for others.
        kept_for: For whom the rest is kept.
        shadow: Whether it counts only, and refuses nothing.
        floor_caps: Of a paced one, the organisation's marks as in *caps*, which its pace does not lift.
        watched_caps: The marks of an organisation's file in shadow, as in *caps*: nobody is held to them.
    """

    identity: str
    scope: str
    unit: Unit
    period: Period | Rolling
    timezone: str
    limit: int
    steps: tuple[int, ...]
    warn_steps: tuple[int, ...]
    caps: Mapping[str, int]
    floors: Mapping[str, int]
    model: str | None
    source: str
    block_bp: int = FULL_BP
    paced: bool = False
    share_bp: int = FULL_BP
    kept_for: tuple[str, ...] = ()
    shadow: bool = False
    floor_caps: Mapping[str, int] = field(default_factory=dict)
    watched_caps: Mapping[str, int] = field(default_factory=dict)

    @property
    def watches(self) -> bool:
        """Whether it may say what it would have done, and not do it."""
        return self.shadow or bool(self.watched_caps)

    def mark_bp(self, line: str, gone_bp: int) -> int:
        """How full it may be after a call of *line*, basis points, when *gone_bp* of its window is gone."""
        mark = self.caps.get(line, FULL_BP)
        if not self.paced:
            return mark
        return min(max(mark, gone_bp), self.block_bp, self.floor_caps.get(line, FULL_BP))


@dataclass(frozen=True, slots=True)
class Watched:
    """Limits of files in shadow: as in `Rules`, but nothing is refused or altered for them."""

    max_tokens: int | None = None
    cost_per_request_nanos: int | None = None
    input_tokens: int | None = None


NOTHING_WATCHED = Watched()


@dataclass(frozen=True, slots=True)
class Rules:
    """What the files say of a request besides its budgets.

    Attributes:
        attribution: The request they were read for.
        user_tier: The user's tier, or `None` where the file gives none.
        routes: What the file says of routing.
        feature_lines: The only lines the feature may use, as the file orders them; `None`: all.
        value_nanos: What one call of the feature is worth, nano-dollars, or `None`.
        max_tokens: The bound on `max_tokens`, the feature's or the file's, or `None`.
        cost_per_request_nanos: The most one request may cost, nano-dollars, or `None`.
        input_tokens: The most input tokens one request may have, or `None`.
        max_wait_s: Seconds to wait for held money before `BudgetContended`.
        deadline_s: Seconds that the whole call may take, or `None`.
        retry_uncertain: Whether a request that was sent and never answered is sent again.
        uncertain_whole: Whether a call whose cost is not known for certain is charged its whole hold.
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
        shadow: Whether the department's file only watches; the organisation's may be enforced all the same.
        enforced: Whether anything that the request touches may refuse it.
        watched: The limits that are not enforced.
        complaints: What a file that only watches would have refused it for.
    """

    attribution: Attribution
    user_tier: str | None
    routes: Routes
    feature_lines: tuple[str, ...] | None
    value_nanos: int | None
    max_tokens: int | None
    cost_per_request_nanos: int | None
    input_tokens: int | None
    max_wait_s: float
    deadline_s: float | None
    retry_uncertain: bool
    uncertain_whole: bool
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
    shadow: bool = False
    enforced: bool = True
    watched: Watched = NOTHING_WATCHED
    complaints: tuple[str, ...] = ()

    @property
    def lines(self) -> Mapping[str, str]:
        """Line to model id, cheapest first."""
        return self.routes.lines

    @property
    def successors(self) -> Mapping[str, str]:
        """Model id to the line or model that takes its place."""
        return self.routes.successors

    @property
    def watches(self) -> bool:
        """Whether a file in shadow has something to say of the request, besides its budgets."""
        return self.shadow or self.watched != NOTHING_WATCHED


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
        scopes: What it counts per, in the order of identities; several make one balance per combination.
        names: Scope to the one feature, model or tag's value it is for; of the others each has its balance.
        user_tier: The only tier of users it is for; `None`: all.
        unit: What it counts; likewise `period`, `timezone`, `limit`, `steps`, `warn_steps`, `caps` and
            `source` as in `BudgetTerm`, and so `block_bp`, `paced`, `kept_for`, `shadow`, `floor_caps` and
            `watched_caps`.
        keep_bp: The part, in basis points, that only *kept_for* may spend; 0: none.
    """

    department: str | None
    scopes: tuple[str, ...]
    names: Mapping[str, str]
    user_tier: str | None
    unit: Unit
    period: Period | Rolling
    timezone: str
    limit: int
    steps: tuple[int, ...]
    warn_steps: tuple[int, ...]
    caps: Mapping[str, int]
    source: str
    block_bp: int = FULL_BP
    paced: bool = False
    keep_bp: int = 0
    kept_for: tuple[str, ...] = ()
    shadow: bool = False
    floor_caps: Mapping[str, int] = field(default_factory=dict)
    watched_caps: Mapping[str, int] = field(default_factory=dict)

    @property
    def scope(self) -> str:
        """What it counts per, as people read it: `user`, `user and model`."""
        return " and ".join(self.scopes)

    @property
    def inner(self) -> tuple[str, ...]:
        """What it counts per within its file: neither the organisation, nor the file's own department."""
        outer = "organization" if self.department is None else "department"
        return tuple(scope for scope in self.scopes if scope != outer)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names in its balances' identity: the file's scope, then what it counts per."""
        file_scope = "org" if self.department is None else "department"
        return (file_scope, *map(dimension, self.inner))

    def identity(self, values: Mapping[str, str]) -> str:
        """The balance of one user, feature, model, … (*values*, by scope) under this budget."""
        scope, *rest = self.dimensions
        found = {name: values[inner] for name, inner in zip(rest, self.inner, strict=True)}
        return balance_identity({scope: self.department, **found}, self.unit, self.period)

    def terms(
        self, who: Attribution, models: Sequence[str], floors: Mapping[str, int]
    ) -> Iterator[BudgetTerm]:
        """The budgets of this row that a request touches: none, one, or one per model."""
        found = {scope: who.value_of(scope) for scope in self.inner if scope != "model"}
        for model in models if "model" in self.inner else ("",):
            values = {**found, "model": model} if model else found
            given = {scope: value for scope, value in values.items() if value is not None}
            if len(given) == len(values) and self.is_for(given):
                yield self.term(given, floors, kept={who.feature, who.priority}.isdisjoint(self.kept_for))

    def is_for(self, values: Mapping[str, str]) -> bool:
        """Whether it counts these *values*, by scope: always, unless it is named for another."""
        return all(values.get(scope) == name for scope, name in self.names.items())

    def term(self, values: Mapping[str, str], floors: Mapping[str, int], *, kept: bool = False) -> BudgetTerm:
        """The budget of one value of each of the row's scopes, with the floors it bears.

        *kept*: whether the part that is kept for some is kept from this request.
        """
        return BudgetTerm(
            identity=self.identity(values),
            scope=self.scope,
            unit=self.unit,
            period=self.period,
            timezone=self.timezone,
            limit=self.limit,
            steps=self.steps,
            warn_steps=self.warn_steps,
            caps=self.caps,
            floors=floors,
            model=values["model"] if "model" in self.inner else None,
            source=self.source,
            block_bp=self.block_bp,
            paced=self.paced,
            share_bp=FULL_BP - self.keep_bp if kept else FULL_BP,
            kept_for=self.kept_for,
            shadow=self.shadow,
            floor_caps=self.floor_caps,
            watched_caps=self.watched_caps,
        )

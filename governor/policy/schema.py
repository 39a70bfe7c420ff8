"""The policy language: what a file may say, as pydantic models.

The models hold the shape of a file: types, ranges, known words. What needs two places at once is in
`check.py`, and what of it all is not in force yet is in `in_force.py`. Unknown keys are refused everywhere.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from governor.budgets import Unit
from governor.policy.scopes import in_order
from governor.policy.terms import Line
from governor.policy.thresholds import FileThresholds, Steps, Thresholds
from governor.policy.words import (
    APPLICATION,
    STRICT,
    Band,
    Count,
    Id,
    Name,
    Names,
    Percent,
    Scopes,
    Seconds,
    TierName,
    Timezone,
    Tokens,
    Usd,
    UsersFrom,
    Version,
    Wait,
    When,
    Window,
)

Mode = Literal["enforce", "shadow"]


class _Strict(BaseModel):
    model_config = STRICT


class Budget(_Strict):
    """One budget: what it counts per, one unit with its limit, and a window."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [str(unit)]} for unit in Unit]},
    )

    per: Scopes
    """What has its own balance: each department, user, feature, model, run or value of a tag (`tag:NAME`);
    of a list, each combination."""
    usd: Usd | None = None
    """The limit in dollars (nano-dollars once read)."""
    tokens: Count | None = None
    """The limit in tokens: input, cache writes and reads, and output."""
    requests: Count | None = None
    """The limit in requests."""
    concurrent: Count | None = None
    """The limit in calls in flight at the same time."""
    window: Window | None = None
    """How long it lasts: minute, hour, day, week, month, life, or what was spent lately: `rolling 7d`. A
    run's may be left out: its whole life."""
    name: Names | None = None
    """For one feature, one model id or one value of a tag only; of a list of scopes, scope to value."""
    user_tier: Id | None = None
    """For users of this tier only."""
    thresholds: Steps = {}
    """What happens at which share of this budget, of any unit; instead of the file's."""
    pace: Literal["even"] | None = None
    """Its warnings and downgrades wait until more of it is spent than of its window is gone."""
    keep: Percent | None = None
    """The last part of it, which only the features and priorities in `for` may spend."""
    for_: Annotated[list[Id] | None, Field(alias="for", min_length=1)] = None
    """The features and priorities that `keep` is kept for."""
    mode: Mode = "enforce"
    """In `shadow` it counts, and says what it would have done, and never alters, delays or refuses a call."""

    @property
    def units(self) -> list[Unit]:
        """The units it gives a limit for; a right budget has one."""
        return [unit for unit in Unit if getattr(self, unit) is not None]

    @property
    def scopes(self) -> tuple[str, ...]:
        """What it counts per, in the order of identities."""
        return in_order(self.per)

    @property
    def names(self) -> dict[str, str]:
        """Scope to the one value it is for."""
        return {self.per[0]: self.name} if isinstance(self.name, str) else dict(self.name or {})

    def name_path(self, scope: str) -> tuple[str, ...]:
        """Where in the budget the name for *scope* is written."""
        return ("name",) if isinstance(self.name, str) else ("name", scope)

    @property
    def span(self) -> str:
        """Its window, with what is meant where none is written; empty where one must be."""
        implied = "life" if "run" in self.per or self.concurrent is not None else ""
        return self.window or implied


class Tier(_Strict):
    """How a tier of requests is served."""

    prefer: Line
    """The line it starts from."""
    context: Tokens | None = None
    """Input tokens above which a candidate is skipped."""
    timeout: Seconds = 60.0
    """Seconds of silence after which a call is given up."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a failed call is sent again."""


class Tiers(_Strict):
    """The tiers a request can be of."""

    premium: Tier | None = None
    standard: Tier | None = None
    economy: Tier | None = None


class Choice(_Strict):
    """A tier, and when it is chosen; the first that holds wins."""

    when: When | None = None
    """For example `budget > 90% or load > 85%`; the last choice has none."""
    tier: TierName


class Contention(_Strict):
    """What to do while the money is held by calls in flight."""

    max_wait: Wait = 2.0
    """Seconds to wait for it."""


class Shrink(_Strict):
    """Whether a smaller `max_tokens` is offered before a request is refused."""

    min_tokens: Tokens
    """The smallest `max_tokens` worth offering."""


class Value(_Strict):
    """Lines by what a call is worth, where its feature says it: value x quality / cost."""

    quality: Annotated[dict[Line, Annotated[int, Field(ge=1, le=100)]], Field(min_length=1)]
    """How good each line's answers are, in percent."""
    at_least: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """How many times its cost a call must be worth for a line; of those lines the best one is taken."""


class Load(_Strict):
    """What becomes of requests while the API is busy; shares are of its rate limits."""

    throttle: Percent = "80%"
    """The load above which requests to a model are spaced out."""
    open: Percent = "90%"
    """The load above which a model is left alone, where another would do."""
    max_wait: Wait = 60.0
    """Seconds that a request waits for its turn; then it is sent all the same."""


class Defer(_Strict):
    """When work that can wait is offered the Batches API instead of being sent."""

    when: When
    """For example `budget > 80% or load > 70%`."""


class CachedAnswers(_Strict):
    """Earlier answers to exactly the same request, for one that would be refused or fail."""

    max_age: Seconds
    """Seconds for which an answer may be given again."""


class Routing(_Strict):
    """Which models there are and which is taken."""

    lines: Annotated[dict[Line, Id], Field(min_length=1)]
    """The model id of each line."""
    default: Id = "auto"
    """Where a request names no model: `auto`, a line, or a model id."""
    complexity: dict[Line, Band] = {}
    """The band of complexity, 0 to 10, that each line is for."""
    floors: dict[Line, Usd] = {}
    """Dollars the user must have left for a line to be used."""
    tiers: Tiers = Tiers()
    choose: list[Choice] = []
    value: Value | None = None
    when_contended: Contention = Contention()
    load: Load = Load()
    shrink: Shrink | None = None
    defer: Defer | None = None
    cached_answers: CachedAnswers | None = None
    successors: dict[Id, Id] = {}
    """Model id to the model or line that takes its place, where it is retired or has no price."""


class Limits(_Strict):
    """What one request may never exceed."""

    cost_per_request: Usd | None = None
    """Dollars."""
    input_tokens: Tokens | None = None
    """Input tokens."""
    max_tokens: Tokens | None = None
    """The most output tokens; put into a request that gives none."""
    tool_uses: Annotated[int | None, Field(gt=0, le=1000)] = None
    """How often each tool that runs at the API may run; put into a tool that gives no `max_uses`."""
    tool_result_tokens: Tokens | None = None
    """Tokens that one use of such a tool is taken to bring into the prompt: 25000 if left out."""


class Runaway(_Strict):
    """What a run gone wild is held to."""

    max_usd: Usd
    """Dollars that no run may cost, whatever it does: a budget `per: run` for its whole life."""


class Workspace(_Strict):
    """Where the API serves requests that do not say."""

    inference_geo: Literal["us", "global"] | None = None
    """The workspace's `default_inference_geo`."""
    endpoint: Literal["global", "regional", "us-gov"] | None = None
    """The kind of a cloud's endpoint, where the model's name does not tell it (Vertex AI)."""


class Feature(_Strict):
    """What one feature of a product may use."""

    max_tokens: Tokens | None = None
    """The most output tokens it may ask for."""
    lines: Annotated[list[Line] | None, Field(min_length=1)] = None
    """The only lines it may use, the preferred one first."""
    value: Usd | None = None
    """Dollars that one call of it is worth; see `routing.value`."""


class User(_Strict):
    """One user, or with the key `"*"` everybody else."""

    user_tier: Id | None = None
    """Which of the tiered budgets are theirs."""


class PolicyBase(_Strict):
    """What every policy file has."""

    version: Version
    """The version of the language."""
    timezone: Timezone = "UTC"
    """IANA time zone in which days, weeks and months start."""
    owner: Id | None = None
    """Whom to ask about this file."""
    thresholds: FileThresholds = Thresholds()
    """What happens at which share of every usd budget of this file; under a scope, of those per it."""
    mode: Mode = "enforce"
    """In `shadow` the file's budgets and limits count, and say what they would have done, and never alter,
    delay or refuse a call."""
    limits: Limits = Limits()
    runaway: Runaway | None = None
    estimate: Literal["auto", "count", "local"] | None = None
    """How a prompt is measured before the call: by the API (`count`), by a bound that needs no network
    (`local`), or by the API where it matters (`auto`, if left out)."""
    server_tools: Literal["bounded", "strict"] | None = None
    """What is held for tools that run at the API: results of `tool_result_tokens` each (`bounded`, if left
    out), or the whole context window for every pass (`strict`)."""
    workspace: Workspace = Workspace()


class OrganizationPolicy(PolicyBase):
    """`organization.yaml`: everybody's floor."""

    organization: Name
    """The organisation's name: the ledger's namespace."""
    budgets: list[Budget] = []
    """Limits for the organisation as a whole, and for users or departments across it."""


class DepartmentPolicy(PolicyBase):
    """The file of one department."""

    department: Name
    """The department's name, as requests give it."""
    budgets: Annotated[list[Budget], Field(min_length=1)]
    """The department's limits; a user's count in this department only."""
    routing: Routing
    features: dict[Id, Feature] = {}
    """The features requests may name; `"*"` allows any other."""
    users: dict[Id, User] | None = None
    """Who may ask; `"*"` allows everybody else. Left out: everybody, unless `users_from` is there."""
    users_from: UsersFrom | None = None
    """Where users are looked up that are not under `users`: a file beside this one (`people.users.yaml`), or
    `application`: the callable that `Governor.load` was given."""
    if_ledger_is_down: Literal["refuse", "allow", "lease"] = "refuse"
    """What becomes of requests while the ledger is away: refused, let through and told later, or let through
    on a slice of the budgets that was taken before."""
    on_expiry: Literal["charge", "release"] = "charge"
    """Whether a hold whose process died is charged or given back."""
    uncertain: Literal["charge", "hold"] = "charge"
    """What a stream that was cut costs: what is known to have come, and a margin (`charge`), or its whole
    hold (`hold`)."""
    retry_uncertain: bool = False
    """Whether a request that was sent and never answered is sent again."""
    deadline: Seconds | None = None
    """Seconds the whole call may take, waiting and retries included."""

    @property
    def user_tiers(self) -> set[str | None]:
        """The tiers its users are of; `None` for those without one. Of the application's users: any."""
        listed = {user.user_tier for user in (self.users or {}).values()}
        if self.asks_application:
            return {None, *listed, *(budget.user_tier for budget in self.budgets)}
        return listed or {None}

    @property
    def asks_application(self) -> bool:
        """Whether the application tells who its users are."""
        return self.users_from == APPLICATION


AnyPolicy = DepartmentPolicy | OrganizationPolicy


def json_schema() -> dict[str, Any]:
    """The JSON schema of a policy file, for editors; `policies/schema.json` is this."""
    from pydantic.json_schema import models_json_schema  # noqa: PLC0415 - loading a policy does not need it

    kinds = [(OrganizationPolicy, "validation"), (DepartmentPolicy, "validation")]
    _, schema = models_json_schema(kinds)  # type: ignore[arg-type]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A policy file of the Claude cost governor",
        "if": {"required": ["organization"]},
        "then": {"$ref": "#/$defs/OrganizationPolicy"},
        "else": {"$ref": "#/$defs/DepartmentPolicy"},
        "$defs": tidy(schema["$defs"]),
    }


def tidy(schema: Any) -> Any:
    """The same schema as the loader means it: an empty value is refused, and so are keys of no pattern."""
    if isinstance(schema, list):
        return [tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: tidy(item) for key, item in schema.items() if (key, item) != ("default", None)}
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    options = [item for item in kept.get("anyOf", ()) if item != {"type": "null"}]
    if len(options) == 1:
        del kept["anyOf"]
        return {**options[0], **kept}
    if options:
        kept["anyOf"] = options
    return kept

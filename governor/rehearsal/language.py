"""The language of tests files: what `engineering.tests.yaml` may say, as pydantic models."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from governor.policy.schema import tidy
from governor.policy.terms import Line
from governor.policy.words import REFUSAL, Count, Id, Name, TierName, Tokens, Usd, Version

AT = "2026-11-16T12:00"
"""When a test plays that does not say: a Monday noon in the middle of a month."""

INPUT_TOKENS = 1000
MAX_TOKENS = 1024
"""Of a request that does not say, where the policy does not either."""

_AFTER = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LOAD = re.compile(r"(100|[1-9]?[0-9])%")
_YEARS = range(2000, 9000)


def _refuse(why: str, hint: str) -> PydanticCustomError:
    return PydanticCustomError(REFUSAL, "{why}", {"why": why, "hint": hint})


def _at(value: str) -> str:
    try:
        year = datetime.fromisoformat(value).year
    except ValueError:
        year = 0
    if year not in _YEARS:
        raise _refuse(f"{value[:40]!r} is no instant", "an ISO date and time such as 2026-11-03T10:00")
    return value


def _after(value: str) -> str:
    if not _AFTER.match(value):
        raise _refuse(f"{value[:40]!r} is no time span", "a number and s, m, h or d, such as 2h")
    return value


def seconds_of(after: str) -> int:
    """A time span such as `2h` in seconds."""
    number, unit = after[:-1], after[-1]
    return int(number) * _SECONDS[unit]


def _amount(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise _refuse("should be an amount", "a number in the budget's unit, or a share of its limit: 85%")
    return value


def _load(value: object) -> object:
    if not isinstance(value, str) or not _LOAD.fullmatch(value):
        raise _refuse(f"{str(value)[:40]!r} is no load", "a whole percentage from 0% to 100%, such as 90%")
    return value


def load_bp_of(load: str) -> int:
    """A load such as `90%` in basis points."""
    return int(load.removesuffix("%")) * 100


def _complexity(value: object) -> object:
    return float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value


def _spend(value: object) -> object:
    return value if isinstance(value, dict) else {"usd": value}


def _or_dollars(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"type": "number", "exclusiveMinimum": 0}, *schema["anyOf"]]


_AMOUNT_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\$?[0-9][0-9,]*(\.[0-9]+)?$|^[0-9]{1,4}(\.[0-9]{1,2})? ?%$"},
    ]
}
At = Annotated[str, AfterValidator(_at)]
After = Annotated[
    str, AfterValidator(_after), Field(json_schema_extra={"pattern": "^[1-9][0-9]{0,5}[smhd]$"})
]
Amount = Annotated[Any, BeforeValidator(_amount), WithJsonSchema(_AMOUNT_SCHEMA)]
Load = Annotated[str, BeforeValidator(_load), Field(json_schema_extra={"pattern": "^(100|[1-9]?[0-9])%$"})]
Complexity = Annotated[float, BeforeValidator(_complexity), Field(ge=0, le=10)]
Amounts = dict[Id, Amount]
"""Budget to amount: `{department/month: 12500, user/month: 85%}`."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class _Someone(_Strict):
    department: Name | None = None
    """Whose policy; left out: the file's own."""
    feature: Id | None = None
    """What for."""
    run: Id | None = None
    """The agent run or job."""
    tags: dict[Name, Id] = {}
    """What else it is counted under."""
    priority: Id | None = None
    """What a budget's `keep` may be kept for."""
    user_tier: Id | None = None
    """The user's tier, where the policy says `users_from: application`."""


class Asked(_Someone):
    """A request: who makes it, and what decides its cost."""

    user: Id
    """Who asks."""
    model: Id = "auto"
    """`auto`, a line or a model id."""
    pin: bool = False
    """Never swap the model."""
    tier: TierName | None = None
    """The tier that is asked for; left out: as the policy chooses."""
    complexity: Complexity | None = None
    """How hard it is, 0 to 10; left out: 0, as of a prompt without anything hard in it."""
    deferrable: bool = False
    """Whether it can wait for the Batches API."""
    input_tokens: Annotated[int, Field(ge=0, le=10_000_000)] = INPUT_TOKENS
    """Tokens of the prompt, as the API would count them."""
    max_tokens: Tokens | None = None
    """As asked for; left out: the policy's, else 1024."""
    output_tokens: Annotated[int | None, Field(ge=0, le=10_000_000)] = None
    """In a step: tokens that the answer really has; left out: all of `max_tokens`."""


Outcome = Literal["served", "downgraded", "refused"]
Decided = Literal["served", "downgraded", "refused", "deferred"]


class Expected(_Strict):
    """What should come of a request; what is left out may be anything."""

    decision: Decided | None = None
    """Served as preferred, by a later candidate, not at all, or offered the Batches API."""
    tier: TierName | None = None
    """The tier that serves."""
    line: Line | None = None
    """The line that serves."""
    model: Id | None = None
    """The model that serves."""
    max_tokens: Tokens | None = None
    """As it is sent: less than was asked for where the policy shrinks it."""
    budget: Id | None = None
    """The budget that refuses the request, or the candidate that was preferred, or what was asked for before
    `max_tokens` was made smaller."""
    reason: Annotated[str | None, Field(min_length=1)] = None
    """Words of the reason, or of what a refused caller is told."""
    shadow: Outcome | None = None
    """What would have come of it, if everything in shadow were enforced."""


class Spent(_Strict):
    """What a call used."""

    usd: Usd | None = None
    """Dollars."""
    tokens: Count | None = None
    """Input, cache writes and reads, and output."""
    requests: Count | None = None
    """How many calls it was."""


class Step(_Someone):
    """One step of a series: the clock moves, then something is spent, then somebody asks."""

    at: At | None = None
    """When, in the policy's time zone; no earlier than the step before."""
    after: After | None = None
    """How long after the step before: `90s`, `30m`, `2h`, `1d`."""
    user: Id | None = None
    """Who spends."""
    model: Id | None = None
    """The line or model that `spend` was spent on; left out: no budget per model counts it."""
    spent: Amounts = {}
    """Of single budgets: what is spent of them from now on, and is posted to them alone."""
    spend: Annotated[Spent | None, BeforeValidator(_spend), Field(json_schema_extra=_or_dollars)] = None
    """A call that cost this much (dollars, or `{usd, tokens, requests}`), on every budget that it touches."""
    load: Load | None = None
    """How busy the API is for this step's request; left out: as the calls before make it."""
    request: Asked | None = None
    """What is asked then, and used if it is served."""
    expect: Expected | None = None
    """What should come of it."""
    warns: list[Id] | None = None
    """The warnings that this step gives, all of them: such as `department/month 80%`."""


class PolicyTest(_Strict):
    """One test: a request on balances that it gives, or a series of steps."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """What holds, in a few words."""
    at: At | None = None
    """When it plays, in the policy's time zone; left out: when its first step says, else 2026-11-16T12:00."""
    spent: Amounts = {}
    """What is spent of budgets; of all others, nothing."""
    held: Amounts = {}
    """What calls in flight hold of budgets; of all others, nothing."""
    load: Load | None = None
    """How busy the API is; left out: idle."""
    request: Asked | None = None
    """What is asked."""
    expect: Expected | None = None
    """What should come of it."""
    steps: Annotated[list[Step] | None, Field(min_length=1)] = None
    """A series, on one ledger."""


class FileOfTests(_Strict):
    """The tests of one policy file."""

    version: Version
    """The version of the language."""
    policy: Id | None = None
    """The policy file beside this one; left out: by this file's name."""
    tests: Annotated[list[PolicyTest], Field(min_length=1)]
    """The tests, in the order in which they are run."""


def json_schema() -> dict[str, Any]:
    """The JSON schema of a tests file, for editors; `policies/tests.schema.json` is this."""
    schema = FileOfTests.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **tidy(schema),
        "title": "A tests file of the Claude cost governor",
    }

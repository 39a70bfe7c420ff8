"""The words of the policy language: amounts, names, windows, bands; each with its check and JSON schema."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from governor.budgets import Period
from governor.errors import nearest
from governor.money import MAX_NANOS, Money
from governor.policy.scopes import LEAST_TOGETHER, MOST_TOGETHER, SCOPES, clean_name, is_scope, tag_of
from governor.policy.terms import MAX_ID, clean_id

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
"""How every part of the language is read: no key but those it names, no value of another type."""

APPLICATION = "application"
"""Where users come from that a callable of the application's tells of."""

REFUSAL = "policy"
"""The pydantic error type of this room's own refusals: context `why` and `hint`."""

_DOLLARS = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?\Z")
_PERCENT = re.compile(r"([1-9][0-9]?|100)%\Z")
_USERS_FILE = re.compile(r"[^/\\]+\.users\.ya?ml\Z")
_ROLLING = re.compile(r"rolling [1-9][0-9]{0,3}[mhd]\Z")
_BAND = re.compile(r"(?:(?P<sign><=|>=|<|>)\s*(?P<mark>10|[0-9])|(?P<low>[0-9])\s*-\s*(?P<high>10|[0-9]))\Z")
_TERM = r"(budget|load)\s*(<=|>=|<|>)\s*(100|[1-9]?[0-9])%"
_WHEN = re.compile(rf"\s*{_TERM}(\s+(and|or)\s+{_TERM})*\s*\Z")


def _refuse(why: str, hint: str = "") -> PydanticCustomError:
    return PydanticCustomError(REFUSAL, "{why}", {"why": why, "hint": hint})


def _nanos(value: object) -> int:
    """Dollars as written, a number or a quoted one, as nano-dollars."""
    if isinstance(value, str) and not _DOLLARS.match(value):
        raise _refuse(
            f"{value[:40]!r} is not a number of dollars", "write a plain number such as 1500 or 0.25"
        )
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise _refuse("should be a number of dollars", "such as 1500 or 0.25")
    dollars = Decimal(value)
    if dollars <= 0:
        raise _refuse(f"{value} dollars: an amount must be above zero")
    if dollars > MAX_NANOS // Money.from_dollars(1).nanos:
        raise _refuse(f"{value} dollars is more than the ledger can count", "at most 9000000")
    try:
        return Money.from_dollars(dollars).nanos
    except ValueError as error:
        raise _refuse(str(error)) from None


def _seconds(value: object) -> object:
    return float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value


def _version(value: object) -> object:
    if isinstance(value, bool) or value != 1:
        raise _refuse(f"version {str(value)[:40]} of the policy language is not known", "write version: 1")
    return 1


def _name(value: str) -> str:
    if not clean_name(value):
        raise _refuse(f"{value[:70]!r} cannot be a name here", "1 to 64 of a-z, 0-9, - and _")
    return value


def _id(value: str) -> str:
    if not clean_id(value):
        raise _refuse(f"{value[:40]!r} cannot be an id", f"1 to {MAX_ID} characters, no control characters")
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        hint = nearest(value, available_timezones())
        if hint.startswith("known"):
            hint = "an IANA name such as Europe/Berlin or UTC"
        raise _refuse(f"unknown time zone {value[:70]!r}", hint) from None
    return value


def _window(value: str) -> str:
    if value in [*Period] or _ROLLING.match(value):
        return value
    raise _refuse(f"unknown window {value[:40]!r}", nearest(value, [*map(str, Period), "rolling 7d"]))


def _scope(value: str) -> str:
    if is_scope(value):
        return value
    tag = tag_of(value)
    if tag is not None:
        raise _refuse(f"{tag[:70]!r} cannot be a tag's name", "tag: and 1 to 64 of a-z, 0-9, - and _")
    hint = nearest(value, SCOPES)
    raise _refuse(f"unknown scope {value[:40]!r}", hint if hint.startswith("did") else f"{hint}, tag:NAME")


def _scopes(value: object) -> object:
    """What a budget counts per, as a list: one scope is written bare."""
    if not isinstance(value, list):
        return [value]
    if not LEAST_TOGETHER <= len(value) <= MOST_TOGETHER:
        raise _refuse(
            f"should list {LEAST_TOGETHER} to {MOST_TOGETHER} scopes, not {len(value)}",
            "such as [user, model]; one scope is written without brackets",
        )
    return value


def _name_kind(value: object) -> str:
    return "<each>" if isinstance(value, dict) else "<one>"


def _users_from(value: str) -> str:
    if value == APPLICATION or _USERS_FILE.match(value):
        return value
    raise _refuse(
        f"{value[:70]!r} names no source of users",
        f"{APPLICATION}, or a file beside this one such as people.users.yaml",
    )


def _percent(value: object) -> str:
    if not isinstance(value, str) or not _PERCENT.match(value):
        shown = value if isinstance(value, str) else str(value)
        raise _refuse(f"{shown[:40]!r} is not a threshold", "a whole percentage such as 80%, from 1% to 100%")
    return value


def _band(value: str) -> str:
    band = _BAND.match(value)
    if not band or (band["low"] and int(band["low"]) > int(band["high"])):
        raise _refuse(
            f"{value[:40]!r} is not a band of complexity", 'of 0 to 10, such as "<3", "3-7" or ">7"'
        )
    return value


def _when(value: str) -> str:
    if not _WHEN.match(value):
        raise _refuse(f"{value[:80]!r} is not a condition", "such as: budget > 90% or load > 85%")
    return value


_USD_SCHEMA = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 9_000_000},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"},
    ]
}
Usd = Annotated[int, BeforeValidator(_nanos), WithJsonSchema(_USD_SCHEMA)]
Version = Annotated[Literal[1], BeforeValidator(_version)]
Count = Annotated[int, Field(gt=0, le=MAX_NANOS)]
Tokens = Annotated[int, Field(gt=0, le=10_000_000)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=86_400)]
Wait = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=600)]
Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": "^[a-z0-9_-]{1,64}$"})]
Id = Annotated[str, AfterValidator(_id), Field(json_schema_extra={"minLength": 1, "maxLength": MAX_ID})]
SCOPE_PATTERN = f"^({'|'.join(SCOPES)}|tag:[a-z0-9_-]{{1,64}})$"
_SCOPE_SCHEMA = {"anyOf": [{"enum": list(SCOPES)}, {"pattern": "^tag:[a-z0-9_-]{1,64}$"}]}
Scope = Annotated[str, AfterValidator(_scope), WithJsonSchema({"type": "string", **_SCOPE_SCHEMA})]
_NAMES_SCHEMA: dict[str, Any] = {"propertyNames": _SCOPE_SCHEMA}
_TOGETHER_SCHEMA = {
    "type": "array",
    "items": {"type": "string", **_SCOPE_SCHEMA},
    "minItems": LEAST_TOGETHER,
    "maxItems": MOST_TOGETHER,
    "uniqueItems": True,
}
Scopes = Annotated[
    list[Scope],
    BeforeValidator(_scopes),
    WithJsonSchema({"anyOf": [{"type": "string", **_SCOPE_SCHEMA}, _TOGETHER_SCHEMA]}),
]
"""What a budget counts per: one scope, or two to four."""
Names = Annotated[
    Annotated[Id, Tag("<one>")]
    | Annotated[dict[Scope, Id], Field(min_length=1, json_schema_extra=_NAMES_SCHEMA), Tag("<each>")],
    Discriminator(_name_kind),
]
"""The one value that a budget is for; with several scopes, scope to value."""
Timezone = Annotated[str, AfterValidator(_timezone)]
_WINDOW_SCHEMA = {
    "anyOf": [{"enum": [str(period) for period in Period]}, {"pattern": "^rolling [1-9][0-9]{0,3}[mhd]$"}]
}
Window = Annotated[str, AfterValidator(_window), WithJsonSchema({"type": "string", **_WINDOW_SCHEMA})]
PERCENT_PATTERN = "^([1-9][0-9]?|100)%$"
Percent = Annotated[str, BeforeValidator(_percent), Field(json_schema_extra={"pattern": PERCENT_PATTERN})]
UsersFrom = Annotated[str, AfterValidator(_users_from)]
Band = Annotated[str, AfterValidator(_band)]
When = Annotated[str, AfterValidator(_when)]
TierName = Literal["premium", "standard", "economy"]

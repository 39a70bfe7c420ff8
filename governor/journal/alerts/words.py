"""The words of alert files: spans, percentages, thresholds in a metric's unit, names of variables."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from governor.errors import nearest
from governor.journal.alerts.metrics import DIMENSIONS, METRICS
from governor.money import Money
from governor.policy.words import REFUSAL

if TYPE_CHECKING:
    from pydantic import ValidationInfo

_SPAN = re.compile(r"([1-9][0-9]{0,5})(ms|s|m|h|d)\Z")
_LARGEST = 10**15
_SIZES = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PERCENT = re.compile(r"([0-9]{1,6}(\.[0-9]{1,3})?)%\Z")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,127}\Z", re.ASCII)
_TAG = re.compile(r"tag:[a-z0-9_-]{1,64}\Z")
_RULE = re.compile(r"[a-z0-9_-]{1,64}\Z")


def refuse(why: str, hint: str = "") -> PydanticCustomError:
    """The error for a value that cannot be meant."""
    return PydanticCustomError(REFUSAL, "{why}", {"why": why, "hint": hint})


def _span(value: object) -> int:
    found = _SPAN.match(value) if isinstance(value, str) else None
    if found is None:
        raise refuse(f"{str(value)[:40]!r} is no time span", "a number and s, m, h or d, such as 10m")
    return int(found[1]) * _SIZES[found[2]]


def _percent(value: object) -> float:
    found = _PERCENT.match(value) if isinstance(value, str) else None
    if found is None:
        raise refuse(f"{str(value)[:40]!r} is no percentage", "such as 150%")
    return float(found[1])


def _variable(value: object) -> str:
    if not isinstance(value, str) or not _VARIABLE.match(value):
        raise refuse(
            "should be the name of an environment variable, never the secret itself",
            "such as GOVERNOR_ONCALL_URL: A-Z, 0-9 and _",
        )
    return value


def _metric(value: str) -> str:
    if value not in METRICS:
        raise refuse(f"unknown metric {value[:40]!r}", nearest(value, METRICS))
    return value


def _dimension(value: str) -> str:
    if value in DIMENSIONS or _TAG.match(value):
        return value
    hint = nearest(value, DIMENSIONS)
    raise refuse(f"unknown dimension {value[:40]!r}", hint if hint.startswith("did") else f"{hint}, tag:NAME")


def _listed(value: object) -> object:
    """One or several, as a list."""
    return value if isinstance(value, list) else [value]


def _rule_name(value: str) -> str:
    if not _RULE.match(value):
        raise refuse(f"{value[:70]!r} cannot be a name here", "1 to 64 of a-z, 0-9, - and _")
    return value


def in_unit(value: Any, info: ValidationInfo) -> Any:
    """A threshold in the unit of the rule's metric: nano-dollars, ms, percent, tokens, a count, a ratio."""
    metric = METRICS.get(info.data.get("metric", ""))
    if value is None or metric is None:
        return None if value is None else 0  # what is wrong is the metric, and is said of it
    if metric.unit == "percent":
        return _percent(value)
    if metric.unit == "ms":
        return _span(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        example = {"usd": "dollars, such as 50", "ratio": "such as 3"}.get(metric.unit, "such as 50000")
        raise refuse(f"{str(value)[:40]!r}: {metric.name} is held against a number", example)
    if value < 0:
        raise refuse(f"{value}: a threshold is not below zero")
    if value > _LARGEST:
        raise refuse(f"{value:.0e}: nothing is ever above that", "a number up to 10^15")
    if metric.unit == "usd":
        try:
            return Money.from_dollars(value).nanos
        except ValueError as error:
            raise refuse(str(error)) from None
    return float(value) if metric.unit == "ratio" else int(value)


_SPAN_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,5}(ms|s|m|h|d)$"})
_PERCENT_SCHEMA = {"type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,3})?%$"}
_DIMENSION_SCHEMA = {"anyOf": [{"enum": list(DIMENSIONS)}, {"pattern": "^tag:[a-z0-9_-]{1,64}$"}]}
_LIST_OF_TEXT = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}

Span = Annotated[int, BeforeValidator(_span), _SPAN_SCHEMA]
"""A time span; milliseconds."""
Percentage = Annotated[float, BeforeValidator(_percent), WithJsonSchema(_PERCENT_SCHEMA)]
Variable = Annotated[
    str, BeforeValidator(_variable), WithJsonSchema({"type": "string", "pattern": "^[A-Z_][A-Z0-9_]{0,127}$"})
]
MetricName = Annotated[str, AfterValidator(_metric), WithJsonSchema({"enum": list(METRICS)})]
Dimension = Annotated[
    str, AfterValidator(_dimension), WithJsonSchema({"type": "string", **_DIMENSION_SCHEMA})
]
RuleName = Annotated[
    str, AfterValidator(_rule_name), WithJsonSchema({"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"})
]
Values = Annotated[list[str], Field(min_length=1), BeforeValidator(_listed), WithJsonSchema(_LIST_OF_TEXT)]
Threshold = Annotated[
    float | int,
    BeforeValidator(in_unit),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, _PERCENT_SCHEMA, {"type": "string"}]}),
]
"""In the metric's unit."""
Per = Annotated[
    list[Dimension],
    BeforeValidator(_listed),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", **_DIMENSION_SCHEMA},
                {"type": "array", "items": {"type": "string", **_DIMENSION_SCHEMA}},
            ]
        }
    ),
]

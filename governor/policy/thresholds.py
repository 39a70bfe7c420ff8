"""What happens at which share of a budget, as a file writes it: for all, for a scope, or for one budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from governor.policy.terms import LINES, Line
from governor.policy.words import PERCENT_PATTERN, REFUSAL, SCOPE_PATTERN, STRICT, Percent, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Strict(BaseModel):
    model_config = STRICT


class Downgrade(_Strict):
    """From this threshold on, no line above this one."""

    downgrade: Line
    """The highest line that may still be used: haiku, sonnet, opus, fable or mythos."""


def _actions(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _action_kind(value: object) -> str | None:
    if isinstance(value, str):
        return "<word>"
    return "<step>" if isinstance(value, dict | Downgrade) else None


_ACTION_SCHEMA = {
    "anyOf": [
        {"enum": ["warn", "block"]},
        {
            "type": "object",
            "properties": {"downgrade": {"enum": list(LINES)}},
            "required": ["downgrade"],
            "additionalProperties": False,
        },
    ]
}
_ACTIONS_SCHEMA = {"anyOf": [_ACTION_SCHEMA, {"type": "array", "items": _ACTION_SCHEMA, "minItems": 1}]}
_STEPS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "patternProperties": {PERCENT_PATTERN: _ACTIONS_SCHEMA},
    "additionalProperties": False,
}
Action = Annotated[
    Annotated[Literal["warn", "block"], Tag("<word>")] | Annotated[Downgrade, Tag("<step>")],
    Discriminator(
        _action_kind,
        custom_error_type=REFUSAL,
        custom_error_message="should be an action",
        custom_error_context={
            "why": "should be an action",
            "hint": "warn, block or {downgrade: LINE}",
        },
    ),
]
Actions = Annotated[list[Action], BeforeValidator(_actions), Field(min_length=1)]
Steps = Annotated[dict[Percent, Actions], Field(min_length=1), WithJsonSchema(_STEPS_SCHEMA)]
"""Share of the limit to what happens there."""


class Thresholds(_Strict):
    """A file's thresholds: of every usd budget, and of the usd budgets per some scope instead."""

    steps: dict[Percent, Actions] = {}
    """Of every usd budget of the file."""
    per: dict[Scope, Steps] = {}
    """Of the usd budgets that count per this scope, instead of those above."""

    def of(self, scopes: tuple[str, ...]) -> dict[str, list[Action]]:
        """The steps of a usd budget that counts per *scopes*."""
        own = self.per.get(scopes[0]) if len(scopes) == 1 else None
        return self.steps if own is None else own

    def sets(self) -> Iterator[tuple[tuple[Any, ...], dict[str, list[Action]]]]:
        """Every set of steps, and where in the file it stands."""
        yield ("thresholds",), self.steps
        for scope, steps in self.per.items():
            yield ("thresholds", scope), steps


def _sorted_out(value: object) -> object:
    """A share of the limit has an action, a scope has shares of its own; a file writes them side by side."""
    if not isinstance(value, dict):
        return value
    per = {key: item for key, item in value.items() if not str(key)[:1].isdigit() and "%" not in str(key)}
    return {"steps": {key: item for key, item in value.items() if key not in per}, "per": per}


FileThresholds = Annotated[
    Thresholds,
    BeforeValidator(_sorted_out),
    WithJsonSchema(
        {
            "type": "object",
            "patternProperties": {PERCENT_PATTERN: _ACTIONS_SCHEMA, SCOPE_PATTERN: _STEPS_SCHEMA},
            "additionalProperties": False,
        }
    ),
]

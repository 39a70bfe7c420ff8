"""The language of alert files: what `alerts.yaml` and `alerts.tests.yaml` may say, as pydantic models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from governor.journal.alerts.rule import DAY_MS, HOUR_MS, MINUTE_MS
from governor.journal.alerts.words import (
    Dimension,
    MetricName,
    Per,
    Percentage,
    RuleName,
    Span,
    Threshold,
    Values,
    Variable,
    refuse,
)
from governor.policy.schema import tidy
from governor.policy.words import STRICT, Id, TierName, Timezone, Version

_Severity = Literal["info", "warning", "critical"]
_Names = Annotated[list[RuleName], Field(max_length=20)]


class _Strict(BaseModel):
    model_config = STRICT


class Webhook(_Strict):
    """A signed webhook."""

    url_env: Variable
    """The environment variable with its URL."""
    secret_env: Variable
    """The environment variable with the secret that signs what is sent."""


class ChannelText(_Strict):
    """Where alerts are told: `apprise_env` or `webhook`."""

    apprise_env: Variable | None = None
    """The environment variable with an apprise URL: Slack, PagerDuty, Opsgenie, e-mail and more."""
    webhook: Webhook | None = None
    """A signed webhook."""

    @model_validator(mode="after")
    def _one(self) -> ChannelText:
        if (self.apprise_env is None) == (self.webhook is None):
            raise refuse("a channel is either `apprise_env` or `webhook`", "give it one of them")
        return self


class For(_Strict):
    """How long a response lasts."""

    for_: Annotated[Span, Field(alias="for")]
    """How long it lasts by itself, such as 1h."""


class Tighten(For):
    """Lower a tier."""

    tier: TierName
    """The tier that is held to meanwhile."""


class Slow(For):
    """Slow a user."""

    requests: Annotated[int, Field(gt=0, le=100_000)]
    """Requests a minute."""


class ActionText(_Strict):
    """An automated response: one of these."""

    tighten: Tighten | None = None
    """Hold the subject to a lower tier."""
    slow: Slow | None = None
    """Let the user send so many requests a minute."""
    open_breaker: For | None = None
    """Send nothing to the model or line."""
    freeze_run: For | None = None
    """Refuse the run's calls."""

    @model_validator(mode="after")
    def _one(self) -> ActionText:
        if len(self.model_fields_set) != 1:
            raise refuse(
                "an action is one of tighten, slow, open_breaker and freeze_run", "write `- ` per action"
            )
        return self


class RuleText(_Strict):
    """One rule. A rule named as a shipped one changes that one, and says only what differs."""

    metric: MetricName
    """What is watched."""
    where: dict[str, Values] | None = None
    """Only calls with these values: a dimension and one or several. Of budgets: `period` and their scopes."""
    per: Per | None = None
    """Judged for each of these by itself; left out: for all calls together."""
    window: Span | None = None
    """Over how long. Up to 2h by the minute, longer by the hour."""
    above: Threshold | None = None
    """Fires above this: `5%`, dollars, `15s`, tokens or a count, as the metric is."""
    below: Threshold | None = None
    """Fires below this."""
    above_usual: Percentage | None = None
    """Fires above this percentage of what is usual. With `above`, both must hold."""
    below_usual: Percentage | None = None
    """Fires below this percentage of what is usual. With `below`, both must hold."""
    rises: Threshold | None = None
    """Fires where the value is by more than this above that of the window before."""
    baseline: Literal["7d", "hour_of_week"] = "7d"
    """What is usual: the last seven days, or the same hour in the last four weeks."""
    history: Span | None = None
    """How much history of a subject it takes to know; left out: 3d, or 7d of windows of a day or more."""
    without_history: Literal["quiet", "judge"] = "quiet"
    """Before that: say nothing, or go by `above` or `below` alone."""
    at_least: Annotated[int, Field(gt=0, le=1_000_000)] = 1
    """How many calls it takes; of a largest value, how many must be as large (at most 5)."""
    sure: bool = False
    """Judge a rate or a percentile by the least it may be, so that few calls prove nothing."""
    left: Span | None = None
    """Of `budget_use`: only while at least so much of the budget's window is left."""
    clear: Percentage = 80.0
    """At what percentage of the threshold a symptom ends."""
    severity: _Severity = "warning"
    """How bad it is."""
    cooldown: Span = HOUR_MS
    """How long after its end it does not fire again for the same subject."""
    channels: _Names | None = None
    """Who is told; left out: the file's `tell`."""
    actions: list[ActionText] | None = None
    """Automated responses; left out: none."""
    why: Annotated[str, Field(max_length=400)] = ""
    """Why it is watched, in a line."""
    source: Annotated[str, Field(max_length=400)] = ""
    """Where its figures are from."""


class AlertFile(_Strict):
    """An alert file."""

    version: Version
    """The version of the language."""
    timezone: Timezone | None = None
    """Of days and hours, IANA; left out: the organization's."""
    every: Span = MINUTE_MS
    """How often rules are evaluated."""
    shipped: bool = True
    """Whether the shipped rules are in force, as far as this file does not change them."""
    channels: dict[RuleName, ChannelText] | None = None
    """Where alerts are told, by name."""
    tell: _Names | None = None
    """The channels of rules that name none; left out: all of them."""
    rules: dict[RuleName, RuleText] | None = None
    """Rules by name; `off` switches a shipped one off."""


class Expected(_Strict):
    """An alert that is expected; what is left out may be anything."""

    cause: Id | None = None
    """Its cause."""
    rule: RuleName | None = None
    """A rule among its symptoms."""
    severity: _Severity | None = None
    """How bad it is in the end."""
    subject: dict[Dimension, str] | None = None
    """Who is among its symptoms' subjects or behind it."""
    after: Id | None = None
    """It is raised at this instant or later: ISO, UTC where it names no zone."""
    before: Id | None = None
    """It is raised before this instant."""


class AlertTest(_Strict):
    """A journal, and the alerts that it must raise."""

    journal: Id
    """The journal: a path beside this file, or a URL."""
    expect: list[Expected]
    """Its alerts in the order in which they are raised; `[]`: none."""


class AlertTests(_Strict):
    """The tests of an alert file."""

    version: Version
    """The version of the language."""
    tests: Annotated[list[AlertTest], Field(min_length=1)]
    """The tests."""


LONGEST_WINDOW_MS = 7 * DAY_MS


def json_schema() -> dict[str, Any]:
    """The JSON schema of an alert file, for editors; `policies/alerts.schema.json` is this."""
    schema = tidy(AlertFile.model_json_schema())
    schema["$defs"]["RuleText"].pop("required", None)
    rules = schema["properties"]["rules"]
    rules["additionalProperties"] = {
        "anyOf": [{"$ref": "#/$defs/RuleText"}, {"const": "off"}, {"const": False}]
    }
    if "patternProperties" in rules:
        rules["patternProperties"] = dict.fromkeys(rules["patternProperties"], rules["additionalProperties"])
        rules["additionalProperties"] = False
    title = "An alert file of the Claude cost governor"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


def tests_json_schema() -> dict[str, Any]:
    """The JSON schema of an alert file's tests; `policies/alerts.tests.schema.json` is this."""
    title = "A tests file of alert rules of the Claude cost governor"
    schema = tidy(AlertTests.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}

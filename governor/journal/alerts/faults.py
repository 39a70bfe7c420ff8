"""What in an alert file's rules cannot be meant, although each value may stand where it stands. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.errors import nearest
from governor.journal.alerts.cells import FINE_MS, LARGEST_KEPT
from governor.journal.alerts.language import LONGEST_WINDOW_MS
from governor.journal.alerts.metrics import BUDGET_KINDS, DIMENSIONS, HAS_USUAL, METRICS, RUN_KINDS
from governor.journal.alerts.rule import DAY_MS, HOUR_MS, MINUTE_MS
from governor.journal.alerts.runs import LAST_CALLS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from governor.journal.alerts.language import AlertFile, RuleText
    from governor.journal.alerts.metrics import Metric

Fault = tuple[tuple[object, ...], str, str]
"""Where in the file, what is wrong, and what to do."""

CONDITIONS = ("above", "below", "above_usual", "below_usual", "rises")
_WHOLE = ("error_rate", "truncated_rate", "cache_hit_rate", "dear_share")
LONGEST_ORDER_MS = 31 * DAY_MS
"""As `governor.journal.alerts.responses` takes them."""
_BUDGETS = ("period", "organization", "department", "user", "feature", "model", "run")


def faults(file: AlertFile, own: Collection[str]) -> Iterator[Fault]:
    """Everything that cannot be meant; *own* are the names of rules that the file writes itself."""
    channels = file.channels or {}
    for index, name in enumerate(file.tell or ()):
        if name not in channels:
            yield ("tell", index), f"there is no channel {name!r}", nearest(name, channels) or _NO_CHANNELS
    if not MINUTE_MS <= file.every <= HOUR_MS or file.every % MINUTE_MS:
        yield ("every",), "rules are evaluated every 1 to 60 minutes", "a whole number of them, such as 1m"
    for name, rule in (file.rules or {}).items():
        where = ("rules", name)
        for path, message, hint in _of_rule(rule):
            yield (*where, *path), message, hint
        for index, channel in enumerate(rule.channels or ()):
            if channel not in channels and name in own:
                hint = nearest(channel, channels) or _NO_CHANNELS
                yield (*where, "channels", index), f"there is no channel {channel!r}", hint


_NO_CHANNELS = "write it under `channels:`"


def _of_rule(rule: RuleText) -> Iterator[Fault]:
    metric = METRICS[rule.metric]
    yield from _conditions(rule, metric)
    yield from _subjects(rule, metric)
    yield from _windows(rule, metric)
    if metric.kind == "largest" and rule.at_least > LARGEST_KEPT:
        yield ("at_least",), f"of a largest value, at most {LARGEST_KEPT} calls", f"{LARGEST_KEPT} or fewer"
    if rule.sure and metric.kind not in ("rate", "p95"):
        yield ("sure",), f"{metric.name} is no rate or percentile", "remove it"
    if not 0 < rule.clear <= 100:
        yield ("clear",), "a symptom ends at a part of its threshold", "from 1% to 100%"
    yield from _never(rule, metric)
    for index, action in enumerate(rule.actions or ()):
        for name in action.model_fields_set:
            if getattr(action, name).for_ > LONGEST_ORDER_MS:
                yield ("actions", index, name, "for"), "a response lasts 31 days at most", "such as 1h"
    if rule.left is not None and metric.kind != "budget":
        yield ("left",), "only budget_use knows how much of a window is left", "remove it"


def _conditions(rule: RuleText, metric: Metric) -> Iterator[Fault]:
    given = [name for name in CONDITIONS if getattr(rule, name) is not None]
    up = [name for name in given if name.startswith(("above", "rises"))]
    down = [name for name in given if name.startswith("below")]
    if not given:
        yield (), "a rule needs a condition", f"one of {', '.join(CONDITIONS)}"
    if up and down:
        yield (down[0],), f"{down[0]} beside {up[0]}: a rule looks up or down", "make two rules of it"
    if "rises" in given and len(given) > 1:
        yield ("rises",), "rises stands alone", "remove it or the other conditions"
    if "rises" in given and metric.kind not in ("rate", "mean"):
        yield ("rises",), f"{metric.name} is no rate or mean, which may rise", "use above_usual"
    usual = [name for name in given if name.endswith("usual")]
    if usual and metric.kind not in HAS_USUAL:
        yield (usual[0],), f"nothing is known of what is usual for {metric.name}", "use above"
    if down and metric.kind in (RUN_KINDS | BUDGET_KINDS | {"off_hours"}):
        yield (down[0],), f"{metric.name} is held against what it is above", "use above"
    if rule.baseline == "hour_of_week" and metric.kind != "sum":
        yield ("baseline",), f"{metric.name} adds nothing up: its usual value is of 7d", "remove it"


def _never(rule: RuleText, metric: Metric) -> Iterator[Fault]:
    """A condition that nothing can meet: the rule would be silent for good."""
    above = rule.above or 0
    if rule.below == 0:
        yield ("below",), f"{metric.name} is never below zero", "a larger one"
    if metric.name in _WHOLE and above >= 100:
        yield ("above",), f"{metric.name} is never above 100 %", "below 100%"
    if metric.kind == "repeats" and above >= LAST_CALLS:
        yield ("above",), f"a run's last {LAST_CALLS} calls are compared", f"below {LAST_CALLS}"
    days = 35 if rule.baseline == "hour_of_week" else 14
    if rule.history is not None and rule.history > days * DAY_MS:
        yield ("history",), f"only {days} days are remembered", f"{days}d or less"


def _subjects(rule: RuleText, metric: Metric) -> Iterator[Fault]:
    if metric.kind in RUN_KINDS and rule.per not in (None, ["run"]):
        yield ("per",), f"{metric.name} is judged for each run", "remove it, or write per: run"
    if metric.kind in BUDGET_KINDS and rule.per:
        yield ("per",), f"{metric.name} is judged for each budget", "remove it"
    known: tuple[str, ...] = _BUDGETS if metric.kind in BUDGET_KINDS else DIMENSIONS
    if metric.kind in RUN_KINDS:
        known = ("feature",)
    for name in rule.where or {}:
        tag = name.startswith("tag:") and metric.kind not in (RUN_KINDS | BUDGET_KINDS)
        if name not in known and not tag:
            hint = nearest(name, known)
            yield ("where", name), f"{metric.name} cannot be filtered by {name!r}", hint


def _windows(rule: RuleText, metric: Metric) -> Iterator[Fault]:
    window = rule.window
    if window is None:
        return
    if metric.kind in BUDGET_KINDS:
        yield ("window",), f"{metric.name} is of the budget's own window", "remove it"
    elif not MINUTE_MS <= window <= LONGEST_WINDOW_MS:
        yield ("window",), "a window is of 1m to 7d", "such as 10m"
    elif window % (MINUTE_MS if window <= FINE_MS else HOUR_MS):
        yield ("window",), "a window is of whole minutes, above 2h of whole hours", "such as 10m or 3h"
    elif metric.kind in RUN_KINDS and window > HOUR_MS:
        yield ("window",), f"{metric.name} looks back an hour at most", "such as 10m"
    elif metric.kind == "largest" and window > FINE_MS:
        yield ("window",), f"{metric.name} looks back two hours at most", "such as 1h"
    elif rule.rises is not None and HOUR_MS < window < DAY_MS:
        yield ("window",), "a rise is looked for within an hour at most, or in days", "such as 1h"

"""Which models would do for a request, best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.errors import PolicyViolation
from governor.routing.lines import LINES, at_or_below

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that would do.

    Attributes:
        line: Its line.
        model: Its id, as it is sent.
        why: Why it stands where it stands in the list.
        priced_as: The id it is priced and counted under: `model` may be an alias of it.
        marked_as: The line whose marks it is held to, where that is another one: a model that costs no more
            than the step down it stands in for may go as far as that.
        last_resort: Whether it is taken only where no other one may serve, and never because the API is busy.
    """

    line: str
    model: str
    why: str
    priced_as: str
    marked_as: str = ""
    last_resort: bool = False

    @property
    def mark_line(self) -> str:
        """The line whose marks it is held to."""
        return self.marked_as or self.line


def plan(
    asked: str,
    *,
    pin: bool,
    lines: Mapping[str, str],
    default: str,
    preferred_line: str,
    feature_lines: Sequence[str] | None,
    look_up: Callable[[str], tuple[str, str]],
    preferred_why: str = "the standard tier's line",
) -> tuple[Candidate, ...]:
    """The candidates for a request: the preferred model, then each step down the ladder.

    Preferred is the model or line that the request names; else the feature's lines; else the policy's
    default; else the line that tier and complexity prefer. A feature's lines are the only ones it may use.

    Args:
        asked: `auto`, a line, or a model id.
        pin: Never swap what *asked* names.
        lines: The policy's model for each line.
        default: The policy's default: `auto`, a line or a model id.
        preferred_line: The line that `auto` stands for now.
        feature_lines: The lines the feature may use, in order of preference; `None` if it does not say.
        look_up: The line and the canonical id of a model id; raises `UnknownModel` for one without a price.
        preferred_why: Why `auto` stands for it.

    Raises:
        PolicyViolation: What is pinned is not one of the feature's lines, or a line without a model.
        UnknownModel: A model without a price.
    """
    if asked == AUTO and feature_lines:
        steps = [(line, lines[line], "the feature's line") for line in feature_lines]
    else:
        if pin and asked in LINES and asked not in lines:
            raise PolicyViolation(f"{asked} cannot be pinned: it is not among the policy's lines")
        steps = _ladder(_named(asked, default, (preferred_line, preferred_why), lines, look_up), lines)
        steps = _within(steps, feature_lines, lines, pin=pin)
    candidates: dict[str, Candidate] = {}
    for line, model, why in steps[:1] if pin else steps:
        _, canonical = look_up(model)
        candidates.setdefault(canonical, Candidate(line, model, why, canonical))
    return tuple(candidates.values())


_Step = tuple[str, str, str]
"""Line, model, and why it stands there."""


def _named(
    asked: str,
    default: str,
    preferred: tuple[str, str],
    lines: Mapping[str, str],
    look_up: Callable[[str], tuple[str, str]],
) -> _Step:
    name, why = asked, "asked for"
    if name == AUTO:
        name, why = default, "the policy's default"
    if name == AUTO:
        name, why = preferred
    if name in lines:
        return name, lines[name], why
    lower = at_or_below(name, lines) if name in LINES else []
    if lower:
        return lower[0], lines[lower[0]], f"{why}: {name} is not among the policy's lines"
    if name in LINES:
        raise PolicyViolation(
            f"{name} cannot serve: the policy's lines are {', '.join(lines)}, and none is at or below it"
        )
    return look_up(name)[0], name, why


def _ladder(first: _Step, lines: Mapping[str, str]) -> list[_Step]:
    lower = [line for line in at_or_below(first[0], lines) if line != first[0]]
    return [first, *((line, lines[line], "a step down") for line in lower)]


def _within(
    steps: list[_Step], feature_lines: Sequence[str] | None, lines: Mapping[str, str], *, pin: bool
) -> list[_Step]:
    """The steps that the feature may use; its own lines where it may use none of them."""
    if not feature_lines or steps[0][0] in feature_lines:
        return [step for step in steps if not feature_lines or step[0] in feature_lines]
    only = f"the feature may use {', '.join(feature_lines)} only"
    if pin:
        raise PolicyViolation(f"{steps[0][1]} cannot be pinned: {only}")
    own = [(line, lines[line], "the feature's line") for line in feature_lines]
    (line, model, _), *rest = [step for step in steps if step[0] in feature_lines] or own
    return [(line, model, only), *rest]

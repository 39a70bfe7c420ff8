"""Which models would do for a request, best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.routing.lines import LINES, at_or_below

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that would do.

    Attributes:
        line: Its line.
        model: Its id.
        why: Why it stands where it stands in the list.
    """

    line: str
    model: str
    why: str


def plan(
    asked: str,
    *,
    pin: bool,
    lines: Mapping[str, str],
    default: str,
    preferred_line: str,
    feature_lines: Sequence[str] | None,
    line_of: Callable[[str], str],
) -> tuple[Candidate, ...]:
    """The candidates for a request: the preferred model, then each step down the ladder.

    Preferred is the model or line that the request names; else the feature's lines; else the policy's
    default; else the standard tier's line.

    Args:
        asked: `auto`, a line, or a model id.
        pin: Never swap what *asked* names.
        lines: The policy's model for each line.
        default: The policy's default: `auto`, a line or a model id.
        preferred_line: The standard tier's line.
        feature_lines: The lines the feature may use, in order of preference; `None` if it does not say.
        line_of: The line of a model id; raises `UnknownModel` for one without a price.
    """
    named, why = asked, "asked for"
    if named == AUTO and feature_lines:
        return tuple(Candidate(line, lines[line], "the feature's line") for line in feature_lines)
    if named == AUTO:
        named, why = default, "the policy's default"
    if named == AUTO:
        named, why = preferred_line, "the standard tier's line"
    first = _named(named, why, lines, line_of)
    if pin:
        return (first,)
    lower = [line for line in at_or_below(first.line, lines) if line != first.line]
    return (first, *(Candidate(line, lines[line], "a step down") for line in lower))


def _named(name: str, why: str, lines: Mapping[str, str], line_of: Callable[[str], str]) -> Candidate:
    if name in lines:
        return Candidate(name, lines[name], why)
    if name in LINES:
        lower = at_or_below(name, lines)
        if lower:
            return Candidate(lower[0], lines[lower[0]], f"{why}: {name} is not among the policy's lines")
    return Candidate(line_of(name), name, why)

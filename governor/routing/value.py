"""Value routing: which line is worth its price for this request? Business value times quality over cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.money import Money

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def best(
    lines_in_order: Sequence[str],
    quality: Mapping[str, int],
    cost_nanos: Mapping[str, int],
    value_nanos: int,
    at_least: int,
) -> tuple[str, str]:
    """The line of the highest quality that returns enough, else the one that returns the most; and why.

    A line's return is the value times its quality, over its cost: what a dollar spent on it brings. It is
    compared exactly, in integers. Of equals, the cheaper; of equals in that too, the first. A cost of 0 is
    taken for one nano-dollar.

    Args:
        lines_in_order: The lines there are.
        quality: Of each line, in percent of a perfect answer.
        cost_nanos: What the request costs on each line, nano-dollars.
        value_nanos: What a perfect answer is worth, nano-dollars.
        at_least: The return that is enough.

    Raises:
        ValueError: There is no line, one lacks its quality or cost, or an amount is negative.
    """
    lines = [_Line(name, quality, cost_nanos, value_nanos) for name in lines_in_order]
    if not lines or value_nanos < 0:
        raise ValueError("value routing needs a line, and a value of at least 0")
    worth = [line for line in lines if line.gain >= at_least * 100 * line.cost]
    if worth:
        chosen = worth[0]
        for line in worth[1:]:
            if (line.quality, -line.cost) > (chosen.quality, -chosen.cost):
                chosen = line
        return chosen.name, f"worth it: {chosen.sum(value_nanos)}"
    chosen = lines[0]
    for line in lines[1:]:
        mine, other = line.gain * chosen.cost, chosen.gain * line.cost
        if (mine, -line.cost) > (other, -chosen.cost):
            chosen = line
    return chosen.name, f"none returns {at_least}, the most does {chosen.sum(value_nanos)}"


class _Line:
    """A line with its quality in percent, its cost in nano-dollars, and value times quality in hundredths."""

    def __init__(
        self, name: str, quality: Mapping[str, int], cost_nanos: Mapping[str, int], value_nanos: int
    ) -> None:
        if name not in quality or name not in cost_nanos:
            raise ValueError(f"the line {name} lacks its quality or its cost")
        self.name, self.quality, self.cost = name, quality[name], max(cost_nanos[name], 1)
        if self.quality < 0 or cost_nanos[name] < 0:
            raise ValueError(f"the quality and the cost of {name} must be at least 0")
        self.gain = value_nanos * self.quality

    def sum(self, value_nanos: int) -> str:
        """How its return comes about, rounded down to a whole number."""
        returned = self.gain // (100 * self.cost)
        return f"{Money(value_nanos)} × {self.quality} % ÷ {Money(self.cost)} = {returned}"  # noqa: RUF001

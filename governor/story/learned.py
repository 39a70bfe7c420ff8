"""What calls really used: from it, what the next one will probably cost. Never held, only told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.pricing import Ceiling

WINDOW_CALLS = 50
"""About how many of the last calls count: each weighs 1/50 less once another has come."""
MOST_KEYS = 10_000

Key = tuple[str, str | None, str, bool]
"""Department, feature, model id, and whether the prompt was counted: a bound is looser than a count."""


@dataclass(slots=True)
class _Sums:
    """Fading sums over the calls of one key; each in thousandths, so that integers fade smoothly."""

    calls: int = 0
    output_tokens: int = 0
    prompt_nanos: int = 0
    prompt_ceiling_nanos: int = 0


class Learned:
    """Fading averages of what each feature used on each model, in this process."""

    def __init__(self) -> None:
        self._sums: dict[Key, _Sums] = {}

    def observe(self, key: Key, ceiling: Ceiling, cost_nanos: int, output_tokens: int) -> None:
        """Take in one answered call.

        Args:
            key: Whose call, and the model that served.
            ceiling: What was held for it.
            cost_nanos: What it cost.
            output_tokens: What it put out.
        """
        if len(self._sums) >= MOST_KEYS and key not in self._sums:
            self._sums.clear()
        sums = self._sums.setdefault(key, _Sums())
        output_nanos = _output_nanos(ceiling, output_tokens)
        _fade(sums, "calls", 1)
        _fade(sums, "output_tokens", output_tokens)
        _fade(sums, "prompt_nanos", max(0, cost_nanos - output_nanos))
        _fade(sums, "prompt_ceiling_nanos", ceiling.nanos - ceiling.output_nanos)

    def expected_nanos(self, key: Key, ceiling: Ceiling) -> int | None:
        """What a call with this ceiling will probably cost, in nano-dollars; `None` if none was seen.

        The average output, at most its `max_tokens`; and of the ceiling of the prompt, the share that the
        calls so far used of theirs.
        """
        sums = self._sums.get(key)
        if sums is None or not sums.calls:
            return None
        output_tokens = min(ceiling.max_tokens, sums.output_tokens // sums.calls)
        prompt_nanos = ceiling.nanos - ceiling.output_nanos
        if sums.prompt_ceiling_nanos:
            prompt_nanos = prompt_nanos * sums.prompt_nanos // sums.prompt_ceiling_nanos
        return min(ceiling.nanos, prompt_nanos + _output_nanos(ceiling, output_tokens))


def _output_nanos(ceiling: Ceiling, output_tokens: int) -> int:
    """What that much output costs, at the price in the ceiling."""
    return ceiling.output_nanos * output_tokens // ceiling.max_tokens if ceiling.max_tokens else 0


def _fade(sums: _Sums, name: str, value: int) -> None:
    before = getattr(sums, name)
    setattr(sums, name, before - before // WINDOW_CALLS + value * 1000)

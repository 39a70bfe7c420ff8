"""What a request may ask of a model beside text: what pricing's data says of it, and routing reads."""

from __future__ import annotations

from dataclasses import dataclass

THINKING = ("adaptive", "enabled", "disabled", "between_tools")
"""The values of `thinking.type` (SDK types)."""

OFF = ("disabled", "between_tools")
"""Those that turn thinking off; with `between_tools`, notes between tool calls stay (SDK types)."""

EFFORTS = ("low", "medium", "high", "xhigh", "max")
"""The values of `output_config.effort`, lowest first (SDK types)."""

ALWAYS, WITHOUT_THINKING, NEVER = FORCED = ("always", "without_thinking", "never")
"""When a `tool_choice` that forces a tool (`any`, `tool`) is taken."""


@dataclass(frozen=True, slots=True)
class Accepts:
    """What the API takes in a request to a model. `None` is unknown, and counts as taken.

    Whether the model has fast mode is not here: it does where its price table has a price for it.

    Attributes:
        thinking: The values of `thinking.type` that it takes.
        thinking_off_up_to: The highest effort at which thinking may be off; `None`: at every one.
        efforts: The efforts that it takes, lowest first; empty where `effort` is refused.
        forced_tool_choice: One of `FORCED`.
        prefill: Whether the last message may be the assistant's.
        inference_geo: Whether it takes an `inference_geo`.
    """

    thinking: frozenset[str] | None = None
    thinking_off_up_to: str | None = None
    efforts: tuple[str, ...] | None = None
    forced_tool_choice: str | None = None
    prefill: bool | None = None
    inference_geo: bool | None = None

    def takes_thinking(self, kind: str) -> bool:
        """Whether `thinking.type` may be *kind*."""
        return self.thinking is None or kind in self.thinking

    def efforts_for(self, kind: str | None) -> tuple[str, ...] | None:
        """The efforts it takes when `thinking.type` is *kind*, lowest first; `None` if that is unknown."""
        if kind not in OFF or self.thinking_off_up_to is None:
            return self.efforts
        most = EFFORTS.index(self.thinking_off_up_to)
        taken = EFFORTS if self.efforts is None else self.efforts
        return tuple(one for one in taken if EFFORTS.index(one) <= most)


ANYTHING = Accepts()
"""Of a model of which nothing is known."""

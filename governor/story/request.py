"""A request: what every one consults, what a caller asks for, and what planning makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.clock import LedgerClock
    from governor.policy import Attribution, Policies, Rules
    from governor.pricing import PriceTable
    from governor.routing import Candidate
    from governor.story.matrix import Offer


@dataclass(frozen=True, slots=True)
class House:
    """What every request consults."""

    policies: Policies
    prices: PriceTable
    clock: LedgerClock


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller asks for.

    Attributes:
        id: The request's id, made by the caller or for it.
        who: Who asks, and for what.
        asked: `auto`, a line or a model id.
        max_tokens: As asked; `None` if the feature's is to be used.
        body: The other parameters of `messages.create`.
        pin: Never swap the model.
    """

    id: str
    who: Attribution
    asked: str
    max_tokens: int | None
    body: Mapping[str, Any]
    pin: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A request after pricing, policy and routing, before any balance was looked at."""

    request: Request
    rules: Rules
    offers: tuple[Offer, ...]
    skipped: tuple[Offer, ...]
    max_tokens: int
    input_tokens: int
    estimate: str
    at_ms: int

    def body(self, candidate: Candidate) -> dict[str, Any]:
        """What is sent when *candidate* serves."""
        return {**self.request.body, "model": candidate.model, "max_tokens": self.max_tokens}

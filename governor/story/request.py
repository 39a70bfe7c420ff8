"""A request: what every one consults, what a caller asks for, and what planning makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.clock import LedgerClock
    from governor.ledger.commands import Release, Settle
    from governor.policy import Attribution, Policies, Rules
    from governor.pricing import PriceTable
    from governor.routing import Candidate
    from governor.story.matrix import Offer


@dataclass(frozen=True, slots=True)
class House:
    """What every request consults.

    Attributes:
        policies: The policies in force.
        prices: The price table.
        clock: The ledger's time.
        unheard: How calls ended that the ledger could not be told of yet.
    """

    policies: Policies
    prices: PriceTable
    clock: LedgerClock
    unheard: list[Settle | Release] = field(default_factory=list)


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
    """A request after pricing, policy and routing, before any balance was looked at.

    Attributes:
        request: What the caller asked for.
        rules: What the files say of it.
        offers: The candidates with their ceilings, best first.
        skipped: Those that the policy rules out, whatever the balances.
        max_tokens: As it is sent.
        input_tokens: The estimate of the prompt for the first candidate, without margin.
        estimate: How it was made: `count_tokens` or `local bound`.
        counts: For each tokenizer, tokens of the prompt and whether the API counted them.
        at_ms: When it was priced, Unix milliseconds.
    """

    request: Request
    rules: Rules
    offers: tuple[Offer, ...]
    skipped: tuple[Offer, ...]
    max_tokens: int
    input_tokens: int
    estimate: str
    counts: Mapping[int, tuple[int, bool]]
    at_ms: int

    def count(self, tokenizer: int) -> tuple[int, bool] | None:
        """Tokens of the prompt by *tokenizer*, and whether the API counted them; `None` if nobody did."""
        return self.counts.get(tokenizer)

    def body(self, candidate: Candidate) -> dict[str, Any]:
        """What is sent when *candidate* serves."""
        return {**self.request.body, "model": candidate.model, "max_tokens": self.max_tokens}

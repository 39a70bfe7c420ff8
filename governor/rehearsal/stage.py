"""A stage: policies, prices and an instant, on which a request is decided against given balances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.clock import LedgerClock
from governor.errors import PolicyViolation, UnknownModel
from governor.flow import decide
from governor.ledger import commands as c
from governor.story.request import House, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from governor.ledger.commands import Balance, BudgetRow
    from governor.policy import Attribution, Policies
    from governor.pricing import PriceTable
    from governor.story.decision import Decision

_REHEARSED = "rehearsed"
_PROMPT: list[dict[str, Any]] = [{"role": "user", "content": "…"}]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the policy forbids whatever the balances: an unknown user, too large a request.

    Attributes:
        reason: The sentence that a caller would be told.
    """

    reason: str


class Stage:
    """Where requests are decided and nothing is done.

    Args:
        policies: The policies to rehearse.
        prices: The price table.
        now_ms: The instant, Unix milliseconds; it may be moved between two requests.
    """

    def __init__(self, policies: Policies, prices: PriceTable, now_ms: int) -> None:
        self.now_ms = now_ms
        self.house = House(policies, prices, LedgerClock(lambda: self.now_ms))

    def decide(self, request: Request, balance_of: Callable[[BudgetRow], Balance]) -> Decision | Refusal:
        """What would be decided now for *request*, given the balance of every budget it touches.

        Args:
            request: With its `input_tokens`; see `made_up`.
            balance_of: The balance under a row, in the row's window.
        """
        story = decide(self.house, request)
        try:
            asked = next(story)
            while True:
                asked = story.send(self._read(asked, balance_of))
        except StopIteration as done:
            decision: Decision = done.value
            return decision
        except (PolicyViolation, UnknownModel) as refused:
            return Refusal(str(refused))

    def _read(self, asked: c.Read, balance_of: Callable[[BudgetRow], Balance]) -> c.Readings:
        return c.Readings(tuple(balance_of(row) for row in asked.budgets), self.now_ms)


def made_up(
    who: Attribution,
    *,
    model: str = "auto",
    input_tokens: int = 1000,
    max_tokens: int | None = None,
    pin: bool = False,
    body: Mapping[str, Any] | None = None,
) -> Request:
    """A request that nobody makes, of which the length of the prompt is all that matters.

    Args:
        who: Who would ask, and for what.
        model: `auto`, a line or a model id.
        input_tokens: Tokens of its prompt, as the API would count them.
        max_tokens: As it would be asked for; `None`: the feature's.
        pin: Never swap the model.
        body: Other parameters that cost something, such as `speed` or `tools`.
    """
    return Request(
        id=_REHEARSED,
        who=who,
        asked=model,
        max_tokens=max_tokens,
        body={"messages": _PROMPT, **(body or {})},
        pin=pin,
        input_tokens=input_tokens,
    )

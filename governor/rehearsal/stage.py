"""A stage: policies, prices and an instant, on which a request is decided against given balances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from governor.clock import LedgerClock
from governor.errors import PolicyViolation, UnknownModel
from governor.flow import decide, weigh
from governor.ledger import commands as c
from governor.rehearsal.explanation import Explanation, explained
from governor.rehearsal.given import Given
from governor.routing import Traffic
from governor.story.hints import Hints
from governor.story.planning import prepare
from governor.story.request import House, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from governor.ledger.commands import Balance, BudgetRow
    from governor.policy import Attribution, Policies
    from governor.pricing import PriceTable
    from governor.story.books import Story
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
        traffic = Traffic("rehearsal", lambda: self.now_ms)
        self._house = House(policies, prices, LedgerClock(lambda: self.now_ms), traffic=traffic)

    @property
    def house(self) -> House:
        """What every request consults; nothing is known of balances, which may have changed since."""
        return replace(self._house, hints=Hints())

    def decide(self, request: Request, balance_of: Callable[[BudgetRow], Balance]) -> Decision | Refusal:
        """What would be decided now for *request*, given the balance of every budget it touches.

        Args:
            request: With its `input_tokens`; see `made_up`.
            balance_of: The balance under a row, in the row's window.
        """
        try:
            decision: Decision = self._play(decide(self.house, request), _one_by_one(balance_of))
        except (PolicyViolation, UnknownModel) as refused:
            return Refusal(str(refused))
        return decision

    def explain(
        self, request: Request, read: Callable[[Sequence[BudgetRow]], Sequence[Balance]]
    ) -> Explanation:
        """All that would decide *request* now.

        Args:
            request: With its `input_tokens`, or with a prompt: that is then bounded without the network.
            read: The balances under rows, in their order, in the rows' windows.
        """
        try:
            some = read.some if isinstance(read, Given) else read
            house = self.house
            planned = self._play(prepare(house, request, at_once=False), some)
            weighed = self._play(weigh(house, planned), read)
        except (PolicyViolation, UnknownModel) as refused:
            return Explanation(self.now_ms, None, refused=str(refused))
        return explained(house, weighed)

    def _play(self, story: Story, read: Callable[[Sequence[BudgetRow]], Sequence[Balance]]) -> Any:
        """Tell *story* to its end, of which nothing but balances and counts is asked."""
        reply: Any = None
        try:
            while True:
                effect = story.send(reply)
                # A count would need the network: `None` says that there is none, and the prompt is bounded.
                reply = self._read(effect, read) if isinstance(effect, c.Read) else None
        except StopIteration as done:
            return done.value

    def _read(self, asked: c.Read, read: Callable[[Sequence[BudgetRow]], Sequence[Balance]]) -> c.Readings:
        return c.Readings(tuple(read(asked.budgets)), self.now_ms)


def _one_by_one(
    balance_of: Callable[[BudgetRow], Balance],
) -> Callable[[Sequence[BudgetRow]], Sequence[Balance]]:
    return lambda rows: [balance_of(row) for row in rows]


def made_up(
    who: Attribution,
    *,
    model: str = "auto",
    input_tokens: int = 1000,
    max_tokens: int | None = None,
    pin: bool = False,
    body: Mapping[str, Any] | None = None,
    identifier: str = _REHEARSED,
    tier: str | None = None,
    deferrable: bool = False,
    complexity: float | None = None,
    load_bp: int | None = None,
) -> Request:
    """A request that nobody makes, of which the length of the prompt is all that matters.

    Args:
        who: Who would ask, and for what.
        model: `auto`, a line or a model id.
        input_tokens: Tokens of its prompt, as the API would count them.
        max_tokens: As it would be asked for; `None`: the feature's.
        pin: Never swap the model.
        body: Other parameters that cost something, such as `speed` or `tools`.
        identifier: Its id.
        tier: The tier it would ask for.
        deferrable: Whether it could wait for the Batches API.
        complexity: How hard it would be, 0 to 10; `None`: as hard as a prompt of one word.
        load_bp: How busy the API would be, basis points; `None`: not at all, or as the stage's calls make it.
    """
    return Request(
        id=identifier,
        who=who,
        asked=model,
        max_tokens=max_tokens,
        body={"messages": _PROMPT, **(body or {})},
        pin=pin,
        tier=tier,
        deferrable=deferrable,
        input_tokens=input_tokens,
        complexity=complexity,
        load_bp=load_bp,
    )


def usual_max_tokens(policies: Policies, who: Attribution, otherwise: int) -> int | None:
    """`max_tokens` of a request that nobody says it of: `None`, the policy's, or *otherwise* without one."""
    try:
        return None if policies.rules(who).max_tokens is not None else otherwise
    except PolicyViolation:
        return otherwise

"""A series of spends and requests in virtual time: the real story, on a real ledger that is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.errors import GovernorError
from governor.flow import govern
from governor.ledger import commands as c
from governor.rehearsal.given import untouched
from governor.rehearsal.keys import amounts
from governor.story import matrix, views
from governor.story.decision import ThresholdCrossed
from governor.story.effects import CountTokens, Ended, Notify, Send, Sleep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.budgets import Unit
    from governor.ledger import Ledger
    from governor.ledger.commands import Balance, BudgetRow
    from governor.policy import Attribution, BudgetTerm
    from governor.rehearsal.explanation import Explanation
    from governor.rehearsal.keys import Amount
    from governor.rehearsal.stage import Stage
    from governor.story.books import Story
    from governor.story.decision import Decision
    from governor.story.request import Request


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request.

    Attributes:
        decision: The decision that was taken; `None` where the policy forbids the request.
        refused: The error that a caller would get, or `None`.
        before: What decided it, on the balances just before.
        crossings: The thresholds that its end crossed.
    """

    decision: Decision | None
    refused: GovernorError | None
    before: Explanation
    crossings: tuple[ThresholdCrossed, ...]


class Theatre:
    """Plays a series.

    Args:
        stage: Policies, prices, and the virtual clock: its `now_ms`.
        ledger: An empty ledger, whose clock is the stage's.
    """

    def __init__(self, stage: Stage, ledger: Ledger) -> None:
        self._stage = stage
        self._ledger = ledger
        self._count = 0

    def terms(self, who: Attribution, models: Sequence[str]) -> tuple[BudgetTerm, ...]:
        """The budgets that a request of *who* touches, served by any of *models* or its policy's lines.

        Raises:
            PolicyViolation: The policy lets no request of *who* through.
            UnknownModel: One of *models* has no price.
        """
        prices = self._stage.house.prices
        lines = self._stage.house.policies.rules(who).lines
        asked = [lines.get(name, name) for name in models]
        ids = dict.fromkeys(prices.model(name).id for name in (*asked, *lines.values()))
        return self._stage.house.policies.budgets(who, tuple(ids))

    def fill(
        self, who: Attribution, spent: Mapping[str, Amount], models: Sequence[str] = ()
    ) -> list[ThresholdCrossed]:
        """Post to single budgets of *who* until this much is spent of them; returns the thresholds crossed.

        Raises:
            KeyRefused: A key means no budget of *who*, or an amount is none.
            ValueError: More is spent of one already.
        """
        terms = self.terms(who, models)
        rows = matrix.build(terms, (), self._stage.now_ms).rows
        balances = self.read(rows)
        wanted = amounts(spent, rows, [balance.limit for balance in balances])
        postings = []
        for row, balance in zip(rows, balances, strict=True):
            missing = wanted.get(row.identity, balance.posted) - balance.posted
            if missing < 0:
                raise ValueError(f"of {row.identity} more is spent already")
            if row.identity in wanted:
                postings.append(c.Posting(row, missing))
        return self._post(terms, postings)

    def spend(
        self, who: Attribution, spent: Mapping[Unit, int], model: str | None = None
    ) -> list[ThresholdCrossed]:
        """Post a call of *who* to every budget that it touches; returns the thresholds crossed.

        Args:
            who: Who called, and for what.
            spent: What it used in each unit: nano-dollars for usd, else a count.
            model: The line or model that served it; `None`: no budget per model is touched.
        """
        house = self._stage.house
        named = None if model is None else house.policies.rules(who).lines.get(model, model)
        served = None if named is None else house.prices.model(named).id
        terms = [
            term
            for term in self.terms(who, () if named is None else (named,))
            if term.model in (None, served)
        ]
        rows = matrix.build(terms, (), self._stage.now_ms).rows
        return self._post(
            terms, [c.Posting(row, spent.get(row.unit, 0)) for row in rows if row.unit in spent]
        )

    def _post(self, terms: Sequence[BudgetTerm], postings: Sequence[c.Posting]) -> list[ThresholdCrossed]:
        """Post what no hold was opened for, as of a call that the ledger was told of late."""
        known = {term.identity: term for term in terms}
        closed = self._ledger.execute(c.Settle(self._new_id(), tuple(postings)))
        return [views.threshold(known.get(one.identity), one) for one in closed.crossings]

    def ask(self, request: Request, output_tokens: int | None = None) -> Answer:
        """Make *request*, which uses its whole prompt and *output_tokens* (`None`: all it may) if served."""
        before = self._stage.explain(request, self.read)
        crossings: list[ThresholdCrossed] = []
        try:
            _, receipt = self._drive(govern(self._stage.house, request), request, output_tokens, crossings)
        except GovernorError as refused:
            decision = getattr(refused, "decision", None)
            return Answer(decision, refused, before, tuple(crossings))
        return Answer(receipt.decision, None, before, tuple(crossings))

    def read(self, rows: Sequence[BudgetRow]) -> Sequence[Balance]:
        """The ledger's balances of *rows*, in their order."""
        return self._ledger.execute(c.Read(tuple(rows))).balances if rows else untouched(rows)

    def _new_id(self) -> str:
        self._count += 1
        return f"step-{self._count}"

    def _drive(
        self, story: Story, request: Request, output_tokens: int | None, crossings: list[ThresholdCrossed]
    ) -> Any:
        reply: Any = None
        error: GovernorError | None = None
        try:
            while True:
                effect = story.send(reply) if error is None else story.throw(error)
                reply = error = None
                try:
                    reply = self._perform(effect, request, output_tokens, crossings)
                except GovernorError as raised:
                    error = raised
        except StopIteration as done:
            return done.value

    def _perform(
        self, effect: Any, request: Request, output_tokens: int | None, crossings: list[ThresholdCrossed]
    ) -> Any:
        match effect:
            case CountTokens():
                return None
            case Send():
                most = int(effect.body["max_tokens"])
                output = most if output_tokens is None else min(output_tokens, most)
                return Ended(
                    "answered", usage={"input_tokens": request.input_tokens or 0, "output_tokens": output}
                )
            case Sleep():
                self._stage.now_ms += int(effect.seconds * 1000) + 1
                return None
            case Notify():
                if isinstance(effect.event, ThresholdCrossed):
                    crossings.append(effect.event)
                return None
            case _:
                return self._ledger.execute(effect)

"""Requests for more budget, as the commands show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.budgets import unit_of
from governor.cli.output import when
from governor.cli.typed import harmless, span_text
from governor.ledger import requests as q
from governor.story.decision import instant, show

if TYPE_CHECKING:
    from governor.ledger import commands as c


@dataclass(frozen=True, slots=True)
class Asked:
    """A request at an instant. Its texts are safe to print: applications may write where it is kept.

    Attributes:
        request: The request.
        now_ms: The ledger's clock, Unix milliseconds.
    """

    request: c.BudgetRequest
    now_ms: int

    @property
    def state(self) -> str:
        """`open`, `over`, `approved`, `denied` or `withdrawn`."""
        return self.request.state(self.now_ms)

    @property
    def is_open(self) -> bool:
        """Whether it waits for an answer that may still grant it."""
        return self.state == q.OPEN

    @property
    def amount(self) -> str:
        """For example `$500.00`, or `60 requests`."""
        return show(unit_of(self.request.identity), self.request.amount)

    @property
    def span(self) -> str:
        """For what, as sentences end with it: ` for 2026-11`, ` from … UTC until … UTC`."""
        window = harmless(self.request.window)
        return f" for {window}" if window else span_text(self.request.from_ms, self.request.until_ms)

    @property
    def by(self) -> str:
        """Who asked: `Ada (ada@laptop-7)`; the login alone where they gave no other name."""
        return _named(self.request.by)

    @property
    def answered(self) -> str:
        """How it was answered: `denied by Grace (grace@laptop-9) at 2026-11-21 12:00 UTC: no`."""
        answer = self.request.answer
        if answer is None:
            return "not answered"
        why = f": {harmless(answer.reason)}" if answer.reason else ""
        return f"{answer.state} by {_named(answer.by)} at {when(instant(answer.at_ms))} UTC{why}"

    def __str__(self) -> str:
        """For example `$500.00 for 2026-11 by Ada (ada@laptop-7) at 2026-11-21 12:00 UTC: a launch`."""
        return (
            f"{self.amount}{self.span} by {self.by} at {when(instant(self.request.at_ms))} UTC: "
            f"{harmless(self.request.reason)}"
        )


def cells(asked: Asked) -> tuple[str, ...]:
    """A request as a row of a table."""
    request = asked.request
    return (
        request.id,
        request.identity,
        asked.amount,
        asked.span.strip().removeprefix("for "),
        when(instant(request.at_ms)),
        asked.by,
        asked.state if request.answer is None else asked.answered,
        harmless(request.reason),
    )


def asked_json(asked: Asked) -> dict[str, Any]:
    """A request as JSON; amounts are integers in the budget's unit, nano-dollars for usd."""
    request, answer = asked.request, asked.request.answer
    return {
        "id": request.id,
        "identity": request.identity,
        "window": request.window or None,
        "amount": request.amount,
        "actor": request.by.actor,
        "login": request.by.login,
        "reason": request.reason,
        "at": instant(request.at_ms),
        "from": instant(request.from_ms),
        "until": instant(request.until_ms),
        "ends": instant(request.ends_ms),
        "state": asked.state,
        "answer": None
        if answer is None
        else {
            "amount": answer.amount if answer.state == q.APPROVED else None,
            "actor": answer.by.actor,
            "login": answer.by.login,
            "reason": answer.reason,
            "at": instant(answer.at_ms),
        },
    }


def _named(person: c.Person) -> str:
    actor, login = harmless(person.actor), harmless(person.login)
    return login if actor in ("", login) else f"{actor} ({login})"

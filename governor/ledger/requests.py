"""More budget is asked for, and the request answered: what anybody may ask of a ledger, and administrators.

A request changes no limit. It is answered once: `Approve` makes the grant and closes it in the same step,
`Deny` closes it. Nobody approves their own.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from governor.budgets import span_of, unit_of
from governor.ledger.administration import Grant
from governor.ledger.values import Command
from governor.money import MAX_NANOS

OPEN_AT_MOST = 1000
"""How many requests of an organisation may be open at once: more than anybody reads."""

CLOSED_KEPT_MS = 90 * 24 * 3600 * 1000
"""How long a request is kept after it was answered, or after what it asked for was over."""

CLOSED_AT_MOST = 5000
"""How many of those are kept at most; the oldest go first."""

LATEST_MS = 253_370_764_800_000
"""The beginning of the year 9999: later instants cannot be shown in every time zone."""

OPEN, OVER, APPROVED, DENIED, WITHDRAWN = "open", "over", "approved", "denied", "withdrawn"


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks or answers.

    Attributes:
        actor: As they call themselves: free text.
        login: The operating system's user, and the host: `ada@laptop-7`.
    """

    actor: str
    login: str

    def is_also(self, other: Person) -> bool:
        """Whether both may be one: any name of the one is a name of the other, whatever its case."""
        return bool(self._names() & other._names())

    def _names(self) -> frozenset[str]:
        names = (unicodedata.normalize("NFKC", name).casefold().strip() for name in (self.actor, self.login))
        return frozenset(name for name in names if name)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request was answered.

    Attributes:
        state: `approved`, `denied` or `withdrawn`.
        by: Who answered.
        reason: Why; may be empty.
        amount: What was granted; of one denied or withdrawn, what was asked for.
        at_ms: When, by the ledger's clock.
    """

    state: str
    by: Person
    reason: str
    amount: int
    at_ms: int = 0

    @property
    def said(self) -> str:
        """As it is kept and journalled; the reason comes last, as free text."""
        return f"state={self.state} amount={self.amount} {_signed(self.by, self.reason)}"


@dataclass(frozen=True, slots=True)
class BudgetRequest:
    """A grant that was asked for.

    Attributes:
        id: Made by the caller.
        identity: The budget.
        window: The only window it is for; '' where the instants say when.
        amount: In the budget's unit, above 0.
        by: Who asks.
        reason: Why.
        from_ms: Without a window: when it is to begin, Unix milliseconds; 0: at once.
        until_ms: Without a window: when it is to end.
        ends_ms: When nothing can be granted any more, for the window or the time is over; 0: never.
        at_ms: When it was asked for, by the ledger's clock.
        answer: `None` while there is none.
    """

    id: str
    identity: str
    window: str
    amount: int
    by: Person
    reason: str
    from_ms: int = 0
    until_ms: int = 0
    ends_ms: int = 0
    at_ms: int = 0
    answer: Answer | None = None

    @property
    def said(self) -> str:
        """What is asked, as it is kept and journalled; the reason comes last, as free text."""
        return (
            f"identity={self.identity} amount={self.amount} window={self.window} from={self.from_ms} "
            f"until={self.until_ms} ends={self.ends_ms} {_signed(self.by, self.reason)}"
        )

    def state(self, now_ms: int) -> str:
        """`open`, `over` (too late for what it asks), `approved`, `denied` or `withdrawn`."""
        if self.answer is not None:
            return self.answer.state
        return OVER if 0 < self.ends_ms <= now_ms else OPEN

    def kept(self, now_ms: int) -> bool:
        """Whether it is still remembered at an instant."""
        if self.state(now_ms) == OPEN:
            return True
        return (self.answer.at_ms if self.answer else self.ends_ms) + CLOSED_KEPT_MS > now_ms


@dataclass(frozen=True, slots=True)
class TooManyRequests:
    """So many requests are open that no other is taken."""

    open: int


@dataclass(frozen=True, slots=True)
class RequestGrant(Command["BudgetRequest | TooManyRequests"]):
    """Ask for a grant; answers the request as it is kept, with its answer where this is a repetition.

    Attributes:
        asked: What is asked; its `at_ms` and `answer` are the ledger's to say.
        record: The journal record, JSON.
    """

    asked: BudgetRequest
    record: str = "{}"


@dataclass(frozen=True, slots=True)
class NotAnswered:
    """A request could not be answered so, and nothing was changed.

    Attributes:
        why: `unknown`, `answered` (before, in another way), `own`, `over`, or `changed` (it is not what was
            read any more).
        request: As the ledger has it; `None` where it is unknown.
    """

    why: str
    request: BudgetRequest | None


@dataclass(frozen=True, slots=True)
class Approve(Command["BudgetRequest | NotAnswered"]):
    """Grant what was asked for and close the request, in one step; answers the request as it is then.

    Attributes:
        request: As it was read: what was changed meanwhile is not granted.
        by: Who approves; refused where they are also who asked.
        reason: Why; may be empty.
        amount: What is granted.
        record: The journal record of the grant, JSON.
    """

    request: BudgetRequest
    by: Person
    reason: str
    amount: int
    record: str = "{}"

    @property
    def grant(self) -> Grant:
        """The grant that it makes. Its id follows from the request's, so that it is made once."""
        asked = self.request
        identifier = f"approve-{asked.id}"
        return Grant(
            identifier, asked.identity, asked.window, self.amount, self.record, asked.from_ms, asked.until_ms
        )

    @property
    def answer(self) -> Answer:
        """How the request is answered."""
        return Answer(APPROVED, self.by, self.reason, self.amount)


@dataclass(frozen=True, slots=True)
class Deny(Command["BudgetRequest | NotAnswered"]):
    """Close a request and grant nothing; whoever asked may withdraw it so. Answers the request as it is then.

    Attributes:
        request: As it was read.
        by: Who denies or withdraws it.
        reason: Why.
        record: The journal record, JSON.
    """

    request: BudgetRequest
    by: Person
    reason: str
    record: str = "{}"

    @property
    def id(self) -> str:
        """The id of its record in the journal."""
        return f"deny-{self.request.id}"

    @property
    def answer(self) -> Answer:
        """How the request is answered: `withdrawn` by who asked, else `denied`."""
        own = self.by.is_also(self.request.by)
        return Answer(WITHDRAWN if own else DENIED, self.by, self.reason, self.request.amount)

    @property
    def said(self) -> str:
        """What the journal keeps of it."""
        return f"request={self.request.id} {self.answer.said}"

    @property
    def operation(self) -> str:
        """What makes it the same again, as an administrator's change; '' where it is withdrawn."""
        own = self.answer.state == WITHDRAWN
        return "" if own else f"deny {self.request.identity} {self.said}"


@dataclass(frozen=True, slots=True)
class FindRequest(Command[BudgetRequest | None]):
    """The request of that id; `None` where there is none, or not any more."""

    id: str


@dataclass(frozen=True, slots=True)
class ListRequests(Command[tuple[BudgetRequest, ...]]):
    """Every request that is kept, answered or not, in the order in which they were made."""


def in_order(requests: list[BudgetRequest]) -> tuple[BudgetRequest, ...]:
    """Requests as `ListRequests` answers them."""
    return tuple(sorted(requests, key=lambda request: (request.at_ms, request.id)))


def fields(text: str) -> dict[str, str]:
    """What was written as `name=value …`, by name; a reason comes last, as free text."""
    words, _, reason = text.partition(" reason=")
    found = dict(word.split("=", 1) for word in words.split(" ") if "=" in word)
    return {**found, "reason": reason} if reason else found


def read_request(identifier: str, said: str, at_ms: int, answer: Answer | None = None) -> BudgetRequest:
    """The inverse of `BudgetRequest.said`.

    Raises:
        KeyError: It is not whole.
        ValueError: It is nothing that could have been asked.
    """
    found = fields(said)
    amount, from_ms, until_ms, ends_ms = (int(found[name]) for name in ("amount", "from", "until", "ends"))
    span_of(found["identity"])
    unit_of(found["identity"])
    _refuse_beyond(amount, MAX_NANOS)
    for instant_ms in (from_ms, until_ms, ends_ms, at_ms):
        _refuse_beyond(instant_ms + 1, LATEST_MS)
    return BudgetRequest(
        identifier,
        found["identity"],
        found["window"],
        amount,
        _signer(found),
        found.get("reason", ""),
        from_ms,
        until_ms,
        ends_ms,
        at_ms,
        answer,
    )


def read_answer(said: str, at_ms: int) -> Answer:
    """The inverse of `Answer.said`, also of what else was written around it; raises as `read_request`."""
    found = fields(said)
    _refuse_beyond(at_ms, LATEST_MS)
    return Answer(found["state"], _signer(found), found.get("reason", ""), int(found["amount"]), at_ms)


def answered(request: BudgetRequest, answer: Answer, at_ms: int) -> BudgetRequest:
    """The request with its answer, given at an instant."""
    return replace(request, answer=replace(answer, at_ms=at_ms))


def _refuse_beyond(number: int, most: int) -> None:
    if not 0 < number <= most:
        raise ValueError(f"{number} is not between 1 and {most}")


def _signed(by: Person, reason: str) -> str:
    return f"actor={quote(by.actor, safe='@:+')} login={quote(by.login, safe='@:+')} reason={reason}"


def _signer(found: dict[str, str]) -> Person:
    return Person(unquote(found["actor"]), unquote(found["login"]))

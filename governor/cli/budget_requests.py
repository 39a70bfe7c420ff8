"""`governor budget request`, `requests`, `approve` and `deny`: a person asks for more, another approves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from governor.cli import balances
from governor.cli.asked import Asked, asked_json, cells
from governor.cli.budget import IDENTITY
from governor.cli.budget_changes import ACTOR, AMOUNT, ANY_REASON, FROM, REASON, UNTIL, say, told_of
from governor.cli.context import JSON, LEDGER, POLICIES, PRICES, flag, open_desk
from governor.cli.output import REFUSED, Failure, console, note, print_json, print_rows, usage
from governor.cli.reach import refuse_unreachable
from governor.cli.typed import harmless, parse_amount, plain, refuse_above_most, required, span_ms
from governor.cli.who import person
from governor.ids import new_id
from governor.journal.records import administration
from governor.ledger import commands as c
from governor.story.decision import show as show_amount

if TYPE_CHECKING:
    from governor.cli.context import Desk

REQUEST: Any = typer.Argument(
    ..., metavar="REQUEST", help="The request's id, as `budget request` printed it and `requests` lists it."
)
LESS: Any = typer.Option(None, "--amount", help="Grant less than was asked for: an amount of the budget.")
ALL: Any = flag("--all", "-a", help="Those that were answered, or are over, too.")


def request(
    identity: str = IDENTITY,
    amount: str = AMOUNT,
    reason: str = REASON,
    begin: str | None = FROM,
    until: str | None = UNTIL,
    actor: str | None = ACTOR,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Ask for more of a budget: in its window of this moment, or with --until (and --from) between instants.

    It takes no administrator's rights and changes no limit: somebody else approves or denies it.
    """
    by, why = person(actor), required("--reason", reason)
    with open_desk(policies, ledger) as desk:
        term = balances.require_term(desk, identity)
        refuse_unreachable(desk, term, prices)
        more = parse_amount(amount, term.unit)
        if begin is not None and until is None:
            raise usage("--from needs --until: a request without it is for the window of this moment")
        from_ms, until_ms = span_ms(desk, term, begin, until)
        refuse_above_most(balances.limits_of(desk, term).limit + more, term.unit)
        now = balances.window_of(desk, term)
        window, ends_ms = ("", until_ms) if until_ms else (now.id, now.end_ms)
        asked = c.BudgetRequest(
            new_id(), term.identity, window, more, by, why, from_ms, until_ms, ends_ms=ends_ms
        )
        kept = desk.ledger.execute(c.RequestGrant(asked, administration(by.actor, why, desk.policies.hash)))
        if isinstance(kept, c.TooManyRequests):
            raise Failure(
                f"{kept.open} requests are open already, and no more are taken: have some of them answered "
                "(`governor budget requests` lists them)"
            )
        _say_asked(desk, kept, as_json=as_json)


def requests(
    everything: bool = ALL, policies: str = POLICIES, ledger: str = LEDGER, as_json: bool = JSON
) -> None:
    """List the open requests for more budget: who asks for how much of what, when, until when, and why."""
    with open_desk(policies, ledger) as desk:
        kept = [Asked(request, desk.now_ms) for request in desk.ledger.execute(c.ListRequests())]
        found = [one for one in kept if everything or one.is_open]
    if as_json:
        print_json({"ledger": desk.where, "requests": [asked_json(one) for one in found]})
    elif found:
        titles = ("request", "budget", "amount", "for", "asked (UTC)", "by", "state", "why")
        print_rows(titles, [cells(one) for one in found], left=len(titles))
    else:
        note("no request is kept" if everything else "no request is open; --all lists those answered, too")


def approve(
    request: str = REQUEST,
    amount: str | None = LESS,
    reason: str = ANY_REASON,
    actor: str | None = ACTOR,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Grant what was asked for, or less, at once; takes an administrator's rights on the ledger.

    Nobody approves their own: neither under the name nor from the login that asked.
    """
    by, why = person(actor), plain("--reason", reason)
    with open_desk(policies, ledger) as desk:
        asked = _require(desk, request)
        if not asked.is_open:
            raise _refusal("answered" if asked.request.answer else "over", asked, by)
        if by.is_also(asked.request.by):
            raise _refusal("own", asked, by)
        term = balances.require_term(desk, asked.request.identity)
        refuse_unreachable(desk, term, prices)
        granted = asked.request.amount if amount is None else parse_amount(amount, term.unit)
        if granted > asked.request.amount:
            raise usage(
                f"--amount {amount} is more than the {asked.amount} that was asked for: approve that, and "
                "grant the rest with `governor budget grant`"
            )
        before = balances.limits_of(desk, term)
        refuse_above_most(before.limit + granted, term.unit)
        command = c.Approve(
            asked.request, by, why, granted, administration(by.actor, why, desk.policies.hash)
        )
        _closed(desk, desk.ledger.execute(command), by)
        less = "" if granted == asked.request.amount else f" of the {asked.amount} asked for"
        text = f"granted {show_amount(term.unit, granted)}{less}{asked.span}, as {asked.by} asked"
        told = told_of(desk, term, before, command.grant.id, text)
        say(told, f"to take it back: governor budget revoke {command.grant.id}", as_json=as_json)


def deny(
    request: str = REQUEST,
    reason: str = REASON,
    actor: str | None = ACTOR,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Close a request and grant nothing; your own is withdrawn, others' take an administrator's rights."""
    by, why = person(actor), required("--reason", reason)
    with open_desk(policies, ledger) as desk:
        asked = _require(desk, request)
        command = c.Deny(asked.request, by, why, administration(by.actor, why, desk.policies.hash))
        done = _closed(desk, desk.ledger.execute(command), by)
    if as_json:
        print_json(asked_json(done))
    else:
        console().print(
            f"{done.state} the request of {done.by} for {done.amount} more of {done.request.identity}",
            style="green",
            soft_wrap=True,
        )


def _say_asked(desk: Desk, kept: c.BudgetRequest, *, as_json: bool) -> None:
    asked = Asked(kept, desk.now_ms)
    if as_json:
        print_json(asked_json(asked))
        return
    out = console()
    out.print(
        f"{kept.identity}: asked for {asked.amount} more{asked.span}, as {kept.id}",
        style="green",
        soft_wrap=True,
    )
    for line in (
        f"to approve it, as an administrator other than {asked.by}: governor budget approve {kept.id}",
        f"to withdraw it: governor budget deny {kept.id} --reason …",
    ):
        out.print(f"  {line}", soft_wrap=True)


def _require(desk: Desk, identifier: str) -> Asked:
    found = desk.ledger.execute(c.FindRequest(plain("REQUEST", identifier)))
    if found is None:
        raise usage(f"no request has the id {identifier!r}: `governor budget requests --all` lists them")
    return Asked(found, desk.now_ms)


def _closed(desk: Desk, done: c.BudgetRequest | c.NotAnswered, by: c.Person) -> Asked:
    """The request, now that it is answered; else what stood against that."""
    if isinstance(done, c.BudgetRequest):
        return Asked(done, desk.now_ms)
    if done.request is None:
        raise usage("the request is gone meanwhile: `governor budget requests --all` lists those there are")
    raise _refusal(done.why, Asked(done.request, desk.now_ms), by)


def _refusal(why: str, asked: Asked, by: c.Person) -> Failure:
    """Why a request is not answered so, and what to do."""
    identifier, identity = asked.request.id, harmless(asked.request.identity)
    if why == "own":
        return Failure(
            f"{asked.by} asked for {identifier}, and you are {by.actor} ({by.login}): nobody approves their "
            f"own; let another administrator do it, or withdraw it with `governor budget deny {identifier}`",
            code=REFUSED,
        )
    if why == "answered":
        return Failure(f"the request {identifier} was {asked.answered}; nothing was changed")
    if why == "over":
        return Failure(
            f"the request {identifier} was for {identity}{asked.span}: that is over; nothing was granted. "
            f"To grant now, run `governor budget grant {identity} AMOUNT`, or have it asked for again; to "
            f"close this one, `governor budget deny {identifier}`",
            code=REFUSED,
        )
    return Failure(
        f"the request {identifier} was changed while you looked at it, and nothing was done: look again with "
        "`governor budget requests`, and at who may write the ledger"
    )

"""`governor budget grant`, `revoke`, `set`, `freeze` and `unfreeze`: changes that hold at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from governor.cli import balances
from governor.cli.budget import IDENTITY
from governor.cli.completion import identities
from governor.cli.context import JSON, LEDGER, POLICIES, PRICES, flag, open_desk
from governor.cli.output import confirm, console, print_json, usage
from governor.cli.reach import refuse_unreachable
from governor.cli.typed import parse_amount, plain, refuse_above_most, required, span_ms, span_text
from governor.cli.who import actor_of
from governor.ids import new_id
from governor.journal.records import administration
from governor.ledger import commands as c
from governor.story.decision import show as show_amount

if TYPE_CHECKING:
    from governor.cli.balances import Limits
    from governor.cli.context import Desk
    from governor.policy import BudgetTerm
    from governor.story.decision import BudgetView

AMOUNT: Any = typer.Argument(
    ..., help="In the budget's unit: dollars for usd (500 or '$1,500.50'), else a count."
)
LIMIT: Any = typer.Argument(
    ..., metavar="AMOUNT|file", help="The new limit; `file`: what the file says again."
)
GRANT: Any = typer.Argument(
    ..., metavar="GRANT", help="The grant's id, as `budget grant` printed it and `budget show` lists it."
)
IDENTITIES: Any = typer.Argument(
    ...,
    metavar="IDENTITY",
    help="One or more, as `budget list` prints them.",
    autocompletion=identities,
)
REASON: Any = typer.Option(..., "--reason", "-r", help="Why, in one line; kept in the journal.")
ANY_REASON: Any = typer.Option("", "--reason", "-r", help="Why, in one line; kept in the journal.")
ACTOR: Any = typer.Option(None, "--actor", help="Who decided it; default: you, at this host.")
UNTIL: Any = typer.Option(
    None, "--until", help="When it ends by itself: 2026-12-01 (in the budget's time zone) or an ISO instant."
)
FROM: Any = typer.Option(
    None, "--from", help="When it begins: a date or an instant as for --until; default: now."
)
YES: Any = flag("--yes", "-y", help="Do not ask.")


class Told(NamedTuple):
    """What a change did.

    Attributes:
        view: The budget afterwards.
        before: Its limit before; *after*: afterwards.
        operation: The change's id in the journal; `None` where there was nothing to change.
        text: What was done.
    """

    view: BudgetView
    before: Limits
    after: Limits
    operation: str | None
    text: str

    def as_json(self) -> dict[str, Any]:
        """What it did, as JSON; amounts in the budget's unit."""
        return {
            "operation": self.operation,
            "done": self.text,
            "limit_before": self.before.limit,
            "file_limit": self.after.file,
            "override": self.after.override,
            "granted": self.after.granted,
            "budget": balances.as_json(self.view, self.after.frozen_until_ms),
        }


def grant(
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
    """Add to a budget's limit: in its window of this moment, or with --until (and --from) between instants.

    Without --until, what is added to a budget of rolling or life window stays. `budget revoke` takes it back.
    """
    who, why = actor_of(actor), required("--reason", reason)
    with open_desk(policies, ledger) as desk:
        record = administration(who, why, desk.policies.hash)
        term = balances.require_term(desk, identity)
        refuse_unreachable(desk, term, prices)
        added = parse_amount(amount, term.unit)
        if begin is not None and until is None:
            raise usage("--from needs --until: a grant without it is for the window of this moment")
        from_ms, until_ms = span_ms(desk, term, begin, until)
        before = balances.limits_of(desk, term)
        refuse_above_most(before.limit + added, term.unit)
        window = "" if until_ms else balances.window_of(desk, term).id
        command = c.Grant(new_id(), term.identity, window, added, record, from_ms, until_ms)
        done = desk.ledger.execute(command)
        text = f"granted {show_amount(term.unit, added)}"
        if window:
            text += f" for {window} ({show_amount(term.unit, done.limit_added)} in all)"
        told = told_of(desk, term, before, command.id, text + span_text(from_ms, until_ms))
        say(told, f"to take it back: governor budget revoke {command.id}", as_json=as_json)


def revoke(
    grant: str = GRANT,
    reason: str = REASON,
    actor: str | None = ACTOR,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Take a grant back, whole and at once; what was spent stays spent."""
    who, why = actor_of(actor), required("--reason", reason)
    with open_desk(policies, ledger) as desk:
        record = administration(who, why, desk.policies.hash)
        made = _grant_of(desk, grant)
        term = balances.require_term(desk, made.identity)
        before = balances.limits_of(desk, term)
        command, amount = made.taking_back(record), show_amount(term.unit, made.amount)
        if desk.ledger.execute(c.FindGrant(command.id)) is not None:
            told = told_of(desk, term, before, None, f"the grant of {amount} was taken back before")
        else:
            _refuse_if_over(desk, term, made)
            desk.ledger.execute(command)
            told = told_of(desk, term, before, command.id, f"took back the grant of {amount}")
        say(told, as_json=as_json)


def _grant_of(desk: Desk, identifier: str) -> c.Grant:
    made = desk.ledger.execute(c.FindGrant(identifier))
    if made is None:
        raise usage(
            f"no grant has the id {identifier!r}: `governor budget show IDENTITY` lists a budget's changes"
        )
    if made.amount < 0:
        raise usage(f"{identifier} took a grant back itself: grant it again with `governor budget grant`")
    return made


def _refuse_if_over(desk: Desk, term: BudgetTerm, made: c.Grant) -> None:
    ended = made.window and made.window != balances.window_of(desk, term).id
    if ended or 0 < made.until_ms <= desk.now_ms:
        span = made.window or span_text(0, made.until_ms).strip()
        raise usage(f"the grant {made.id} was for {term.identity} {span}: it is over, and adds nothing now")


def set_limit(
    identity: str = IDENTITY,
    amount: str = LIMIT,
    reason: str = REASON,
    begin: str | None = FROM,
    until: str | None = UNTIL,
    actor: str | None = ACTOR,
    yes: bool = YES,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Put a limit in place of the file's, in this window and all that follow; the last one holds.

    What is granted is added to it, as it was to the file's.
    """
    who, why = actor_of(actor), required("--reason", reason)
    with open_desk(policies, ledger) as desk:
        record = administration(who, why, desk.policies.hash)
        term = balances.require_term(desk, identity)
        limit = None if amount == "file" else parse_amount(amount, term.unit)
        if limit is None and (begin is not None or until is not None):
            raise usage("`set … file` takes every override away for good: leave --from and --until out")
        if limit is not None:
            refuse_unreachable(desk, term, prices)
        from_ms, until_ms = span_ms(desk, term, begin, until)
        before = balances.limits_of(desk, term)
        after = before._replace(override=limit)
        refuse_above_most(after.limit, term.unit)
        shown = show_amount(term.unit, term.limit if limit is None else limit)
        new = ("the file's " if limit is None else "") + shown + span_text(from_ms, until_ms)
        then = "then" if from_ms else "it"
        confirm(f"Set {term.identity} to {new}? Its limit is {before}; {then} will be {after}.", yes=yes)
        command = c.SetLimit(new_id(), term.identity, limit, until_ms, record, from_ms)
        desk.ledger.execute(command)
        say(told_of(desk, term, before, command.id, f"set to {new}"), as_json=as_json)


def freeze(
    identity: str = IDENTITY,
    reason: str = REASON,
    until: str | None = UNTIL,
    actor: str | None = ACTOR,
    yes: bool = YES,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Refuse whatever touches a budget, until it is unfrozen."""
    said, who = required("--reason", reason), actor_of(actor)
    with open_desk(policies, ledger) as desk:
        term = balances.require_term(desk, identity)
        refuse_unreachable(desk, term, prices)
        _, until_ms = span_ms(desk, term, None, until)
        confirm(f"Freeze {term.identity}? Every request that touches it will be refused.", yes=yes)
        before = balances.limits_of(desk, term)
        done = freeze_term(desk, term, who, said, until_ms)
        say(told_of(desk, term, before, done, f"frozen{span_text(0, until_ms)}"), as_json=as_json)


def freeze_term(desk: Desk, term: BudgetTerm, who: str, why: str, until_ms: int = 0) -> str:
    """Freeze a budget, until it is unfrozen where *until_ms* is 0; the change's id in the journal.

    Raises:
        LedgerUnavailable: The ledger is away, or this user has no right to it.
    """
    record = administration(who, why, desk.policies.hash)
    command = c.Freeze(new_id(), term.identity, why, until_ms, record)
    desk.ledger.execute(command)
    return command.id


def unfreeze(
    identities: list[str] = IDENTITIES,
    reason: str = ANY_REASON,
    actor: str | None = ACTOR,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """End the freeze of one or more budgets; none of them, if one is no budget."""
    who, why = actor_of(actor), plain("--reason", reason)
    with open_desk(policies, ledger) as desk:
        terms = {term.identity: term for term in (balances.require_term(desk, one) for one in identities)}
        told = [_unfrozen(desk, term, who, why) for term in terms.values()]
    if as_json:
        print_json({"changes": [one.as_json() for one in told]})
        return
    for one in told:
        say(one, as_json=False)


def _unfrozen(desk: Desk, term: BudgetTerm, who: str, why: str) -> Told:
    before = balances.limits_of(desk, term)
    done = unfreeze_term(desk, term, who, why)
    text = "was not frozen: nothing was changed" if done is None else "unfrozen"
    return told_of(desk, term, before, done, text)


def unfreeze_term(desk: Desk, term: BudgetTerm, who: str, why: str) -> str | None:
    """End the freeze of a budget; the change's id in the journal, `None` where it was not frozen.

    Raises:
        LedgerUnavailable: The ledger is away, or this user has no right to it.
    """
    if balances.view_of(desk, term).frozen is None:
        return None
    command = c.Unfreeze(new_id(), term.identity, administration(who, why, desk.policies.hash))
    desk.ledger.execute(command)
    return command.id


def told_of(desk: Desk, term: BudgetTerm, before: Limits, operation: str | None, text: str) -> Told:
    """What a change did, read from the ledger after it.

    Args:
        desk: What the command works on.
        term: The budget.
        before: Its limit before.
        operation: The change's id; `None` where nothing was changed.
        text: What was done.
    """
    return Told(balances.view_of(desk, term), before, balances.limits_of(desk, term), operation, text)


def say(told: Told, *more: str, as_json: bool) -> None:
    """Print what a change did, and *more* lines for people."""
    if as_json:
        print_json(told.as_json())
        return
    view, out = told.view, console()
    was = f"{show_amount(view.unit, told.before.limit)} → " if told.before.limit != told.after.limit else ""
    out.print(f"{view.identity}: {told.text}", style="green", soft_wrap=True)
    out.print(
        f"  limit {was}{told.after}, {show_amount(view.unit, view.posted)} spent, "
        f"{show_amount(view.unit, view.available)} available",
        soft_wrap=True,
    )
    for line in more:
        out.print(f"  {line}", soft_wrap=True)

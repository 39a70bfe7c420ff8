"""`governor budget grant`, `set`, `freeze` and `unfreeze`: changes that hold at once, in every process."""

from __future__ import annotations

import getpass
import re
import socket
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import typer

from governor.budgets import Unit
from governor.cli import balances
from governor.cli.budget import IDENTITY
from governor.cli.context import JSON, LEDGER, POLICIES, Desk, flag, open_desk
from governor.cli.output import budget_json, console, print_json, usage, when
from governor.ids import new_id
from governor.journal.records import administration
from governor.ledger import commands as c
from governor.money import MAX_NANOS, Money
from governor.story.decision import BudgetView, instant
from governor.story.decision import show as show_amount

if TYPE_CHECKING:
    from governor.policy import BudgetTerm

AMOUNT: Any = typer.Argument(
    ..., help="In the budget's unit: dollars for usd (500 or '$1,500.50'), else a count."
)
LIMIT: Any = typer.Argument(
    ..., metavar="AMOUNT|file", help="The new limit; `file`: what the file says again."
)
REASON: Any = typer.Option(..., "--reason", "-r", help="Why; kept in the journal.")
ACTOR: Any = typer.Option(None, "--actor", help="Who decided it; default: you, at this host.")
UNTIL: Any = typer.Option(
    None, "--until", help="When it ends by itself: 2026-12-01 (in the budget's time zone) or an ISO instant."
)
FROM: Any = typer.Option(
    None, "--from", help="When it begins: a date or an instant as for --until; default: now."
)
YES: Any = flag("--yes", "-y", help="Do not ask.")

LAST_YEAR = 9000
"""Later instants cannot be shown in every time zone."""

_COUNT = re.compile(r"[0-9]{1,3}(,[0-9]{3})+|[0-9]+")
_DOLLARS = re.compile(rf"\$?({_COUNT.pattern})(\.[0-9]+)?")


def grant(
    identity: str = IDENTITY,
    amount: str = AMOUNT,
    reason: str = REASON,
    begin: str | None = FROM,
    until: str | None = UNTIL,
    actor: str | None = ACTOR,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Add to a budget's limit: in its window of this moment, or with --until (and --from) between instants.

    Without --until, what is added to a budget of rolling or life window stays.
    """
    said, who = _reason(reason), actor_of(actor)
    with open_desk(policies, ledger) as desk:
        term = balances.require_term(desk, identity)
        added = parse_amount(amount, term.unit)
        if begin is not None and until is None:
            raise usage("--from needs --until: a grant without it is for the window of this moment")
        from_ms, until_ms = _span_ms(desk, term, begin, until)
        _refuse_above_most(balances.view_of(desk, term).limit + added, term.unit)
        window = "" if until_ms else balances.window_of(desk, term).id
        record = administration(who, said)
        command = c.Grant(new_id(), term.identity, window, added, record, from_ms, until_ms)
        done = desk.ledger.execute(command)
        text = f"granted {show_amount(term.unit, added)}"
        if window:
            text += f" for {window} ({show_amount(term.unit, done.limit_added)} in all)"
        _tell(desk, term, command.id, text + _span(from_ms, until_ms), as_json=as_json)


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
    as_json: bool = JSON,
) -> None:
    """Put a limit in place of the file's, in this window and all that follow; the last one holds."""
    said, who = _reason(reason), actor_of(actor)
    with open_desk(policies, ledger) as desk:
        term = balances.require_term(desk, identity)
        limit = None if amount == "file" else parse_amount(amount, term.unit)
        if limit is None and (begin is not None or until is not None):
            raise usage("`set … file` takes every override away for good: leave --from and --until out")
        from_ms, until_ms = _span_ms(desk, term, begin, until)
        granted = balances.limits_of(desk, term).granted
        _refuse_above_most((term.limit if limit is None else limit) + granted, term.unit)
        new = (
            f"the file's {show_amount(term.unit, term.limit)}"
            if limit is None
            else show_amount(term.unit, limit)
        )
        now = show_amount(term.unit, balances.view_of(desk, term).limit)
        _confirm(f"Set {term.identity} to {new}? It is {now} now.", yes=yes)
        command = c.SetLimit(new_id(), term.identity, limit, until_ms, administration(who, said), from_ms)
        desk.ledger.execute(command)
        _tell(desk, term, command.id, f"set to {new}{_span(from_ms, until_ms)}", as_json=as_json)


def freeze(
    identity: str = IDENTITY,
    reason: str = REASON,
    until: str | None = UNTIL,
    actor: str | None = ACTOR,
    yes: bool = YES,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Refuse whatever touches a budget, until it is unfrozen."""
    said, who = _reason(reason), actor_of(actor)
    with open_desk(policies, ledger) as desk:
        term = balances.require_term(desk, identity)
        _, until_ms = _span_ms(desk, term, None, until)
        _confirm(f"Freeze {term.identity}? Every request that touches it will be refused.", yes=yes)
        command = c.Freeze(new_id(), term.identity, said, until_ms, administration(who, said))
        desk.ledger.execute(command)
        _tell(desk, term, command.id, f"frozen{_span(0, until_ms)}", as_json=as_json)


def unfreeze(
    identity: str = IDENTITY,
    reason: str = typer.Option("", "--reason", "-r", help="Why; kept in the journal."),
    actor: str | None = ACTOR,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """End a freeze."""
    with open_desk(policies, ledger) as desk:
        term = balances.require_term(desk, identity)
        frozen = balances.view_of(desk, term).frozen is not None
        command = c.Unfreeze(new_id(), term.identity, administration(actor_of(actor), reason))
        desk.ledger.execute(command)
        _tell(desk, term, command.id, "unfrozen" if frozen else "was not frozen", as_json=as_json)


def parse_amount(text: str, unit: Unit) -> int:
    """An amount as it is typed: nano-dollars for usd, else a count; above 0.

    Raises:
        Failure: It is no such amount, or larger than the ledger can count.
    """
    digits = text.strip()
    pattern = _DOLLARS if unit is Unit.USD else _COUNT
    if not pattern.fullmatch(digits):
        example = "500 or '$1,500.50'" if unit is Unit.USD else f"1000 ({unit.value})"
        raise usage(f"{text!r} is not an amount of this budget: write for example {example}")
    plain = digits.removeprefix("$").replace(",", "")
    try:
        amount = Money.from_dollars(plain).nanos if unit is Unit.USD else int(plain)
    except ValueError as error:
        raise usage(str(error)) from None
    if amount == 0:
        raise usage(f"{text!r} is nothing: an amount must be above 0 (to stop a budget, freeze it)")
    _refuse_above_most(amount, unit)
    return amount


def _refuse_above_most(limit: int, unit: Unit) -> None:
    if limit > MAX_NANOS:
        raise usage(
            f"the limit would be {show_amount(unit, limit)}: "
            f"the ledger counts to {show_amount(unit, MAX_NANOS)} at most"
        )


def _reason(text: str) -> str:
    if not text.strip():
        raise usage("--reason is empty: say why, for whoever reads the journal")
    return text.strip()


def actor_of(given: str | None) -> str:
    """Who decides: as given, else this user at this host."""
    if given:
        return given
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _span_ms(desk: Desk, term: BudgetTerm, begin: str | None, until: str | None) -> tuple[int, int]:
    """When a change begins and ends, Unix milliseconds; 0: now, and never."""
    from_ms = 0 if begin is None else _instant_ms(term, "--from", begin)
    until_ms = 0 if until is None else _instant_ms(term, "--until", until)
    if until_ms and until_ms <= desk.now_ms:
        raise usage(f"--until {until} is over already: it is {when(instant(desk.now_ms))} UTC")
    if until_ms and until_ms <= from_ms:
        raise usage(f"--until {until} is not after --from {begin}")
    return (from_ms if from_ms > desk.now_ms else 0), until_ms


def _instant_ms(term: BudgetTerm, option: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise usage(f"{option} {text!r} is no ISO date: write for example 2026-12-01") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(term.timezone))
    if moment.year > LAST_YEAR:
        raise usage(f"{option} {text} is too far away: leave --until out for a change without an end")
    return int(moment.timestamp() * 1000)


def _span(from_ms: int, until_ms: int) -> str:
    begins = f" from {when(instant(from_ms))} UTC" if from_ms else ""
    return begins + (f" until {when(instant(until_ms))} UTC" if until_ms else "")


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True, err=True)


def _tell(desk: Desk, term: BudgetTerm, operation: str, text: str, *, as_json: bool) -> None:
    view: BudgetView = balances.view_of(desk, term)
    if as_json:
        print_json({"operation": operation, "done": text, "budget": budget_json(view)})
        return
    out = console()
    out.print(f"{term.identity}: {text}", style="green", soft_wrap=True)
    out.print(
        f"  limit now {show_amount(view.unit, view.limit)}, {show_amount(view.unit, view.posted)} spent, "
        f"{show_amount(view.unit, view.available)} available",
        soft_wrap=True,
    )

"""What an auditor reads off a command: what makes it the same one again, and what its expiry would post."""

from __future__ import annotations

from governor.budgets import Unit
from governor.ledger import commands as c


def charge_of(command: c.Reserve, row: c.BudgetRow, ask: c.Ask) -> int:
    """What the expiry of a hold posts."""
    charged = row.unit is Unit.REQUESTS or (command.charge_on_expiry and row.unit is not Unit.CONCURRENT)
    return ask.amount if charged else 0


def asked(command: c.Reserve) -> object:
    """What makes a reserve the same one again: all but how it is recorded."""
    budgets = [(b.identity, b.window, b.unit, b.limit, b.steps) for b in command.budgets]
    return budgets, command.candidates, command.ttl_ms, command.charge_on_expiry, command.call


def ending(command: c.Settle | c.Release) -> object:
    """What makes the end of a hold the same one again."""
    return type(command), [(p.budget.identity, p.budget.window, p.amount) for p in command.postings]


def operation(command: c.Change) -> tuple[object, ...]:
    """What makes an administrator's change the same one again."""
    match command:
        case c.Grant():
            instants = command.from_ms, command.until_ms
            return "grant", command.identity, command.window, command.amount, instants
        case c.SetLimit():
            return "set", command.identity, command.limit, command.from_ms, command.until_ms
        case c.Freeze():
            return "freeze", command.identity, command.until_ms, command.why
        case _:
            return "unfreeze", command.identity

"""Reserves whose records say what they ask for, as the governor's own do: what a replay reads."""

from __future__ import annotations

import json
from dataclasses import replace

from governor.ledger import commands as c


def told(command: c.Reserve) -> c.Reserve:
    """*command* with a record that names its budgets and asks."""
    budgets = [
        {"identity": b.identity, "window": b.window, "end_ms": b.end_ms, "limit": b.limit}
        | ({"bucket_ms": b.bucket_ms} if b.bucket_ms else {})
        for b in command.budgets
    ]
    asks = [
        [
            ask and [ask.amount, ask.mark_bp, ask.floor, int(ask.comes_back), ask.share_bp, int(ask.enforced)]
            for ask in row
        ]
        for row in command.candidates
    ]
    return replace(command, record=json.dumps({"budgets": budgets, "asks": asks}))


def reserve(identifier: str, *wants: tuple[c.BudgetRow, int], ttl_ms: int = 60_000) -> c.Reserve:
    """Ask for these amounts of these budgets."""
    asks = tuple(c.Ask(amount) for _, amount in wants)
    return told(c.Reserve(identifier, tuple(budget for budget, _ in wants), (asks,), ttl_ms))


def settle(identifier: str, *spent: tuple[c.BudgetRow, int]) -> c.Settle:
    """Post these amounts to these budgets."""
    return c.Settle(identifier, tuple(c.Posting(budget, amount) for budget, amount in spent))

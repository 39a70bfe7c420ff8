"""One organisation on a server, spoken to in the ledger's own scripts; two budgets and the usual commands."""

from __future__ import annotations

from typing import Any

import redis

from governor.budgets import Unit
from governor.ledger import commands as c
from governor.ledger.dialogue import converse
from governor.ledger.keys import Keys
from governor.ledger.talk import ScriptCall
from support.redis_server import HOST

NOW_MS = 1_795_262_430_000
END_MS = NOW_MS + 3_600_000
DAY_MS = 24 * 3600 * 1000
LATER_MS = NOW_MS + 60_000

TEAM = c.BudgetRow("department=eng/usd/month", "2026-11", 0, END_MS, Unit.USD, 1000, (5_000, 8_000))
REVIEW = c.BudgetRow("feature=review/usd/life", "life", 0, 0, Unit.USD, 100)
DUE = c.DueHold("dead", ((TEAM.identity, TEAM.window), (REVIEW.identity, REVIEW.window)))


def reserve(name: str, amount: int = 10, ttl_ms: int = 60_000) -> c.Reserve:
    """Hold *amount* of both budgets."""
    return c.Reserve(name, (TEAM, REVIEW), ((c.Ask(amount), c.Ask(amount)),), ttl_ms)


def settle(name: str, amount: int = 5) -> c.Settle:
    """Spend *amount* of both budgets."""
    return c.Settle(name, (c.Posting(TEAM, amount), c.Posting(REVIEW, amount)))


class Server:
    """One organisation on a server, spoken to in scripts."""

    def __init__(self, port: int, org: str) -> None:
        self.client = redis.Redis(HOST, port, decode_responses=True, protocol=2)
        self.port = port
        self.keys = Keys(org)

    def call(self, command: c.Command[Any], now: str = str(NOW_MS)) -> ScriptCall:
        """What is sent for *command*."""
        call = next(converse(command, self.keys, now))
        assert isinstance(call, ScriptCall)
        return call

    def run(self, command: c.Command[Any], now: str = str(NOW_MS), client: Any = None) -> list[Any]:
        """The script's own reply."""
        call = self.call(command, now)
        return (client or self.client).eval(call.script.text, len(call.keys), *call.keys, *call.args)

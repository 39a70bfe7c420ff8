"""A ledger that will be lost, its archive, and the stores that come after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from contract.test_ledger_contract import STORES, Place

from governor.journal import rebuild
from governor.journal.archive import Archive, open_archive
from governor.journal.archiving import copy_new
from governor.ledger import commands as c
from governor.ledger import recovery as r
from governor.testing.ledger_contract import Bench, SettableClock
from governor.testing.ledger_contract.bench import START_MS
from support.told import reserve, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from governor.ledger import Ledger

TEAM = "department=legal/usd/month"
DAY = "department=legal/user=ada/usd/day"
REQUESTS = "user=ada/requests/day"
FLYING = "user=ada/concurrent/life"
MINUTE_MS = 60_000
UNTIL_MS = START_MS + 90 * MINUTE_MS


@dataclass
class Loss:
    """A ledger that will be lost, its archive, and the empty stores that come after it."""

    bench: Bench
    archive: Archive
    next_store: Callable[[], Ledger]

    def budgets(self) -> list[c.BudgetRow]:
        limits = {TEAM: 1000, DAY: 500, REQUESTS: 100, FLYING: 50}
        return [self.bench.budget(name, limit, steps=(5_000,)) for name, limit in limits.items()]

    def say(self, *commands: c.Command[Any]) -> list[Any]:
        return [self.bench.ledger.execute(command) for command in commands]

    def keep(self) -> None:
        """Archive what there is."""
        copy_new(self.bench.ledger, self.archive, lambda *_: None)

    def plan(self, lost_ms: int | None = None) -> rebuild.Plan:
        now_ms = self.bench.clock.now_ms
        return rebuild.plan(self.archive, now_ms, lost_ms or now_ms, lambda _: None)

    def rebuild(self, store: Ledger, *, epoch: str = "epoch-2", freeze: bool = False) -> r.Begun:
        return rebuild.carry_out(
            store, self.plan(), epoch, {"actor": "t"}, freeze=freeze, tell=lambda _: None
        )


@pytest.fixture(params=["sqlite", "fakeredis", "redis", "cluster"])
def loss(request, tmp_path, org) -> Iterator[Loss]:
    """A ledger with some calls that ended, one that expired, one that is open, and changes."""
    clock, made = SettableClock(), []

    def next_store() -> Ledger:
        folder = tmp_path / f"store-{len(made)}"
        folder.mkdir()
        made.append(STORES[request.param](Place(request, clock, folder, f"{org}-{len(made)}"), create=False))
        return made[-1]

    ledger = next_store()
    ledger.execute(c.Create("epoch-1"))
    archive = open_archive(f"{tmp_path}/journal.jsonl", org)
    found = Loss(Bench(ledger, clock), archive, next_store)
    team, day, requests, flying = found.budgets()
    found.say(
        reserve("paid", (team, 600), (day, 100), (requests, 1), (flying, 1)),
        settle("paid", (team, 580), (day, 80), (requests, 1), (flying, 0)),
        settle("never-reserved", (team, 7)),
        reserve("dead", (team, 20)),
        c.Grant("g", TEAM, team.window, 40),
        c.SetLimit("l", DAY, 300, UNTIL_MS),
    )
    clock.advance(2 * MINUTE_MS)
    found.say(
        c.Expire((c.DueHold("dead", ((team.identity, team.window),)),)),
        reserve("open", (team, 50), (day, 50), (requests, 1), (flying, 1)),
        c.Freeze("f", REQUESTS, "audit: 2", UNTIL_MS),
    )
    yield found
    archive.close()
    for one in made:
        one.close()


def amounts(ledger: Ledger, rows: list[c.BudgetRow]) -> list[tuple[int, int, int, str | None]]:
    found = ledger.execute(c.Read(tuple(rows))).balances
    return [(b.posted, b.held, b.limit, b.frozen) for b in found]

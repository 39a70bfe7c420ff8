"""When each store forgets the holds of a batch, and when those of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.ledger import commands as c
from governor.ledger.keys import Keys
from governor.ledger.redis import RedisLedger
from governor.ledger.servers import connect
from governor.ledger.sqlite import SqliteLedger
from governor.testing.ledger_contract import Bench, SettableClock

if TYPE_CHECKING:
    from pathlib import Path

    from support.redis_server import RedisServer

TEAM = "department=team/usd/month"
NAMES = (f"{c.BATCH}made.item", "call")
DAY_MS = 24 * 3600 * 1000


def _ended(bench: Bench) -> None:
    team = bench.budget(TEAM, 1000)
    for name in NAMES:
        bench.spend(name, team, 10)


def _states(bench: Bench) -> list[str | None]:
    """How each hold has ended; `None`: it is forgotten."""
    return [hold and hold.state for hold in bench.ledger.execute(c.FindHolds(NAMES))]


def test_sqlite_forgets_a_call_after_a_week_and_an_item_of_a_batch_after_a_month(tmp_path: Path) -> None:
    """Closed holds go with later ones' ends: a call's after 7 days, a batch's after 30."""
    clock = SettableClock()
    ledger = SqliteLedger(tmp_path / "governor.db", "acme", clock=clock)
    bench = Bench(ledger, clock)
    _ended(bench)
    seen = []
    for day in range(1, 32):
        clock.advance(DAY_MS)
        bench.spend(f"other-{day}", bench.budget(TEAM, 1000), 0)
        seen.append(_states(bench))
    ledger.close()
    assert seen[5] == ["settled", "settled"]
    assert seen[8] == ["settled", None]
    assert seen[28] == ["settled", None]
    assert seen[30] == [None, None]


def test_redis_lets_the_keys_of_both_expire_then(redis_server: RedisServer, org: str) -> None:
    """The key of a closed hold lives 7 days, that of a batch's item 30."""
    clock = SettableClock()
    client = connect(redis_server.url)
    keys = Keys(org)
    ledger = RedisLedger(client, keys, "the test's Redis", clock=clock, create=True)
    _ended(Bench(ledger, clock))
    left = [client.pttl(keys.hold(name)) for name in NAMES]
    ledger.close()
    assert [round(ms / DAY_MS) for ms in left] == [30, 7]

"""The results of a batch, read while the ledger is away."""

from __future__ import annotations

from support.batched import batched, held, item, policy, settled_once
from support.outages import come_back


def test_a_ledger_that_is_away_is_not_asked_for_every_line(outage, caplog):
    """The first line finds it away, and those after it do not wait for it; all is settled later."""
    one = batched(outage, policy())
    batch = one.create([item(f"i{index}") for index in range(50)])
    one.ask("retrieve", batch.id)
    outage.redis.kill()
    assert len(one.results(batch.id)) == 50
    come_back(outage)
    told = [record for record in caplog.records if "is still held" in record.getMessage()]
    assert 0 < len(told) < 50
    assert len(held(outage)) == 50
    assert one.drain().settled == 50
    settled_once(outage)

"""What was entered and ordered comes back with a rebuilt ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.losses import UNTIL_MS, amounts, loss

from governor.budgets import Unit
from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger.entering import ENTERED_KEPT_MS

__all__ = ["loss"]


def test_what_was_entered_is_known_by_its_id_after_a_rebuild(loss):
    """Told again it is not new, under its id nothing else is taken; after 7 days nobody knows it."""
    won, again = c.Enter("o1", "outcome", "won", '{"value":"1"}'), c.Enter("o1", "outcome", "won", "{}")
    loss.say(won, c.Enter("o2", "alert", "budget", "{}"))
    before = amounts(loss.bench.ledger, loss.budgets())
    loss.keep()
    assert not loss.plan().replay.strange
    new = loss.next_store()
    loss.rebuild(new)
    assert [row[0] for row in amounts(new, loss.budgets())] == [before[0][0] + 50, 130, 2, 0]
    assert new.execute(won) is False
    with pytest.raises(ReservationConflict, match="'o1' was used before"):
        new.execute(again)
    loss.bench.clock.advance(ENTERED_KEPT_MS)
    assert new.execute(again) is True


def test_orders_are_in_force_after_a_rebuild(loss):
    """Those neither over nor lifted, with what they freeze; whoever had heard of them is told anew."""
    clock = loss.bench.clock
    usual = c.Order("o1", "freeze_run", (("run", "pr-7"),), "", UNTIL_MS, "a loop; 100 %", "ops", "alert-1")
    loss.say(
        c.PlaceOrder(usual),
        c.PlaceOrder(replace(usual, id="o2", kind="tighten", setting="economy")),
        c.PlaceOrder(replace(usual, id="o3", kind="tighten", setting="standard")),
        c.PlaceOrder(replace(usual, id="o4", until_ms=clock.now_ms + 1)),
        c.LiftOrder("o2"),
    )
    clock.advance(1)
    before = loss.bench.ledger.execute(c.ListOrders())
    loss.keep()
    new = loss.next_store()
    loss.rebuild(new)
    after = new.execute(c.ListOrders())
    assert [one.id for one in after.orders] == ["o1", "o3"]
    assert after.orders == before.orders
    assert after.version not in ("", before.version)
    row = c.BudgetRow(usual.frozen, "life", 0, 0, Unit.REQUESTS, 10)
    (balance,) = new.execute(c.Read((row,))).balances
    assert balance.frozen == usual.why
    new.execute(c.PlaceOrder(usual))
    new.execute(c.LiftOrder("o2"))
    assert new.execute(c.ListOrders()) == after
    assert new.execute(c.LiftOrder("o1")) is not None
    assert new.execute(c.Read((row,))).balances[0].frozen is None

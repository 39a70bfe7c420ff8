"""Contract: standing orders bind every request that is held after them, and end by themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from governor.budgets import Unit
from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger.orders import MOST_ORDERS

if TYPE_CHECKING:
    from governor.testing.ledger_contract.bench import Bench

TEAM = "department=engineering/usd/month"
HOUR_MS = 3_600_000
TEXT = "two words; 100 % — naïve, reason=x\nand a line"


def order(bench: Bench, name: str = "o1", kind: str = "tighten", **more: Any) -> c.Order:
    """An order of one hour that concerns the user ada, unless *more* says otherwise."""
    subject = (("run", "pr-7"),) if kind == "freeze_run" else (("user", "ada@example.com"),)
    usual = c.Order(name, kind, subject, "economy", bench.clock.now_ms + HOUR_MS, "too dear", "ops@host", "k")
    return replace(usual, **more)


def place(bench: Bench, given: c.Order) -> c.Order:
    """Give it; as it is kept."""
    assert bench.ledger.execute(c.PlaceOrder(given, '{"why":1}')) == c.Administered(bench.clock.now_ms)
    return replace(given, at_ms=bench.clock.now_ms)


def ask(bench: Bench, name: str, heard: str | None) -> c.Held | c.Refused | c.WindowMoved | c.Reordered:
    """Hold one of the team's budget, planned by the orders of that version."""
    asks = ((c.Ask(1),),)
    return bench.ledger.execute(c.Reserve(name, (bench.budget(TEAM, 100),), asks, 60_000, heard=heard))


def frozen(bench: Bench, given: c.Order) -> str | None:
    """Why the budget of an order is frozen, or `None`."""
    return bench.balance(c.BudgetRow(given.frozen, "life", 0, 0, Unit.REQUESTS, 10)).frozen


class OrdersContract:
    """Who has not heard of the newest orders is told them, and nothing is decided."""

    def test_without_orders_nothing_is_told(self, bench: Bench) -> None:
        """A request of a process that has heard of none is held."""
        assert isinstance(ask(bench, "r1", ""), c.Held)
        assert bench.ledger.execute(c.ListOrders()) == c.Reordered("", (), bench.clock.now_ms)

    def test_a_request_planned_by_other_orders_is_answered_with_the_newest(self, bench: Bench) -> None:
        """It holds nothing and is not journalled; asked again by them it is held, and known if repeated."""
        kept = place(bench, order(bench, reason=TEXT, actor="a=b c;d"))
        told = ask(bench, "r1", "")
        assert isinstance(told, c.Reordered)
        assert (told.orders, told.now_ms) == ((kept,), bench.clock.now_ms)
        assert bench.balance(bench.budget(TEAM, 100)).held == 0
        assert bench.ledger.execute(c.ReadJournal("r1")) == ()
        assert isinstance(ask(bench, "r1", told.version), c.Held)
        assert isinstance(ask(bench, "r1", ""), c.Held)  # a repetition, whose answer was lost
        assert isinstance(ask(bench, "r2", None), c.Held)  # of what orders do not concern

    def test_an_order_is_over_at_its_end(self, bench: Bench) -> None:
        """In force in its last millisecond, and not told any more from the next on."""
        kept = place(bench, order(bench))
        bench.clock.now_ms = kept.until_ms - 1
        assert bench.ledger.execute(c.ListOrders()).orders == (kept,)
        bench.clock.advance(1)
        assert bench.ledger.execute(c.ListOrders()).orders == ()

    def test_an_order_is_given_once_by_its_id(self, bench: Bench) -> None:
        """Again it is as it was, and does not come back once it was lifted; another one is refused."""
        given = order(bench)
        kept = place(bench, given)
        bench.clock.advance(5)
        bench.ledger.execute(c.PlaceOrder(given))
        version = bench.ledger.execute(c.ListOrders())
        assert version.orders == (kept,)
        with pytest.raises(ReservationConflict, match="'o1' was used before"):
            bench.ledger.execute(c.PlaceOrder(replace(given, setting="standard")))
        assert bench.ledger.execute(c.LiftOrder("o1")) is not None
        bench.ledger.execute(c.PlaceOrder(given))
        assert bench.ledger.execute(c.ListOrders()).orders == ()

    def test_an_order_is_lifted_before_its_time(self, bench: Bench) -> None:
        """Everybody is told, the others stay; lifted again nothing changes; of an unknown one it is said."""
        first, second = order(bench), order(bench, "o2", "open_breaker", subject=(("line", "opus"),))
        place(bench, first)
        kept = place(bench, second)
        before = bench.ledger.execute(c.ListOrders())
        assert bench.ledger.execute(c.LiftOrder("o1")) == c.Administered(bench.clock.now_ms)
        after = ask(bench, "r1", before.version)
        assert isinstance(after, c.Reordered)
        assert after.orders == (kept,)
        assert bench.ledger.execute(c.LiftOrder("o1")) == c.Administered(bench.clock.now_ms)
        assert bench.ledger.execute(c.ListOrders()).version == after.version
        assert bench.ledger.execute(c.LiftOrder("nobody")) is None

    def test_each_is_journalled_with_what_it_says(self, bench: Bench) -> None:
        """Kind `response`, its id, what it does; and what ended it before its time."""
        kept = place(bench, order(bench))
        bench.ledger.execute(c.LiftOrder("o1", '{"by":2}'))
        told = bench.ledger.execute(c.ReadJournal())[1:]
        assert [(one.kind, one.id, one.outcome, one.detail, one.record) for one in told] == [
            ("response", "o1", "tighten", kept.said, '{"why":1}'),
            ("response", "lift-o1", "lifted", "order=o1", '{"by":2}'),
        ]

    def test_a_run_is_frozen_in_the_step_that_orders_it(self, bench: Bench) -> None:
        """Its own budget is, and says why and how that is undone; it is free at the end, or when lifted."""
        kept = place(bench, order(bench, "o1", "freeze_run", setting="", reason=TEXT))
        assert kept.frozen == "order/run=pr-7/requests/life"
        assert frozen(bench, kept) == kept.why
        assert TEXT in kept.why
        assert "governor responses undo o1" in kept.why
        bench.clock.now_ms = kept.until_ms
        assert frozen(bench, kept) is None
        other = place(bench, order(bench, "o2", "freeze_run", setting=""))
        bench.ledger.execute(c.LiftOrder("o2"))
        assert frozen(bench, other) is None

    def test_a_run_frozen_twice_is_frozen_until_the_later_end(self, bench: Bench) -> None:
        """Whichever came first, and whichever of them is lifted, the other one goes on."""
        first = place(bench, order(bench, "o1", "freeze_run", setting=""))
        second = place(bench, order(bench, "o2", "freeze_run", setting="", until_ms=first.until_ms - 1000))
        assert frozen(bench, first) == first.why
        bench.ledger.execute(c.LiftOrder("o1"))
        assert frozen(bench, first) == second.why
        bench.clock.now_ms = second.until_ms
        assert frozen(bench, first) is None

    def test_so_many_orders_are_taken_and_no_more(self, bench: Bench) -> None:
        """Beyond them one is refused, until one is over or was lifted; one that is known is not."""
        for number in range(MOST_ORDERS):
            bench.ledger.execute(c.PlaceOrder(order(bench, f"o{number}")))
        more = order(bench, "more")
        assert bench.ledger.execute(c.PlaceOrder(more)) == c.TooManyOrders(MOST_ORDERS)
        assert isinstance(bench.ledger.execute(c.PlaceOrder(order(bench, "o3"))), c.Administered)
        bench.ledger.execute(c.LiftOrder("o3"))
        place(bench, more)
        assert len(bench.ledger.execute(c.ListOrders()).orders) == MOST_ORDERS

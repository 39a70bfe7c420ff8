"""Contract: what becomes of a hold whose process died, and of one that settles after all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.ledger import commands as c
from governor.testing.ledger_contract.bench import TTL_MS, due_hold

if TYPE_CHECKING:
    from governor.testing.ledger_contract.bench import Bench

TEAM = "department=engineering/usd/month"
UNITS = ("usd/day", "tokens/day", "requests/day", "concurrent/life")


class ExpiryContract:
    """Expire, extend, and the holds that replies name."""

    def test_an_expired_hold_is_charged(self, bench: Bench) -> None:
        """The call may have been served, so money, tokens and requests are posted; concurrency is freed."""
        budgets = tuple(bench.budget(f"user=ada/{unit}", 1000) for unit in UNITS)
        bench.reserve("r1", *((budget, 10) for budget in budgets))
        bench.clock.advance(TTL_MS)
        assert bench.expire(("r1", budgets)) == c.Expired(("r1",), ())
        assert bench.amounts(*budgets) == [(10, 0), (10, 0), (10, 0), (0, 0)]
        assert bench.ledger.execute(c.ListHolds()) == ()

    def test_an_expired_hold_may_be_given_back(self, bench: Bench) -> None:
        """Where the policy says so, expiry is a release: only requests stay counted."""
        budgets = tuple(bench.budget(f"user=ada/{unit}", 1000) for unit in UNITS)
        bench.reserve("r1", *((budget, 10) for budget in budgets), charge_on_expiry=False)
        bench.clock.advance(TTL_MS)
        bench.expire(("r1", budgets))
        assert bench.amounts(*budgets) == [(0, 0), (0, 0), (10, 0), (0, 0)]

    def test_an_expiry_happens_once(self, bench: Bench) -> None:
        """A hold sent to expire again, or twice in one command, is charged once."""
        team = bench.budget(TEAM, 1000)
        bench.reserve("r1", (team, 10))
        bench.clock.advance(TTL_MS)
        assert bench.expire(("r1", (team,)), ("r1", (team,))).ids == ("r1",)
        assert bench.expire(("r1", (team,))) == c.Expired((), ())
        assert bench.amounts(team) == [(10, 0)]

    def test_a_hold_is_due_at_its_last_millisecond_and_not_before(self, bench: Bench) -> None:
        """A hold that has a millisecond to live is left as it is, whoever asks for its end."""
        team = bench.budget(TEAM, 1000)
        bench.reserve("r1", (team, 10))
        bench.clock.advance(TTL_MS - 1)
        assert bench.expire(("r1", (team,))).ids == ()
        assert bench.amounts(team) == [(0, 10)]
        bench.clock.advance(1)
        assert bench.expire(("r1", (team,))).ids == ("r1",)

    def test_a_hold_that_ended_or_never_was_does_not_expire(self, bench: Bench) -> None:
        """Of several holds only the due ones are expired; settled, released and unknown ones are left."""
        team = bench.budget(TEAM, 1000)
        for name in ("settled", "released", "due", "due-too"):
            bench.reserve(name, (team, 10))
        bench.settle("settled", (team, 3))
        bench.release("released", (team, 0))
        bench.clock.advance(TTL_MS)
        names = ("settled", "due", "unknown", "released", "due-too")
        assert bench.expire(*((name, (team,)) for name in names)).ids == ("due", "due-too")
        assert bench.amounts(team) == [(23, 0)]

    def test_a_settle_after_a_holiday_replaces_the_charge(self, bench: Bench) -> None:
        """An expired hold is remembered 35 days, also while others end and are forgotten after 7."""
        team = bench.budget(TEAM, 1000)
        bench.reserve("away", (team, 10))
        bench.clock.advance(TTL_MS)
        bench.expire(("away", (team,)))
        bench.clock.advance(c.CLOSED_HOLD_KEPT_MS + TTL_MS)
        bench.reserve("other", (team, 1))
        bench.settle("other", (team, 1))
        assert bench.settle("away", (team, 4)).state == "settled_late"
        assert bench.amounts(team) == [(5, 0)]

    def test_an_extended_hold_lives_on(self, bench: Bench) -> None:
        """Extending counts from now, moves the expiry and keeps the hold."""
        team = bench.budget(TEAM, 1000)
        bench.reserve("r1", (team, 10))
        now_ms = bench.clock.advance(TTL_MS - 1)
        extended = bench.ledger.execute(c.Extend("r1", TTL_MS))
        assert extended == c.Extended("open", now_ms + TTL_MS)
        bench.clock.advance(TTL_MS - 1)
        assert bench.expire(("r1", (team,))).ids == ()
        assert [hold.expires_ms for hold in bench.ledger.execute(c.ListHolds())] == [now_ms + TTL_MS]
        refused = bench.reserve("r2", (team, 5000))
        assert isinstance(refused, c.Refused)
        assert (refused.due, refused.earliest_expiry_ms) == ((), now_ms + TTL_MS)
        bench.clock.advance(1)
        assert bench.expire(("r1", (team,))).ids == ("r1",)

    def test_only_an_open_hold_is_extended(self, bench: Bench) -> None:
        """A hold that ended, or was never opened, is named by its state and not brought back."""
        team = bench.budget(TEAM, 1000)
        for name in ("settled", "released", "expired"):
            bench.reserve(name, (team, 10))
        bench.settle("settled", (team, 3))
        bench.release("released", (team, 0))
        bench.clock.advance(TTL_MS)
        bench.expire(("expired", (team,)))
        for name in ("settled", "released", "expired", "unknown"):
            assert bench.ledger.execute(c.Extend(name, TTL_MS)) == c.Extended(name, 0)
        assert bench.ledger.execute(c.ListHolds()) == ()

    def test_replies_name_the_holds_that_are_due(self, bench: Bench) -> None:
        """Whoever reserves, is refused, settles or releases learns which holds to expire, and of what."""
        team, minute = bench.budget(TEAM, 1000), bench.budget("user=ada/requests/day", 10)
        for name in ("dead", "a", "b"):
            bench.reserve(name, (team, 10), (minute, 1), ttl_ms=TTL_MS if name == "dead" else 2 * TTL_MS)
        bench.clock.advance(TTL_MS)
        replies = [
            bench.reserve("held", (team, 1)),
            bench.reserve("held", (team, 1)),
            bench.reserve("refused", (team, 5000)),
            bench.settle("a", (team, 1), (minute, 1)),
            bench.release("b", (team, 0), (minute, 1)),
        ]
        assert [getattr(reply, "due", None) for reply in replies] == [(due_hold("dead", team, minute),)] * 5

    def test_a_reply_names_the_first_ten_of_many(self, bench: Bench) -> None:
        """However many are due, a reply names at most ten, the first to expire first."""
        team = bench.budget(TEAM, 1000)
        for index in reversed(range(13)):
            bench.reserve(f"r{index:02}", (team, 1), ttl_ms=1_000 + index)
        bench.clock.advance(TTL_MS)
        reply = bench.reserve("next", (team, 1))
        assert isinstance(reply, c.Held)
        assert [hold.id for hold in reply.due] == [f"r{index:02}" for index in range(10)]
        expired = bench.ledger.execute(c.Expire(reply.due))
        assert expired.ids == tuple(f"r{index:02}" for index in range(10))
        assert [hold.id for hold in bench.settle("next", (team, 1)).due] == ["r10", "r11", "r12"]

    def test_a_hold_that_ended_is_due_no_more(self, bench: Bench) -> None:
        """Settled, released and expired holds are named by no reply, nor is their expiry."""
        team = bench.budget(TEAM, 1000)
        for name in ("settled", "released", "expired"):
            bench.reserve(name, (team, 10))
        bench.settle("settled", (team, 3))
        bench.release("released", (team, 0))
        bench.clock.advance(TTL_MS)
        bench.expire(("expired", (team,)))
        refused = bench.reserve("r1", (team, 5000))
        assert isinstance(refused, c.Refused)
        assert (refused.due, refused.earliest_expiry_ms) == ((), None)

    def test_a_due_hold_can_still_settle(self, bench: Bench) -> None:
        """A hold past its time that nobody has expired is open: its settle is an ordinary one."""
        team = bench.budget(TEAM, 1000)
        bench.reserve("r1", (team, 10))
        bench.clock.advance(TTL_MS + 1)
        assert bench.settle("r1", (team, 4)).state == "settled"
        assert bench.amounts(team) == [(4, 0)]


class LateContract:
    """Money reported after the expiry."""

    def test_a_late_settle_replaces_the_charge_of_the_expiry(self, bench: Bench) -> None:
        """What was charged in ignorance gives way to what was really spent, more or less."""
        team = bench.budget(TEAM, 1000)
        for name, spent in (("less", 4), ("more", 25)):
            bench.reserve(name, (team, 10))
            bench.clock.advance(TTL_MS)
            bench.expire((name, (team,)))
            closed = bench.settle(name, (team, spent))
            assert (closed.state, closed.unknown) == ("settled_late", False)
            assert closed.overrun is (spent > 10)
        assert bench.amounts(team) == [(29, 0)]

    def test_a_late_settle_leaves_other_holds_alone(self, bench: Bench) -> None:
        """The expiry freed the hold already; the late settle frees nothing more."""
        team, flying = bench.budget(TEAM, 1000), bench.budget("user=ada/concurrent/life", 8)
        bench.reserve("dead", (team, 10), (flying, 1))
        bench.reserve("alive", (team, 20), (flying, 1), ttl_ms=9 * TTL_MS)
        bench.clock.advance(TTL_MS)
        bench.expire(("dead", (team, flying)))
        bench.settle("dead", (team, 4), (flying, 0))
        assert bench.amounts(team, flying) == [(4, 20), (0, 1)]

    def test_a_late_settle_after_a_free_expiry_posts_it_all(self, bench: Bench) -> None:
        """Where the expiry gave the money back there is no charge to replace."""
        team = bench.budget(TEAM, 1000)
        bench.reserve("r1", (team, 10), charge_on_expiry=False)
        bench.clock.advance(TTL_MS)
        bench.expire(("r1", (team,)))
        bench.settle("r1", (team, 7))
        assert bench.amounts(team) == [(7, 0)]

    def test_a_late_settle_is_repeated_like_any_other(self, bench: Bench) -> None:
        """It adjusts once and answers alike; the hold has then ended for good."""
        team = bench.budget(TEAM, 1000)
        bench.reserve("r1", (team, 10))
        bench.clock.advance(TTL_MS)
        bench.expire(("r1", (team,)))
        first = bench.settle("r1", (team, 4))
        assert bench.settle("r1", (team, 4)) == first
        assert bench.expire(("r1", (team,))).ids == ()
        assert bench.amounts(team) == [(4, 0)]
        reply = bench.reserve("r1", (team, 10))
        assert isinstance(reply, c.Held)
        assert reply.state == "settled_late"

    def test_a_release_after_expiry_gives_the_charge_back(self, bench: Bench) -> None:
        """A call that was never served costs only its request, also when that is known late."""
        budgets = tuple(bench.budget(f"user=ada/{unit}", 1000) for unit in UNITS)
        bench.reserve("r1", *((budget, 10) for budget in budgets))
        bench.clock.advance(TTL_MS)
        bench.expire(("r1", budgets))
        closed = bench.release("r1", *zip(budgets, (0, 0, 10, 0), strict=True))
        assert (closed.state, closed.overrun) == ("settled_late", False)
        assert bench.amounts(*budgets) == [(0, 0), (0, 0), (10, 0), (0, 0)]

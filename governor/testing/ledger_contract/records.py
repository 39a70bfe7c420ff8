"""Contract: what can be read back: balances, holds, the journal, and the store itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from governor.budgets import Unit
from governor.errors import LedgerUnavailable, ReservationConflict
from governor.ledger import commands as c
from governor.ledger import detail
from governor.ledger.keys import SCHEMA
from governor.money import MAX_NANOS
from governor.testing.ledger_contract.bench import TTL_MS, due_hold

if TYPE_CHECKING:
    from governor.ledger import Ledger
    from governor.testing.ledger_contract.bench import Bench

TEAM = "department=engineering/usd/month"
USER = "user=ada@example.com/usd/day"
DAY_MS = 24 * 3600 * 1000


class RecordsContract:
    """Readings, lists and the journal."""

    def test_a_read_answers_in_the_order_asked(self, bench: Bench) -> None:
        """Each balance is read with its limit, spent or not; reading makes none."""
        team, user = bench.budget(TEAM, 1000), bench.budget(USER, 100)
        bench.spend("s", team, 7)
        readings = bench.ledger.execute(c.Read((user, team, user)))
        empty = c.Balance(0, 0, 100)
        assert readings == c.Readings((empty, c.Balance(7, 0, 1000), empty), bench.clock.now_ms)
        assert [known.identity for known in bench.ledger.execute(c.ListBalances())] == [TEAM]

    def test_balances_are_listed_by_name(self, bench: Bench) -> None:
        """Every balance asked for comes in order, with its window's end and the limit in force."""
        user, team = bench.budget(USER, 100), bench.budget(TEAM, 1000)
        bench.reserve("r1", (user, 5), (team, 6))
        bench.ledger.execute(c.Grant("g", user.identity, user.window, 11))
        bench.ledger.execute(c.Freeze("f", team.identity, "audit"))
        listed = bench.ledger.execute(c.ListBalances())
        assert listed == (
            c.KnownBalance(TEAM, team.window, team.end_ms, c.Balance(0, 6, 1000, "audit")),
            c.KnownBalance(USER, user.window, user.end_ms, c.Balance(0, 5, 111)),
        )
        assert bench.ledger.execute(c.ListBalances("ada@")) == listed[1:]
        assert bench.ledger.execute(c.ListBalances("nobody")) == ()

    def test_windows_that_are_over_are_listed_on_demand(self, bench: Bench) -> None:
        """A list shows what counts now; past windows are kept, and shown if asked for."""
        yesterday, run = bench.budget(USER, 100), bench.budget("run=pr-1/usd/life", 100)
        bench.spend("s1", yesterday, 5)
        bench.spend("s2", run, 6)
        bench.clock.advance(DAY_MS)
        assert [known.identity for known in bench.ledger.execute(c.ListBalances())] == [run.identity]
        past = bench.ledger.execute(c.ListBalances(past=True))
        assert [(known.window, known.balance.posted) for known in past] == [
            ("life", 6),
            (yesterday.window, 5),
        ]

    def test_open_holds_are_listed_first_to_expire_first(self, bench: Bench) -> None:
        """Only open holds are listed, due ones too, with the balances they touch."""
        team, user = bench.budget(TEAM, 1000), bench.budget(USER, 100)
        bench.reserve("long", (team, 5), (user, 5), ttl_ms=3_000)
        bench.reserve("short", (team, 5), ttl_ms=1_000)
        bench.reserve("gone", (team, 5))
        bench.settle("gone", (team, 5))
        start_ms = bench.clock.now_ms
        bench.clock.advance(2_000)
        assert bench.ledger.execute(c.ListHolds()) == (
            c.OpenHold("short", start_ms + 1_000, due_hold("short", team).balances),
            c.OpenHold("long", start_ms + 3_000, due_hold("long", team, user).balances),
        )

    def test_the_journal_has_every_decision_and_change(self, bench: Bench) -> None:
        """One record for each, in order, with who asked, when, and what came of it."""
        team = bench.budget(TEAM, 100)
        for name in ("a", "b", "d"):
            bench.reserve(name, (team, 20))
        bench.reserve("e", (team, 101))
        bench.settle("a", (team, 5))
        bench.release("b", (team, 0))
        bench.clock.advance(TTL_MS)
        bench.expire(("d", (team,)))
        bench.settle("d", (team, 1))
        bench.ledger.execute(c.Grant("g", team.identity, team.window, 40, '{"by":"root"}'))
        bench.ledger.execute(c.SetLimit("l", team.identity, 300))
        bench.ledger.execute(c.Freeze("f", team.identity, "audit"))
        bench.ledger.execute(c.Unfreeze("u", team.identity))
        start, now = bench.clock.now_ms - TTL_MS, bench.clock.now_ms
        made, *entries = bench.ledger.execute(c.ReadJournal())
        assert (made.kind, made.outcome) == ("create", "created")
        assert [(e.kind, e.id, e.at_ms, e.outcome, e.record) for e in entries] == [
            ("reserve", "a", start, "held", '{"asked":"a"}'),
            ("reserve", "b", start, "held", '{"asked":"b"}'),
            ("reserve", "d", start, "held", '{"asked":"d"}'),
            ("reserve", "e", start, "exhausted", '{"asked":"e"}'),
            ("settle", "a", start, "settled", '{"settled":"a"}'),
            ("release", "b", start, "released", '{"released":"b"}'),
            ("expire", "d", now, "expired", "{}"),
            ("settle", "d", now, "settled_late", '{"settled":"d"}'),
            ("grant", "g", now, TEAM, '{"by":"root"}'),
            ("set", "l", now, TEAM, "{}"),
            ("freeze", "f", now, TEAM, "{}"),
            ("unfreeze", "u", now, TEAM, "{}"),
        ]
        assert [entry.detail for entry in entries[-4:]] == [
            "amount=40 window=2026-11 from=0 until=0",
            "limit=300 from=0 until=0",
            "until=0 reason=audit",
            "",
        ]

    def test_a_quiet_reserve_records_all_but_that_it_waits(self, bench: Bench) -> None:
        """Who waits and asks again leaves no record of being contended; any other answer is recorded."""
        team, user = bench.budget(TEAM, 100), bench.budget(USER, 100)
        bench.reserve("h", (team, 90))
        bench.ledger.execute(c.Freeze("f", user.identity, "audit"))

        def ask(name: str, budget: c.BudgetRow, amount: int, *, quiet: bool = True) -> object:
            command = c.Reserve(name, (budget,), ((c.Ask(amount),),), TTL_MS, quiet=quiet)
            return getattr(bench.ledger.execute(command), "reason", "held")

        told = [
            ask("patient", team, 20),
            ask("patient", team, 20),
            ask("frozen", user, 1),
            ask("big", team, 101),
            ask("small", team, 1),
            ask("patient", team, 20, quiet=False),
        ]
        assert told == ["contended", "contended", "frozen", "exhausted", "held", "contended"]
        entries = bench.ledger.execute(c.ReadJournal())
        assert [(entry.id, entry.outcome) for entry in entries if entry.kind == "reserve"] == [
            ("h", "held"),
            ("frozen", "frozen"),
            ("big", "exhausted"),
            ("small", "held"),
            ("patient", "contended"),
        ]

    def test_a_trial_that_is_refused_leaves_nothing(self, bench: Bench) -> None:
        """Whatever refuses a trial, it leaves no record, no hold and no balance, and its id stays free."""
        team, user = bench.budget(TEAM, 100), bench.budget(USER, 100)
        bench.reserve("h", (team, 90))
        bench.ledger.execute(c.Freeze("f", user.identity, "audit"))
        before = _everything(bench.ledger)
        told = [
            _ask(bench, "try", *wants, trial=True)
            for wants in ((team, 20), (team, 101), (user, 1), (team, 20))
        ]
        assert told == ["contended", "exhausted", "frozen", "contended"]
        assert _everything(bench.ledger) == before
        assert _ask(bench, "try", team, 5) == "held"
        assert [entry.outcome for entry in bench.ledger.execute(c.ReadJournal("try"))] == ["held"]

    def test_a_trial_that_is_held_is_a_hold_as_any(self, bench: Bench) -> None:
        """It is recorded with what it saw, answers again as it did, and is settled or conflicts as any."""
        team = bench.budget(TEAM, 100)
        command = c.Reserve("try", (team,), ((c.Ask(60),),), TTL_MS, record='{"n":1}', call="a", trial=True)
        first, again = bench.ledger.execute(command), bench.ledger.execute(command)
        assert isinstance(first, c.Held)
        assert isinstance(again, c.Held)
        assert (first.balances, bench.amounts(team)) == ((c.Balance(0, 0, 100),), [(0, 60)])
        (entry,) = bench.ledger.execute(c.ReadJournal("try"))
        assert (entry.outcome, entry.record) == ("held", '{"n":1}')
        assert detail.read_balances(entry.detail) == (0, (c.Balance(0, 0, 100),))
        with pytest.raises(ReservationConflict):
            _ask(bench, "try", team, 61, trial=True)
        assert bench.settle("try", (team, 7)).state == "settled"
        assert bench.amounts(team) == [(7, 0)]

    def test_a_trial_of_a_window_that_is_over_leaves_nothing(self, bench: Bench) -> None:
        """A trial that names a window of yesterday is told the time, and nothing else happens."""
        user = bench.budget(USER, 100)
        bench.spend("s", user, 1)
        bench.clock.advance(DAY_MS)
        before = _everything(bench.ledger)
        command = c.Reserve("try", (user,), ((c.Ask(1),),), TTL_MS, trial=True)
        assert bench.ledger.execute(command) == c.WindowMoved(bench.clock.now_ms)
        assert _everything(bench.ledger) == before

    def test_the_journal_keeps_what_the_decision_saw(self, bench: Bench) -> None:
        """A reserve's record gives the chosen candidate and every balance it was judged by."""
        team, user = bench.budget(TEAM, 1000), bench.budget(USER, 100)
        bench.spend("s", team, 7)
        bench.ledger.execute(c.Freeze("f", user.identity, "audit"))
        bench.choose("r1", (team, user), (c.Ask(1), c.Ask(1)), (c.Ask(1), None))
        bench.choose("r2", (team, user), (c.Ask(1), c.Ask(1)))
        (held,) = bench.ledger.execute(c.ReadJournal("r1"))
        (refused,) = bench.ledger.execute(c.ReadJournal("r2"))
        frozen = c.Balance(0, 0, 100, "frozen")
        assert detail.read_balances(held.detail) == (1, (c.Balance(7, 0, 1000), frozen))
        assert detail.read_balances(refused.detail) == (None, (c.Balance(7, 1, 1000), frozen))

    def test_the_journal_keeps_what_was_posted(self, bench: Bench) -> None:
        """The record of an ending gives amounts, flags and crossings; of an unknown hold its budgets too."""
        team, user = bench.budget(TEAM, 100, steps=(5_000,)), bench.budget(USER, 100)
        bench.reserve("r1", (team, 60), (user, 60))
        bench.settle("r1", (team, 61), (user, 0))
        bench.settle("lost", (team, 1))
        bench.reserve("dead", (team, 9))
        bench.clock.advance(TTL_MS)
        bench.expire(("dead", (team,)))
        ended = [bench.ledger.execute(c.ReadJournal(name))[-1].detail for name in ("r1", "lost", "dead")]
        own = f"{team.identity};{team.window};{team.end_ms};100;0"
        assert [detail.read_closing(text) for text in ended] == [
            {"overrun": "1", "unknown": "0", "posted": "61,0", "crossed": "0:5000:61:100"},
            {"overrun": "0", "unknown": "1", "posted": "1", "crossed": "", "refs": own},
            {"overrun": "0", "unknown": "0", "posted": "9", "crossed": ""},
        ]

    def test_the_journal_is_read_from_its_end(self, bench: Bench) -> None:
        """The newest records are given, oldest first, of everybody or of one id."""
        team = bench.budget(TEAM, 1000)
        for name in ("a", "b", "a2"):
            bench.spend(name, team, 1)
        newest = bench.ledger.execute(c.ReadJournal(limit=3))
        assert [(entry.kind, entry.id) for entry in newest] == [
            ("settle", "b"),
            ("reserve", "a2"),
            ("settle", "a2"),
        ]
        assert [entry.kind for entry in bench.ledger.execute(c.ReadJournal("a"))] == ["reserve", "settle"]
        assert bench.ledger.execute(c.ReadJournal("nobody")) == ()

    def test_the_largest_amounts_are_exact_to_the_unit(self, bench: Bench) -> None:
        """Nine million dollars in nano-dollars lose no digit in balances, decisions or the journal."""
        team = bench.budget(TEAM, MAX_NANOS, steps=(9_999,))
        bench.reserve("big", (team, MAX_NANOS - 3))
        assert isinstance(bench.reserve("over", (team, 4)), c.Refused)
        assert isinstance(bench.reserve("last", (team, 3)), c.Held)
        closed = bench.settle("big", (team, MAX_NANOS - 4))
        assert closed.balances == (c.Balance(MAX_NANOS - 4, 3, MAX_NANOS),)
        assert closed.crossings == (c.Crossing(team.identity, team.window, 9_999, MAX_NANOS - 4, MAX_NANOS),)
        (asked,) = bench.ledger.execute(c.ReadJournal("last"))
        assert detail.read_balances(asked.detail) == (0, (c.Balance(0, MAX_NANOS - 3, MAX_NANOS),))
        bench.settle("last", (team, 3))
        assert bench.amounts(team) == [(MAX_NANOS - 1, 0)]
        assert isinstance(bench.reserve("one", (team, 2)), c.Refused)
        assert isinstance(bench.reserve("one", (team, 1)), c.Held)

    def test_marks_are_exact_for_the_largest_limits(self, bench: Bench) -> None:
        """A mark of a nine-million-dollar budget is right to the nano-dollar."""
        team = bench.budget(TEAM, MAX_NANOS - 1)
        top = (MAX_NANOS - 1) * 8_001 // 10_000
        assert isinstance(bench.choose("over", (team,), (c.Ask(top + 1, 8_001),)), c.Refused)
        assert isinstance(bench.choose("full", (team,), (c.Ask(top, 8_001),)), c.Held)

    def test_an_expiry_and_a_late_settle_of_the_largest_amounts_are_exact(self, bench: Bench) -> None:
        """What a late settle adjusts is right to the nano-dollar."""
        team = bench.budget(TEAM, MAX_NANOS)
        bench.reserve("big", (team, MAX_NANOS - 1))
        bench.clock.advance(TTL_MS)
        bench.expire(("big", (team,)))
        assert bench.amounts(team) == [(MAX_NANOS - 1, 0)]
        bench.settle("big", (team, MAX_NANOS - 8))
        assert bench.amounts(team) == [(MAX_NANOS - 8, 0)]

    def test_no_repetition_changes_anything(self, bench: Bench) -> None:
        """A story told again, backwards too, leaves balances, holds and journal as they are."""
        team, user = bench.budget(TEAM, 100, steps=(5_000,)), bench.budget(USER, 100)
        both = ((c.Ask(10), c.Ask(10)),)
        posted = (c.Posting(team, 60), c.Posting(user, 6))
        story: list[c.Command[Any]] = [
            *(c.Reserve(name, (team, user), both, TTL_MS) for name in ("open", "paid", "back", "dead")),
            c.Settle("paid", posted),
            c.Release("back", (c.Posting(team, 0), c.Posting(user, 0))),
            c.Settle("lost", posted),
            c.Grant("g", team.identity, team.window, 40),
            c.SetLimit("l", team.identity, 300),
            c.Freeze("f", team.identity, "audit"),
            c.Unfreeze("u", team.identity),
        ]
        for command in story:
            bench.ledger.execute(command)
        bench.clock.advance(TTL_MS)
        bench.expire(("dead", (team, user)))
        before = _everything(bench.ledger)
        for command in (*story, *reversed(story), c.Expire((due_hold("dead", team, user),))):
            bench.ledger.execute(command)
        assert _everything(bench.ledger) == before


class NewStoreContract:
    """A store before and after it is made a ledger."""

    def test_a_store_never_created_can_be_looked_at(self, empty_ledger: Ledger) -> None:
        """Looking says that there is no ledger, and makes none."""
        for _ in range(2):
            status = empty_ledger.execute(c.Inspect())
            assert (status.created, status.schema, status.epoch) == (False, None, None)
            assert status.server

    def test_a_store_never_created_refuses_commands(self, empty_ledger: Ledger) -> None:
        """A ledger is created on purpose: an empty store is not mistaken for one with nothing spent."""
        row = c.BudgetRow("user=ada/usd/life", "life", 0, 0, Unit.USD, 100)
        commands: list[c.Command[Any]] = [
            c.Reserve("r1", (row,), ((c.Ask(1),),), TTL_MS),
            c.Settle("r1", (c.Posting(row, 1),)),
            c.Release("r1", (c.Posting(row, 0),)),
            c.Extend("r1", TTL_MS),
            c.Expire((due_hold("r1", row),)),
            c.Read((row,)),
            c.Grant("g", row.identity, row.window, 1),
            c.SetLimit("l", row.identity, 1),
            c.Freeze("f", row.identity, "audit"),
            c.Unfreeze("u", row.identity),
        ]
        for command in commands:
            with pytest.raises(LedgerUnavailable, match="governor ledger create"):
                empty_ledger.execute(command)
        assert not empty_ledger.execute(c.Inspect()).created

    def test_creating_again_changes_nothing(self, empty_ledger: Ledger) -> None:
        """The first creation gives the epoch; a second keeps it, and all that is in the ledger."""
        first = empty_ledger.execute(c.Create("epoch-1"))
        assert (first.created, first.schema, first.epoch) == (True, SCHEMA, "epoch-1")
        empty_ledger.execute(c.Freeze("f", TEAM, "audit"))
        again = empty_ledger.execute(c.Create("epoch-2"))
        assert again == first
        assert [entry.kind for entry in empty_ledger.execute(c.ReadJournal())] == ["create", "freeze"]

    def test_a_ledger_knows_what_it_is(self, bench: Bench) -> None:
        """Once in use a ledger says so, with schema, epoch, server and its clock."""
        bench.amounts(bench.budget(TEAM, 100))
        status = bench.ledger.execute(c.Inspect())
        assert (status.created, status.schema) == (True, SCHEMA)
        assert status.epoch
        assert status.now_ms == bench.clock.now_ms

    def test_a_closed_ledger_opens_again(self, bench: Bench) -> None:
        """Closing lets go of files and connections; the next command finds everything as it was."""
        team = bench.budget(TEAM, 100)
        bench.spend("s", team, 5)
        bench.ledger.close()
        assert bench.amounts(team) == [(5, 0)]


def _ask(bench: Bench, name: str, budget: c.BudgetRow, amount: int, *, trial: bool = False) -> str:
    """Ask for one amount; why it was refused, or `held`."""
    command = c.Reserve(name, (budget,), ((c.Ask(amount),),), TTL_MS, trial=trial)
    return str(getattr(bench.ledger.execute(command), "reason", "held"))


def _everything(ledger: Ledger) -> tuple[object, ...]:
    return (
        ledger.execute(c.ListBalances(past=True)),
        ledger.execute(c.ListHolds()),
        ledger.execute(c.ReadJournal()),
    )

"""A lost ledger rebuilt from its archive, over {SQLite, fakeredis, Redis, a Redis cluster of one}."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.losses import DAY, MINUTE_MS, REQUESTS, TEAM, UNTIL_MS, amounts, loss
from support.told import reserve, settle

from governor.errors import LedgerUnavailable, ReservationConflict
from governor.journal import rebuild
from governor.journal.archive import ArchiveError, open_archive
from governor.ledger import commands as c
from governor.ledger import detail
from governor.ledger import recovery as r
from governor.ledger.keys import SCHEMA
from governor.ledger.requests import CLOSED_KEPT_MS
from governor.testing.ledger_contract import Bench

if TYPE_CHECKING:
    from governor.ledger import Ledger

__all__ = ["loss"]

REBUILT = [(657, 0, 1040, None), (130, 0, 300, None), (2, 0, 100, "audit: 2"), (0, 0, 50, None)]
"""580 + 7 + 20 (expired) + 50 (charged), and so on."""


def test_balances_changes_and_open_holds_are_restored(loss):
    """What was spent, granted, set and frozen is as it was; what was open is charged, and holds nothing."""
    loss.keep()
    new = loss.next_store()
    assert loss.rebuild(new) == r.Begun("begun", "epoch-2")
    assert amounts(new, loss.budgets()) == REBUILT
    assert new.execute(c.ListHolds()) == ()
    status = new.execute(c.Inspect())
    assert (status.created, status.schema, status.epoch) == (True, SCHEMA, "epoch-2")
    old = loss.bench.ledger.execute(c.ListBalances(past=True))
    assert [(k.identity, k.window, k.end_ms) for k in new.execute(c.ListBalances(past=True))] == [
        (k.identity, k.window, k.end_ms) for k in old
    ]
    made, rebuilt = new.execute(c.ReadJournal())
    assert (made.kind, rebuilt.kind, rebuilt.outcome) == ("create", "rebuild", "rebuilt")
    assert "charged=1" in rebuilt.detail
    assert rebuilt.record == '{"actor": "t"}'


def test_settles_that_come_after_the_rebuild_count_once(loss):
    """A late one replaces the charge, a repeated one changes nothing, a lost call's is posted as unknown."""
    loss.keep()
    team, day, requests, flying = loss.budgets()
    loss.say(reserve("lost", (team, 30)))
    new = loss.next_store()
    loss.rebuild(new)
    bench = Bench(new, loss.bench.clock)
    again = settle("paid", (team, 580), (day, 80), (requests, 1), (flying, 0))
    assert new.execute(again).state == "settled"
    assert bench.amounts(team, day) == [(657, 0), (130, 0)]
    late = new.execute(settle("open", (team, 9), (day, 9), (requests, 1), (flying, 0)))
    assert (late.state, late.unknown) == ("settled_late", False)
    assert bench.amounts(team, day, requests, flying) == [(616, 0), (89, 0), (2, 0), (0, 0)]
    assert new.execute(settle("dead", (team, 0))).state == "settled_late"
    tail = new.execute(settle("lost", (team, 25)))
    assert (tail.state, tail.unknown) == ("settled", True)
    assert bench.amounts(team) == [(621, 0)]
    with pytest.raises(Exception, match="another payload"):
        new.execute(reserve("paid", (team, 600)))


def test_a_threshold_is_not_reported_again_after_a_rebuild(loss):
    """Half of the budget was crossed before the loss; what is posted now crosses nothing."""
    loss.keep()
    new = loss.next_store()
    loss.rebuild(new)
    team = loss.budgets()[0]
    new.execute(reserve("next", (team, 5)))
    assert new.execute(settle("next", (team, 5))).crossings == ()


def test_an_operation_repeated_after_a_rebuild_changes_nothing(loss):
    """Grants, limits and freezes are known by their ids."""
    loss.keep()
    new = loss.next_store()
    loss.rebuild(new)
    team = loss.budgets()[0]
    assert new.execute(c.Grant("g", TEAM, team.window, 40)).limit_added == 40
    new.execute(c.SetLimit("l", DAY, 300, UNTIL_MS))
    new.execute(c.Freeze("f", REQUESTS, "audit: 2", UNTIL_MS))
    assert amounts(new, loss.budgets()) == REBUILT
    loss.bench.clock.advance(91 * MINUTE_MS)
    assert [row[2:] for row in amounts(new, loss.budgets()[1:3])] == [(500, None), (100, None)]


def test_requests_are_restored_with_their_answers(loss):
    """Open, approved, denied and withdrawn, each as it was, and none can be answered a second time."""
    bench, (team, *_) = loss.bench, loss.budgets()
    ada, grace = c.Person("Ada", "ada@laptop-7"), c.Person("Grace", "grace@laptop-9")
    asked = c.BudgetRequest("q0", TEAM, team.window, 9, ada, "two words: x=y", ends_ms=team.end_ms)
    kept = loss.say(*(c.RequestGrant(replace(asked, id=f"q{index}")) for index in range(4)))
    bench.clock.advance(1)
    answers = [
        c.Approve(kept[0], grace, "", 5),
        c.Deny(kept[1], grace, "no"),
        c.Deny(kept[2], ada, "found some"),
    ]
    loss.say(*answers)
    loss.keep()
    assert not loss.plan().replay.strange
    new = loss.next_store()
    loss.rebuild(new)
    old = bench.ledger.execute(c.ListRequests())
    assert new.execute(c.ListRequests()) == old
    assert [one.state(bench.clock.now_ms) for one in old] == ["approved", "denied", "withdrawn", "open"]
    for command in (*answers, c.RequestGrant(asked)):
        assert new.execute(command) == bench.ledger.execute(command)
    assert new.execute(c.FindGrant("approve-q0")).amount == 5
    assert bench.balance(team).limit == 1045
    assert amounts(new, [team])[0][2] == 1045
    bench.clock.advance(CLOSED_KEPT_MS)
    later = loss.next_store()
    loss.rebuild(later)
    assert later.execute(c.ListRequests()) == old[3:]


def test_an_interrupted_rebuild_refuses_work_and_is_ended_by_the_next_run(loss, monkeypatch):
    """In between nothing else is answered; however far it came, the next run ends it."""
    loss.keep()
    monkeypatch.setattr(rebuild, "BATCH", 1)
    new = loss.next_store()
    steps = 0
    while steps < 100:
        steps += 1
        try:
            loss.rebuild(Dying(new, steps), epoch=f"epoch-{steps}")
            break
        except DiedError:
            pass
        if steps == 1:
            continue  # nothing was said yet
        for command in (c.Read(()), reserve("x", (loss.budgets()[0], 1)), c.Freeze("x", TEAM, "x")):
            with pytest.raises(LedgerUnavailable, match="is being rebuilt"):
                new.execute(command)
        assert new.execute(c.Inspect()).schema == r.REBUILDING
    assert steps > 10
    assert amounts(new, loss.budgets()) == REBUILT
    assert new.execute(c.Inspect()).epoch == "epoch-2"
    assert [entry.kind for entry in new.execute(c.ReadJournal())] == ["create", "rebuild"]


class DiedError(Exception):
    """The process that rebuilt is gone."""


class Dying:
    """A ledger whose user dies before the command of that number."""

    def __init__(self, ledger: Ledger, last: int) -> None:
        self._ledger, self._left = ledger, last

    def execute(self, command: c.Command[Any]) -> Any:
        self._left -= 1
        if not self._left:
            raise DiedError
        return self._ledger.execute(command)


def test_a_rebuild_that_is_done_is_not_done_again(loss):
    """The same archive again changes nothing, whatever was spent since."""
    loss.keep()
    new = loss.next_store()
    loss.rebuild(new)
    team = loss.budgets()[0]
    new.execute(settle("since", (team, 3)))
    before = new.execute(c.ReadJournal())
    assert loss.rebuild(new, epoch="epoch-3") == r.Begun("done", "epoch-2")
    assert new.execute(c.ReadJournal()) == before
    assert new.execute(c.Read((team,))).balances[0].posted == 660


def test_a_store_in_use_is_not_rebuilt(loss):
    """Balances, or another rebuild, are not written over."""
    loss.keep()
    with pytest.raises(LedgerUnavailable, match="in use"):
        loss.rebuild(loss.bench.ledger)
    new = loss.next_store()
    new.execute(r.BeginRestore("e", "another/archive"))
    with pytest.raises(LedgerUnavailable, match="another archive"):
        loss.rebuild(new)
    with pytest.raises(LedgerUnavailable, match="rebuilt from this archive any more"):
        new.execute(r.Restore("a/1"))
    with pytest.raises(LedgerUnavailable, match="rebuilt from this archive any more"):
        new.execute(r.FinishRestore("a/1", "", "{}"))


def test_a_ledger_created_after_the_loss_and_not_used_is_rebuilt(loss):
    """Creating it was in vain, and no obstacle."""
    loss.keep()
    new = loss.next_store()
    new.execute(c.Create("in-vain"))
    assert loss.rebuild(new).epoch == "epoch-2"
    assert amounts(new, loss.budgets()) == REBUILT
    assert [entry.id for entry in new.execute(c.ReadJournal())] == ["epoch-2", "epoch-2"]


def test_what_may_miss_something_is_named_and_frozen_if_asked(loss):
    """Budgets of open calls, and of money posted as shortly before the end as the loss was after it."""
    loss.keep()
    end_ms = loss.bench.clock.now_ms
    loss.bench.clock.advance(5 * MINUTE_MS)
    near = loss.plan(end_ms + 1)
    assert (near.lag_ms, {one.identity for one in near.unsure}) == (1, {TEAM, DAY, REQUESTS})
    assert {one.why for one in near.unsure} == {rebuild.IN_FLIGHT}
    assert loss.plan(end_ms - 9).lag_ms == 0
    new = loss.next_store()
    for _ in range(2):
        loss.rebuild(new, freeze=True)
    frozen = [row[3] for row in amounts(new, loss.budgets())]
    assert "rebuilt after a loss" in frozen[0]
    assert rebuild.IN_FLIGHT in frozen[1]
    assert frozen[2:] == ["audit: 2", None]
    kinds = [(entry.kind, entry.outcome) for entry in new.execute(c.ReadJournal())]
    assert kinds[2:] == [("freeze", TEAM), ("freeze", DAY)]
    until_ms = {
        int(detail.read_change(e.detail)["until"]) for e in new.execute(c.ReadJournal()) if e.kind == "freeze"
    }
    assert until_ms == {row.end_ms for row in loss.budgets()[:2]}


def test_money_posted_shortly_before_the_end_makes_unsure(loss):
    """The longer the lag, the further back a posting counts as a sign that more was lost."""
    team, *_ = loss.budgets()
    run = c.BudgetRow("run=pr-1/usd/life", "life", 0, 0, team.unit, 100)
    loss.say(reserve("r", (run, 1)), settle("r", (run, 1)))
    loss.bench.clock.advance(3 * MINUTE_MS)
    loss.say(c.Unfreeze("u", TEAM))
    loss.keep()
    end_ms = loss.bench.clock.now_ms

    def why(lost_ms: int) -> dict[str, str]:
        return {one.identity: one.why for one in loss.plan(lost_ms).unsure}

    assert run.identity not in why(end_ms + MINUTE_MS)
    assert why(end_ms + 3 * MINUTE_MS)[run.identity] == rebuild.LATELY


def test_a_second_loss_is_rebuilt_from_both_lives(loss):
    """The archive of the rebuilt ledger goes on in the same file; together they are the money spent."""
    loss.keep()
    team, day, requests, flying = loss.budgets()
    second = loss.next_store()
    loss.rebuild(second)
    loss.bench = Bench(second, loss.bench.clock)
    loss.say(
        settle("open", (team, 9), (day, 9), (requests, 1), (flying, 0)),
        reserve("b", (team, 100)),
        settle("b", (team, 90)),
    )
    loss.keep()
    third = loss.next_store()
    loss.rebuild(third, epoch="epoch-3")
    assert loss.plan().replay.lives == 2
    assert amounts(third, loss.budgets()) == amounts(second, loss.budgets())


def test_a_life_that_began_at_zero_is_added_to_the_one_before(loss):
    """Made anew instead of rebuilt: what both spent counts, and a call settled in both once."""
    loss.keep()
    team, day, requests, flying = loss.budgets()
    fresh = loss.next_store()
    fresh.execute(c.Create("epoch-2"))
    loss.bench = Bench(fresh, loss.bench.clock)
    loss.say(
        settle("open", (team, 9), (day, 9), (requests, 1), (flying, 0)),
        settle("paid", (team, 580), (day, 80), (requests, 1), (flying, 0)),
        settle("other", (team, 1)),
    )
    loss.keep()
    third = loss.next_store()
    loss.rebuild(third, epoch="epoch-3")
    assert [row[0] for row in amounts(third, loss.budgets())] == [580 + 7 + 20 + 9 + 1, 80 + 9, 2, 0]


def test_what_cannot_be_replayed_is_counted(loss):
    """Records of unknown kinds, or that do not say enough, are told of and not guessed at."""
    loss.keep()
    epoch = loss.archive.last().epoch
    at_ms = loss.bench.clock.now_ms
    odd = [
        ("lend", "x", "", "{}"),
        ("settle", "settled", "overrun=0 unknown=0 posted=1 crossed=", "{}"),
        ("grant", TEAM, "5", "{}"),
        ("settle", "settled", "overrun=0 unknown=1 posted= crossed= refs=", "[" * 100_000),
    ]
    entries = [
        c.JournalEntry(f"9999999999999{n}", kind, f"odd{n}", at_ms, outcome, text, record)
        for n, (kind, outcome, text, record) in enumerate(odd)
    ]
    loss.archive.append(epoch, entries)
    assert loss.plan().replay.strange == {"lend": 1, "settle": 2, "grant": 1}


def test_an_empty_archive_rebuilds_nothing(tmp_path, org):
    """There is nothing to rebuild from, and that is said."""
    (tmp_path / "none.jsonl").touch()
    with pytest.raises(ArchiveError, match="nothing to rebuild from"):
        rebuild.plan(open_archive(str(tmp_path / "none.jsonl"), org), 1, 1, lambda _: None)


def test_a_call_without_its_ledger_that_is_told_again_counts_once(loss):
    """Its end carries a token: after a rebuild the same end is the same, and another call's is a conflict."""
    team, *_ = loss.budgets()
    told = c.Settle("away", (c.Posting(team, 40),), '{"call":"abc"}', "abc")
    loss.say(told)
    loss.keep()
    store = loss.next_store()
    loss.rebuild(store)
    before = amounts(store, [team])
    assert store.execute(told).state == "settled"
    with pytest.raises(ReservationConflict):
        store.execute(c.Settle("away", (c.Posting(team, 40),), '{"call":"xyz"}', "xyz"))
    assert amounts(store, [team]) == before


def test_a_restored_hold_says_what_its_reserve_noted(loss):
    """Whoever ends a hold after a rebuild finds its note, of the candidate that was held, and its budgets."""
    team = loss.budgets()[0]
    note = '{"who":["legal"],"offers":[["dear"],["cheap"]]}'
    record = {
        "budgets": [{"identity": TEAM, "window": team.window, "end_ms": team.end_ms, "limit": team.limit}],
        "asks": [[[5000, 10000, 0, 1]], [[10, 10000, 0, 1]]],
        "note": note,
    }
    asks = ((c.Ask(5000),), (c.Ask(10),))
    loss.say(c.Reserve("batch.x.a", (team,), asks, MINUTE_MS, record=json.dumps(record), note=note))
    loss.keep()
    store = loss.next_store()
    loss.rebuild(store)
    (found,) = store.execute(c.FindHolds(("batch.x.a",)))
    assert (found.state, found.candidate, found.note) == (
        "expired",
        0,
        '{"who":["legal"],"offers":[["cheap"]]}',
    )
    before = store.execute(c.Read((team,))).balances[0].posted
    assert store.execute(c.Settle("batch.x.a", (c.Posting(found.rows[0][0], 4),))).state == "settled_late"
    assert store.execute(c.Read((team,))).balances[0].posted == before - 6

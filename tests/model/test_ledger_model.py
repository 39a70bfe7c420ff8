"""Every store, told the same random story as the pure rules, answers the same at every step of it.

And each answer, each balance and each list is right by the books of an auditor, which knows neither.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.fake_redis import FakeRedis
from support.ledger_auditor import Auditor, ref
from support.memory_ledger import MemoryLedger
from support.twins import Twins

from governor.budgets import span_of, unit_of, window_at
from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger.keys import Keys
from governor.ledger.redis import RedisLedger
from governor.ledger.servers import connect
from governor.ledger.sqlite import SqliteLedger
from governor.money import MAX_NANOS
from governor.testing.ledger_contract import SettableClock
from governor.testing.ledger_contract.bench import START_MS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from governor.budgets import Window
    from governor.ledger import Ledger

USD = "department=engineering/usd/month"
DAY = "department=engineering/user=ada@example.com/usd/day"
REQUESTS = "user=ada@example.com/requests/minute"
FLYING = "user=ada@example.com/concurrent/life"
ROLLING = "department=engineering/usd/rolling-1h"
IDENTITIES = (USD, DAY, ROLLING, REQUESTS, FLYING)
BUCKET_MS = 3_600_000 // 48
STEPS = (5_000, 8_000, 9_000)
PERMILLE = 1_000
LONGEST_MS = 6 * 24 * 3_600_000
"""A ledger forgets closed holds after a week: no story is longer than this."""
BIG = MAX_NANOS // 40
"""Beyond 2**46 and 14 digits; all that one story can post and grant stays below 2**53."""

picks = st.integers(0, 999)
rarely = st.sampled_from([False] * 9 + [True])
operations = st.sampled_from([f"op{index}" for index in range(8)])
identities = st.sampled_from(IDENTITIES)
shares = st.integers(0, 3 * PERMILLE // 2) | st.sampled_from([0, 1, 100, 200, 500, PERMILLE])
nudges = st.integers(-2, 2)
marks = st.sampled_from([10_000, 9_000, 8_001, 8_000])
kept = st.sampled_from([10_000, 10_000, 9_000, 5_001])
asks = st.none() | st.tuples(shares, nudges, marks, st.booleans(), st.booleans(), kept, rarely)
candidates = st.lists(st.tuples(*[asks] * len(IDENTITIES)), min_size=1, max_size=3)
delays = st.sampled_from([0, 1, 1_000, 59_999, 60_000, 61_000, 3_600_000])
notices = st.none() | st.builds(
    c.Notice, st.sampled_from(["a", "b", "c9"]), st.sampled_from(["", "one", "2 two"])
)
steps = delays | st.sampled_from([-1, -400, -5_000, 12 * 3_600_000])


def pace(window: Window, now_ms: int) -> int:
    """The share of a window that is gone, in basis points."""
    return (now_ms - window.start_ms) * 10_000 // (window.end_ms - window.start_ms)


class LedgerMachine(RuleBasedStateMachine):
    """One story told to a store and to the pure rules; `make_ledger` is given by the test."""

    make_ledger: Callable[[str, SettableClock], Ledger]

    def __init__(self) -> None:
        super().__init__()
        self.clock = SettableClock()
        self.auditor = Auditor()
        store = self.make_ledger(f"model-{secrets.token_hex(8)}", self.clock)
        self.ledger = Twins(MemoryLedger(self.clock), store)
        self.story: list[c.Command[Any]] = []
        self.rows: dict[tuple[str, str], c.BudgetRow] = {}
        self.due: tuple[c.DueHold, ...] = ()
        self.limits: dict[str, int] = {}

    @initialize(big=st.booleans(), odd=st.integers(0, 9_999))
    def choose_limits(self, big: bool, odd: int) -> None:
        """Small amounts, where every refusal is near; or large ones, where digits might be lost."""
        usd = BIG - odd if big else PERMILLE
        self.limits = {USD: usd, DAY: usd * 2 // 5, ROLLING: usd // 2, REQUESTS: 6, FLYING: 3}

    def teardown(self) -> None:
        """At the end the journal is the same too, and right."""
        try:
            if self.limits:
                self.list_all("", past=True)
                self.auditor.check_journal(self.ledger.execute(c.ReadJournal(limit=100_000)))
        finally:
            self.ledger.close()

    def say(self, command: c.Command[Any], *, remember: bool = True) -> None:
        """Give a command to the ledgers, which must agree, and to the auditor, who must too."""
        self.auditor.now_ms = self.clock.now_ms
        conflict = self.auditor.conflicts(command)
        if remember:
            self.story.append(command)
        try:
            answer = self.ledger.execute(command)
        except ReservationConflict:
            assert conflict, command
            return
        assert not conflict, command
        self.due = getattr(answer, "due", self.due)
        self.auditor.enter(command, answer)

    def row(self, identity: str, *, stale_ms: int = 0) -> c.BudgetRow:
        """A budget in its window of now, or of a little earlier."""
        window = window_at(span_of(identity), "Europe/Berlin", self.clock.now_ms - stale_ms)
        steps = STEPS if identity in {USD, DAY, ROLLING} else ()
        row = c.BudgetRow(
            identity,
            window.id,
            window.start_ms,
            window.end_ms,
            unit_of(identity),
            self.limits[identity],
            steps,
            window.bucket_ms,
            pace(window, self.clock.now_ms - stale_ms) if identity == DAY else 0,
        )
        self.rows[ref(row)] = row
        return row

    def unended(self) -> list[str]:
        """Holds that are open or expired: what may still be settled."""
        return [name for name, state in self.auditor.state.items() if state in {"open", "expired"}]

    def hold(self, pick: int) -> str:
        """Mostly an open hold; now and then one that ended, or that nobody has heard of."""
        unended = self.unended()
        pool = unended if unended and pick % 8 else [*self.auditor.state, "lost", "lost-too"]
        return pool[pick % len(pool)]

    def amount(self, identity: str, share: int, nudge: int) -> int:
        """*share* permille of a budget's limit, give or take a little; never negative."""
        return max(0, self.limits[identity] * share // PERMILLE + nudge)

    @rule(
        again=rarely,
        pick=picks,
        tried=candidates,
        ttl_ms=st.sampled_from([1_000, 60_000, 90_000]),
        charge=st.booleans(),
        quiet=st.booleans(),
        stale=st.sampled_from([0, 0, 0, 60_000]),
        notice=notices,
    )
    def reserve(
        self,
        again: bool,
        pick: int,
        tried: list[Any],
        ttl_ms: int,
        charge: bool,
        quiet: bool,
        stale: int,
        notice: c.Notice | None,
    ) -> None:
        """Ask for the first of a few candidates, sometimes with windows that are over or a used id."""
        name = self.hold(pick) if again else f"r{len(self.story)}"
        touched = [index for index in range(len(IDENTITIES)) if any(row[index] is not None for row in tried)]
        budgets = tuple(self.row(IDENTITIES[index], stale_ms=stale) for index in touched)
        wanted = tuple(tuple(self._ask(IDENTITIES[i], row[i]) for i in touched) for row in tried)
        self.say(c.Reserve(name, budgets, wanted, ttl_ms, charge, f'"{name}"', quiet=quiet, notice=notice))

    def _ask(self, identity: str, drawn: tuple[int, int, int, bool, bool, int, bool] | None) -> c.Ask | None:
        if drawn is None:
            return None
        share, nudge, mark_bp, floored, comes_back, share_bp, shadow = drawn
        floor = self.limits[identity] // 5 if floored else 0
        amount = self.amount(identity, share // 3, nudge)
        return c.Ask(amount, mark_bp, floor, comes_back, share_bp, not shadow)

    def _postings(self, name: str, share: int, nudge: int, *, other: bool) -> tuple[c.Posting, ...]:
        """Postings to the budgets of a hold, or (*other*, or an unknown hold) to some others."""
        known = self.auditor.holds.get(name)
        if other or known is None:
            return tuple(
                c.Posting(self.row(i), self.amount(i, share, nudge)) for i in (USD, ROLLING, REQUESTS, FLYING)
            )
        return tuple(
            c.Posting(line.row, max(0, line.held * share // PERMILLE + (nudge if line.held else 0)))
            for line in known
        )

    @precondition(unended)
    @rule(pick=picks, share=shares, nudge=nudges, other=rarely, notice=notices)
    def settle(self, pick: int, share: int, nudge: int, other: bool, notice: c.Notice | None) -> None:
        """Settle some hold at less, all or more of what it held; or an unknown or ended one."""
        name = self.hold(pick)
        postings = self._postings(name, share, nudge, other=other)
        self.say(c.Settle(name, postings, f'"{name}"', notice=notice))

    @precondition(unended)
    @rule(pick=picks, other=rarely, notice=notices)
    def release(self, pick: int, other: bool, notice: c.Notice | None) -> None:
        """Release some hold."""
        name = self.hold(pick)
        self.say(c.Release(name, self._postings(name, 0, 0, other=other), notice=notice))

    @precondition(unended)
    @rule(pick=picks, ttl_ms=st.sampled_from([1_000, 60_000]))
    def extend(self, pick: int, ttl_ms: int) -> None:
        """Extend some hold; a repetition of this is another extension, so it is not remembered."""
        name = self.hold(pick)
        self.say(c.Extend(name, ttl_ms), remember=False)

    @rule(chosen=st.none() | st.lists(picks, min_size=1, max_size=4), wait_ms=delays)
    def expire(self, chosen: list[int] | None, wait_ms: int) -> None:
        """Expire what the last reply named, as every caller does; or any holds, due or not."""
        self.tick(wait_ms)
        if chosen is None:
            self.say(c.Expire(self.due))
            return
        named = dict.fromkeys(self.hold(pick) for pick in chosen)
        lines = {name: self.auditor.holds.get(name, []) for name in named}
        self.say(
            c.Expire(tuple(c.DueHold(name, tuple(ref(x.row) for x in rows)) for name, rows in lines.items()))
        )

    @rule(
        kind=st.sampled_from(["grant", "grant for a while", "set", "freeze", "unfreeze"]),
        name=operations,
        identity=identities,
        share=st.none() | st.integers(0, PERMILLE),
        wait_ms=delays,
        delay=delays,
    )
    def administer(
        self, kind: str, name: str, identity: str, share: int | None, wait_ms: int, delay: int
    ) -> None:
        """Grant, set a limit (or take it away), freeze or unfreeze: now or later, for a while or for good."""
        from_ms = wait_ms and self.clock.now_ms + wait_ms
        until_ms = delay and self.clock.now_ms + wait_ms + delay
        amount = None if share is None else self.amount(identity, share, 0)
        commands: dict[str, c.Command[Any]] = {
            "grant": c.Grant(name, identity, self.row(identity).window, (amount or 0) // 2 + 1),
            "grant for a while": c.Grant(
                name, identity, "", (amount or 0) // 2 + 1, from_ms=from_ms, until_ms=until_ms
            ),
            "set": c.SetLimit(name, identity, amount, until_ms, from_ms=from_ms),
            "freeze": c.Freeze(name, identity, "audit", until_ms or self.clock.now_ms + 1_000),
            "unfreeze": c.Unfreeze(name, identity),
        }
        self.say(commands[kind])

    @rule(name=operations)
    def take_back(self, name: str) -> None:
        """Take a grant back, if one was made under this id."""
        grant = self.ledger.execute(c.FindGrant(name))
        self.auditor.check_grant(name, grant)
        if grant is not None:
            self.say(grant.taking_back("{}"))

    @rule(identity=identities, share=st.integers(800, PERMILLE))
    def edit_the_file(self, identity: str, share: int) -> None:
        """The policy file's limit goes down; later reserves carry the new one."""
        self.limits[identity] = max(1, self.limits[identity] * share // PERMILLE)

    @rule(contains=st.sampled_from(["", "/usd/", "user=ada", "no such"]), past=st.booleans())
    def list_all(self, contains: str, past: bool) -> None:
        """List balances, holds and what was changed of limits."""
        known = self.ledger.execute(c.ListBalances(contains, past))
        holds = self.ledger.execute(c.ListHolds())
        assert all(contains in one.identity and (past or self._is_on(one)) for one in known)
        if past and not contains:
            self.auditor.check_lists(known, holds)
        self.auditor.check_changed(self.ledger.execute(c.ListChanged()))
        for identity in IDENTITIES:
            changes = c.ReadChanges(identity, self.row(identity).window)
            self.auditor.check_changes(changes, self.ledger.execute(changes))

    def _is_on(self, known: c.KnownBalance) -> bool:
        return not known.end_ms or known.end_ms > self.clock.now_ms

    @rule(index=st.integers(0, 1_000))
    def repeat(self, index: int) -> None:
        """Send an earlier command once more, as after a lost reply."""
        if self.story:
            self.say(self.story[index % len(self.story)])

    @rule(delay=steps)
    def wait(self, delay: int) -> None:
        """Time passes."""
        self.tick(delay)

    @rule(buckets=st.sampled_from([1, 1, 47, 48, 49]), nudge=st.sampled_from([-1, 0, 1]))
    def wait_for_a_bucket(self, buckets: int, nudge: int) -> None:
        """Time passes until just before, at or after the begin of a rolling window's bucket."""
        begins_ms = (self.clock.now_ms // BUCKET_MS + buckets) * BUCKET_MS
        self.tick(begins_ms + nudge - self.clock.now_ms)

    def tick(self, delay: int) -> None:
        """Move the one clock, a little back at times; never so far that closed holds are forgotten."""
        if self.clock.now_ms + delay < START_MS + LONGEST_MS:
            self.auditor.now_ms = self.clock.advance(delay)

    @invariant()
    def balances_are_equal_and_right(self) -> None:
        """Every balance ever asked for is what the auditor's books say."""
        rows = tuple(self.rows.values())
        self.auditor.check(rows, self.ledger.execute(c.Read(rows)).balances)


def maker(store: str, request: pytest.FixtureRequest, folder: Path) -> Callable[[str, SettableClock], Ledger]:
    """Makes ledgers of an organisation in `sqlite`, `redis` or `fakeredis`."""

    def make_ledger(org: str, clock: SettableClock) -> Ledger:
        if store == "sqlite":
            return SqliteLedger(folder / f"{org}.db", org, clock=clock)
        return RedisLedger(client(), Keys(org), store, clock=clock, create=True)

    def client() -> Any:
        if store == "redis":
            return connect(request.getfixturevalue("redis_server").url)
        return FakeRedis(server=fakeredis.FakeServer(), decode_responses=True)

    return make_ledger


@pytest.mark.parametrize("store", ["sqlite", "redis", "fakeredis"])
def test_a_store_is_the_pure_rule_at_every_step_of_any_story(store, request, tmp_path):
    """Random reserves, endings, grants, limits, freezes, repetitions and clock steps find no difference."""
    make_ledger = staticmethod(maker(store, request, tmp_path))
    machine = type("Machine", (LedgerMachine,), {"make_ledger": make_ledger})
    run_state_machine_as_test(machine)

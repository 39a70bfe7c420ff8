"""A journal tells it all: replayed it is its ledger, and what is rebuilt from it goes on alike."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis.stateful import run_state_machine_as_test
from model.test_ledger_model import LedgerMachine, maker
from support.told import told
from support.twins import answer_of

from governor.journal import rebuild
from governor.journal.archive import open_archive
from governor.journal.archiving import copy_new
from governor.journal.replay import Replay
from governor.ledger import commands as c
from governor.ledger.recovery import ReadSince

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from governor.ledger import Ledger


class ReplayedMachine(LedgerMachine):
    """The same stories, whose end is replayed and rebuilt; `folder` is given by the test."""

    folder: Path

    def say(self, command: c.Command[Any], *, remember: bool = True) -> None:
        """As told, with records that name budgets and asks."""
        super().say(told(command) if isinstance(command, c.Reserve) else command, remember=remember)

    def teardown(self) -> None:
        """At the end the journal is replayed, and the store rebuilt from it."""
        try:
            if self.limits:
                replay_is_the_ledger(self.ledger.other, self.clock.now_ms)
                self.auditor.now_ms = self.clock.advance(3_600_000)
                while due := self.ledger.execute(c.ListHolds()):
                    self.say(c.Expire(tuple(c.DueHold(hold.id, hold.balances) for hold in due)))
                self.rebuilt_goes_on_as(self.ledger.other)
        finally:
            super().teardown()

    def rebuilt_goes_on_as(self, old: Ledger) -> None:
        """A store rebuilt from the archive has the same balances, and gives the same answers."""
        org = f"model-{secrets.token_hex(8)}"
        archive = open_archive(str(self.folder / f"{org}.jsonl"), org)
        copy_new(old, archive, lambda *_: None)
        plan = rebuild.plan(archive, self.clock.now_ms, self.clock.now_ms, lambda _: None)
        assert not plan.replay.strange
        new = self.make_ledger(org, self.clock)
        rebuild.carry_out(new, plan, "epoch-2", {}, freeze=False, tell=lambda _: None)
        same_state(new, old, self.rows)
        self.say(c.Settle("told to both", tuple(c.Posting(row, row.limit) for row in self.rows.values())))
        again = [one for one in self.story if not isinstance(one, c.Reserve)]
        for command in (again[-1], *again):
            assert answer_of(new, command) == answer_of(old, command), command
        same_state(new, old, self.rows)
        new.close()


def same_state(new: Ledger, old: Ledger, budgets: Iterable[tuple[str, str]]) -> None:
    """Balances and the changes of limits are the same."""
    questions = [c.ListBalances(past=True), c.ListChanged(), *(c.ReadChanges(*budget) for budget in budgets)]
    for question in questions:
        assert new.execute(question) == old.execute(question), question


def replay_is_the_ledger(ledger: Ledger, now_ms: int) -> None:
    """Replayed, the journal has every balance the ledger has, spent and held."""
    page = ledger.execute(ReadSince(limit=100_000))
    replay = Replay()
    replay.read(page.epoch, page.entries)
    held = replay.held()
    own = [(b.identity, b.window, b.balance) for b in ledger.execute(c.ListBalances(past=True))]
    told_of = {ref: (account.counted(now_ms), held[ref]) for ref, account in replay.accounts.items()}
    assert told_of == {(i, window): (balance.posted, balance.held) for i, window, balance in own}
    assert not replay.strange


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_journal_replayed_is_its_ledger_and_rebuilt_goes_on_as_it(store, request, tmp_path):
    """Balances, limits, freezes, crossings and every answer to a command told again are the same."""
    given = {"make_ledger": staticmethod(maker(store, request, tmp_path)), "folder": tmp_path}
    run_state_machine_as_test(type("Machine", (ReplayedMachine,), given))

"""A journal tells it all: replayed it is its ledger, and what is rebuilt from it goes on alike."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from hypothesis.stateful import run_state_machine_as_test
from model.test_ledger_model import LedgerMachine, _answer
from support.told import told

from governor.journal import rebuild
from governor.journal.archive import open_archive
from governor.journal.archiving import copy_new
from governor.journal.replay import Replay
from governor.ledger import commands as c
from governor.ledger.keys import Keys
from governor.ledger.recovery import ReadSince
from governor.ledger.redis import RedisLedger
from governor.ledger.servers import connect
from governor.ledger.sqlite import SqliteLedger

if TYPE_CHECKING:
    import pytest
    from support.redis_server import RedisServer

    from governor.ledger import Ledger


class ReplayedMachine(LedgerMachine):
    """The same stories, whose end is replayed and rebuilt."""

    def say(self, command: c.Command[Any], *, remember: bool = True) -> None:
        """As told, with records that name budgets and asks."""
        super().say(told(command) if isinstance(command, c.Reserve) else command, remember=remember)

    def teardown(self) -> None:
        """At the end the journals are replayed, and both ledgers rebuilt from them."""
        try:
            if self.limits:
                for ledger in (self.sqlite, self.redis):
                    replay_is_the_ledger(ledger)
                self.tick(3_600_000)
                while due := self.sqlite.execute(c.ListHolds()):
                    self.say(c.Expire(tuple(c.DueHold(hold.id, hold.balances) for hold in due)))
                for ledger in (self.sqlite, self.redis):
                    self.rebuilt_goes_on_as(ledger)
        finally:
            super().teardown()

    def rebuilt_goes_on_as(self, old: Ledger) -> None:
        """A store rebuilt from the archive has the same balances, and gives the same answers."""
        org = f"model-{secrets.token_hex(8)}"
        archive = open_archive(str(self.folder / f"{org}.jsonl"), org)
        copy_new(old, archive, lambda *_: None)
        plan = rebuild.plan(archive, self.clock.now_ms, self.clock.now_ms, lambda _: None)
        assert not plan.replay.strange
        new: Ledger = SqliteLedger(self.folder / f"{org}.db", org, clock=self.clock)
        if isinstance(old, RedisLedger):
            new = RedisLedger(connect(self.url), Keys(org), self.url, clock=self.clock)
        rebuild.carry_out(new, plan, "epoch-2", {}, freeze=False, tell=lambda _: None)
        everything = c.ListBalances(past=True)
        assert new.execute(everything) == old.execute(everything)
        for command in (one for one in self.story if not isinstance(one, c.Reserve)):
            assert _answer(new, command) == _answer(old, command), command
        assert new.execute(everything) == old.execute(everything)
        new.close()


def replay_is_the_ledger(ledger: Ledger) -> None:
    """Replayed, the journal has every balance the ledger has, spent and held."""
    page = ledger.execute(ReadSince(limit=100_000))
    replay = Replay()
    replay.read(page.epoch, page.entries)
    held = replay.held()
    own = [(b.identity, b.window, b.balance) for b in ledger.execute(c.ListBalances(past=True))]
    told_of = {ref: (account.posted, held[ref]) for ref, account in replay.accounts.items()}
    assert told_of == {(i, window): (balance.posted, balance.held) for i, window, balance in own}
    assert not replay.strange


def test_a_journal_replayed_is_its_ledger_and_rebuilt_goes_on_as_it(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Balances, limits, freezes, crossings and every answer to a command told again are the same."""

    class Machine(ReplayedMachine):
        folder = tmp_path_factory.mktemp("replay")
        url = redis_server.url

    run_state_machine_as_test(Machine)

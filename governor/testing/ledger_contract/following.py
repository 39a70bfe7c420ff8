"""Contract: archives that follow the journal, and what is kept for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.errors import LedgerUnavailable
from governor.ledger.following import AwaitRecords, Follow, Follower, ListFollowers, Unfollow
from governor.ledger.recovery import Mark, MeasureJournal, ReadSince, TrimJournal

if TYPE_CHECKING:
    from governor.ledger.commands import JournalEntry
    from governor.testing.ledger_contract.bench import Bench

TEAM = "department=engineering/usd/month"


class FollowingContract:
    """Who follows is known with its lag, can wait, and loses nothing to a trim."""

    def test_an_archive_that_follows_is_listed_with_its_lag(self, bench: Bench) -> None:
        """From its first word on, wherever it is, and however it moves."""
        epoch, made = _write(bench, 4)
        assert bench.ledger.execute(ListFollowers()) == ()
        bench.ledger.execute(Follow("b", epoch, None))
        oldest_ms = made[0].at_ms
        assert bench.ledger.execute(ListFollowers()) == (Follower("b", None, len(made), oldest_ms),)
        bench.ledger.execute(Follow("a", epoch, Mark.of(made[-1])))
        bench.ledger.execute(Follow("b", epoch, Mark.of(made[1]), "", 2))
        bench.ledger.execute(Follow("b", epoch, Mark.of(made[2]), made[1].seq, 1))
        told = bench.ledger.execute(ListFollowers())
        assert told == (
            Follower("a", made[-1].seq, 0, None),
            Follower("b", made[2].seq, len(made) - 3, made[3].at_ms),
        )
        _, more = _write(bench, 1, "again")
        told = bench.ledger.execute(ListFollowers())
        assert [(one.name, one.lag) for one in told] == [("a", len(more)), ("b", len(made) + len(more) - 3)]

    def test_one_that_began_elsewhere_has_a_lag_once_it_was_at_the_end(self, bench: Bench) -> None:
        """Set to the middle of the journal, its lag may be unknown; its oldest record is not."""
        epoch, made = _write(bench, 4)
        bench.ledger.execute(Follow("a", epoch, Mark.of(made[3])))
        (one,) = bench.ledger.execute(ListFollowers())
        assert (one.seq, one.oldest_ms) == (made[3].seq, made[4].at_ms)
        assert one.lag in (None, len(made) - 4)
        bench.ledger.execute(Follow("a", epoch, Mark.of(made[-1])))
        _, more = _write(bench, 2, "again")
        bench.ledger.execute(Follow("a", epoch, Mark.of(more[0]), made[-1].seq, 1))
        (one,) = bench.ledger.execute(ListFollowers())
        assert one == Follower("a", more[0].seq, len(more) - 1, more[1].at_ms)

    def test_a_trim_leaves_what_an_archive_has_not(self, bench: Bench) -> None:
        """And the last record it has; forgotten, it holds nothing back any more."""
        epoch, made = _write(bench, 4)
        bench.ledger.execute(Follow("slow", epoch, Mark.of(made[2])))
        bench.ledger.execute(Follow("fast", epoch, Mark.of(made[-1])))
        trim = TrimJournal(epoch, made[-1].seq, Mark.of(made[-1]))
        assert _trimmed(bench, trim) == 2
        assert _kept(bench) == made[2:]
        bench.ledger.execute(Follow("new", epoch, None))
        assert _trimmed(bench, trim) == 0
        assert [bench.ledger.execute(Unfollow(name)) for name in ("slow", "new", "new")] == [
            True,
            True,
            False,
        ]
        assert _trimmed(bench, trim) == len(made) - 3
        assert _kept(bench) == made[-1:]

    def test_a_wait_ends_with_a_record(self, bench: Bench) -> None:
        """Where there is one it answers at once; else that there is none."""
        _, made = _write(bench, 1)
        assert bench.ledger.execute(AwaitRecords(None, 1))
        assert bench.ledger.execute(AwaitRecords(made[-2].seq, 1))
        assert not bench.ledger.execute(AwaitRecords(made[-1].seq, 1))

    def test_another_ledger_s_archive_does_not_follow(self, bench: Bench) -> None:
        """A place of another epoch would hold back, or let go, what it knows nothing of."""
        _, made = _write(bench, 1)
        with pytest.raises(LedgerUnavailable, match="made anew meanwhile"):
            bench.ledger.execute(Follow("a", "another", Mark.of(made[-1])))
        assert bench.ledger.execute(ListFollowers()) == ()


def _write(bench: Bench, calls: int, name: str = "call") -> tuple[str, list[JournalEntry]]:
    """Spend so often; the epoch, and the records that are new (all, at first)."""
    last = bench.ledger.execute(MeasureJournal()).last
    known = "" if last is None or last.kind == "create" else last.seq
    team = bench.budget(TEAM, 10**9)
    for number in range(calls):
        bench.clock.advance(1)
        bench.spend(f"{name}-{number}", team, 1)
    page = bench.ledger.execute(ReadSince(known or None))
    return page.epoch, list(page.entries)


def _trimmed(bench: Bench, command: TrimJournal) -> int:
    gone = 0
    while count := bench.ledger.execute(command):
        gone += count
    return gone


def _kept(bench: Bench) -> list[JournalEntry]:
    return list(bench.ledger.execute(ReadSince()).entries)

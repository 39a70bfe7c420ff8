"""Contract: the notice board, by which processes tell each other things in passing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger.board import BOARD_KEPT_MS, BOARD_LINES, NOTICE_CHARS
from governor.testing.ledger_contract.bench import TTL_MS

if TYPE_CHECKING:
    from governor.testing.ledger_contract.bench import Bench

TEAM = "department=engineering/usd/month"
USER = "user=ada@example.com/usd/day"
DAY_MS = 24 * 3600 * 1000


def ask(bench: Bench, identifier: str, notice: c.Notice | None, amount: int = 1) -> c.Reserve:
    """A reserve of a team with 100 that carries a notice."""
    team = bench.budget(TEAM, 100)
    return c.Reserve(identifier, (team,), ((c.Ask(amount),),), TTL_MS, notice=notice)


def tell(bench: Bench, process: str, text: str = "") -> tuple[c.Posted, ...]:
    """Post by a reserve of nothing; what the board says to *process*."""
    answer = bench.ledger.execute(ask(bench, f"{process}-{bench.clock.now_ms}", c.Notice(process, text), 0))
    assert isinstance(answer, c.Held)
    return answer.board


class BoardContract:
    """Notices reach the others with the answers they get anyway, for two minutes, and change no money."""

    def test_processes_read_each_other(self, bench: Bench) -> None:
        """Each is answered the lines of the others, with their times, the newest first; never its own."""
        start = bench.clock.now_ms
        assert tell(bench, "a", "one") == ()
        bench.clock.advance(1)
        assert tell(bench, "b", '{"load": 1}  ·  ü') == (c.Posted("a", start, "one"),)
        bench.clock.advance(1)
        both = (c.Posted("b", start + 1, '{"load": 1}  ·  ü'), c.Posted("a", start, "one"))
        assert tell(bench, "c9") == both
        assert tell(bench, "a", "two") == both[:1]
        assert tell(bench, "b") == (c.Posted("a", start + 2, "two"),)

    def test_every_ending_and_refusal_carries_it(self, bench: Bench) -> None:
        """Held and refused reserves, settles and releases, known or not, post and answer; repeated too."""
        team, start = bench.budget(TEAM, 100), bench.clock.now_ms
        nothing = (c.Posting(team, 0),)
        commands: list[c.Reserve | c.Settle | c.Release] = [
            ask(bench, "held", None),
            ask(bench, "back", None),
            ask(bench, "big", None, 101),
            c.Settle("held", (c.Posting(team, 1),)),
            c.Settle("lost", nothing),
            c.Release("back", nothing),
        ]
        for number, command in enumerate([*commands, *commands]):
            tell(bench, "reader", f"before {number}")
            noticed: Any = replace(command, notice=c.Notice("writer", str(number)))
            answer = bench.ledger.execute(noticed)
            assert answer.board == (c.Posted("reader", bench.clock.now_ms, f"before {number}"),)
            assert tell(bench, "reader") == (c.Posted("writer", bench.clock.now_ms, str(number)),)
            bench.clock.advance(1)
        assert bench.clock.now_ms == start + 12

    def test_without_a_notice_nothing_is_read_or_posted(self, bench: Bench) -> None:
        """Who has no notice is told none, though there are some, and puts none up."""
        tell(bench, "a", "one")
        for command in (ask(bench, "r1", None), ask(bench, "r2", None, 101)):
            answer = bench.ledger.execute(command)
            assert not isinstance(answer, c.WindowMoved | c.Reordered)
            assert answer.board == ()
        team = bench.budget(TEAM, 100)
        assert bench.settle("r1", (team, 1)).board == ()
        assert bench.release("r3", (team, 0)).board == ()
        assert [line.process for line in tell(bench, "b")] == ["a"]

    def test_an_empty_notice_takes_the_own_line_off(self, bench: Bench) -> None:
        """It reads, and whoever posted before is heard no more; others' lines stay."""
        tell(bench, "a", "one")
        tell(bench, "b", "two")
        assert [line.text for line in tell(bench, "a")] == ["two"]
        bench.clock.advance(1)
        assert [line.text for line in tell(bench, "c")] == ["two"]

    def test_a_notice_is_told_for_two_minutes(self, bench: Bench) -> None:
        """In its last millisecond it is, after it no more, even if the clock should go back."""
        start = bench.clock.now_ms
        tell(bench, "a", "one")
        bench.clock.advance(BOARD_KEPT_MS)
        assert tell(bench, "b") == (c.Posted("a", start, "one"),)
        bench.clock.advance(1)
        assert tell(bench, "b") == ()
        bench.clock.advance(-2)
        assert tell(bench, "b") == ()

    def test_a_clock_set_far_back_leaves_no_notice_of_the_future(self, bench: Bench) -> None:
        """A little ahead a line is told, as it stands; further than lines are kept it is gone."""
        tell(bench, "a", "one")
        ahead = bench.clock.now_ms
        bench.clock.advance(-BOARD_KEPT_MS)
        assert tell(bench, "b") == (c.Posted("a", ahead, "one"),)
        bench.clock.advance(-1)
        assert tell(bench, "b") == ()

    def test_the_newest_are_told_where_there_are_many(self, bench: Bench) -> None:
        """At most 64 lines come, newest first; those of one instant by their process's name."""
        old = [tell(bench, f"old{number}", "x") for number in range(3)]
        bench.clock.advance(1)
        for number in range(BOARD_LINES - 1):
            tell(bench, f"new{number:02}", "y")
        told = tell(bench, "reader")
        assert len(old) + BOARD_LINES - 1 > BOARD_LINES
        assert [line.process for line in told] == [
            *(f"new{number:02}" for number in range(BOARD_LINES - 1)),
            "old0",
        ]

    def test_the_longest_notice_arrives_whole(self, bench: Bench) -> None:
        """4,000 characters of any script, and a name of 32, come as they were posted."""
        text = "ß€ 漢" * (NOTICE_CHARS // 4)
        tell(bench, "a" * 32, text)
        assert [(line.process, line.text) for line in tell(bench, "b")] == [("a" * 32, text)]

    def test_a_due_hold_is_named_beside_the_board(self, bench: Bench) -> None:
        """One answer may carry both, and each is read as what it is."""
        team = bench.budget(TEAM, 100)
        bench.reserve("dead", (team, 5), ttl_ms=1)
        tell(bench, "a", "dead department=x/usd/month 2026-11")
        bench.clock.advance(1)
        answer = bench.ledger.execute(ask(bench, "r1", c.Notice("b")))
        assert isinstance(answer, c.Held)
        assert [hold.id for hold in answer.due] == ["dead"]
        assert [line.text for line in answer.board] == ["dead department=x/usd/month 2026-11"]

    def test_a_repetition_with_another_notice_is_the_same_command(self, bench: Bench) -> None:
        """What is asked has no notice in it: no conflict, nothing counted twice, nothing journalled."""
        team = bench.budget(TEAM, 100)
        first = bench.ledger.execute(ask(bench, "r1", c.Notice("a", "one"), 7))
        again = bench.ledger.execute(ask(bench, "r1", c.Notice("b", "two"), 7))
        assert isinstance(first, c.Held)
        assert isinstance(again, c.Held)
        assert (again.expires_ms, bench.amounts(team)) == (first.expires_ms, [(0, 7)])
        for notice in (None, c.Notice("a", "three"), c.Notice("b")):
            bench.ledger.execute(c.Settle("r1", (c.Posting(team, 6),), notice=notice))
        assert bench.amounts(team) == [(6, 0)]
        kinds = [entry.kind for entry in bench.ledger.execute(c.ReadJournal())]
        assert kinds == ["create", "reserve", "settle"]
        assert not any("three" in repr(entry) for entry in bench.ledger.execute(c.ReadJournal()))

    def test_what_fails_posts_nothing(self, bench: Bench) -> None:
        """A conflict, and a window that has moved, leave the board as it is."""
        user = bench.budget(USER, 100)
        bench.ledger.execute(ask(bench, "r1", None))
        with pytest.raises(ReservationConflict):
            bench.ledger.execute(ask(bench, "r1", c.Notice("a", "one"), 2))
        with pytest.raises(ReservationConflict):
            bench.ledger.execute(c.Settle("r1", (c.Posting(user, 1),), notice=c.Notice("a", "one")))
        bench.clock.advance(DAY_MS)
        late = c.Reserve("r2", (user,), ((c.Ask(1),),), TTL_MS, notice=c.Notice("a", "one"))
        assert bench.ledger.execute(late) == c.WindowMoved(bench.clock.now_ms)
        assert tell(bench, "b") == ()

    @pytest.mark.parametrize("process", ["", "a" * 33, "A", "a b", "ä", "a\n", "a:b"])
    def test_a_process_has_a_plain_name(self, process: str) -> None:
        """1 to 32 small letters and digits."""
        with pytest.raises(ValueError, match="name of a process"):
            c.Notice(process, "x")

    @pytest.mark.parametrize("text", ["x" * (NOTICE_CHARS + 1), "a\nb", "\0", "\x7f", "\ud800"])
    def test_a_notice_is_short_and_printable(self, text: str) -> None:
        """At most 4,000 characters, none that breaks a line or cannot be encoded."""
        with pytest.raises(ValueError, match="a notice"):
            c.Notice("a", text)

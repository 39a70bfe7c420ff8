"""Contract: limits and grants that begin and end at instants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.ledger import commands as c

if TYPE_CHECKING:
    from governor.testing.ledger_contract.bench import Bench

TEAM = "department=engineering/usd/month"
HOUR_MS = 3_600_000


class TimedLimitsContract:
    """An override or a grant holds from its beginning until its end, and spend stays what it is."""

    def test_a_limit_that_was_set_holds_from_its_beginning_to_its_end(self, bench: Bench) -> None:
        """In force in the first millisecond, over in the one that ends it; then the file's again."""
        team, start = bench.budget(TEAM, 100), bench.clock.now_ms
        begins, ends = start + HOUR_MS, start + 2 * HOUR_MS
        bench.ledger.execute(c.SetLimit("l", team.identity, 500, ends, from_ms=begins))
        seen = []
        for now_ms in (start, begins - 1, begins, ends - 1, ends):
            bench.clock.now_ms = now_ms
            seen.append(bench.balance(team).limit)
        assert seen == [100, 100, 500, 500, 100]

    def test_of_limits_in_force_the_last_one_set_holds(self, bench: Bench) -> None:
        """A limit for an hour lies on top of one for good, which is there again when the hour is over."""
        team, start = bench.budget(TEAM, 100), bench.clock.now_ms
        bench.ledger.execute(c.SetLimit("good", team.identity, 300))
        bench.ledger.execute(c.SetLimit("hour", team.identity, 900, start + HOUR_MS))
        assert bench.balance(team).limit == 900
        bench.clock.advance(HOUR_MS)
        assert bench.balance(team).limit == 300

    def test_a_limit_for_good_replaces_those_before_it(self, bench: Bench) -> None:
        """What was set before is gone, and so is what was still to begin; `None` takes everything away."""
        team, start = bench.budget(TEAM, 100), bench.clock.now_ms
        bench.ledger.execute(c.SetLimit("l1", team.identity, 900, start + HOUR_MS))
        bench.ledger.execute(c.SetLimit("l2", team.identity, 700, from_ms=start + 2 * HOUR_MS))
        bench.ledger.execute(c.SetLimit("l3", team.identity, 300))
        assert bench.balance(team).limit == 300
        bench.clock.advance(3 * HOUR_MS)
        assert bench.balance(team).limit == 300
        bench.ledger.execute(c.SetLimit("l4", team.identity, None))
        assert bench.balance(team).limit == 100

    def test_a_grant_between_instants_adds_in_every_window_it_meets(self, bench: Bench) -> None:
        """It is no window's: across midnight it goes on, and at its end it is gone."""
        identity, start = "user=ada@example.com/usd/day", bench.clock.now_ms
        ends = start + 30 * HOUR_MS
        granted = bench.ledger.execute(c.Grant("g", identity, "", 40, from_ms=start + HOUR_MS, until_ms=ends))
        assert granted == c.Administered(start, 40)
        seen = []
        for hours in (0, 1, 24, 29, 30):
            bench.clock.now_ms = start + hours * HOUR_MS
            seen.append(bench.balance(bench.budget(identity, 100)).limit)
        assert seen == [100, 140, 140, 140, 100]

    def test_a_grant_between_instants_is_taken_back_at_once(self, bench: Bench) -> None:
        """Before it begins or while it holds: it adds nothing any more; once it is over nothing is left."""
        team, start = bench.budget(TEAM, 100), bench.clock.now_ms
        later = c.Grant("g1", team.identity, "", 40, from_ms=start + HOUR_MS, until_ms=start + 2 * HOUR_MS)
        now = c.Grant("g2", team.identity, "", 7, until_ms=start + 2 * HOUR_MS)
        for grant in (later, now):
            bench.ledger.execute(grant)
            assert bench.ledger.execute(c.FindGrant(grant.id)) == grant
            assert bench.ledger.execute(grant.taking_back("{}")) == c.Administered(start, -grant.amount)
        seen = [bench.balance(team).limit]
        for hours in (1, 2):
            bench.clock.now_ms = start + hours * HOUR_MS
            seen.append(bench.balance(team).limit)
        assert seen == [100, 100, 100]
        assert bench.ledger.execute(c.ReadChanges(team.identity, "")).limits == ()

    def test_a_change_forgets_for_good_what_is_over(self, bench: Bench) -> None:
        """A grant or a limit that had ended when another was made does not come back with the clock."""
        team, start = bench.budget(TEAM, 100), bench.clock.now_ms
        bench.ledger.execute(c.Grant("g1", team.identity, "", 10, until_ms=start + HOUR_MS))
        bench.ledger.execute(c.SetLimit("l1", team.identity, 500, start + HOUR_MS))
        bench.clock.advance(HOUR_MS)
        bench.ledger.execute(c.Grant("g2", team.identity, "", 1))
        bench.clock.advance(-1)
        assert bench.balance(team).limit == 101

    def test_grants_add_up_on_whatever_limit_is_in_force(self, bench: Bench) -> None:
        """Of a window, between instants, and on top of a limit that was set; each counts once."""
        team, start = bench.budget(TEAM, 100), bench.clock.now_ms
        timed = c.Grant("g1", team.identity, "", 10, until_ms=start + HOUR_MS)
        for command in (timed, timed, c.Grant("g2", team.identity, "", 5, until_ms=start + 2 * HOUR_MS)):
            bench.ledger.execute(command)
        bench.ledger.execute(c.Grant("g3", team.identity, team.window, 1))
        bench.ledger.execute(c.SetLimit("l", team.identity, 1000))
        assert bench.balance(team).limit == 1016
        bench.clock.advance(HOUR_MS)
        assert bench.balance(team).limit == 1006

    def test_the_end_of_a_limit_erases_no_spend(self, bench: Bench) -> None:
        """Spent under the higher limit, it stays spent under the lower one: nothing more fits."""
        team, start = bench.budget(TEAM, 100), bench.clock.now_ms
        bench.ledger.execute(c.SetLimit("l", team.identity, 500, start + HOUR_MS))
        bench.spend("s", team, 450)
        bench.clock.advance(HOUR_MS)
        assert bench.balance(team) == c.Balance(450, 0, 100)
        refused = bench.reserve("r", (team, 1))
        assert isinstance(refused, c.Refused)
        assert refused.reason == "exhausted"

    def test_changes_can_be_read_until_they_are_over(self, bench: Bench) -> None:
        """In the order in which they were made, begun or not; with what the window was granted."""
        team, start = bench.budget(TEAM, 100), bench.clock.now_ms
        later, end = start + HOUR_MS, start + 2 * HOUR_MS
        bench.ledger.execute(c.SetLimit("l1", team.identity, 300))
        bench.ledger.execute(c.SetLimit("l2", team.identity, 900, end, from_ms=later))
        bench.ledger.execute(c.Grant("g1", team.identity, "", 10, until_ms=later))
        bench.ledger.execute(c.Grant("g2", team.identity, team.window, 7))
        read = c.ReadChanges(team.identity, team.window)
        lasting, timed, grant = (
            c.LimitChange(added=False, amount=300, from_ms=0, until_ms=0),
            c.LimitChange(added=False, amount=900, from_ms=later, until_ms=end),
            c.LimitChange(added=True, amount=10, from_ms=0, until_ms=later),
        )
        assert bench.ledger.execute(read) == c.Changes(7, (lasting, timed, grant), start)
        bench.clock.now_ms = later
        assert bench.ledger.execute(read) == c.Changes(7, (lasting, timed), later)
        assert bench.ledger.execute(c.ReadChanges("user=bob/usd/day", "")) == c.Changes(0, (), later)

    def test_a_freeze_can_be_read_with_its_end(self, bench: Bench) -> None:
        """Until when, or 0 for one that lasts until it is lifted; nothing once it is over."""
        read, end = c.ReadChanges(TEAM, "2026-11"), bench.clock.now_ms + HOUR_MS
        bench.ledger.execute(c.Freeze("f1", TEAM, "audit"))
        assert bench.ledger.execute(read).frozen_until_ms == 0
        bench.ledger.execute(c.Freeze("f2", TEAM, "audit", end))
        assert bench.ledger.execute(read).frozen_until_ms == end
        bench.clock.now_ms = end
        assert bench.ledger.execute(read).frozen_until_ms is None

"""What must hold on a simulated day: of each answer of the ledger, each call, and the whole."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.budgets import Unit
from governor.cli.story import tell
from governor.errors import BudgetContended, BudgetExceeded, PolicyViolation
from governor.ledger import commands as c
from governor.pricing import ceiling
from governor.routing import AUTO, LINES, line_of
from governor.story.legs import leg_id
from governor.story.request import bounds_of
from support.day_teams import TEAMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.cli.story import Story
    from governor.policy import Rules
    from support.day import Call, Day

MOST_MOVES = 2
STEPS = (80, 90)
REASONS = {
    "gone": r"is not known to the API|the successor of",
    "overload": r"overloaded|breaker is (half )?open",
    "load": r"rate limit \d+ % used",
    "cache": r"its prompt cache of",
    "unfit": r"does not (take|fit)|cannot serve|above the policy's",
    "budget": r"/usd/|/requests/|/concurrent",
    "conversation": r"its conversation is on",
    "feature": r"the feature",
}
"""Classes of reasons by what their sentence says, the one that decides first."""


class Row(NamedTuple):
    """One team's day: what a table for people shows; hours of the day, `None` where it never came."""

    team: str
    calls: int
    served: int
    refused: int
    downgraded: int
    moved: int
    spent_nanos: int
    limit_nanos: int
    reached_h: tuple[float | None, ...]
    out_h: float | None


class Judge:
    """Watches a day.

    Attributes:
        reasons: How often a call was served by another model than its own tier's, by reason.
        met: How often something happened that the day must have met.
    """

    def __init__(self, day: Day) -> None:
        self._day = day
        self.reasons: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.reached_h: dict[str, dict[int, float]] = defaultdict(dict)
        self.out_h: dict[str, float] = {}
        self._bill: Counter[str] = Counter()

    # As it happens

    def answered(self, call: Call, command: c.Command[Any], reply: Any) -> None:
        """The ledger answered: no balance is above its limit."""
        if not isinstance(reply, c.Held | c.Closed | c.Refused):
            return
        assert not getattr(reply, "overrun", False), f"{call.id} cost more than was held"
        for balance in reply.balances:
            assert balance.posted + balance.held <= balance.limit, f"{call.id}: {balance} is above its limit"
        if isinstance(reply, c.Closed):
            self._note_steps(command, reply)

    def _note_steps(self, command: Any, reply: c.Closed) -> None:
        for posting, balance in zip(command.postings, reply.balances, strict=True):
            if not re.fullmatch(r"department=\w+/usd/\w+", posting.budget.identity):
                continue
            reached = self.reached_h[posting.budget.identity.split("/")[0]]
            for step in STEPS:
                if balance.posted * 100 >= balance.limit * step:
                    reached.setdefault(step, self._day.now_s / 3600)

    def ended(self, call: Call) -> None:
        """A call is over: its receipt is its bill, and it was refused only where nothing would fit."""
        self._bill[call.talk.team.name] += call.nanos
        if call.receipt is not None:
            call.talk.models.append(call.receipt.model)
            assert call.receipt.cost.nanos == call.nanos, f"{call.id}: {call.receipt.cost} is not its bill"
        elif isinstance(call.error, BudgetExceeded | BudgetContended):
            self._nothing_would_fit(call)
            self.met["contended" if isinstance(call.error, BudgetContended) else "exhausted"] += 1
        else:
            assert not call.nanos, f"{call.id} was billed and failed"
            assert not isinstance(call.error, PolicyViolation), f"{call.id}: {call.error}"
            self.met[f"api {call.error}"] += 1

    def _nothing_would_fit(self, call: Call) -> None:
        """A refusal is right only if the cheapest line does not fit these balances, made small if allowed."""
        command, refused = call.asked[-1]
        assert isinstance(refused, c.Refused), f"{call.id} was refused by {refused}"
        balances = self._day.ledger.execute(c.Read(command.budgets)).balances
        rules = self._day.policies.rules(call.request.who)
        lines = rules.feature_lines or tuple(rules.lines)
        line = min(lines, key=LINES.index)
        most = min(call.talk.max_tokens, rules.max_tokens or call.talk.max_tokens)
        shrunk = min(most, rules.routes.shrink_to or most)
        least = ceiling(
            self._day.prices,
            rules.lines[line],
            input_tokens=call.tokens,
            counted=True,
            body={**call.talk.body, "max_tokens": shrunk},
            at_ms=self._day.clock_ms(),
            bounds=bounds_of(rules),
        )
        free = {
            f"{row.identity}": balance.limit - balance.posted - balance.held
            for row, balance in zip(command.budgets, balances, strict=True)
        }
        needs = {Unit.USD: least.nanos, Unit.TOKENS: least.tokens}
        short = [row.identity for row in command.budgets if needs.get(row.unit, 1) > free[row.identity]]
        assert short, f"{call.id} was refused at {free}, though {line} needs {least.nanos}: {call.error}"
        team = call.talk.team.name
        if any(name.startswith(f"department={team}/usd/") for name in short):
            self.out_h.setdefault(team, self._day.now_s / 3600)

    # In the end

    def whole(self) -> None:
        """Judge a day that is over.

        Raises:
            AssertionError: Something is not as it must be.
        """
        day = self._day
        assert day.ledger.execute(c.ListHolds()) == ()
        posted: Counter[str] = Counter()
        for known in day.ledger.execute(c.ListBalances(past=True)):
            posted[known.identity] += known.balance.posted
        for team in TEAMS:
            identity = next(i for i in posted if re.fullmatch(rf"department={team.name}/usd/\w+", i))
            assert posted[identity] == self._bill[team.name], f"{team.name}'s books are not its bill"
        assert posted["org/usd/month"] == sum(self._bill.values())
        for talk in day.talks:
            assert moves(talk.models) <= MOST_MOVES, f"{talk.name} went {talk.models}"
        self._judge_journal()

    def _judge_journal(self) -> None:
        """Each call that was served is told by the journal alone: its model, and why that one."""
        entries: dict[str, list[c.JournalEntry]] = defaultdict(list)
        for entry in self._day.ledger.execute(c.ReadJournal(limit=10_000_000)):
            entries[entry.id].append(entry)
        for call in self._day.calls:
            if call.receipt is not None:
                self._judge_call(call, stories_of(call.id, entries))

    def _judge_call(self, call: Call, stories: Sequence[Story]) -> None:
        receipt, last = call.receipt, stories[-1]
        assert receipt is not None
        assert last.held is not None, f"{call.id} has no decision in the journal"
        record, decision = last.held.record, receipt.decision
        rules = self._day.policies.rules(call.request.who)
        assert record["tier"] in rules.routes.tiers
        assert record["candidates"]
        assert isinstance(record["load"], int)
        by_complexity = rules.routes.complexity and record["asked"] == AUTO and not rules.feature_lines
        assert (record["complexity"] is not None) == bool(by_complexity), f"{call.id}: {record}"
        served = next(one for one in last.held.tried if one.verdict == "fits")
        assert (last.endings[-1].record["model"], served.model) == (receipt.model, receipt.model)
        assert receipt.model == decision.model
        why = self._why(stories)
        wanted = wanted_by(record, rules)
        if decision.model != decision.preferred:
            assert decision.downgraded
        if decision.downgraded or receipt.model != wanted:
            found = reason_of(decision.reason)
            assert found, f"{call.id}: {receipt.model} for {wanted}, {decision.reason!r}"
            assert found == why, f"{call.id}: {decision.reason!r}, but the journal says {why}: {record}"
            self.reasons[found] += 1

    def _why(self, stories: Sequence[Story]) -> str:
        """The class of the reason for which a call was served as it was, by the journal alone."""
        *before, last = stories
        assert last.held is not None
        for story in before:
            end = story.endings[-1].record
            return "gone" if end["status"] == 404 else "overload"
        skipped = [one for one in last.held.tried if one.verdict == "skipped"]
        tried = [one for one in last.held.tried if one.verdict != "skipped"]
        if tried[0].verdict != "fits":
            return reason_of(tried[0].sentence)
        if any(one.model == last.held.record["preferred"] for one in skipped):
            return reason_of(next(o for o in skipped if o.model == last.held.record["preferred"]).why)
        return reason_of(tried[0].why)

    def table(self) -> list[Row]:
        """The day of each team."""
        rows = []
        for team in TEAMS:
            calls = [call for call in self._day.calls if call.talk.team is team]
            receipts = [call.receipt for call in calls if call.receipt is not None]
            refused = sum(isinstance(call.error, BudgetExceeded | BudgetContended) for call in calls)
            reached = self.reached_h[f"department={team.name}"]
            rows.append(
                Row(
                    team.name,
                    len(calls),
                    len(receipts),
                    refused,
                    sum(receipt.decision.downgraded for receipt in receipts),
                    sum(moves(talk.models) for talk in self._day.talks if talk.team is team),
                    self._bill[team.name],
                    int(team.budgets[0]["usd"] * 1_000_000_000),
                    tuple(reached.get(step) for step in STEPS),
                    self.out_h.get(team.name),
                )
            )
        return rows


def moves(models: Sequence[str]) -> int:
    """How often a conversation changed model."""
    return sum(one != other for one, other in pairwise(models))


def reason_of(sentence: str) -> str:
    """The class of a reason; '' for none that explains another model."""
    return next((name for name, words in REASONS.items() if re.search(words, sentence)), "")


def wanted_by(record: dict[str, Any], rules: Rules) -> str:
    """The model that a call alone would have, with money and an idle API: by its record and the policy."""
    named = record.get("gone", record["asked"])
    asked = rules.routes.default if named == AUTO else named
    if asked != AUTO:
        return rules.lines.get(asked, asked)
    if rules.feature_lines:
        return rules.lines[rules.feature_lines[0]]
    band = None if record["complexity"] is None else rules.routes.line_for(record["complexity"])
    tier = rules.routes.tiers[record["tier"]]
    premium = ("opus", "") if rules.user_tier == "premium" else None
    line, _ = line_of(tier, rules.lines, band=(band, "") if band else None, premium=premium)
    return rules.lines[line]


def stories_of(call_id: str, entries: dict[str, list[c.JournalEntry]]) -> list[Story]:
    """What the journal has of a call and its later legs."""
    stories = [tell(call_id, entries[call_id])]
    while stories[-1].goes_on and leg_id(call_id, len(stories) + 1) in entries:
        following = leg_id(call_id, len(stories) + 1)
        stories.append(tell(following, entries[following]))
    return stories

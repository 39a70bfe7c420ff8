"""Run tests of policies, and say which thresholds they have reached."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from governor.budgets import Unit
from governor.errors import GovernorError, Problem
from governor.policy import Attribution
from governor.rehearsal.explanation import DEFERRED, first_binding, reason_of, shadow_of
from governor.rehearsal.given import Given
from governor.rehearsal.goals import reached, warned
from governor.rehearsal.keys import KeyRefused, find, short
from governor.rehearsal.language import AT, MAX_TOKENS, load_bp_of, seconds_of
from governor.rehearsal.people import TierBook
from governor.rehearsal.stage import Stage, made_up, usual_max_tokens
from governor.rehearsal.theatre import Theatre

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from governor.ledger import Ledger
    from governor.policy import BudgetTerm, Policies
    from governor.pricing import PriceTable
    from governor.rehearsal.explanation import Explanation
    from governor.rehearsal.language import Asked, Expected, PolicyTest, Step
    from governor.rehearsal.sidecar import Sidecar
    from governor.story.decision import Decision, ThresholdCrossed
    from governor.story.request import Request

_Path = tuple[object, ...]
_WARNING = re.compile(r"(.+) ([1-9][0-9]?|100) ?%")


@dataclass(frozen=True, slots=True)
class Miss:
    """One thing that did not come out as expected.

    Attributes:
        place: File and line of the expectation.
        what: Its key: `decision`, `line`, `model`, `budget`, `reason`, `warns`.
        expected: What was written.
        got: What came of it.
        request: What was asked, and *told* all that decided it; `None` where nothing was asked.
    """

    place: str
    what: str
    expected: str
    got: str
    request: Request | None = None
    told: Explanation | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one test.

    Attributes:
        file: The tests file.
        line: Where the test begins.
        name: The test.
        misses: What did not come out as expected.
    """

    file: str
    line: int
    name: str
    misses: tuple[Miss, ...]

    @property
    def passed(self) -> bool:
        """Whether all came out as expected."""
        return not self.misses


@dataclass(frozen=True, slots=True)
class _Came:
    """What came of a request, as expectations speak of it."""

    request: Request
    told: Explanation
    decision: Decision | None
    binding: str | None
    reason: str

    @property
    def outcome(self) -> str:
        if self.told.outcome == DEFERRED:
            return DEFERRED
        if self.decision is None or self.decision.model is None:
            return "refused"
        return "downgraded" if self.decision.downgraded else "served"

    @property
    def identities(self) -> list[str]:
        return [] if self.decision is None else [view.identity for view in self.decision.budgets]


class Runner:
    """Runs tests, one after the other.

    Args:
        policies: The policies that are tested.
        prices: The price table.
        open_ledger: Opens an empty ledger with the clock it is given, for one series.

    Attributes:
        seen: The goals reached so far (`governor.rehearsal.goals`).
        problems: Mistakes in the tests that only running them shows: what names no budget.
        people: What tests say of users whom the application would tell of.
    """

    def __init__(
        self,
        policies: Policies,
        prices: PriceTable,
        open_ledger: Callable[[Callable[[], int]], AbstractContextManager[Ledger]],
    ) -> None:
        self._policies = policies
        self._prices = prices
        self._open_ledger = open_ledger
        self.seen: set[tuple[str, str, int]] = set()
        self.problems: list[Problem] = []
        policies.directory = self.people = TierBook()

    def run(self, sidecar: Sidecar, index: int) -> Result:
        """Run the test *index* of a file; a mistake in it goes to `problems`."""
        test = sidecar.tests[index]
        run = _Run(sidecar, self)
        where: _Path = ("tests", index)
        begin = test.at or (test.steps[0].at if test.steps else None) or AT
        stage = Stage(self._policies, self._prices, instant_ms(begin, sidecar.timezone))
        misses: list[Miss] = []
        try:
            if test.steps is None:
                misses += run.single(stage, test, where)
            else:
                with self._open_ledger(lambda: stage.now_ms) as ledger:
                    theatre = Theatre(stage, ledger)
                    for number, step in enumerate(test.steps):
                        misses += run.step(stage, theatre, step, (*where, "steps", number))
        except _Mistake as mistake:
            self.problems.append(mistake.problem)
        line, _ = sidecar.document.place(where)
        return Result(sidecar.document.file, line, test.name, tuple(misses))

    @property
    def policies(self) -> Policies:
        """The policies that are tested."""
        return self._policies


class _Mistake(Exception):  # noqa: N818 - it is the author's
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class _Run:
    """One test on its way: what it knows of its file."""

    sidecar: Sidecar
    runner: Runner

    def single(self, stage: Stage, test: PolicyTest, where: _Path) -> list[Miss]:
        """A request on balances that are given."""
        if test.request is None or test.expect is None:
            return []
        request = self.request(test.request, (*where, "request"), test.load)
        try:
            told = stage.explain(request, Given(test.spent, test.held))
        except KeyRefused as refused:
            key = "spent" if refused.key in test.spent else "held"
            raise self.mistake((*where, key, refused.key), refused) from None
        came = _Came(request, told, told.decision, told.binding, told.reason)
        return list(self.judged(came, test.expect, (*where, "expect")))

    def step(self, stage: Stage, theatre: Theatre, step: Step, where: _Path) -> list[Miss]:
        """One step of a series."""
        self.tick(stage, step, where)
        crossings, terms = self.spend(theatre, step, where)
        misses: list[Miss] = []
        if step.request is not None:
            request = self.request(step.request, (*where, "request"), step.load)
            answer = theatre.ask(request, step.request.output_tokens)
            crossings += answer.crossings
            terms += theatre.terms(request.who, ()) if answer.decision is not None else ()
            if step.expect is not None:
                came = _came(request, answer.before, answer.decision, answer.refused)
                misses += self.judged(came, step.expect, (*where, "expect"))
        if step.warns is not None:
            misses += self.warned(step.warns, crossings, terms, (*where, "warns"))
        return misses

    def tick(self, stage: Stage, step: Step, where: _Path) -> None:
        """Move the clock."""
        if step.after is not None:
            stage.now_ms += seconds_of(step.after) * 1000
        if step.at is not None:
            at_ms = instant_ms(step.at, self.sidecar.timezone)
            if at_ms < stage.now_ms:
                raise self.mistake(
                    (*where, "at"), "this is before the step above it", "time goes forward only"
                )
            stage.now_ms = at_ms

    def spend(
        self, theatre: Theatre, step: Step, where: _Path
    ) -> tuple[list[ThresholdCrossed], tuple[BudgetTerm, ...]]:
        """Post what the step says; returns the thresholds crossed, and the budgets of who spends."""
        if step.user is None:
            return [], ()
        who = self.who(step, step.user, where)
        models = () if step.model is None else (step.model,)
        crossings: list[ThresholdCrossed] = []
        try:
            terms = theatre.terms(who, models)
            if step.spent:
                crossings += theatre.fill(who, step.spent, models)
            if step.spend is not None:
                used = {Unit(name): amount for name, amount in step.spend if amount is not None}
                crossings += theatre.spend(who, used, step.model)
        except KeyRefused as refused:
            raise self.mistake((*where, "spent", refused.key), refused) from None
        except (GovernorError, ValueError) as refused:
            raise self.mistake(where, str(refused)) from None
        return crossings, terms

    def who(self, someone: Step | Asked, user: str, where: _Path) -> Attribution:
        """Whom a step or a request is of."""
        department = someone.department or self.sidecar.department
        if department is None:
            hint = "add `department`: this file is of the organisation"
            raise self.mistake(where, "this does not say whose policy it is under", hint)
        tags = tuple(sorted(someone.tags.items()))
        self.runner.people.write(user, department, someone.user_tier)
        return Attribution(department, user, someone.feature, someone.run, tags, priority=someone.priority)

    def request(self, asked: Asked, where: _Path, load: str | None) -> Request:
        """The request that a test describes."""
        who = self.who(asked, asked.user, where)
        most = asked.max_tokens
        line, column = self.sidecar.document.place(where)
        return made_up(
            who,
            model=asked.model,
            input_tokens=asked.input_tokens,
            max_tokens=usual_max_tokens(self.runner.policies, who, MAX_TOKENS) if most is None else most,
            pin=asked.pin,
            tier=asked.tier,
            deferrable=asked.deferrable,
            complexity=asked.complexity,
            load_bp=None if load is None else load_bp_of(load),
            identifier=f"line-{line}-{column}",
        )

    def judged(self, came: _Came, expect: Expected, where: _Path) -> Iterator[Miss]:
        """What did not come out as expected; what was reached is noted."""
        self.runner.seen.update(reached(came.told, came.request.who.department))
        decision = came.decision
        got: dict[str, str | None] = {
            "decision": came.outcome,
            "line": None if decision is None else decision.line,
            "model": None if decision is None else decision.model,
            "tier": None if decision is None else decision.tier,
            "shadow": shadow_of(decision) or "none: nothing is in shadow",
        }
        for key, value in got.items():
            expected = getattr(expect, key)
            if expected is not None and expected != value:
                yield self.miss((*where, key), key, expected, value or "none: it is refused", came)
        if expect.max_tokens not in (None, sent := None if decision is None else decision.max_tokens):
            yield self.miss((*where, "max_tokens"), "max_tokens", str(expect.max_tokens), str(sent), came)
        if expect.budget is not None:
            yield from self.bound(came, expect.budget, (*where, "budget"))
        if expect.reason is not None and expect.reason not in came.reason:
            yield self.miss((*where, "reason"), "reason", expect.reason, came.reason, came)

    def bound(self, came: _Came, budget: str, where: _Path) -> Iterator[Miss]:
        """Whether this budget is the one that refuses."""
        try:
            expected = find(budget, came.identities) if came.decision is not None else None
        except KeyRefused as refused:
            raise self.mistake(where, refused) from None
        if came.binding is None:
            yield self.miss(where, "budget", budget, "none: no budget refuses it", came)
        elif came.binding != expected:
            yield self.miss(where, "budget", budget, short(came.binding, came.identities), came)

    def warned(
        self,
        warns: Sequence[str],
        crossings: Iterable[ThresholdCrossed],
        terms: Sequence[BudgetTerm],
        where: _Path,
    ) -> Iterator[Miss]:
        """Whether these warnings came, and no other."""
        known = {term.identity: term for term in terms}
        expected = {self.warning(text, list(known), (*where, i)) for i, text in enumerate(warns)}
        told = [crossing for crossing in crossings if crossing.warns]
        for crossing in told:
            self.runner.seen.add(warned(known[crossing.identity], crossing))
        got = {(crossing.identity, crossing.percent) for crossing in told}
        if got != expected:
            wanted, came = (", ".join(_warnings(each, list(known))) or "none" for each in (expected, got))
            yield self.miss(where, "warns", wanted, came)

    def warning(self, text: str, identities: list[str], where: _Path) -> tuple[str, int]:
        """The budget and the percentage of a warning as it is written."""
        match = _WARNING.fullmatch(text)
        if match is None:
            raise self.mistake(
                where, f"{text!r} is no warning", "a budget and a threshold: department/month 80%"
            )
        try:
            return find(match[1], identities), int(match[2])
        except KeyRefused as refused:
            raise self.mistake(where, refused) from None

    def miss(self, where: _Path, what: str, expected: str, got: str, came: _Came | None = None) -> Miss:
        """An expectation that did not hold."""
        line, _ = self.sidecar.document.place(where, on_key=True)
        place = f"{self.sidecar.document.file}:{line}"
        if came is None:
            return Miss(place, what, expected, got)
        return Miss(place, what, expected, got, came.request, came.told)

    def mistake(self, where: _Path, message: str | KeyRefused, hint: str = "") -> _Mistake:
        """A mistake of the file that only running it shows."""
        hint = message.hint if isinstance(message, KeyRefused) else hint
        on_key = isinstance(message, KeyRefused) and where[-1] == message.key
        return _Mistake(self.sidecar.document.problem(where, str(message), hint, on_key=on_key))


def _came(
    request: Request, told: Explanation, decision: Decision | None, refused: GovernorError | None
) -> _Came:
    """What came of a step's request: the decision as it was taken, after whatever was waited for."""
    if told.outcome == DEFERRED:  # before any budget is asked
        return _Came(request, told, told.decision, None, told.reason)
    budget = getattr(refused, "budget", None)
    first = first_binding(decision) if decision is not None and refused is None else None
    if refused is None and told.larger is not None:
        first = told.binding
    reason = reason_of(decision, "" if refused is None else str(refused))
    return _Came(request, told, decision, first if budget is None else budget.identity, reason)


def _warnings(found: set[tuple[str, int]], identities: Sequence[str]) -> list[str]:
    return sorted(f"{short(identity, identities)} {percent}%" for identity, percent in found)


def instant_ms(written: str, timezone: str) -> int:
    """An instant as tests write it, in Unix milliseconds; without a zone of its own it is in *timezone*."""
    moment = datetime.fromisoformat(written)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(timezone))
    return int(moment.timestamp() * 1000)

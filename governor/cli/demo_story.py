"""Who asks what in `governor demo`, and the threads that send it through a real governor."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from governor.errors import BudgetContended, BudgetExceeded
from governor.money import NANOS_PER_DOLLAR, Money
from governor.story.decision import ThresholdCrossed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor import Decision, Governor, Message
    from governor.story.decision import ModelReplaced

PROMPT = "Please read this with care, and say what you would change and why. " * 44
"""Some 1,000 tokens."""

OUTPUT_TOKENS = 800
WORKERS_PER_TEAM = 3
SPREAD_S = 9.0
"""Over how many seconds the calls are spread, so that people can watch."""

LATENCY_MS = (60, 220)
"""Shortest and longest time the fake API takes for an answer, unless it is to be fast."""


@dataclass(frozen=True, slots=True)
class Team:
    """A department and its month of calls.

    Attributes:
        name: The department.
        feature: What most calls are for.
        users: Who asks, in turn.
        calls: How many calls they make.
        run: The run of a bot that asks beside them, or `None`; likewise how many *run_calls* it tries.
    """

    name: str
    feature: str
    users: tuple[str, ...]
    calls: int
    run: str | None = None
    run_calls: int = 0

    def requests(self) -> Iterator[tuple[float, dict[str, Any]]]:
        """Every call's place in time, from 0 to 1, and its keywords; in order of time."""
        people = itertools.cycle(self.users)
        asked: list[tuple[float, dict[str, Any]]] = [
            (index / self.calls, {"user": next(people), "feature": self.feature})
            for index in range(self.calls)
        ]
        asked += [
            (index / self.run_calls, {"user": "triage-bot", "feature": "triage", "run": self.run})
            for index in range(self.run_calls)
        ]
        for place, request in sorted(asked, key=lambda item: item[0]):
            yield place, {"department": self.name, **request}


TEAMS = (
    Team("engineering", "code_review", ("ada@example.com", "grace@example.com", "linus@example.com"), 84),
    Team("legal", "contract_review", ("ruth@example.com", "oliver@example.com"), 52),
    Team("support", "reply_draft", ("sam@example.com",), 16, run="nightly-triage", run_calls=34),
)


@dataclass(slots=True)
class Tally:
    """What became of a team's calls.

    Attributes:
        calls: How many were made.
        lines: How many each line served.
        warned: Thresholds crossed that warn.
        downgraded: Calls that another model served than the preferred one.
        blocked: Calls refused because the money was spent.
        blocked_id: The request id of the first of them.
        line: The line that served last.
        failures: What went wrong that should not have.
    """

    calls: int = 0
    lines: Counter[str] = field(default_factory=Counter)
    warned: int = 0
    downgraded: int = 0
    blocked: int = 0
    blocked_id: str | None = None
    line: str = ""
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log.

    Attributes:
        at_s: Seconds since the start.
        team: Whose.
        kind: `warned`, `downgraded` or `blocked`.
        text: What happened.
    """

    at_s: float
    team: str
    kind: str
    text: str


class Month:
    """Three teams' calls through one governor, and all that is known of them so far.

    Args:
        fast: Do not spread the calls.
    """

    def __init__(self, *, fast: bool) -> None:
        self.tallies = {team.name: Tally() for team in TEAMS}
        self.events: list[Event] = []
        self._spread_s = 0.0 if fast else SPREAD_S
        self._lock = threading.Lock()
        self._said: set[tuple[str, str]] = set()
        self._threads: list[threading.Thread] = []
        self._started = time.monotonic()
        self._stopped = threading.Event()

    def start(self, governor: Governor) -> None:
        """Start every team's workers."""
        self._started = time.monotonic()
        for team in TEAMS:
            queue = team.requests()
            for _ in range(WORKERS_PER_TEAM):
                thread = threading.Thread(target=self._work, args=(governor, team, queue), daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        """Let every worker end after the call it is at, and wait for that."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    @property
    def running(self) -> bool:
        """Whether a worker is still at it."""
        return any(thread.is_alive() for thread in self._threads)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def crossed(self, event: ThresholdCrossed | ModelReplaced) -> None:
        """What the governor calls with every threshold crossed."""
        if not isinstance(event, ThresholdCrossed) or not event.warns:
            return
        if not event.identity.startswith("department="):
            return
        name = event.identity.split("/", 1)[0].removeprefix("department=")
        spent = f"{dollars(event.posted)} of {Money(event.limit)} spent"
        with self._lock:
            self.tallies[name].warned += 1
            self._say(name, "warned", f"{whose(event.identity)}: {event.percent} %, {spent}")

    def _work(self, governor: Governor, team: Team, queue: Iterator[tuple[float, dict[str, Any]]]) -> None:
        while not self._stopped.is_set():
            with self._lock:
                place, request = next(queue, (0.0, None))
            if request is None:
                return
            self._stopped.wait(self._started + place * self._spread_s - time.monotonic())
            try:
                self._call(governor, team, request)
            except Exception as error:  # noqa: BLE001 - reported with the summary, which then fails
                with self._lock:
                    self.tallies[team.name].failures.append(f"{type(error).__name__}: {error}")

    def _call(self, governor: Governor, team: Team, request: dict[str, Any]) -> None:
        messages = [{"role": "user", "content": PROMPT}]
        while True:
            try:
                message = governor.call(**request, messages=messages)
            except BudgetContended as error:
                if self._stopped.wait(error.retry_after):
                    return
            except BudgetExceeded as error:
                self._blocked(team, request, error)
                return
            else:
                self._served(team, message)
                return

    def _served(self, team: Team, message: Message) -> None:
        decision = message.receipt.decision
        with self._lock:
            tally = self.tallies[team.name]
            tally.calls += 1
            tally.line = decision.line or ""
            tally.lines[tally.line] += 1
            if decision.downgraded:
                tally.downgraded += 1
                step = f"{decision.candidates[0].line} → {tally.line}"
                self._say_once(team.name, "downgraded", step, f"{step}: {_room(decision)}")

    def _blocked(self, team: Team, request: dict[str, Any], error: BudgetExceeded) -> None:
        budget, who = error.budget, request["user"].partition("@")[0]
        text = f"{who}: {dollars(budget.available)} left of {whose(budget.identity)}"
        if error.resets_at is not None:
            text += f" until {error.resets_at.day} {error.resets_at:%b} UTC"
        with self._lock:
            tally = self.tallies[team.name]
            tally.calls += 1
            tally.blocked += 1
            tally.blocked_id = tally.blocked_id or error.decision.request_id
            self._say_once(team.name, "blocked", budget.identity, text)

    def _say_once(self, team: str, kind: str, subject: str, text: str) -> None:
        if (team, kind + subject) not in self._said:
            self._said.add((team, kind + subject))
            self._say(team, kind, text)

    def _say(self, team: str, kind: str, text: str) -> None:
        self.events.append(Event(self.elapsed_s, team, kind, text))


def whose(identity: str) -> str:
    """A budget of a team as its people call it: `its month`, `run nightly-triage`."""
    *scope, _, period = identity.split("/")
    name, _, value = scope[-1].partition("=")
    return f"its {period}" if name == "department" else f"{name} {value}"


def dollars(nanos: int) -> str:
    """An amount to a hundredth of a cent, rounded down, as columns need it: `$0.9312`."""
    return f"${nanos // NANOS_PER_DOLLAR:,}.{nanos % NANOS_PER_DOLLAR * 10_000 // NANOS_PER_DOLLAR:04d}"


def _room(decision: Decision) -> str:
    """Why the preferred model was passed over: what is spent of the budget that refused it."""
    binding = decision.candidates[0].binding
    for view in decision.budgets:
        if view.identity == binding:
            return f"{dollars(view.posted)} of {whose(view.identity)} spent"
    return decision.reason


def latency_ms(*, fast: bool) -> int:
    """How long the fake API takes for its next answer."""
    return 0 if fast else random.randint(*LATENCY_MS)  # noqa: S311 - it guards nothing

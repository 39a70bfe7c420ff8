"""A day of four teams in virtual time: the real story, a real ledger in memory, nothing sleeps.

Events lie on a heap, and the ledger's clock, the API's and the users' are the same. All chance follows from
the seed.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governor import flow
from governor.clock import LedgerClock
from governor.errors import BudgetContended, BudgetExceeded, GovernorError
from governor.ledger import commands as c
from governor.ledger.sqlite import SqliteLedger
from governor.policy import Attribution
from governor.routing import Traffic
from governor.story.breaker import Breaker
from governor.story.effects import CountTokens, Notify, Send, Sleep
from governor.story.request import House, Request
from support.day_api import DayApi, prompt_tokens
from support.day_judge import Judge
from support.day_teams import TEAMS, talk
from support.simulated_api import BrokenError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from governor.policy import Policies
    from governor.pricing import PriceTable
    from governor.story.decision import Receipt
    from support.day_teams import Talk

DAY_MS = 1_794_956_400_000
"""2026-11-18, 00:00 in Berlin: a Wednesday."""

DAY_S = 86_400.0
COUNT_S = 0.1
MOST_TRIES = 3


@dataclass
class Call:
    """One call as its caller knows it.

    Attributes:
        id: The request's id.
        talk: The conversation that it is a turn of.
        turn: Which one.
        tokens: Of its prompt, as the API counts them.
        at_s: When it began.
        asked: What the ledger answered to its reserves, with each reserve.
        nanos: On the API's bill.
    """

    id: str
    talk: Talk
    turn: int
    tokens: int
    at_s: float
    house: House
    request: Request
    asked: list[tuple[c.Reserve, Any]] = field(default_factory=list)
    nanos: int = 0
    receipt: Receipt | None = None
    error: Exception | None = None


class Day:
    """A day: its users, processes, ledger and API; *size* scales how much they do."""

    def __init__(self, policies: Policies, prices: PriceTable, seed: int, size: float = 1.0) -> None:
        self.chance = random.Random(seed)
        random.seed(seed)  # the pauses that the flow draws
        self.policies, self.prices, self.now_s = policies, prices, 0.0
        self.ledger = SqliteLedger(Path(":memory:"), policies.organization, clock=self.clock_ms)
        self.api = DayApi(self.chance, DAY_MS)
        self.judge = Judge(self)
        self.calls: list[Call] = []
        self.talks: list[Talk] = []
        self.events: Counter[str] = Counter()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self.houses = [self._house(number) for number in range(2)]
        for team in TEAMS:
            plans = [(team.conversations, False), (team.singles, True)]
            for many, single in plans:
                for number in range(int(many * size)):
                    one = talk(self.chance, team, number, single=single)
                    self.talks.append(one)
                    hour = self.chance.choices(range(24), team.busy)[0]
                    self.at((hour + self.chance.random()) * 3600, partial(self._ask, one, 1, 1))

    def clock_ms(self) -> int:
        """The time of day, Unix milliseconds."""
        return DAY_MS + int(self.now_s * 1000)

    def _house(self, number: int) -> House:
        clock = LedgerClock(self.clock_ms)
        traffic = Traffic(f"process{number}", clock.now_ms, random.Random(self.chance.random()))
        breaker = Breaker(lambda: self.now_s)
        return House(self.policies, self.prices, clock, breaker=breaker, traffic=traffic)

    def at(self, delay_s: float, action: Callable[[], None]) -> None:
        """Let *action* happen after *delay_s*."""
        heapq.heappush(self._heap, (self.now_s + delay_s, next(self._serial), action))

    def play(self) -> Day:
        """Let the day happen, and judge it."""
        try:
            while self._heap:
                self.now_s, _, action = heapq.heappop(self._heap)
                action()
            self.judge.whole()
        finally:
            self.ledger.close()
        return self

    # Users

    def _ask(self, talk: Talk, turn: int, tries: int) -> None:
        """The next turn of a conversation begins."""
        house = self.houses[hash_of(talk.user) % len(self.houses)]
        who = Attribution(talk.team.name, talk.user, talk.feature, talk.run)
        request = Request(f"{talk.name}-{turn}-{tries}", who, talk.asked, talk.max_tokens, talk.body)
        call = Call(request.id, talk, turn, prompt_tokens(talk.body), self.now_s, house, request)
        self.calls.append(call)
        self._go_on(call, flow.govern(house, request), lambda: self._next(call, turn, tries), None)

    def _next(self, call: Call, turn: int, tries: int) -> None:
        """What the user does then: ask on, try again, or leave it."""
        talk = call.talk
        if call.receipt is not None:
            if turn < talk.turns:
                talk.next_question(self.chance, call.receipt.usage["output_tokens"])
                self.at(self.chance.choice((5, 20, 60, 200, 900)), partial(self._ask, talk, turn + 1, 1))
        elif tries < MOST_TRIES and not isinstance(call.error, BudgetExceeded):
            pause_s = call.error.retry_after if isinstance(call.error, BudgetContended) else 90.0
            self.at(max(pause_s, 1.0), partial(self._ask, talk, turn, tries + 1))

    # One call

    def _go_on(
        self, call: Call, story: Generator[Any, Any, Any], ended: Callable[[], None], reply: Any
    ) -> None:
        """Carry out what a story asks for until it has to wait."""
        while True:
            try:
                effect = story.throw(reply) if isinstance(reply, Exception) else story.send(reply)
            except StopIteration as done:
                call.receipt = done.value[1]
            except (GovernorError, BrokenError) as error:
                call.error = error
            else:
                wait_s, reply = self._perform(call, effect)
                if wait_s is None:
                    continue
                self.at(wait_s, partial(self._go_on, call, story, ended, reply))
                return
            self.judge.ended(call)
            ended()
            return

    def _perform(self, call: Call, effect: Any) -> tuple[float | None, Any]:
        """How long an effect takes, `None`: no time; and what came of it."""
        match effect:
            case CountTokens():
                return COUNT_S, prompt_tokens(effect.body)
            case Send():
                answer = self.api.send(effect.body, self.now_s)
                call.nanos += answer.nanos
                return answer.seconds, answer.ended
            case Sleep():
                return effect.seconds, None
            case Notify():
                self.events[effect.event.key] += 1
                return None, None
            case _:
                return None, self._execute(call, effect)

    def _execute(self, call: Call, command: c.Command[Any]) -> Any:
        try:
            reply = self.ledger.execute(command)
        except GovernorError as error:
            return error
        if isinstance(command, c.Reserve):
            call.asked.append((command, reply))
        self.judge.answered(call, command, reply)
        return reply


def hash_of(text: str) -> int:
    """A number that is the same in every process."""
    return sum(text.encode())

"""Many stories of the flow under a seeded scheduler that loses, doubles, delays, interrupts and kills.

One step is one thing that happens: a command leaves, arrives at the ledger, or its answer arrives; a call
of the API ends; a story wakes. Which comes next is drawn at random, and between any two steps a story or its
whole process may die. Everything follows from the seed. An auditor judges every answer of the ledger and the
balances that it changed, and at the end the whole.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from governor import flow
from governor.clock import LedgerClock
from governor.errors import LedgerUnavailable, ReservationConflict
from governor.ledger import commands as c
from governor.policy import Attribution
from governor.story.request import House, Request
from support.ledger_auditor import Auditor, ref
from support.memory_ledger import MemoryLedger
from support.simulated_call import Call
from support.simulation_judge import judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.policy import Policies
    from governor.pricing import PriceTable
    from support.simulation_scenes import Scene

DAY_MS = 86_400_000
LEAPS_MS = (1_000, 70_000, 3_600_000, DAY_MS)
"""Forward steps of the ledger's clock: a moment, over a hold's life, over the windows of an hour and a day.
Never a week in all, since a ledger forgets closed holds after that."""
OUTAGES_MS = (100, 2_000, 30_000)
"""For how long the ledger is away: shorter than a retry, longer than all of them, long."""
BACK_MS = (1, 400, 5_000)
SKEWS_MS = (0, 0, 150, -2_000, 61_000, -3_600_000)
PROMPT = [{"role": "user", "content": "Hello, Claude"}]


class Weather(NamedTuple):
    """How likely each misfortune is, per step or per message."""

    lost: float = 0.0
    unanswered: float = 0.0
    doubled: float = 0.0
    stalled: float = 0.0
    interrupted: float = 0.0
    died: float = 0.0
    killed: float = 0.0
    stepped: float = 0.0
    away: float = 0.0

    @classmethod
    def draw(cls, chance: random.Random) -> Weather:
        """Calm one time in eight; else each misfortune is away, or rare, or frequent."""
        if chance.random() < 0.125:
            return cls()
        most = cls(0.12, 0.12, 0.12, 0.04, 0.05, 0.02, 0.005, 0.02, 0.02)
        return cls(*(p * chance.choice((0.0, 0.3, 1.0)) for p in most))


class Process:
    """One process: its own house, clock and stories."""

    def __init__(self, world: World) -> None:
        skew_ms = world.chance.choice(SKEWS_MS)
        clock = LedgerClock(lambda: world.start_ms + world.time_ms + skew_ms)
        self.house = House(world.policies, world.prices, clock)
        self.calls: list[Call] = []


class World:
    """A ledger, an API, processes with their stories, and an auditor.

    Args:
        scene: Policies and calls; *policies* are its own, loaded.
        seed: All chance follows from it.
        make_ledger: Makes the ledger from its clock.
        weather: What goes wrong; else it is drawn.
    """

    def __init__(
        self,
        scene: Scene,
        policies: Policies,
        prices: PriceTable,
        seed: int,
        make_ledger: Callable[[Callable[[], int]], Any] = MemoryLedger,
        weather: Weather | None = None,
    ) -> None:
        self.chance = random.Random(seed)
        random.seed(seed)  # the pauses that the flow draws
        self.scene, self.policies, self.prices = scene, policies, prices
        self.weather = weather or Weather.draw(self.chance)
        self.calm = self.weather == Weather()
        self.start_ms, self.time_ms, self.stepped_ms = scene.start_ms, 0, 0
        self.ledger = make_ledger(lambda: self.start_ms + self.time_ms + self.stepped_ms)
        self.auditor = Auditor()
        self.calls: dict[str, Call] = {}
        self.notified: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.strays: set[str] = set()
        self.most_running = 0
        self._away_until_ms = 0
        self.trace: list[tuple[int, str, str, Any]] = []
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._ready: list[Callable[[], None]] = []
        self._serial = count()
        self.processes = [Process(self) for _ in range(self.chance.choice((1, 2, 3)))]
        for number in range(scene.calls):
            self.later(self.chance.randrange(int(scene.spread_s * 1000)), partial(self._begin, number))
        for number in range(0 if self.calm else self.chance.choice((0, 0, 1, 4))):
            self.later(self.chance.randrange(30_000), partial(self._administer, number))

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Let *action* happen at some step after *delay_ms*."""
        heapq.heappush(self._waiting, (self.time_ms + delay_ms, next(self._serial), action))

    def happens(self, probability: float) -> bool:
        """Whether a misfortune of that likelihood happens now."""
        return probability > 0 and self.chance.random() < probability

    def note(self, who: str, what: str, detail: Any = None) -> None:
        """Write into the trace, which a failure shows."""
        self.trace.append((self.time_ms, who, what, detail))

    def play(self) -> World:
        """Let everything happen, then close what is open, and judge the whole."""
        while self._waiting or self._ready:
            self._step()
        self._settle_up()
        judge(self)
        return self

    def transmit(self, command: c.Command[Any], answered: Callable[[Any], None]) -> None:
        """Send a command to the ledger; the answer, or that none came, is told some steps later."""
        self._look(command)
        if not self._is_away() and not self.happens(self.weather.lost):
            self.later(self.chance.randrange(30), partial(self._arrive, command, answered))
            return
        self.note("network", "lost", command)
        self.met["lost"] += 1
        if self.chance.random() < 0.5:  # not lost but late: after its sender has given it up
            self.later(self.chance.randrange(90_000), partial(self._arrive_late, command))
        gave_up = LedgerUnavailable("lost on the way there")
        self.later(self.chance.choice((5, 300, 20_000)), partial(answered, gave_up))

    def _arrive(self, command: c.Command[Any], answered: Callable[[Any], None]) -> None:
        answer = self.execute(command)
        if self.happens(self.weather.doubled):
            self.met["doubled"] += 1
            self.later(self.chance.choice((0, 10, 2_000, 100_000)), partial(self._arrive_late, command))
        if self._is_away() or self.happens(self.weather.unanswered):
            self.met["unanswered"] += 1
            self.note("network", "answer lost", command)
            answer = LedgerUnavailable("lost on the way back")
        self.later(self.chance.randrange(30), partial(answered, answer))

    def _is_away(self) -> bool:
        return self.time_ms < self._away_until_ms

    def _arrive_late(self, command: c.Command[Any]) -> None:
        """A copy that nobody waits for any more; it may open a hold of which its caller knows nothing."""
        answer = self.execute(command)
        if isinstance(command, c.Reserve) and isinstance(answer, c.Held):
            self.strays.add(command.id)
            self.met["stray"] += 1

    def execute(self, command: c.Command[Any]) -> Any:
        """Carry a command out; its answer and the balances it names are judged at once."""
        self.auditor.now_ms = self.start_ms + self.time_ms + self.stepped_ms
        conflict = self.auditor.conflicts(command)
        try:
            answer = self.ledger.execute(command)
        except ReservationConflict as error:
            self.note("ledger", "conflict", command)
            assert conflict, f"{command} was refused, though its id is its own"
            self.met["conflict"] += 1
            return error
        self.note("ledger", type(command).__name__, (command, answer))
        assert not conflict, f"{command} has an id that belongs to another payload"
        self.auditor.enter(command, answer)
        self.check(self._named(command, answer))
        self._meet(answer)
        return answer

    def _named(self, command: c.Command[Any], answer: Any) -> tuple[c.BudgetRow, ...]:
        """The balances that a command may have changed, or all of them now and then."""
        if self.chance.random() < 0.05:
            return tuple(self.auditor.rows.values())
        match command:
            case c.Reserve():
                return command.budgets
            case c.Settle() | c.Release():
                return tuple(posting.budget for posting in command.postings)
            case c.Expire():
                lines = (line for name in answer.ids for line in self.auditor.holds[name])
                return tuple({ref(line.row): line.row for line in lines}.values())
            case c.Grant() | c.SetLimit() | c.Freeze() | c.Unfreeze():
                return tuple(row for row in self.auditor.rows.values() if row.identity == command.identity)
        return ()

    def check(self, rows: tuple[c.BudgetRow, ...]) -> None:
        """Let the auditor compare these balances with its books."""
        if rows:
            self.auditor.check(rows, self.ledger.execute(c.Read(rows)).balances)

    def _meet(self, answer: Any) -> None:
        match answer:
            case c.Closed():
                self.met[answer.state] += 1
                self.met["overrun"] += answer.overrun
                self.met["crossing"] += len(answer.crossings)
            case c.Expired():
                self.met["expired"] += len(answer.ids)
            case c.Refused():
                self.met[answer.reason] += 1
            case c.Held():
                self.met["stepped-down"] += answer.candidate > 0
                self.met["held-again"] += answer.state != "open"
            case c.WindowMoved():
                self.met["window-moved"] += 1

    def _look(self, command: c.Command[Any]) -> None:
        look = getattr(self.ledger, "look", None)
        if look is not None:
            look(command)

    def _step(self) -> None:
        if not self._ready:
            self.time_ms = max(self.time_ms, self._waiting[0][0])
        while self._waiting and self._waiting[0][0] <= self.time_ms:
            self._ready.append(heapq.heappop(self._waiting)[2])
        chosen = self.chance.randrange(len(self._ready))
        self._ready[chosen], self._ready[-1] = self._ready[-1], self._ready[chosen]
        action = self._ready.pop()
        self._misfortune()
        action()
        self.time_ms += self.chance.randrange(self.scene.step_ms)

    def _misfortune(self) -> None:
        """Between any two steps a story or a process dies, the clock is set, or the ledger goes away."""
        if self.happens(self.weather.died):
            running = [call for process in self.processes for call in process.calls]
            if running:
                self.chance.choice(running).die()
        if self.happens(self.weather.killed):
            place = self.chance.randrange(len(self.processes))
            for call in tuple(self.processes[place].calls):
                call.die()
            self.processes[place] = Process(self)  # what it had not told the ledger yet is gone with it
            self.met["killed"] += 1
        if self.happens(self.weather.stepped):
            leaps = [leap for leap in LEAPS_MS if self.stepped_ms + leap < 6 * DAY_MS]
            step = self.chance.choice([*leaps, *(-back for back in BACK_MS)])
            self.stepped_ms += step
            self.note("clock", "stepped", step)
        if self.happens(self.weather.away):
            self._away_until_ms = self.time_ms + self.chance.choice(OUTAGES_MS)
            self.met["away"] += 1
            self.note("ledger", "away", self._away_until_ms)

    def _begin(self, number: int) -> None:
        process = self.chance.choice(self.processes)
        request = Request(
            f"call-{number}",
            Attribution(
                "team", f"user-{number % 3}", self.scene.feature, self.chance.choice((None, "run-1"))
            ),
            self.chance.choice(("auto", "opus", "opus", "haiku", "sonnet")),
            100,
            {"messages": PROMPT},
            pin=self.chance.random() < 0.15,
        )
        call = self.calls[request.id] = Call(self, process, request.id, flow.govern(process.house, request))
        process.calls.append(call)
        self.most_running = max(self.most_running, sum(len(each.calls) for each in self.processes))
        call.begin()

    def _administer(self, number: int) -> None:
        """An administrator changes some budget; says so again until the ledger answers."""
        if not self.auditor.rows:
            return
        row = self.chance.choice(list(self.auditor.rows.values()))
        from_ms = self.auditor.now_ms + self.chance.choice((0, 1_000))
        until_ms = from_ms + self.chance.choice((2_000, 60_000))
        name = f"operation-{number}"
        command = self.chance.choice(
            [
                c.Grant(name, row.identity, row.window, self.chance.randint(1, row.limit)),
                c.Grant(
                    name,
                    row.identity,
                    "",
                    self.chance.randint(1, row.limit),
                    from_ms=from_ms,
                    until_ms=until_ms,
                ),
                c.SetLimit(
                    name, row.identity, self.chance.randint(0, 2 * row.limit), until_ms, from_ms=from_ms
                ),
                c.SetLimit(name, row.identity, None),
                c.Freeze(name, row.identity, "audit", until_ms),
                c.Unfreeze(name, row.identity),
            ]
        )

        def answered(answer: Any) -> None:
            if isinstance(answer, LedgerUnavailable):
                self.transmit(command, answered)

        self.transmit(command, answered)

    def _settle_up(self) -> None:
        """What living processes had not told yet is told, and all holds expire; in either order."""
        endings = [self._catch_up, self._bury]
        self.chance.shuffle(endings)
        for end in endings:
            end()
        assert not self.auditor.open()

    def _catch_up(self) -> None:
        for process in self.processes:
            call = Call(self, process, "catching up", flow.catch_up(process.house))
            self.weather, self._away_until_ms = Weather(), 0
            call.begin()
            while self._waiting or self._ready:
                self._step()
            assert not process.house.unheard

    def _bury(self) -> None:
        self.time_ms += 10 * 65_000
        while holds := self.ledger.execute(c.ListHolds()):
            assert {hold.id for hold in holds} == set(self.auditor.open())
            due = tuple(c.DueHold(hold.id, hold.balances) for hold in holds[: c.DUE_PER_REPLY])
            assert self.execute(c.Expire(due)).ids

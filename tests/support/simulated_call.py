"""One story in a simulation: its effects are carried out one by one, each some steps after it was asked."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from governor.errors import (
    BudgetContended,
    BudgetExceeded,
    GovernorError,
    LedgerUnavailable,
    ReservationConflict,
)
from governor.ledger import commands as c
from governor.story.effects import Abandon, CountTokens, Ended, Notify, Resume, Running, Send, Sleep
from support import simulated_api
from support.simulated_api import INPUT_TOKENS, Bill, BrokenError, Turn

if TYPE_CHECKING:
    from collections.abc import Generator

    from support.simulation import Process, World


class Call:
    """One request's story.

    Attributes:
        name: The request's id.
        bill: What the API charged for it.
        sent: Whether it reached the API.
        process: Where it runs.
        promised: The ledger was not told how it ended, and will be.
    """

    def __init__(self, world: World, process: Process, name: str, story: Generator[Any, Any, Any]) -> None:
        self.name = name
        self.bill = Bill()
        self.sent = False
        self.process, self.promised = process, False
        self._world, self._story = world, story
        self._running = True
        self._turn: tuple[Turn, int] | None = None
        self._broken = False
        self._interrupts = self._losses = 0
        self._refused: tuple[c.Refused, int] | None = None
        self._owed: set[str] = set()

    def begin(self) -> None:
        """Start the story."""
        self._go_on(None)

    def die(self) -> None:
        """Nothing of it is carried out any more; what is under way still arrives."""
        self._world.note(self.name, "died")
        self._world.met["died"] += 1
        self._leave()
        self._story.close()

    def _leave(self) -> None:
        self._running = False
        if self in self.process.calls:
            self.process.calls.remove(self)

    def _answered(self, answer: Any) -> None:
        """Hand over what came of an effect; an interrupt may come in its place."""
        world = self._world
        if not self._running:
            return
        if world.happens(world.weather.stalled):  # the process was stopped for a while
            world.met["stalled"] += 1
            world.later(world.chance.randrange(200_000), partial(self._go_on, answer))
        else:
            self._go_on(answer)

    def _go_on(self, answer: Any) -> None:
        if not self._running:
            return
        self._losses += isinstance(answer, LedgerUnavailable)
        world = self._world
        if (
            answer is not None
            and not isinstance(answer, Ended | Running)
            and world.happens(world.weather.interrupted)
        ):
            answer = self._interrupt()
        self._hear(answer)
        try:
            if isinstance(answer, BaseException):
                effect = self._story.throw(answer)
            else:
                effect = self._story.send(answer)
        except StopIteration as done:
            self._end(None, done.value)
        except (GovernorError, BrokenError, KeyboardInterrupt) as error:
            self._end(error, None)
        else:
            self._take(effect)

    def _interrupt(self) -> KeyboardInterrupt:
        self._interrupts += 1
        self._world.met["interrupted"] += 1
        self._world.note(self.name, "interrupted")
        return KeyboardInterrupt()

    def _hear(self, answer: Any) -> None:
        if isinstance(answer, c.Refused):
            since_ms = self._refused[1] if self._refused else self._world.time_ms
            self._refused = answer, since_ms
        for x in getattr(answer, "crossings", ()):
            self._owed.add(f"{x.identity}:{x.window}:{x.step_bp}:{x.posted}")

    def _take(self, effect: Any) -> None:
        """Begin to carry out an effect."""
        world = self._world
        match effect:
            case Send():
                self._send(effect)
            case Resume():
                self._next_of_turn(effect.report_after_s)
            case Abandon():
                self._answered(self._cut_short(effect.error))
            case _ if world.happens(world.weather.interrupted):
                world.later(0, partial(self._answered, self._interrupt()))
            case Sleep():
                assert effect.seconds >= 0
                world.later(int(effect.seconds * 1000), partial(self._answered, None))
            case Notify():
                world.notified[effect.event.key] += 1
                self._owed.discard(effect.event.key)
                world.later(0, partial(self._answered, None))
            case CountTokens():
                world.later(
                    20, partial(self._answered, world.chance.choice((INPUT_TOKENS, INPUT_TOKENS, None)))
                )
            case _:
                world.transmit(effect, self._answered)

    def _send(self, effect: Send) -> None:
        """It reaches the API, which bills it whatever becomes of the caller."""
        assert self.name in self._world.auditor.holds, f"{self.name} is sent without a hold"
        turn = simulated_api.send(self._world.chance, effect.body, effect.silence_s)
        self._world.note(self.name, "sent", turn)
        self.sent = True
        self.bill.add(turn)
        self._turn = turn, turn.reports
        self._next_of_turn(effect.report_after_s)

    def _next_of_turn(self, report_after_s: float) -> None:
        """The stream is reported as running, or ends; or somebody interrupts it."""
        assert self._turn is not None
        world, (turn, reports) = self._world, self._turn
        if turn.nanos and world.happens(world.weather.interrupted):
            world.later(50, partial(self._answered, self._cut_short(self._interrupt())))
        elif reports:
            self._turn = turn, reports - 1
            world.later(int(report_after_s * 1000), partial(self._answered, Running()))
        else:
            self._broken |= turn.ended.error is not None
            world.later(int(turn.seconds * 1000), partial(self._answered, turn.ended))

    def _cut_short(self, error: BaseException) -> Ended:
        """How a stream ends that its own caller breaks off: the API has billed what it made till then."""
        self.bill.known = False
        assert self._turn is not None
        output = self._turn[0].tokens - INPUT_TOKENS
        usage = {"input_tokens": INPUT_TOKENS, "output_tokens": 1}
        shown = self._world.chance.random() < 0.5
        return Ended("cut", usage=usage, delivered_bytes=4 * output, hidden_output=not shown, error=error)

    def _end(self, error: BaseException | None, value: Any) -> None:
        """The caller is told how it ended; that must be true."""
        world = self._world
        world.note(self.name, "ended", error or value)
        world.met[type(error).__name__ if error else "answered"] += 1
        self._leave()
        assert self._interrupts or not self._owed, f"{self.name} never told {self._owed}"
        assert self._closed() or isinstance(error, LedgerUnavailable), f"{self.name} left its hold open"
        match error:
            case None if value is not None:
                _, receipt = value
                assert receipt.cost.nanos == self.bill.nanos, f"{self.name}: {receipt.cost} for {self.bill}"
            case BudgetContended():
                assert self._refused is not None
                refused, since_ms = self._refused
                assert refused.reason == "contended"
                assert world.time_ms - since_ms >= world.scene.max_wait_s * 1000 - 1, "refused too soon"
            case BudgetExceeded():
                assert self._refused is not None
                assert self._refused[0].reason in {"exhausted", "frozen"}
            case LedgerUnavailable():
                assert self._losses, f"{self.name} was told {error!r} for nothing"
            case KeyboardInterrupt():
                assert self._interrupts
            case BrokenError():
                assert self._broken
            case ReservationConflict():
                # A late copy of its trial took the id after another copy had been refused.
                assert self.name in world.strays, f"{self.name} was told {error!r}"
            case None:
                pass
            case _:
                raise AssertionError(f"{self.name} was told {error!r}")

    def _closed(self) -> bool:
        """Whether its hold was ended, or will be; an interrupt beside a second misfortune may prevent it."""
        self.promised = self.name in {command.id for command in self.process.house.unheard}
        state = self._world.auditor.state.get(self.name)
        if self.promised or state not in {"open", "expired"} or self.name in self._world.strays:
            return True
        return self._interrupts + self._losses > 1

"""All that one process knows of one model: its limits, load, breaker, pace and the tickets that wait."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.routing.breaker import Breaker
from governor.routing.buckets import Buckets
from governor.routing.load import FEWEST_ANSWERS, WHOLE_BP, Answers, Heard, Load
from governor.routing.pace import Pace
from governor.routing.turns import GRACE_S, FairQueue, Turn

if TYPE_CHECKING:
    import random

    from governor.routing.limits import RateLimits

CLOSES_BP = 8_000
"""A model that was too full is available again below 80 % used."""

SHORTEST_NAP_S = 0.005
LONGEST_NAP_S = 5.0
"""No ticket is told to come back later than that, so that news reaches those who wait."""

UNSURE_NAP_S = 1.0
SOONER = 0.8
"""Nor later than that while it waits for its turn, and somewhat before it: how fast turns come changes."""

PROBE_NAP_S = 0.5

NEWER_BY_S = 0.25
"""Another process's headers are taken only if they are so much newer."""

SURE = 0.5
TOLD = 0.8
"""So much of what was let through lately, and of what refills by the headers, is sent whatever is refused."""

CREDIT_S = 0.25
"""Nobody waits while the pace allows a request: up to so many seconds' worth may then leave at once."""


@dataclass(frozen=True, slots=True)
class Others:
    """What the other processes said of a model lately.

    Attributes:
        in_flight: Their requests in flight.
        answers: Their answers of the last minute.
        pushed: How many of those were 429 or 529.
        sent_per_s: At which rate they send.
        unqueued_per_s: That of those processes where nobody waits.
        waiting: Users that wait there.
        latency_s: How long an answered request takes; 0.0 if unknown.
    """

    in_flight: int = 0
    answers: int = 0
    pushed: int = 0
    sent_per_s: float = 0.0
    unqueued_per_s: float = 0.0
    waiting: int = 0
    latency_s: float = 0.0


class Lane:
    """One model; times are seconds by a clock that never goes back.

    Args:
        rng: Draws pauses and how long breakers stay open.
    """

    def __init__(self, rng: random.Random) -> None:
        self.answers, self.buckets = Answers(), Buckets()
        self.breaker, self.pace = Breaker(rng), Pace(rng)
        self.others = Others()
        self.queue = FairQueue()
        self.touched_s = -math.inf
        self._granted: dict[Turn, None] = {}
        self._tokens, self._filled_s, self._swept_s = 1.0, math.inf, -math.inf
        self._full: set[int] = set()

    @property
    def waiting(self) -> int:
        """Users with tickets that wait."""
        return self.queue.users

    def idle(self, now_s: float) -> bool:
        """Whether nothing waits or is in flight."""
        return not (len(self.queue) or self._granted or self.answers.in_flight(now_s))

    # What happens

    def departed(self, now_s: float, *, waited: bool = False) -> None:
        """A request leaves."""
        self._advance(now_s)
        self.answers.departed(now_s)
        self.buckets.departed()
        self.breaker.departed(now_s)
        sent_per_s, tilt = self.answers.sent_per_s(now_s), self._tilt(now_s)
        self.pace.departed(now_s, waited=waited, sent_per_s=sent_per_s, tilt=tilt)

    def ended(self, now_s: float, now_ms: int, heard: Heard) -> bool:
        """A request ended; whether the others should know at once."""
        self._advance(now_s)
        latency_s = min(max(0, heard.latency_ms) / 1000, 3600.0)
        self.answers.ended(now_s, heard)
        if heard.answered:
            self.buckets.use(self.answers.input_tokens, self.answers.output_tokens)
            self.buckets.outdone(self.answers.served(now_s), now_s)
        news = heard.limited and self.pace.per_s is None
        if heard.limited:
            self.buckets.contradicted(heard.limits, now_s)
        if heard.limits is not None:
            self._learn(heard.limits, now_s, now_ms, latency_s)
        if heard.limited:
            sent_per_s, floor = self.answers.sent_per_s(now_s), self._floor_per_s(now_s)
            self.pace.limited(now_s, latency_s, heard.retry_after_s, max(sent_per_s, floor), floor)
        elif heard.status or heard.answered:
            self.pace.let_through(now_s, latency_s)
        return self.breaker.ended(now_s, heard, self.answers.flying_since) or news

    def told(self, limits: RateLimits, now_s: float, *, left_s: float, said_s: float) -> None:
        """Another process knows headers of a request that left at *left_s*: what was left at *said_s*.

        Its resets are milliseconds from then.
        """
        newest_s = self.buckets.newest_s()
        if newest_s is not None and left_s < newest_s + NEWER_BY_S:
            return  # perhaps its own, heard back
        sent = self._sent(now_s, max(0.0, now_s - said_s))
        self.buckets.learn(limits, now_s, left_s=left_s, read_s=said_s, read_ms=0, heard_s=left_s, sent=sent)

    # What follows

    def used_bp(self, now_s: float) -> int:
        """The used share of the fullest rate limit, basis points; 0 where headers are not to be believed."""
        self._advance(now_s)
        return self.buckets.used_bp() if self.buckets.trusted(now_s) else 0

    def view(self, now_s: float) -> Load:
        """How loaded the model is."""
        headers_bp, others = self.used_bp(now_s), self.others
        in_flight = self.answers.in_flight(now_s) + others.in_flight
        answers, pushed = self.answers.pushed_back(now_s)
        answers, pushed = answers + others.answers, pushed + others.pushed
        state, why, opens_in_s = self.breaker.state(now_s), self.breaker.why, self.breaker.opens_in_s(now_s)
        if state == "closed" and self._is_full(headers_bp, 9_000):
            state, why = "open", f"rate limit {headers_bp // 100} % used"
            opens_in_s = max(0.0, (headers_bp - CLOSES_BP) / WHOLE_BP * 60)
        return Load(
            headers_bp,
            self._little_bp(in_flight, now_s),
            pushed * WHOLE_BP // answers if answers >= FEWEST_ANSWERS else 0,
            in_flight,
            state,
            why,
            opens_in_s,
        )

    def unavailable(self, now_s: float, open_bp: int) -> str:
        """Why the model should not be chosen; '' if it may."""
        state = self.breaker.state(now_s)
        if state == "open":
            again_s = math.ceil(self.breaker.opens_in_s(now_s))
            return f"its breaker is open: {self.breaker.why}; tried again in {again_s} s"
        if state == "half open" and self.breaker.probing(now_s):
            return f"its breaker is half open: {self.breaker.why}; a probe is under way"
        used_bp = self.used_bp(now_s)
        return f"rate limit {used_bp // 100} % used" if self._is_full(used_bp, open_bp) else ""

    def ask(self, turn: Turn, now_s: float) -> float:
        """0.0 if the ticket may go, which is then recorded; else the seconds after which to ask again."""
        if turn.sent:
            return 0.0
        self.touched_s = now_s
        hold_s = self._hold_s(now_s)
        if hold_s > 0:
            self._take_back(turn)
        elif turn.granted or self._free(turn, now_s):
            return self._go(turn, now_s)
        # A ticket is never passed over while its owner is here to ask.
        turn.back_by_s = math.inf
        self.queue.add(turn)
        if hold_s <= 0:
            self._grant(now_s)
        if turn.granted:
            return self._go(turn, now_s)
        return self._tell(turn, now_s, hold_s)

    def leave(self, turn: Turn) -> None:
        """The ticket's owner is gone."""
        self.queue.discard(turn)
        if turn in self._granted:
            del self._granted[turn]
            self._tokens += 1
        turn.granted, turn.sent = False, True

    # How

    def _learn(self, limits: RateLimits, now_s: float, now_ms: int, latency_s: float) -> None:
        self.buckets.learn(
            limits,
            now_s,
            left_s=now_s - latency_s,
            read_s=now_s - latency_s,
            read_ms=now_ms - int(latency_s * 1000),
            heard_s=now_s,
            sent=self._sent(now_s, latency_s),
        )

    def _floor_per_s(self, now_s: float) -> float:
        """What the API bears at least: it let as much through lately, or its headers say that it refills."""
        told = self.buckets.refill_per_s() if self.buckets.trusted(now_s) else 0.0
        return max(self.answers.admitted_per_s(now_s) * SURE, told * self._part() * TOLD)

    def _advance(self, now_s: float) -> None:
        self.touched_s = now_s
        self.buckets.advance(now_s, self.others.sent_per_s)
        if self.pace.per_s is not None and self._room_again(now_s):
            self.pace.free()

    def _room_again(self, now_s: float) -> bool:
        """Whether headers of a request later than the last 429 speak of room."""
        newest_s = self.buckets.newest_s()
        later = newest_s is not None and newest_s > self.pace.limited_s
        return (
            later
            and self.buckets.room() is not None
            and self.buckets.trusted(now_s)
            and self.buckets.used_bp() < CLOSES_BP
        )

    def _sent(self, now_s: float, span_s: float) -> float:
        """Requests of all processes in the last *span_s* seconds, as far as is known."""
        return self.answers.sent_after(now_s, now_s - span_s) + self.others.sent_per_s * span_s

    def _is_full(self, used_bp: int, open_bp: int) -> bool:
        """Whether it is too full for those who stay away from *open_bp* on; each policy has its own."""
        if used_bp >= open_bp:
            self._full.add(open_bp)
        elif used_bp < min(CLOSES_BP, open_bp):
            self._full.discard(open_bp)
        return open_bp in self._full

    def _little_bp(self, in_flight: int, now_s: float) -> int:
        limit = self.buckets.requests_limit() if self.buckets.trusted(now_s) else None
        latency_s = self.answers.latency_s or self.others.latency_s
        if limit is None or latency_s <= 0:
            return 0
        return min(WHOLE_BP, int(WHOLE_BP * in_flight * 60 / (latency_s * limit)))

    def _hold_s(self, now_s: float) -> float:
        """For how many seconds nobody may leave."""
        if self.breaker.probing(now_s):
            return PROBE_NAP_S
        return max(self.breaker.opens_in_s(now_s), self.pace.hold_s(now_s))

    def _free(self, turn: Turn, now_s: float) -> bool:
        """Whether it need not wait: there is room, for those too who wait already."""
        if self.pace.per_s is not None or self.used_bp(now_s) >= turn.throttle_bp:
            return False
        room = self.buckets.room() if self.buckets.trusted(now_s) else None
        if room is not None and room < len(self.queue) + len(self._granted):
            return False
        self._tokens, self._filled_s = 1.0, now_s
        return True

    def _per_s(self, now_s: float) -> float:
        """Requests per second that this process may send."""
        self._advance(now_s)
        rate, pace = math.inf, self.pace.per_s
        told = self.buckets.per_s() if self.buckets.trusted(now_s) else None
        if told is not None:
            rate = max(told - self.others.unqueued_per_s, told / 10) * self._part()
        return min(rate, math.inf if pace is None else pace)

    def _part(self) -> float:
        """This process's part of what there is: by the users that wait, here and elsewhere."""
        here = max(1, self.waiting)
        return here / (here + self.others.waiting)

    def _tilt(self, now_s: float) -> float:
        """How much faster the learned pace grows below this process's fair part than at it."""
        pace, others = self.pace.per_s, self.others
        if pace is None or not others.waiting:
            return 1.0
        everybody = self.answers.sent_per_s(now_s) + others.sent_per_s - others.unqueued_per_s
        return min(4.0, max(0.25, (everybody * self._part() / pace) ** 2))

    def _grant(self, now_s: float) -> None:
        """Give the next turns to as many tickets as the pace allows by now."""
        self._sweep(now_s)
        per_s = self._per_s(now_s)
        passed_s = min(max(0.0, now_s - self._filled_s), 60.0)
        self._filled_s = now_s
        single = self.pace.trying() or self.breaker.state(now_s) != "closed"
        if single:
            self._tokens = 0.0 if self._granted else 1.0
        elif math.isinf(per_s):
            self._tokens = float(len(self.queue))
        else:
            self._tokens += passed_s * per_s
        while self._tokens >= 1 and (turn := self.queue.next(now_s)) is not None:
            self._tokens -= 1
            turn.granted = True
            self._granted[turn] = None
        if not len(self.queue):
            self._tokens = min(self._tokens, max(1.0, per_s * CREDIT_S))

    def _sweep(self, now_s: float) -> None:
        """Take turns back from those who did not come for them."""
        if now_s - self._swept_s < CREDIT_S:
            return
        self._swept_s = now_s
        for turn in [turn for turn in self._granted if turn.back_by_s < now_s]:
            del self._granted[turn]
            turn.granted = False
            self._tokens += 1

    def _take_back(self, turn: Turn) -> None:
        if turn.granted:
            del self._granted[turn]
            turn.granted = False
            self.queue.add(turn, first=True)

    def _go(self, turn: Turn, now_s: float) -> float:
        waited = turn.expected_s > 0
        self._granted.pop(turn, None)
        self.queue.discard(turn)
        turn.granted, turn.sent, turn.expected_s = False, True, 0.0
        self.departed(now_s, waited=waited)
        return 0.0

    def _tell(self, turn: Turn, now_s: float, hold_s: float) -> float:
        per_s = self._per_s(now_s)
        short = max(0.0, self.queue.ahead(turn) + 1 - (0.0 if hold_s > 0 else self._tokens))
        in_turn_s = short / per_s if per_s > 0 else math.inf
        turn.expected_s = hold_s + in_turn_s
        nap_s = min(hold_s, LONGEST_NAP_S) + min(in_turn_s * SOONER, UNSURE_NAP_S)
        nap_s = min(max(nap_s, SHORTEST_NAP_S), LONGEST_NAP_S)
        turn.back_by_s = now_s + nap_s + GRACE_S
        return nap_s

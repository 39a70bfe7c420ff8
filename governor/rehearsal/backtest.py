"""A back-test: the calls of a journal, decided again under other policies, in the journal's own time. Pure.

Balances are the back-test's own. A call that is served holds its ceiling from the instant of its reserve to
that of its end, and then posts what it really cost; on another model, what its usage costs there.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from governor.budgets import Unit
from governor.errors import UnknownModel
from governor.journal.calls import LEASE, UNREADABLE, Began, Ended
from governor.ledger import lifecycle
from governor.rehearsal import flights
from governor.rehearsal.blocks import Blocks
from governor.rehearsal.flights import Flight, GoesOn, Part
from governor.rehearsal.judging import POLICY, SHRINK, Judge, Judged, told_by_the_application
from governor.rehearsal.tally import Cause, Days, Found
from governor.routing import LINES
from governor.story.conversations import Conversations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from governor.journal.calls import Event, Priced
    from governor.policy import Policies
    from governor.pricing import PriceTable
    from governor.rehearsal.tally import Counts, Day
    from governor.story.matrix import Offer

STRAGGLERS_MS = 3_600_000
"""How long after the end of the range the ends of its calls are still read."""

MOST_EXPIRED = 20_000
"""So many calls that expired are remembered, so that their late settles are told from others."""

_LIVES = ("create", "rebuild")
_RANKS = {line: rank for rank, line in enumerate(LINES)}
_ROUTING = "the files' lines, tiers and features"
_TOO_COSTLY = Cause("limits.cost_per_request")


class Range(NamedTuple):
    """Which calls are looked at.

    Attributes:
        from_ms: The first instant, Unix milliseconds; earlier calls are posted as they went.
        until_ms: The first instant after it; `None`: to the end.
    """

    from_ms: int = 0
    until_ms: int | None = None


class Backtest:
    """Replays a journal under other policies.

    Args:
        policies: The policies to try.
        prices: What ceilings and other models' usage are priced with.
        within: Which calls are looked at.
        covered: The departments to decide for, where that is not all: others' calls are posted as they went.

    Attributes:
        found: What was found so far; complete after `end`.
    """

    def __init__(
        self,
        policies: Policies,
        prices: PriceTable,
        within: Range = Range(),  # noqa: B008 - it cannot change
        covered: Collection[str] | None = None,
    ) -> None:
        self.found = Found()
        self._conversations = Conversations()
        self._blocks = Blocks(self.found)
        self.judge = Judge(policies, prices, self._blocks.window_over, self._conversations)
        self._prices, self._within, self._covered = prices, within, covered
        self._told = told_by_the_application(policies)
        self._flights: dict[str, Flight] = {}
        self._going_on: OrderedDict[str, GoesOn] = OrderedDict()
        self._expired: OrderedDict[str, tuple[Flight, int, int]] = OrderedDict()
        self._looked_at = 0
        self._days = Days()
        self._zones = {getattr(f.policy, "department", None): f.policy.timezone for f in policies.files}

    def read(self, events: Iterable[Event]) -> bool:
        """Take in the next records, in the journal's order; returns whether more may matter."""
        until_ms = self._within.until_ms
        for event in events:
            self.found.records += 1
            if until_ms is not None and event.at_ms >= until_ms:
                if not self._looked_at or event.at_ms >= until_ms + STRAGGLERS_MS:
                    return False
                if isinstance(event, Began):
                    continue
            if isinstance(event, Began):
                self._began(event)
            elif isinstance(event, Ended):
                self._ended(event)
            else:
                self._other(event.kind)
        return True

    def end(self) -> Found:
        """Judge what waits for the end of its window; returns what was found."""
        self._blocks.end()
        self.found.open = self._looked_at
        self.found.priced, self.found.scaled = self.judge.ceilings.priced, self.judge.ceilings.scaled
        return self.found

    def _other(self, kind: str) -> None:
        if kind == UNREADABLE:
            self.found.unreadable += 1
        elif kind == LEASE:
            self.found.leases += 1
        elif kind in _LIVES:  # as a rebuild does: what was open is charged, for nobody knows what it came to
            for name, flight in [*self._flights.items()]:
                del self._flights[name]
                self._expire(name, flight, flight.then.nanos)

    def _began(self, call: Began) -> None:
        lost = self._flights.pop(call.id, None)
        if lost is not None:
            self._close(lost, 0, 0, [0] * len(lost.holds), [0] * len(lost.real))
        then = call.served
        department = call.who[0]
        if call.of and then is None:  # a later leg that no budget bore: its call is counted already
            return
        if self._covered is not None and department not in self._covered:
            self.found.uncovered += call.at_ms >= self._within.from_ms
            self._as_then(call, then)
        elif department in self._told and call.who[1] not in self._told[department]:
            self.found.tierless += call.at_ms >= self._within.from_ms
            self._as_then(call, then)
        elif call.at_ms < self._within.from_ms:
            self._as_then(call, then)
        elif then is None:
            self._refused_then(call)
        else:
            self._served_then(call, then)

    def _as_then(self, call: Began, then: Priced | None) -> None:
        """Post what the call comes to; nothing is decided or counted."""
        if then is not None:
            real = self._real(call, then)
            flight = Flight(
                at_ms=call.at_ms,
                then=then,
                call=call,
                offer=None,
                blocked=False,
                charge=True,
                holds=real,
                real=real,
                counts=None,
                day=None,
                served=flights.candidate(self._prices, then),
                swapped=call.preferred not in ("", then.model),
            )
            self._take_off(call, flight)

    def _refused_then(self, call: Began) -> None:
        counts, day, judged = self._count(call), self._day(call), self.judge.judge(call)
        offer = judged.offer
        if offer is None:
            counts.still_refused += 1
            return
        counts.freed += 1
        self.found.estimated += 1
        nanos = flights.expected(call, offer)
        for part in flights.parts(judged):
            share = offer.ceiling.tokens * nanos // max(offer.ceiling.nanos, 1)
            part.account.post(flights.amount(part, nanos, share), call.at_ms)
        counts.new_nanos += nanos
        day.new_nanos += nanos

    def _served_then(self, call: Began, then: Priced) -> None:
        before = self._going_on.get(call.of, GoesOn()) if call.of else None
        counts, day = self._count(call), self._day(call)
        if before is not None and before.blocked:
            judged = Judged(POLICY)
        else:
            gone = () if before is None else [one for one in before.models if one != then.model]
            judged = self.judge.judge(call, gone)
        offer, holds = judged.offer, flights.parts(judged)
        shrunk = judged.stepped == SHRINK
        same = offer is not None and offer.candidate.model == then.model and not shrunk
        real = holds if same and len(holds) == len(judged.seats) else self._real(call, then)
        rolling, counted = None, before is not None and before.counted
        if counted:  # an earlier leg went another way already
            pass
        elif offer is None:
            counted = True
            counts.block(call.at_ms)
            self.found.outcomes[judged.outcome] += 1
            rolling = self._blocks.blame(call, judged)
        else:
            counted = self._compare(call, then, offer, judged, counts)
        flight = Flight(
            at_ms=call.at_ms,
            then=then,
            call=call,
            offer=None if same else offer,
            blocked=offer is None,
            charge=judged.charge_on_expiry,
            holds=holds,
            real=real,
            counts=counts,
            day=day,
            rolling=rolling,
            served=None if offer is None else offer.candidate,
            swapped=offer is not None and offer.candidate.model != judged.preferred,
            counted=counted,
        )
        self._take_off(call, flight)

    def _compare(self, call: Began, then: Priced, offer: Offer, judged: Judged, counts: Counts) -> bool:
        """Count a call that is served otherwise; returns whether it is."""
        before, after = _RANKS.get(then.line), _RANKS.get(offer.candidate.line)
        if before is None or after is None:
            return False
        if before == after:
            shrunk = judged.stepped == SHRINK
            counts.shrunk += shrunk
            return shrunk
        if after > before:
            counts.raised += 1
            return True
        counts.downgrade(call.at_ms)
        cause = _TOO_COSTLY if judged.stepped == "cost_per_request" else Cause(judged.tier_why or _ROUTING)
        if judged.stepped in ("budget", SHRINK) and judged.binding is not None:
            cause = flights.cause(judged.seats[judged.binding].term)
        self.found.cause(cause).downgrade(call.at_ms)
        return True

    def _real(self, call: Began, then: Priced) -> tuple[Part, ...]:
        """The new policies' budgets, as the call really touched them."""
        try:
            model = self._prices.canonical(then.model)
        except UnknownModel:
            return ()
        seats = self.judge.seats(call.who, (model,))
        accounts = self.judge.accounts(call, seats)
        return tuple(
            Part(account, seat.term.unit, flights.held(seat, then))
            for seat, account in zip(seats, accounts, strict=True)
        )

    def _take_off(self, call: Began, flight: Flight) -> None:
        for account, _, held in flight.holds:
            account.held += held
            account.open += 1
        for account, _, _ in () if flight.real is flight.holds else flight.real:
            account.open += 1
        self._looked_at += flight.counts is not None
        self._flights[call.id] = flight

    def _ended(self, ended: Ended) -> None:
        flight = self._flights.pop(ended.id, None)
        if flight is not None:
            self._note(flight, ended)
        if ended.late:
            self._late(ended, flight)
        elif flight is None:
            self._alone(ended)
        elif ended.kind == "expire":
            self._expire(ended.id, flight, flights.charged(flight, ended))
        else:
            then_nanos = flights.cost(flight, ended)
            self._settle(flight, ended, then_nanos, flights.new_cost(self._prices, flight, ended, then_nanos))

    def _note(self, flight: Flight, ended: Ended) -> None:
        """Take in which model a run is on now, and whether the call goes on in another leg."""
        flights.note(self._conversations, flight, ended)
        name = flight.call.of or flight.call.id
        before = self._going_on.pop(name, GoesOn())
        if ended.goes_on:
            models = (*before.models, flight.then.model)
            self._going_on[name] = GoesOn(models, blocked=flight.blocked, counted=flight.counted)
            if len(self._going_on) > MOST_EXPIRED:
                self._going_on.popitem(last=False)

    def _settle(self, flight: Flight, ended: Ended, then_nanos: int, new_nanos: int) -> None:
        tokens, kind = -1, ended.kind
        if any(part.unit is Unit.TOKENS for part in (*flight.holds, *flight.real)):
            tokens = flights.tokens(flight, ended)
        if kind == "release" and ended.goes_on:
            kind = flights.GOES_ON
        posts = [flights.posted(part, kind, new_nanos, tokens) for part in flight.holds]
        if flight.real is flight.holds and then_nanos == new_nanos:
            real = posts
        else:
            real = [flights.posted(part, kind, then_nanos, tokens) for part in flight.real]
        self._close(flight, then_nanos, new_nanos, posts, real)

    def _expire(self, name: str, flight: Flight, then_nanos: int) -> None:
        """Charge what was held, as the policies say; a late settle will replace it."""
        offer, charge = flight.offer, flight.charge
        new_nanos = then_nanos if offer is None else offer.ceiling.nanos * charge
        if not flight.holds:
            new_nanos = 0
        posts = [lifecycle.charged_on_expiry(p.unit, p.held, charge=charge) for p in flight.holds]
        tokens = flight.then.tokens * (then_nanos > 0)
        real = [flights.amount(part, then_nanos, tokens) for part in flight.real]
        self._close(flight, then_nanos, new_nanos, posts, real)
        self._expired[name] = (flight, then_nanos, new_nanos)
        if len(self._expired) > MOST_EXPIRED:
            self._expired.popitem(last=False)

    def _late(self, ended: Ended, flight: Flight | None) -> None:
        """Replace the charge of an expiry by what the call cost; of tokens and requests the charge stays."""
        self.found.late += 1
        if flight is not None:  # its expiry is not in the journal
            then_nanos = flights.cost(flight, ended)
            self._settle(flight, ended, then_nanos, flights.new_cost(self._prices, flight, ended, then_nanos))
            return
        known = self._expired.pop(ended.id, None)
        if known is None:
            self._alone(ended)
            return
        flight, charged_then, charged_new = known
        then_nanos = flights.cost(flight, ended)
        new_nanos = flights.new_cost(self._prices, flight, ended, then_nanos)
        for part in flight.holds:
            if part.unit is Unit.USD:
                part.account.post(new_nanos - charged_new, flight.at_ms)
        for part in flight.real:
            if part.unit is Unit.USD:
                part.account.post_real(then_nanos - charged_then, flight.at_ms)
        flights.add(flight, then_nanos - charged_then, new_nanos - charged_new)

    def _alone(self, ended: Ended) -> None:
        """An end without its beginning: a call without the ledger, or one that began before the journal."""
        unasked = ended.admitted in ("allowed", "leased")
        within = ended.at_ms >= self._within.from_ms
        if not unasked:
            self.found.ends_alone += within
        cost, who = ended.cost_nanos, ended.who
        if who is None or cost is None:
            return
        try:
            seats = self.judge.seats(who, (self._prices.canonical(ended.model),))
        except UnknownModel:
            seats = ()
        for seat in seats:
            # What began before the journal is in what its first record of the budget says was spent.
            account = seat.place.at(ended.at_ms) if unasked else seat.place.known
            if account is not None:
                part = Part(account, seat.term.unit, 0)
                amount = flights.posted(part, ended.kind, cost, flights.usage_tokens(ended) or 0)
                account.post(amount, ended.at_ms)
                account.post_real(amount, ended.at_ms)
        if unasked and within and (self._covered is None or who[0] in self._covered):
            self.found.unasked += 1
            counts = self.found.person(*who[:2])
            day = self.found.day(who[0], self._days.of(self._zones.get(who[0], "UTC"), ended.at_ms))
            counts.calls += 1
            for one in (counts, day):
                one.then_nanos += cost
                one.new_nanos += cost

    def _close(
        self, flight: Flight, then_nanos: int, new_nanos: int, posts: Sequence[int], real: Sequence[int]
    ) -> None:
        at_ms, apart = flight.at_ms, flight.real is not flight.holds
        for index, (account, _, held) in enumerate(flight.holds):
            account.held -= held
            account.post(posts[index], at_ms)
            if not apart:
                account.post_real(real[index], at_ms)
            self._blocks.let_go(account)
        if apart:
            for (account, _, _), amount in zip(flight.real, real, strict=True):
                account.post_real(amount, at_ms)
                self._blocks.let_go(account)
        if flight.rolling is not None and flight.rolling[0].real <= flight.rolling[0].limit:
            self._blocks.count_false(flight.rolling[1], 1)
        self._looked_at -= flight.counts is not None
        flights.add(flight, then_nanos, new_nanos)

    def _count(self, call: Began) -> Counts:
        counts = self.found.person(*call.who[:2])
        counts.calls += not call.of  # a later leg is no call of its own
        self.found.first_ms = self.found.first_ms or call.at_ms
        self.found.last_ms = call.at_ms
        return counts

    def _day(self, call: Began) -> Day:
        department = call.who[0]
        return self.found.day(department, self._days.of(self._zones.get(department, "UTC"), call.at_ms))

"""Send on one hold: in turn while the API is busy, again where it pushed back; and note how busy it was."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.ledger import commands as c
from governor.routing import Heard, rate_limits
from governor.story import books, holding, patience
from governor.story.effects import Abandon, Ended, Resume, Running, Send, Sent
from governor.story.spent import LOOK_EVERY_S, spent

if TYPE_CHECKING:
    from governor.routing.limits import RateLimits
    from governor.story.books import Story
    from governor.story.legs import Call
    from governor.story.matrix import Offer
    from governor.story.patience import Deadline
    from governor.story.request import Admitted, House, Plan

EXTEND_EVERY_S = 20.0
"""How often the hold of a stream that is still running, or of a call that waits its turn, is extended."""

SHORTEST_SILENCE_S = 0.1
"""However little is left of a deadline, so long an answer may be silent."""


def send(house: House, call: Call, planned: Plan, admitted: Admitted, deadline: Deadline) -> Story:
    """Send on one hold until it is answered or the leg is over; returns its end and `Sent`."""
    offer = admitted.table.offers[admitted.held.candidate]
    body, sent = planned.body(offer), Sent()
    held = admitted.how == "held"
    extension = c.Extend(planned.request.id, holding.ttl_ms(planned)) if held else None
    late = deadline.over()
    if late is not None:  # counting the prompt and waiting took it all
        return Ended("refused", error=late), sent
    ended = Ended("refused")
    while True:
        given_up = yield from _turn(house, planned, offer, deadline, extension)
        if given_up is not None:
            return replace(ended, error=given_up), sent
        call.sent += 1
        silence_s = max(min(planned.silence_s, deadline.left_s()), SHORTEST_SILENCE_S)
        every_s = LOOK_EVERY_S if planned.request.stop_when_spent else EXTEND_EVERY_S
        ended = yield Send(body, silence_s, min(every_s, deadline.left_s()), offer, planned.request.id)
        while isinstance(ended, Running):
            given_up = (yield from books.extend(house, extension)) or deadline.over()
            given_up = given_up or (yield from spent(house, planned, admitted, ended))
            again = Resume(min(every_s, deadline.left_s()))
            ended = yield (again if given_up is None else Abandon(given_up))
        sent = sent.with_end(ended, _heard(house, offer, ended))
        if not call.repeats(planned, admitted, ended):
            return deadline.told(ended), sent
        pause_s = patience.retry_pause_s(ended, sent.attempts)
        if pause_s is None or pause_s >= deadline.left_s():
            return ended, sent
        given_up = (yield from books.extend(house, extension)) or (yield from books.pause(pause_s))
        given_up = given_up or (yield from books.extend(house, extension))
        if given_up is not None:
            return replace(ended, error=given_up), sent


def _turn(house: House, planned: Plan, offer: Offer, deadline: Deadline, extension: c.Extend | None) -> Story:
    """Wait until it is the request's turn at *offer*'s model; returns what ended the wait, or `None`.

    Users take turns while the API is busy. Who has waited the policy's `max_wait` is sent all the same: the
    API judges. What only watches delays nothing. With `None` its departure is noted, so it must be sent now:
    what departs and never ends counts as in flight. The hold is open meanwhile: nothing may be raised here.
    """
    load, model = planned.rules.routes.load, offer.candidate.priced_as
    if not planned.rules.enforced or planned.rules.shadow:
        return _departs(house, model, deadline)
    turn = house.traffic.queue(model, planned.request.who.user, load.throttle_bp)
    waited_s, extended_s = 0.0, 0.0
    try:
        while (late := deadline.over()) is None and (wait_s := turn.wait_s()) > 0:
            left_s = min(load.max_wait_s - waited_s, deadline.left_s())
            if left_s <= 0:
                return _departs(house, model, deadline)
            pause_s = min(wait_s, left_s)
            given_up = yield from books.pause(pause_s)
            waited_s += pause_s
            if given_up is None and waited_s - extended_s >= EXTEND_EVERY_S:
                extended_s = waited_s
                given_up = yield from books.extend(house, extension)
            if given_up is not None:
                return given_up
    finally:
        turn.leave()
    return late


def _departs(house: House, model: str, deadline: Deadline) -> TimeoutError | None:
    """Note that a request leaves without a turn, unless its *deadline* is over; then that is returned."""
    late = deadline.over()
    if late is None:
        house.traffic.departing(model)
    return late


def _heard(house: House, offer: Offer, ended: Ended) -> RateLimits | None:
    """Note what a sending's end says of the load of *offer*'s model; returns the rate limits it told."""
    usage = ended.usage or {}
    written = (usage.get("input_tokens"), usage.get("cache_creation_input_tokens"))
    heard = Heard(
        status=ended.status,
        overloaded=ended.overloaded,
        limited=ended.limited,
        retry_after_s=ended.retry_after_s,
        latency_ms=ended.latency_ms,
        input_tokens=sum(value for value in written if isinstance(value, int)),
        output_tokens=usage["output_tokens"] if isinstance(usage.get("output_tokens"), int) else 0,
        limits=rate_limits(ended.headers, house.clock.now_ms()),
        answered=ended.kind == "answered",
    )
    house.traffic.ended(offer.candidate.priced_as, heard)
    return heard.limits

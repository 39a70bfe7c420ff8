"""The legs of one call: where it goes when the API pushes back, and what its caller is told of them all.

A leg is one hold with its sendings and its end. Most calls have one; another begins where the next sending
must be held anew: on another model, or because the earlier one may have been billed and stays charged.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from governor.money import Money
from governor.story import patience
from governor.story.request import Door

if TYPE_CHECKING:
    from governor.story.decision import CandidateView, Decision, Receipt
    from governor.story.effects import Ended
    from governor.story.matrix import Offer
    from governor.story.request import Admitted, Plan, Request

LONGEST_ID = 128
"""So long are request ids, and the column of an archive that keeps them."""

_ROOM = 100


def leg_id(call_id: str, number: int) -> str:
    """The id of a call's leg: `<id>~2` for the second. No caller's own id has a `~`."""
    if number == 1:
        return call_id
    mark = f"~{number}"
    if len(call_id) + len(mark) > LONGEST_ID:
        digest = hashlib.sha256(call_id.encode()).hexdigest()[:16]
        return f"{call_id[:_ROOM]}.{digest}{mark}"
    return f"{call_id}{mark}"


class Why(StrEnum):
    """Why a call goes on after a leg."""

    MOVE = "move"
    """The model is overloaded: the next candidate is asked at once."""

    BACK = "back"
    """All that would do are overloaded, or no budget bears them: back to the first, after a pause."""

    AGAIN = "again"
    """It may have been billed, and the policy sends it again."""

    SUCCESSOR = "successor"
    """The API does not know the model: its successor is asked."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where a call goes after a leg that failed.

    Attributes:
        why: Why it goes on.
        offers: The candidates of the next leg, best first; none where *successor* is to be planned.
        pause_s: Seconds to wait before.
        successor: The model that the policy names for one that the API does not know; else ''.
        gone: That one.
    """

    why: Why
    offers: tuple[Offer, ...] = ()
    pause_s: float = 0.0
    successor: str = ""
    gone: str = ""


@dataclass(slots=True)
class Call:
    """What has become of one call, over all its legs.

    Attributes:
        plan: As the first leg was held for: its offers are where the call may go.
        number: The leg under way, from 1 on.
        sent: How often it was sent.
    """

    plan: Plan
    number: int = 1
    sent: int = 0
    _busy: list[str] = field(default_factory=list)
    _gone: list[str] = field(default_factory=list)
    _met: list[tuple[str, str]] = field(default_factory=list)
    _before: tuple[CandidateView, ...] = ()
    _decision: Decision | None = None
    _receipts: list[Receipt] = field(default_factory=list)

    @property
    def spent(self) -> bool:
        """Whether the tier's `retries` are used up: they bound all sendings after the first one."""
        return self.sent > self.plan.tier.retries

    @property
    def _of_the_sdk(self) -> bool:
        """Whether this is an attempt of the SDK's: that waits and tries again, this only moves on at once."""
        return self.plan.request.door is Door.SDK

    @property
    def next_id(self) -> str:
        """The id of the next leg."""
        return leg_id(self.plan.request.call_id, self.number + 1)

    @property
    def _may_move(self) -> bool:
        """A pinned call stays on its model; and what only watches alters nothing."""
        rules = self.plan.rules
        return rules.enforced and not rules.shadow and not self.plan.request.pin

    def repeats(self, planned: Plan, admitted: Admitted, ended: Ended) -> bool:
        """Whether the same is sent again on the same hold."""
        may_be = ended.retriable and not self.spent and not self._of_the_sdk
        return may_be and self._stays(planned, admitted, ended)

    def _stays(self, planned: Plan, admitted: Admitted, ended: Ended) -> bool:
        """Whether a sending that may be repeated is repeated on the same hold: it has nowhere else to go."""
        return not ended.overloaded or not (self._busy or self._behind(planned, admitted))

    def step(self, planned: Plan, admitted: Admitted, ended: Ended, left_s: float) -> Step | None:
        """Where the call goes after a leg; `None`: nowhere, the leg's end is the call's.

        Args:
            planned: What the leg was held for.
            admitted: The leg's hold.
            ended: Its end.
            left_s: Seconds until the deadline.
        """
        if self.spent or ended.handed or not isinstance(ended.error, Exception):
            return None
        step = _in_time(self._step(planned, admitted, ended), left_s)
        waits = step is not None and step.why in (Why.BACK, Why.AGAIN)
        return None if waits and self._of_the_sdk else step

    def _step(self, planned: Plan, admitted: Admitted, ended: Ended) -> Step | None:
        offer = admitted.table.offers[admitted.held.candidate]
        successor = self._successor(offer, ended)
        if successor:
            return Step(Why.SUCCESSOR, successor=successor, gone=offer.candidate.model)
        repeats = self._repeats(planned, ended)
        if not repeats and (not ended.retriable or self._stays(planned, admitted, ended)):
            return None
        behind = self._behind(planned, admitted)
        if ended.overloaded and behind:
            return Step(Why.MOVE, behind)
        pause_s = patience.retry_pause_s(ended, self.sent)
        if pause_s is None:
            return None
        if ended.overloaded and self._may_move:
            return Step(Why.BACK, self.plan.offers, pause_s)
        return Step(Why.AGAIN, (offer, *behind), pause_s)

    def after_refusal(self, step: Step, left_s: float) -> Step | None:
        """Where the call goes if no budget bears the leg that *step* leads to; `None`: nowhere."""
        if step.why is not Why.MOVE or self._of_the_sdk:
            return None
        return _in_time(Step(Why.BACK, self.plan.offers, patience.come_back_s()), left_s)

    def _behind(self, planned: Plan, admitted: Admitted) -> tuple[Offer, ...]:
        """The candidates after the one that serves, but for models that were found overloaded or gone."""
        if not self._may_move:
            return ()
        served = admitted.held.candidate
        out = {planned.offers[served].candidate.model, *self._busy, *self._gone}
        behind = (offer for offer in planned.offers[served + 1 :] if not offer.candidate.last_resort)
        return tuple(offer for offer in behind if offer.candidate.model not in out)

    def _repeats(self, planned: Plan, ended: Ended) -> bool:
        """Whether it goes again though it may have been billed: the policy says so, and nothing had come."""
        if not planned.rules.retry_uncertain:
            return False
        nothing_came = not ended.delivered_bytes and not ended.hidden_output
        return ended.kind == "silent" or (ended.kind == "cut" and (nothing_came or ended.overloaded))

    def _successor(self, offer: Offer, ended: Ended) -> str:
        """The policy's successor of a model that the API does not know; '' where it does not say so."""
        model = offer.candidate.model
        if not self._may_move or model not in ended.not_found:
            return ""
        known = self.plan.rules.successors
        found = known.get(model) or known.get(offer.candidate.priced_as) or ""
        return "" if found in {model, *self._gone} else found

    def leave(self, admitted: Admitted, ended: Ended, step: Step) -> None:
        """The leg is over and the call goes on by *step*: note what happened."""
        model = admitted.table.offers[admitted.held.candidate].candidate.model
        verdict = "unanswered"
        if step.why is Why.SUCCESSOR:
            verdict = "not found"
            self._gone.append(model)
        elif ended.overloaded:
            verdict = "overloaded"
            self._busy.append(model)
        self._met.append((model, _said(ended, verdict)))
        if self._decision is not None:
            self._before = _until(self._decision, model, verdict)

    def onward(self, step: Step) -> Plan:
        """What the next leg is asked for."""
        self.number += 1
        back = step.why is Why.BACK
        if back:
            self._busy.clear()
            self._before = ()
        skipped = self.plan.skipped if back else ()
        return replace(self.plan, request=self._request(), trial=None, offers=step.offers, skipped=skipped)

    def succeeded(self, step: Step, planned: Plan) -> Plan:
        """What the next leg is asked for, where *planned* is the plan of a model's successor alone.

        From now on the successor stands in the model's place.
        """
        self.number += 1
        why = f"the successor of {step.gone}"
        new = [replace(one, candidate=replace(one.candidate, why=why)) for one in planned.offers]
        models = [offer.candidate.model for offer in self.plan.offers]
        place = models.index(step.gone)
        rest = [one for one in self.plan.offers[place + 1 :] if one.candidate.model != step.successor]
        offers, counts = (*new, *rest), {**self.plan.counts, **planned.counts}
        self.plan = replace(self.plan, offers=(*self.plan.offers[:place], *offers), counts=counts, trial=None)
        return replace(self.plan, request=self._request(), offers=offers, skipped=())

    def _request(self) -> Request:
        """The caller's request, under the id of the leg under way."""
        first = self.plan.request
        return replace(first, id=leg_id(first.call_id, self.number), of=first.call_id, leg=self.number)

    def decided(self, decision: Decision) -> Decision:
        """The decision of the leg under way, with what happened before."""
        if self._met:
            model, reason = decision.model, decision.reason
            if not reason.startswith(f"{model} instead"):
                reason = f"{model} again" if model in dict(self._met) else f"{model} instead"
            before = tuple(view for view in self._before if view.model != model)
            met = ", ".join(f"{name} {said}" for name, said in self._met)
            decision = replace(
                decision, reason=f"{met}: {reason}", candidates=(*before, *decision.candidates)
            )
        self._decision = decision
        return decision

    def took(self, receipt: Receipt) -> None:
        """A leg was closed."""
        self._receipts.append(receipt)

    def receipt(self) -> Receipt:
        """The receipt of the whole call; all but sums and flags is the last leg's."""
        *before, last = self._receipts
        if not before:
            return last
        legs = self._receipts
        charged = [one for one in legs if one is last or one.cost.nanos]
        return replace(
            last,
            cost=Money(sum(one.cost.nanos for one in legs)),
            ceiling=Money(sum(one.ceiling.nanos for one in charged)),
            crossings=tuple(crossing for one in legs for crossing in one.crossings),
            attempts=sum(one.attempts for one in legs),
            overrun=any(one.overrun for one in legs),
            late=any(one.late for one in legs),
            settled=all(one.settled for one in legs),
            uncertain=any(one.uncertain for one in legs),
            unpriced=tuple(text for one in legs for text in one.unpriced),
            legs=tuple(leg for one in legs for leg in one.legs),
        )


def _in_time(step: Step | None, left_s: float) -> Step | None:
    """*step*, unless its pause would outlast the deadline."""
    return step if step is not None and step.pause_s < left_s else None


def _said(ended: Ended, verdict: str) -> str:
    """What became of a model, as a decision's reason tells it."""
    status = f" ({ended.status})" if ended.status and ended.kind != "cut" else ""
    if verdict == "overloaded":
        return "was overloaded" + (status or " in mid-answer")
    if verdict == "not found":
        return f"is not known to the API{status}"
    return "broke off" if ended.kind == "cut" else f"did not answer{status}"


def _until(decision: Decision, model: str, verdict: str) -> tuple[CandidateView, ...]:
    """The candidates of a decision up to the one that served, of which *verdict* is said now."""
    views = decision.candidates
    served = max(index for index, view in enumerate(views) if view.model == model)
    return (*views[:served], replace(views[served], verdict=verdict))

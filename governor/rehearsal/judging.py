"""The decision on one call of a journal, fast enough for a million: what `Stage.decide` would say. Pure.

What depends on who asks, and for what model, is worked out once; a call's ceilings are those of its record
where they still hold. The rule itself is `admission.decide` on the asks of `matrix.ask_for`: no copy of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from governor.budgets import quoted
from governor.errors import PolicyViolation, UnknownModel
from governor.journal.calls import Priced
from governor.ledger import admission
from governor.ledger.commands import Balance
from governor.policy import Attribution
from governor.policy.terms import clean_id
from governor.pricing import Bounds, Ceiling, bounded, ceiling_of, demand
from governor.rehearsal.balances import Place
from governor.routing import Candidate
from governor.story.matrix import Offer, ask_for, gone_bp
from governor.story.planning import candidates_of
from governor.story.request import bounds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from governor.journal.calls import Began, Who
    from governor.ledger.commands import Ask
    from governor.policy import BudgetTerm, Policies, Rules
    from governor.pricing import Demand, PriceTable
    from governor.rehearsal.balances import Account

MOST_KEPT = 20_000
"""So many attributions are remembered with their budgets; then it begins anew."""

_PROMPT: list[dict[str, Any]] = [{"role": "user", "content": "…"}]


class Seat(NamedTuple):
    """A budget that a request touches, and where its balance is."""

    term: BudgetTerm
    place: Place


@dataclass(frozen=True, slots=True)
class Way:
    """What does not depend on a single call: who asks, which rules, which models.

    Attributes:
        rules: What the files say; `None` where they refuse whoever asks.
        candidates: The models that would do, best first; none where the files refuse.
        bounds: What the rules add to a request's own bounds.
        refusal: Why the files refuse, or would if they were enforced; '' if they do not.
    """

    rules: Rules | None
    candidates: tuple[Candidate, ...] = ()
    bounds: Bounds | None = None
    refusal: str = ""


class Judged(NamedTuple):
    """What the policies make of a call.

    Attributes:
        outcome: `held`, `exhausted`, `contended`, `frozen`; `policy` where the files refuse it.
        offer: What is held; `None`: it is refused.
        seats: The budgets that were asked.
        accounts: Theirs.
        asks: What *offer* holds of each; empty in a refusal.
        binding: Which of *seats* refused the first candidate, or in a refusal the last one.
        stepped: Why it is not the first candidate: `budget`, `cost_per_request`, or '' where it is.
        refusal: The sentence, where the files refuse.
        charge_on_expiry: Whether a hold that expires is charged.
    """

    outcome: str
    offer: Offer | None = None
    seats: Sequence[Seat] = ()
    accounts: Sequence[Account] = ()
    asks: Sequence[Ask | None] = ()
    binding: int | None = None
    stepped: str = ""
    refusal: str = ""
    charge_on_expiry: bool = True


POLICY = "policy"


ANY_RUN = "any-run"
"""Stands for the name of a run where it makes no difference."""


def _in_run(term: BudgetTerm, run: str) -> BudgetTerm:
    """The budget of `ANY_RUN` as that of *run*, if it counts runs."""
    if "run" not in term.scope:
        return term
    parts = [f"run={quoted(run)}" if part == f"run={ANY_RUN}" else part for part in term.identity.split("/")]
    return replace(term, identity="/".join(parts))


class Judge:
    """Decides calls under policies and prices, on balances of its own.

    Args:
        policies: The policies.
        prices: The price table.
        ended: Told of an account whose window is over.

    Attributes:
        priced: How many ceilings were worked out, because the record's do not hold.
        scaled: How many of these in proportion to the record's, for the request was more than plain text.
    """

    def __init__(self, policies: Policies, prices: PriceTable, ended: Callable[[Account], None]) -> None:
        self.policies, self.prices = policies, prices
        self.priced = self.scaled = 0
        self._ended = ended
        self._places: dict[str, Place] = {}
        self._ways: dict[Any, Way] = {}
        self._seats: dict[tuple[Who, tuple[str, ...]], tuple[Seat, ...]] = {}
        self._of_runs: dict[tuple[Who, tuple[str, ...]], Sequence[BudgetTerm]] = {}
        self._demands: dict[tuple[int, Bounds], Demand] = {}

    def judge(self, call: Began) -> Judged:
        """Decide a call at its instant."""
        way = self._way(call)
        rules = way.rules
        if rules is None or way.refusal:
            return self._refused(call, rules, way.refusal)
        forbidden = _forbidden(call, rules)
        if forbidden:
            return Judged(POLICY, refusal=forbidden)
        try:
            offers = self._offers(call, way, rules)
            for offer in offers:  # mostly the first one fits, and the others need no price
                seats = self.seats(call.who, (offer.candidate.priced_as,))
                accounts = self.accounts(call, seats)
                asks = _asks(offer, seats, accounts, call.at_ms)
                told = admission.decide((asks,), _balances(call, seats, accounts))
                stepped = "" if offer.candidate is way.candidates[0] else "cost_per_request"
                if told.chosen is None:
                    break
                return Judged("held", offer, seats, accounts, asks, None, stepped, "", rules.on_expiry_charge)
            else:
                return Judged(POLICY, refusal="limits.cost_per_request is less than it may cost")
            return self._all(call, rules, (offer, *offers), stepped)
        except (PolicyViolation, UnknownModel) as error:
            return self._refused(call, rules, str(error))

    def _refused(self, call: Began, rules: Rules | None, why: str) -> Judged:
        """What becomes of a call that the files refuse: as it went, where none of them is enforced."""
        then = call.served
        if rules is None or rules.enforced or then is None:
            return Judged(POLICY, refusal=why)
        try:
            model = self.prices.canonical(then.model)
        except UnknownModel:
            model = then.model
        ceiling = Ceiling(then.nanos, then.tokens, call.input_tokens, call.max_tokens)
        offer = Offer(Candidate(then.line, then.model, "as it went", model), ceiling)
        seats = self.seats(call.who, (model,))
        accounts = self.accounts(call, seats)
        asks = _asks(offer, seats, accounts, call.at_ms)
        return Judged("held", offer, seats, accounts, asks, charge_on_expiry=rules.on_expiry_charge)

    def _all(self, call: Began, rules: Rules, offers: Sequence[Offer], stepped: str) -> Judged:
        """The decision on all candidates, of which the first does not fit."""
        seats = self.seats(call.who, tuple(offer.candidate.priced_as for offer in offers))
        accounts = self.accounts(call, seats)
        asks = [_asks(offer, seats, accounts, call.at_ms) for offer in offers]
        told = admission.decide(asks, _balances(call, seats, accounts))
        if told.chosen is None:
            binding = told.verdicts[-1].binding
            return Judged(told.reason, None, seats, accounts, (), binding)
        offer, binding = offers[told.chosen], told.verdicts[0].binding
        why = stepped or ("budget" if told.chosen else "")
        held = asks[told.chosen]
        return Judged("held", offer, seats, accounts, held, binding, why, "", rules.on_expiry_charge)

    def _way(self, call: Began) -> Way:
        who = call.who
        run = (
            None if who[3] is None or clean_id(who[3]) else who[3]
        )  # of runs, only odd ones make a difference
        key = (*who[:3], run, who[4], call.asked, call.pin)
        found = self._ways.get(key)
        if found is None:
            if len(self._ways) >= MOST_KEPT:
                self._ways.clear()
            found = self._ways[key] = self._find_way(call)
        return found

    def _find_way(self, call: Began) -> Way:
        try:
            rules = self.policies.rules(Attribution(*call.who))
        except PolicyViolation as refused:
            return Way(None, refusal=str(refused))
        try:
            candidates = candidates_of(rules, self.prices, call.asked, pin=call.pin)
        except (PolicyViolation, UnknownModel) as refused:
            return Way(rules, refusal=str(refused))
        return Way(rules, candidates, bounds_of(rules))

    def seats(self, who: Who, models: tuple[str, ...]) -> tuple[Seat, ...]:
        """The budgets that a request on these models touches; the organisation's if the files refuse it."""
        key = (who, models)
        found = self._seats.get(key)
        if found is None:
            if len(self._seats) >= MOST_KEPT:
                self._seats.clear()
            found = self._seats[key] = tuple(
                Seat(term, self._place(term)) for term in self._terms(who, models)
            )
        return found

    def _terms(self, who: Who, models: tuple[str, ...]) -> Sequence[BudgetTerm]:
        """The budgets that a request touches. Runs are many and differ in name alone: found once for all."""
        run = who[3]
        if run is None or not clean_id(run):
            return self._find_terms(who, models)
        alike = (*who[:3], ANY_RUN, *who[4:])
        found = self._of_runs.get((alike, models))
        if found is None:
            if len(self._of_runs) >= MOST_KEPT:
                self._of_runs.clear()
            found = self._of_runs[alike, models] = self._find_terms(alike, models)
        return [_in_run(term, run) for term in found]

    def _find_terms(self, who: Who, models: tuple[str, ...]) -> Sequence[BudgetTerm]:
        asker = Attribution(*who)
        try:
            return self.policies.budgets(asker, models)
        except PolicyViolation:
            shared = (row for row in self.policies.all_terms() if row.department is None)
            rows = (row for row in shared if row.user_tier is None)
            return [term for row in rows for term in row.terms(asker, models, {})]

    def _place(self, term: BudgetTerm) -> Place:
        found = self._places.get(term.identity)
        if found is None:
            found = self._places[term.identity] = Place(term, self._ended)
        return found

    def accounts(self, call: Began, seats: Sequence[Seat]) -> list[Account]:
        """The accounts of a call's budgets; a new one begins with what the record says was spent."""
        at_ms, found = call.at_ms, []
        for term, place in seats:
            account = place.at(at_ms)
            if account.fresh:
                account.fresh = False
                _begin(account, term.identity, call)
            account.limit = term.limit
            found.append(account)
        return found

    def _offers(self, call: Began, way: Way, rules: Rules) -> Iterator[Offer]:
        """The candidates with their ceilings, without those that may cost more than a request may."""
        most, dearest = call.max_tokens, rules.cost_per_request_nanos
        if rules.max_tokens is not None:
            most = min(most or rules.max_tokens, rules.max_tokens)
        priced = 0
        for candidate in way.candidates:
            try:
                ceiling = self._ceiling(call, candidate, most, way.bounds or Bounds())
            except UnknownModel:
                if not priced:
                    raise
                continue
            priced += 1
            if dearest is None or ceiling.nanos <= dearest:
                yield Offer(candidate, ceiling)

    def _ceiling(self, call: Began, candidate: Candidate, max_tokens: int, bounds: Bounds) -> Ceiling:
        known = call.prices == self.prices.version
        if known and max_tokens == call.max_tokens:
            for model, _, nanos, tokens, _ in (*call.offers, *call.skipped):
                if model == candidate.model:
                    return Ceiling(nanos, tokens, call.input_tokens, max_tokens)
        self.priced += 1
        plain = self._plain(call, candidate.model, max_tokens, bounds)
        told = call.served or next((Priced(*one) for one in (*call.offers, *call.skipped)), None)
        if told is None:
            return plain
        try:
            then = self._plain(call, told.model, call.max_tokens, bounds)
        except UnknownModel:
            return plain
        parts = (told.nanos, then.nanos) if known else (told.tokens, then.tokens)
        if parts[0] <= parts[1]:
            return plain
        self.scaled += 1
        nanos, tokens = (-(-amount * parts[0] // max(parts[1], 1)) for amount in (plain.nanos, plain.tokens))
        return Ceiling(nanos, tokens, plain.input_tokens, max_tokens)

    def _plain(self, call: Began, model: str, max_tokens: int, bounds: Bounds) -> Ceiling:
        """The ceiling of a request that is plain text."""
        key = (max_tokens, bounds)
        asked = self._demands.get(key)
        if asked is None:
            if len(self._demands) >= MOST_KEPT:
                self._demands.clear()
            body = bounded({"messages": _PROMPT, "max_tokens": max_tokens}, bounds)
            asked = self._demands[key] = demand(body, bounds)
        return ceiling_of(
            self.prices,
            model,
            asked,
            input_tokens=call.input_tokens,
            counted=call.counted,
            at_ms=call.at_ms,
        )


def _forbidden(call: Began, rules: Rules) -> str:
    """What limit of one request refuses a call, whatever the balances; '' if none does."""
    if rules.input_tokens is not None and call.input_tokens > rules.input_tokens:
        return f"limits.input_tokens is {rules.input_tokens:,}"
    missing = rules.enforced and rules.max_tokens is None and not call.max_tokens
    return "max_tokens is missing" if missing else ""  # under policies in shadow it may be


def _asks(offer: Offer, seats: Sequence[Seat], accounts: Sequence[Account], at_ms: int) -> list[Ask | None]:
    """What an offer asks of each budget at an instant: of a paced one, by how much of its window is gone."""
    return [
        ask_for(offer, seat.term, gone_bp(one.start_ms, one.end_ms, at_ms) if seat.term.paced else 0)
        for seat, one in zip(seats, accounts, strict=True)
    ]


def _begin(account: Account, identity: str, call: Began) -> None:
    wanted = (identity, account.id, account.end_ms)
    for seen, posted in zip(call.budgets, call.posted, strict=True):
        if seen == wanted:
            account.post(posted, call.at_ms)
            account.post_real(posted, call.at_ms)
            return


def _balances(call: Began, seats: Sequence[Seat], accounts: Sequence[Account]) -> Sequence[Balance]:
    """The balances as they are; the limits are the policies', with what administrators had added by then."""
    if (
        call.changes is None
    ):  # an account has what a balance has, and is read only: half a million copies less
        return cast("Sequence[Balance]", accounts)
    found = []
    for seat, account in zip(seats, accounts, strict=True):
        added, frozen = call.changes.get(seat.term.identity, (0, False))
        account.limit = seat.term.limit + added
        found.append(Balance(account.posted, account.held, account.limit, "as then" if frozen else None))
    return found


def told_by_the_application(policies: Policies) -> dict[str, Collection[str]]:
    """Departments where budgets depend on a tier that only the application knows, to the users they list."""
    found: dict[str, Collection[str]] = {}
    for file in policies.files:
        policy: Any = file.policy
        name = getattr(policy, "department", None)
        rows = (row for row in policies.all_terms() if row.department in (None, name))
        if name and policy.asks_application and any(row.user_tier for row in rows):
            found[name] = frozenset(policy.users or ())
    return found

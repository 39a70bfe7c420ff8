"""The decision on one call of a journal, fast enough for a million: what `Stage.decide` would say. Pure.

What depends on who asks, and for what model, is worked out once; a call's ceilings are those of its record
where they still hold. The rule itself is `admission.decide` on the asks of `matrix.ask_for`: no copy of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from governor.budgets import quoted
from governor.clock import LedgerClock
from governor.errors import PolicyViolation, UnknownModel
from governor.ledger import admission
from governor.ledger.commands import Balance
from governor.policy import Attribution
from governor.policy.terms import clean_id
from governor.pricing import Bounds, Ceiling
from governor.rehearsal.balances import Place
from governor.rehearsal.ceilings import Ceilings
from governor.rehearsal.ways import MOST_KEPT, Ways, half_percents
from governor.routing import AUTO, Candidate
from governor.story.choosing import counts
from governor.story.matrix import Offer, ask_for, gone_bp
from governor.story.offers import Asked, in_order
from governor.story.planning import above
from governor.story.request import House

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from governor.journal.calls import Began, Who
    from governor.ledger.commands import Ask
    from governor.policy import BudgetTerm, Policies, Rules
    from governor.pricing import PriceTable
    from governor.rehearsal.balances import Account
    from governor.rehearsal.ways import Asker, Way
    from governor.story.conversations import Conversations, Standing


class Seat(NamedTuple):
    """A budget that a request touches, and where its balance is."""

    term: BudgetTerm
    place: Place


class Judged(NamedTuple):
    """What the policies make of a call.

    Attributes:
        outcome: `held`, `exhausted`, `contended`, `frozen`; `policy` where the files refuse it.
        offer: What is held; `None`: it is refused.
        seats: The budgets that were asked.
        accounts: Theirs.
        asks: What *offer* holds of each; empty in a refusal.
        binding: Which of *seats* refused the first candidate, or in a refusal the last one.
        stepped: Why it is not the first candidate: `budget`, `cost_per_request`, `shrink` where one is held
            with a smaller `max_tokens`; or '' where it is.
        refusal: The sentence, where the files refuse.
        charge_on_expiry: Whether a hold that expires is charged.
        tier_why: The tier, and why it serves; '' where none was chosen.
        preferred: The model that would serve if every budget could bear it.
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
    tier_why: str = ""
    preferred: str = ""


POLICY, SHRINK = "policy", "shrink"


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
        conversations: Which model each conversation is on, under these policies.

    Attributes:
        ceilings: Prices candidates.
    """

    def __init__(
        self,
        policies: Policies,
        prices: PriceTable,
        ended: Callable[[Account], None],
        conversations: Conversations | None = None,
    ) -> None:
        self.policies, self.prices = policies, prices
        self.ceilings = Ceilings(prices)
        self._house = House(policies, prices, LedgerClock(lambda: 0))
        self._ways = Ways(policies, prices)
        self._conversations = conversations
        self._ended = ended
        self._places: dict[str, Place] = {}
        self._seats: dict[tuple[Who, tuple[str, ...]], tuple[Seat, ...]] = {}
        self._usd: dict[Who, tuple[Seat, ...]] = {}
        self._of_runs: dict[tuple[Who, tuple[str, ...]], Sequence[BudgetTerm]] = {}

    def judge(self, call: Began, without: Collection[str] = ()) -> Judged:
        """Decide a call at its instant.

        Args:
            call: The call.
            without: Models that an earlier leg of it asked in vain.
        """
        asker = self._ways.asker(call)
        rules = asker.rules
        if rules is None:
            return self._refused(call, rules, asker.refusal)
        way = self._ways.way(call, asker, rules, lambda: self._spent(call))
        if way.refusal:
            return self._refused(call, rules, way.refusal)
        forbidden = _forbidden(call, rules)
        if forbidden:
            return Judged(POLICY, refusal=forbidden)
        try:
            return self._decide(call, asker, way, rules, without)
        except (PolicyViolation, UnknownModel) as error:
            return self._refused(call, rules, str(error))

    def _decide(self, call: Began, asker: Asker, way: Way, rules: Rules, without: Collection[str]) -> Judged:
        candidates, standing = way.candidates, None
        if self._conversations is not None and call.who[3] is not None and asker.free:
            standing = self._conversations.find(
                Attribution(*call.who), {}, (call.asked, call.tier), call.at_ms
            )
            if standing is not None:
                candidates = self._ways.staying(call, way, rules, standing)
        if without:
            candidates = tuple(one for one in candidates if one.model not in without) or candidates
        offers: Iterator[Offer] = self._offers(call, candidates, way.bounds or Bounds(), rules)
        first = candidates[0]
        if asker.by_value:
            known = self._in_order(call, rules, [*offers], standing)
            first = known[0].candidate if known else first
            offers = iter(known)
        offer = next(offers, None)  # mostly the first one fits, and the others need no price
        if offer is None:
            rest = above(rules, self.prices, candidates, call.asked, free=asker.free)
            offers = self._offers(call, rest, way.bounds or Bounds(), rules)
            offer = next(offers, None)
        if offer is None:
            return Judged(POLICY, refusal="limits.cost_per_request is less than it may cost")
        why = "" if offer.candidate is first else "cost_per_request"
        preferred = first if call.asked == AUTO else way.candidates[0]
        seats = self.seats(call.who, (offer.candidate.priced_as,))
        accounts = self.accounts(call, seats)
        asks = _asks(offer, seats, accounts, call.at_ms)
        if admission.decide((asks,), _balances(call, seats, accounts)).chosen is not None:
            charge = rules.on_expiry_charge
            return Judged(
                "held", offer, seats, accounts, asks, None, why, "", charge, way.told, preferred.model
            )
        every = [offer, *offers]
        if standing is not None and not asker.by_value:
            every = self._in_order(call, rules, every, standing)
        judged = self._all(call, way, rules, every, why)
        return judged._replace(tier_why=way.told, preferred=preferred.model)

    def _in_order(
        self, call: Began, rules: Rules, offers: list[Offer], standing: Standing | None
    ) -> list[Offer]:
        """The offers by what the call is worth, as was expected of each then, and what a warm cache saves."""
        if not offers:
            return offers
        expected = {model: nanos for model, _, _, _, nanos in call.offers if nanos is not None}
        known = [replace(one, expected_nanos=expected.get(one.candidate.model)) for one in offers]
        counts = {self.prices.canonical(one.candidate.model): (call.input_tokens, True) for one in offers}
        request: Any = call  # of which only what it names, and `pin`, is asked
        body: Any = None
        return in_order(self._house, Asked(request, rules, body, counts, call.at_ms, standing), known)

    def _spent(self, call: Began) -> int:
        """How much is spent of the fullest usd budget that counts, in half percents."""
        seats = self._usd.get(call.who)
        if seats is None:
            if len(self._usd) >= MOST_KEPT:
                self._usd.clear()
            every = self.seats(call.who, ())
            seats = self._usd[call.who] = tuple(seat for seat in every if counts(seat.term))
        most = 0
        for balance in _balances(call, seats, self.accounts(call, seats)):
            if balance.posted * 200 > most * balance.limit:
                most = max(most, half_percents(balance.posted, balance.limit))
        return most

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

    def _all(self, call: Began, way: Way, rules: Rules, offers: Sequence[Offer], stepped: str) -> Judged:
        """The decision on all candidates, of which the first does not fit."""
        seats = self.seats(call.who, tuple(dict.fromkeys(offer.candidate.priced_as for offer in offers)))
        accounts = self.accounts(call, seats)
        asks = [_asks(offer, seats, accounts, call.at_ms) for offer in offers]
        balances = _balances(call, seats, accounts)
        told = admission.decide(asks, balances)
        binding = told.verdicts[0].binding
        if told.chosen is not None:
            why = stepped or ("budget" if told.chosen else "")
            offer, held = offers[told.chosen], asks[told.chosen]
            return Judged("held", offer, seats, accounts, held, binding, why, "", rules.on_expiry_charge)
        least = rules.routes.shrink_to
        if least is not None and not rules.shadow:
            cheapest = min(offers, key=lambda one: one.ceiling.nanos)
            smaller = self._smaller(call, way, cheapest, least, (seats, accounts, balances))
            if smaller is not None:
                asked = _asks(smaller, seats, accounts, call.at_ms)
                charge = rules.on_expiry_charge
                return Judged("held", smaller, seats, accounts, asked, binding, SHRINK, "", charge)
        return Judged(told.reason, None, seats, accounts, (), told.verdicts[-1].binding)

    def _smaller(self, call: Began, way: Way, offer: Offer, least: int, at: _Table) -> Offer | None:
        """The offer with the largest `max_tokens` that the balances can bear; `None` below *least*."""
        seats, accounts, balances = at

        def smaller(tokens: int) -> Offer | None:
            ceiling = self.ceilings.of(call, offer.candidate, tokens, way.bounds or Bounds())
            one = replace(offer, ceiling=ceiling)
            asks = _asks(one, seats, accounts, call.at_ms)
            fits = admission.judge_candidate(asks, balances).verdict is admission.Verdict.FITS
            return one if fits else None

        most = min(offer.ceiling.max_tokens, self.prices.model(offer.candidate.model).max_output_tokens)
        found = smaller(least) if least <= most else None
        low, high = least, most
        while found is not None and low < high:
            middle = (low + high + 1) // 2
            larger = smaller(middle)
            if larger is None:
                high = middle - 1
            else:
                low, found = middle, larger
        return found

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

    def _offers(
        self, call: Began, candidates: Sequence[Candidate], bounds: Bounds, rules: Rules
    ) -> Iterator[Offer]:
        """The candidates with their ceilings, without those that did not take the request or are too dear."""
        most, dearest = call.max_tokens, rules.cost_per_request_nanos
        if rules.max_tokens is not None:
            most = min(most or rules.max_tokens, rules.max_tokens)
        unfit = {model for model, _, nanos, _, _ in call.skipped if not nanos}
        priced = 0
        for candidate in candidates:
            if candidate.model in unfit and candidate.model != call.asked:
                continue
            try:
                ceiling = self.ceilings.of(call, candidate, most, bounds)
            except UnknownModel:
                if not priced:
                    raise
                continue
            priced += 1
            if dearest is None or ceiling.nanos <= dearest:
                yield Offer(candidate, ceiling)


_Table = tuple["Sequence[Seat]", "Sequence[Account]", "Sequence[Balance]"]


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

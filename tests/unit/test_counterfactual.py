"""What would have changed an answer: the admission rule agrees, and that one unit less is too little."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from governor.budgets import Unit
from governor.ledger.admission import Verdict, decide, judge_candidate
from governor.ledger.commands import Ask, Balance
from governor.story.counterfactual import Output, counterfactuals, with_max_tokens

LIMIT = 1_000_000_000
UNITS = st.sampled_from([Unit.USD, Unit.USD, Unit.TOKENS, Unit.REQUESTS, Unit.CONCURRENT])
AMOUNT = st.integers(0, LIMIT) | st.integers(0, 20_000)


@st.composite
def scenes(draw):
    """Budgets, balances, and some candidates' asks with what their `max_tokens` cost."""
    units = draw(st.lists(UNITS, min_size=1, max_size=4))
    balances = [
        Balance(
            draw(AMOUNT),
            draw(st.integers(0, 1000)),
            draw(st.integers(1, LIMIT)),
            draw(st.sampled_from([None, None, None, "a test"])),
        )
        for _ in units
    ]
    asks, outputs = [], []
    for _ in range(draw(st.integers(1, 3))):
        output = Output(draw(st.integers(1, 100_000)), draw(st.integers(0, LIMIT)))
        asks.append([draw(st.none() | st.builds(Ask, **ask(unit, output))) for unit in units])
        outputs.append(draw(st.none() | st.just(output)))
    reopens = [draw(st.sampled_from([0, 1_000, 2_000])) for _ in units]
    return asks, balances, units, outputs, reopens


def ask(unit, output):
    """What an ask of a budget in *unit* may be, so that the output's part is never more than the whole."""
    least = {Unit.USD: output.nanos, Unit.TOKENS: output.max_tokens}.get(unit, 1)
    most = least + LIMIT if unit in (Unit.USD, Unit.TOKENS) else 1
    return {
        "amount": st.integers(least, most),
        "mark_bp": st.integers(1, 10_000) | st.just(10_000),
        "floor": st.just(0) | st.integers(0, LIMIT),
        "comes_back": st.just(unit is not Unit.REQUESTS),
        "share_bp": st.just(10_000) | st.integers(1, 10_000),
        "enforced": st.sampled_from([True, True, True, False]),
    }


def larger(balances, extra, unfreeze):
    """The balances as the counterfactual has them."""
    return [
        replace(
            balance, limit=balance.limit + extra.get(i, 0), frozen=None if i in unfreeze else balance.frozen
        )
        for i, balance in enumerate(balances)
    ]


@given(scenes())
def test_the_limits_are_enough_and_the_least(scene) -> None:
    """With them the rule takes that candidate; with one unit less, or a budget still frozen, it does not."""
    asks, balances, *_ = scene
    for would in counterfactuals(*scene):
        if would.extra is None:
            continue
        assert decide(asks, larger(balances, would.extra, would.unfreeze)).chosen == would.candidate
        for budget, extra in would.extra.items():
            less = larger(balances, {**would.extra, budget: extra - 1}, would.unfreeze)
            assert decide(asks, less).chosen != would.candidate
        for budget in would.unfreeze:
            others = [one for one in would.unfreeze if one != budget]
            assert decide(asks, larger(balances, would.extra, others)).chosen != would.candidate


@given(scenes())
def test_the_max_tokens_is_enough_and_the_largest(scene) -> None:
    """With it in every candidate's ask the rule takes that candidate; with one token more it does not."""
    asks, balances, units, outputs, _ = scene
    for would in counterfactuals(*scene):
        if would.max_tokens is not None:
            chosen = [
                decide(at(asks, units, outputs, would.max_tokens + more), balances).chosen for more in (0, 1)
            ]
            assert chosen[0] == would.candidate
            assert chosen[1] != would.candidate


def at(asks, units, outputs, max_tokens):
    """What every candidate asks for with that `max_tokens`, or its own where that is smaller."""
    return [
        one if out is None or out.max_tokens <= max_tokens else with_max_tokens(one, units, out, max_tokens)
        for one, out in zip(asks, outputs, strict=True)
    ]


@given(scenes())
def test_waiting_helps_where_it_says_so(scene) -> None:
    """With no holds, and the windows over that end until then, the candidate fits."""
    asks, balances, _, _, reopens = scene
    for would in counterfactuals(*scene):
        then = would.reopens_ms or 0
        after = [
            replace(balance, held=0, posted=0 if 0 < opens <= then else balance.posted)
            for balance, opens in zip(balances, reopens, strict=True)
        ]
        if would.settling or would.reopens_ms:
            assert judge_candidate(asks[would.candidate], after).verdict is Verdict.FITS
        now = [replace(balance, held=0) for balance in balances]
        fits = judge_candidate(asks[would.candidate], now).verdict is Verdict.FITS
        assert fits or not would.settling


@given(scenes())
def test_only_refused_candidates_are_told_of(scene) -> None:
    """Every candidate before the one that was taken, in order; none where the first was."""
    asks, balances, *_ = scene
    chosen = decide(asks, balances).chosen
    refused = len(asks) if chosen is None else chosen
    assert [would.candidate for would in counterfactuals(*scene)] == list(range(refused))


def test_an_example() -> None:
    """A budget of $100, $79 spent and $2 held: opus needs $5 below 80 %, haiku $20.

    Opus would have been taken with $5 more, for 80 % of $105 are $84, or with 199 of its 1000
    tokens: not 200, for its price was rounded up.
    """
    cents = 10_000_000
    balance = Balance(79 * 100 * cents, 2 * 100 * cents, 100 * 100 * cents)
    asks = [[Ask(500 * cents, 8000)], [Ask(2000 * cents)]]
    opus, haiku = counterfactuals(asks, [balance], [Unit.USD], [Output(1000, 500 * cents), None], [5_000])
    assert (opus.extra, opus.max_tokens, opus.settling, opus.reopens_ms) == (
        {0: 500 * cents},
        199,
        False,
        5_000,
    )
    assert (haiku.extra, haiku.max_tokens, haiku.settling) == ({0: 100 * cents}, None, True)

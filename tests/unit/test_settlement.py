"""What an ended call costs: exact where the usage is final, else what may have been billed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.governed import NOON_MS, OPUS, SONNET

from governor.pricing import Bounds, PriceTable, ceiling
from governor.routing import Candidate
from governor.story.effects import Ended
from governor.story.matrix import Offer
from governor.story.settlement import actual

PRICES = PriceTable.load()
BODY = {"max_tokens": 1000}
OFFER = Offer(
    Candidate("sonnet", SONNET, "asked for", SONNET),
    ceiling(PRICES, SONNET, input_tokens=100, counted=True, body=BODY, at_ms=NOON_MS),
)
INPUT, OUTPUT = 2000, 10_000
"""Nano-dollars a token of Sonnet 5.5."""


def outcome(kind, **seen):
    """What is posted for a call that ended so."""
    return actual(PRICES, OFFER, Ended(kind, **seen), NOON_MS)


def usage(tokens_in=100, tokens_out=5, **more):
    """A usage as the API reports it."""
    return {"input_tokens": tokens_in, "output_tokens": tokens_out, **more}


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_final_usage_is_the_cost(tokens_in, tokens_out):
    """An answered call costs its usage, above the hold too, and is certain."""
    said = outcome("answered", usage=usage(tokens_in, tokens_out))
    assert said.nanos == tokens_in * INPUT + tokens_out * OUTPUT
    assert (said.tokens, said.uncertain, said.unpriced) == (tokens_in + tokens_out, False, ())


def test_a_refused_call_costs_nothing():
    """What was never processed costs nothing, and that is certain."""
    said = outcome("refused")
    assert (said.nanos, said.tokens, said.uncertain) == (0, 0, False)


@pytest.mark.parametrize(
    "seen",
    [
        {"kind": "silent"},
        {"kind": "cut"},
        {"kind": "cut", "usage": usage(), "hidden_output": True},
        {"kind": "cut", "usage": usage(tokens_in=-1)},
    ],
    ids=["silent", "cut before any usage", "cut while thinking", "cut with an unreadable usage"],
)
def test_where_nothing_is_known_the_hold_is_charged(seen):
    """Sent and silent, cut without usage, or cut while thinking: the whole hold, marked uncertain."""
    said = outcome(**seen)
    assert (said.nanos, said.tokens, said.uncertain) == (OFFER.ceiling.nanos, OFFER.ceiling.tokens, True)


@given(st.integers(1, 3000))
def test_a_cut_is_charged_what_came_and_a_margin(delivered):
    """Input, a token for each four bytes, a quarter more, and 64: at least what came, at most the hold."""
    said = outcome("cut", usage=usage(), delivered_bytes=delivered)
    tokens = -(-delivered * 5 // 16) + 64
    assert said.nanos == min(100 * INPUT + tokens * OUTPUT, OFFER.ceiling.nanos)
    assert said.nanos >= 100 * INPUT + -(-delivered // 4) * OUTPUT or said.nanos == OFFER.ceiling.nanos
    assert said.uncertain


def test_a_cut_is_never_below_what_was_reported():
    """A reported count of output that is above the estimate wins over it."""
    assert outcome("cut", usage=usage(tokens_out=500), delivered_bytes=4).nanos == 100 * INPUT + 500 * OUTPUT


def test_unknown_units_are_charged_the_hold_and_named():
    """A billable number without a price is named, and at least the whole hold is charged."""
    said = outcome("answered", usage=usage(hologram_tokens=3))
    assert (said.nanos, said.unpriced) == (OFFER.ceiling.nanos, ("hologram_tokens",))
    dear = outcome("answered", usage=usage(tokens_out=10**6, hologram_tokens=3))
    assert dear.nanos == 100 * INPUT + 10**6 * OUTPUT


def test_a_way_of_serving_without_a_price_is_charged_the_hold():
    """Usage in a mode that has no price is charged the whole hold, and the reason is kept."""
    said = outcome("answered", usage=usage(speed="fast"))
    assert (said.nanos, said.uncertain) == (OFFER.ceiling.nanos, True)
    assert "no price for fast mode" in said.unpriced[0]


def test_a_refusal_before_any_output_costs_nothing():
    """The API lists the prompt of such an answer and does not bill it; its tokens are counted."""
    said = outcome("answered", usage=usage(tokens_out=0), message=SimpleNamespace(stop_reason="refusal"))
    assert (said.nanos, said.tokens, said.uncertain) == (0, 100, False)
    begun = outcome("answered", usage=usage(tokens_out=5), message=SimpleNamespace(stop_reason="refusal"))
    assert begun.nanos == 100 * INPUT + 5 * OUTPUT
    empty = outcome("answered", usage=usage(tokens_out=0), message=SimpleNamespace(stop_reason="end_turn"))
    assert empty.nanos == 100 * INPUT


@pytest.mark.parametrize("kind", ["answered", "cut"])
def test_the_model_that_served_is_priced(kind):
    """Where the answer names another model than was asked for, its prices count; a cut stays in the hold."""
    asked, dearer = outcome(kind, usage=usage()), outcome(kind, usage=usage(), model=OPUS)
    assert (asked.model, dearer.model) == (SONNET, OPUS)
    assert asked.nanos < dearer.nanos <= OFFER.ceiling.nanos
    assert outcome("cut", usage=usage(), model=OPUS, delivered_bytes=4000).nanos == OFFER.ceiling.nanos


@pytest.mark.parametrize(
    ("asked", "told", "percent"),
    [
        ({"speed": "fast", "inference_geo": "us"}, {}, 220),
        ({"speed": "fast", "inference_geo": "us"}, {"speed": None, "inference_geo": None}, 220),
        ({"speed": "fast", "inference_geo": "us"}, {"speed": "standard"}, 110),
        ({"speed": "fast", "inference_geo": "us"}, {"inference_geo": "global"}, 200),
        ({"speed": "fast", "inference_geo": "us"}, {"speed": "standard", "inference_geo": "global"}, 100),
        ({"inference_geo": "global"}, {}, 100),
        ({}, {}, 110),
        ({}, {"inference_geo": "global"}, 100),
        ({}, {"speed": "fast"}, 220),
    ],
)
def test_silence_on_speed_and_region_means_what_was_asked(
    asked: dict[str, str], told: dict[str, Any], percent: int
) -> None:
    """Usage is priced in the mode and region of the request, or its workspace's, unless it says otherwise."""
    body, bounds = {**BODY, **asked}, Bounds(geo="us")
    most = ceiling(PRICES, OPUS, input_tokens=100, counted=True, body=body, at_ms=NOON_MS, bounds=bounds)
    offer = Offer(Candidate("opus", OPUS, "asked for", OPUS), most)
    said = actual(PRICES, offer, Ended("answered", usage=usage(**told)), NOON_MS)
    assert said.nanos == (100 * 4_000 + 5 * 20_000) * percent // 100
    assert (said.uncertain, said.unpriced) == (False, ())


def test_a_workspace_that_the_request_names_is_held_at_the_dearer_region():
    """Its region is not known here: the hold and a silent usage are at the price of `us`."""
    options = {"input_tokens": 100, "counted": True, "at_ms": NOON_MS}
    named, us, plain = (
        ceiling(PRICES, SONNET, body={**BODY, **more}, **options)
        for more in ({"workspace_id": "wrkspc_1"}, {"inference_geo": "us"}, {})
    )
    assert named.nanos == us.nanos == plain.nanos * 11 // 10
    offer = Offer(OFFER.candidate, named)
    for geo, percent in ((None, 110), ("global", 100)):
        said = actual(PRICES, offer, Ended("answered", usage=usage(inference_geo=geo)), NOON_MS)
        assert said.nanos == (100 * INPUT + 5 * OUTPUT) * percent // 100


@pytest.mark.parametrize(("geo", "model"), [("mars", ""), (None, "claude-nova-9")])
def test_what_has_no_price_costs_the_hold_or_the_model_asked_for(geo, model):
    """Of the hold and the usage's cost on the model asked for the larger is charged, in usd and in tokens."""
    few, many = (
        outcome("answered", usage=usage(tokens_in, inference_geo=geo), model=model)
        for tokens_in in (100, 10**6)
    )
    assert (few.nanos, few.tokens) == (OFFER.ceiling.nanos, OFFER.ceiling.tokens)
    assert (many.nanos, many.tokens) == (10**6 * INPUT + 5 * OUTPUT, 10**6 + 5)
    for said in (few, many):
        assert said.uncertain
        assert len(said.unpriced) == 1
        assert said.output_tokens is None


@pytest.mark.parametrize("kind", ["answered", "cut"])
def test_an_unknown_model_that_served_is_charged_the_hold(kind):
    """What a model without a price cost is not known: the hold, marked, with the model's name."""
    said = outcome(kind, usage=usage(), model="claude-nova-9")
    assert (said.nanos, said.tokens, said.uncertain) == (OFFER.ceiling.nanos, OFFER.ceiling.tokens, True)
    assert said.model == "claude-nova-9"
    assert "claude-nova-9" in said.unpriced[0]


def test_a_model_named_by_its_id_is_the_one_that_was_asked_for_by_an_alias():
    """An alias and its id are one model, at one price."""
    alias, name = "claude-haiku-4-5-20251001", "claude-haiku-4-5"
    offer = Offer(Candidate("haiku", alias, "asked for", name), OFFER.ceiling)
    for answered in (alias, name, ""):
        said = actual(PRICES, offer, Ended("answered", usage=usage(), model=answered), NOON_MS)
        assert (said.model, said.nanos) == (alias, 100 * 1000 + 5 * 5000)

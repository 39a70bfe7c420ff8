"""The model that served is priced and named, whichever was asked for; and aliases count as their model."""

from __future__ import annotations

import pytest
from support.governed import HAIKU, OPUS, SONNET, department
from support.stages import on_sqlite

from governor import BudgetExceeded
from governor.data import data_file
from governor.testing import Reply, cut_mid_stream

TEAM = {"per": "department", "usd": "100", "window": "life"}
OLD_HAIKU, SNAPSHOT = "claude-haiku-4-5", "claude-haiku-4-5-20251001"


@pytest.mark.parametrize("served", [OPUS, HAIKU])
@on_sqlite
def test_the_model_that_answers_is_the_one_paid_for(stage, served):
    """An answer of another model costs its prices, above the hold too; receipt and journal name it."""
    stage.api.next(Reply(model=served))
    message = stage.governor(department(TEAM)).call(model="sonnet")
    receipt = message.receipt
    assert message.model == receipt.model == served
    assert receipt.decision.model == SONNET
    assert receipt.cost.nanos == stage.api.billed_nanos == stage.posted()
    assert receipt.overrun == (served == OPUS)
    assert stage.last_ending()["model"] == served


@on_sqlite
def test_a_broken_answer_of_another_model_is_charged_at_its_prices(stage):
    """A cut stream that said which model it was is charged by that one, at most the hold."""
    stage.api.inject(cut_mid_stream(5, reply=Reply(text="It is. " * 40, model=OPUS)))
    with pytest.raises(Exception, match="broke off"):
        stage.governor(department(TEAM)).call(model="sonnet", max_tokens=1000)
    ending = stage.last_ending()
    assert ending["model"] == OPUS
    assert 0 < stage.api.billed_nanos <= ending["cost_nanos"] < ending["ceiling_nanos"]


@on_sqlite
def test_an_answer_of_a_model_without_a_price_is_charged_the_hold(stage):
    """Where the price table does not know who served, at least the hold is charged, and it is marked."""
    models = data_file("pricing/anthropic.yaml").read_text(encoding="utf-8").split("\n  - id: ")
    known = "\n  - id: ".join(part for part in models if not part.startswith(f"{OLD_HAIKU}\n"))
    assert len(known) < len("\n  - id: ".join(models))
    prices = stage.folder / "prices.yaml"
    prices.write_text(known, encoding="utf-8")
    stage.api.next(Reply(model=OLD_HAIKU))
    receipt = stage.governor(department(TEAM), prices=prices).call(model="sonnet").receipt
    ending = stage.last_ending()
    assert receipt.model == ending["model"] == OLD_HAIKU
    assert receipt.cost == receipt.ceiling
    assert ending["uncertain"]
    assert OLD_HAIKU in ending["unpriced"][0]
    assert stage.posted() == ending["cost_nanos"] >= stage.api.billed_nanos


@on_sqlite
def test_an_alias_touches_the_budget_of_its_model(stage):
    """A budget of a model counts the calls that name it by an alias, and refuses them when it is spent."""
    own = {"per": "model", "name": OLD_HAIKU, "usd": "0.001", "window": "life"}
    caller = stage.governor(department(TEAM, own))
    receipt = caller.call(model=SNAPSHOT, pin=True).receipt
    assert stage.sent()[-1]["model"] == SNAPSHOT
    assert stage.posted(f"department=team/model={OLD_HAIKU}/usd/life") == receipt.cost.nanos
    assert receipt.cost.nanos == stage.api.billed_nanos
    with pytest.raises(BudgetExceeded, match=f"department=team/model={OLD_HAIKU}/usd/life"):
        caller.call(model=SNAPSHOT, pin=True)
    with pytest.raises(BudgetExceeded, match=f"department=team/model={OLD_HAIKU}/usd/life"):
        caller.call(model=OLD_HAIKU, pin=True)


@on_sqlite
def test_every_model_has_its_own_balance_whatever_it_is_called(stage):
    """`per: model` without a name keeps one balance for a model and its aliases."""
    caller = stage.governor(department(TEAM, {"per": "model", "usd": "10", "window": "life"}))
    for name in (OLD_HAIKU, SNAPSHOT):
        caller.call(model=name)
    assert stage.posted(f"department=team/model={OLD_HAIKU}/usd/life") == stage.api.billed_nanos
    assert not any(SNAPSHOT in identity for identity in stage.balances())


@on_sqlite
def test_a_model_and_its_alias_are_one_candidate(stage):
    """Two lines that name one model, once by an alias, are tried once."""
    team = department(TEAM, routing={"lines": {"haiku": OLD_HAIKU, "sonnet": SNAPSHOT}})
    decision = stage.governor(team).decide(model="sonnet")
    assert [view.model for view in decision.candidates] == [SNAPSHOT]

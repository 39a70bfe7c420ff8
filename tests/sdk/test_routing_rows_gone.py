"""Row B10 of the requirements: models that are retired, soon will be, or that nobody knows."""

from __future__ import annotations

import anthropic
import pytest
from support.governed import HAIKU, OPUS, SONNET
from support.routed import BUDGET, journalled, row, team
from support.stages import on_sqlite, once

from governor import ModelReplaced, PolicyError, UnknownModel
from governor.testing import status_error

pytestmark = pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning")
"""The SDK's own warning, which comes from the request that is sent."""

GONE, OLD_OPUS, PREVIEW = "claude-opus-4-1", "claude-opus-4-0", "claude-mythos-preview"
LEAVING, LEAVES = "claude-sonnet-4-5", "it will be retired on 2026-11-30"
NEW = "claude-sonnet-9"

REPLACED = [
    row("B10-retired-by-its-line", GONE, {}, OPUS, "it is retired"),
    row("B10-retired-by-the-policy", GONE, {GONE: "sonnet"}, SONNET, "it is retired"),
    row("B10-retired-to-a-model", GONE, {GONE: "claude-opus-4-8"}, "claude-opus-4-8", "it is retired"),
    row("B10-retired-by-its-day", PREVIEW, {PREVIEW: "opus"}, OPUS, "it was retired on 2026-06-30"),
    row("B10-retired-twice", OLD_OPUS, {OLD_OPUS: GONE, GONE: "haiku"}, HAIKU, "it is retired"),
    row("B10-unknown-to-a-line", NEW, {NEW: "sonnet"}, SONNET, "it has no price"),
    row("B10-unknown-to-a-model", NEW, {NEW: "claude-opus-4-8"}, "claude-opus-4-8", "it has no price"),
]


@pytest.mark.parametrize(("asked", "successors", "model", "why"), REPLACED)
@on_sqlite
def test_a_model_that_is_gone_is_replaced(stage, asked, successors, model, why):
    """Its successor serves every call, and one warning event of each process says so."""
    caller = stage.governor(team(routing={"successors": successors}))
    for _ in range(3):
        message = caller.call(model=asked)
        journalled(stage, message)
    assert {body["model"] for body in stage.sent()} == {model}
    assert stage.events == [ModelReplaced(asked, model, why)]
    assert stage.events[0].warns
    stage.governor().call(model=asked)
    assert stage.events == [ModelReplaced(asked, model, why)] * 2


def test_every_store_replaces_alike(stage):
    """On Redis as on SQLite, blocking or async."""
    caller = stage.governor(team())
    journalled(stage, caller.call(model=GONE))
    assert (stage.sent()[-1]["model"], stage.events) == (OPUS, [ModelReplaced(GONE, OPUS, "it is retired")])


@on_sqlite
def test_a_model_that_soon_is_gone_still_serves(stage):
    """One warning event names the day; on that day the policy's model of its line takes over."""
    caller = stage.governor(team())
    for _ in range(2):
        assert caller.call(model=LEAVING).model == LEAVING
    assert stage.events == [ModelReplaced(LEAVING, None, LEAVES)]
    stage.meet()
    stage.clock.forward(12 * 86_400)
    assert stage.governor().call(model=LEAVING).model == SONNET
    assert stage.events[1:] == [ModelReplaced(LEAVING, SONNET, "it was retired on 2026-11-30")]


REFUSED = [
    row("B10-unknown", {"model": NEW}, {}, UnknownModel, 0),
    row("B10-unknown-pinned", {"model": NEW, "pin": True}, {NEW: "sonnet"}, UnknownModel, 0),
    row("B10-retired-pinned", {"model": GONE, "pin": True}, {GONE: "sonnet"}, anthropic.NotFoundError, 1),
    row("B10-retired-without", {"model": PREVIEW}, {}, anthropic.NotFoundError, 1),
]


@pytest.mark.parametrize(("request_", "successors", "error", "sent"), REFUSED)
@on_sqlite
def test_without_a_successor_the_caller_is_told(stage, request_, successors, error, sent):
    """What has no price is never sent; what is priced is the API's to refuse, once, and costs nothing."""
    caller = stage.governor(team(routing={"successors": successors}))
    with pytest.raises(error):
        caller.call(**request_)
    assert (len(stage.sent()), stage.holds(), stage.events) == (sent, (), [])
    assert stage.api.billed_nanos == 0


@on_sqlite
def test_a_model_that_the_api_does_not_know_any_more(stage):
    """A 404 that names it goes on to the policy's successor, of the same call."""
    caller = stage.governor(team(routing={"successors": {OPUS: "claude-opus-4-8"}}))
    stage.api.inject(status_error(404, message=f"model: {OPUS}"))
    assert caller.call(model="opus").model == "claude-opus-4-8"
    assert stage.events == [ModelReplaced(OPUS, "claude-opus-4-8", "the API does not know it")]


@on_sqlite
def test_what_only_watches_replaces_nothing(stage):
    """In shadow the model that is asked for is sent, and the API's answer is the caller's."""
    caller = stage.governor(team(routing={"successors": {GONE: "sonnet"}}, mode="shadow"))
    with pytest.raises(anthropic.NotFoundError):
        caller.call(model=GONE)
    assert ([body["model"] for body in stage.sent()], stage.events) == ([GONE], [])


@once
def test_a_policy_that_names_a_model_without_a_price_is_refused_at_load(stage):
    """A line or a successor of which no price is known; the file, the line and the name are told."""
    with pytest.raises(PolicyError, match=NEW):
        stage.governor(team(BUDGET, routing={"lines": {"haiku": HAIKU, "sonnet": NEW}, "tiers": {}}))
    with pytest.raises(PolicyError, match=NEW):
        stage.governor(team(BUDGET, routing={"successors": {GONE: NEW}}))

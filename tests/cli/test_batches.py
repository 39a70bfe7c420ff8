"""`governor batches drain`, and what `governor why` tells of a batch."""

from __future__ import annotations

import json

import pytest
from support.batched import batched, held, item, policy
from support.stages import once, shared_api, stage
from typer.testing import CliRunner

from governor.cli import app

__all__ = ["shared_api", "stage"]

THREE = [item("a"), item("b"), item("c")]


@pytest.fixture
def run(stage, monkeypatch):
    """Run the command on the stage's files and ledger, with a key for its API."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", stage.api.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", stage.api.api_key)
    stage.clock = None

    def call(*words, code=0):
        place = ("--policies", str(stage.policies), "--ledger", stage.url)
        done = CliRunner().invoke(app, [*words, *place])
        assert done.exit_code == code, done.output
        return done.output

    return call


@once
def test_a_drain_by_command_settles_what_has_ended(stage, run):
    """It says what was settled and given back, and what it cost; a second run finds nothing to do."""
    stage.api.batch_outcomes({"c": "errored"})
    batched(stage, policy()).create(THREE)
    shown = run("batches", "drain")
    assert "1 batch read, 0 still at work" in shown
    assert "2 settled, 1 released" in shown
    assert held(stage) == []
    again = json.loads(run("batches", "drain", "--json"))
    assert (again["batches"], again["settled"], again["cost_nanos"]) == (0, 0, 0)


@once
def test_a_drain_without_a_key_says_so(stage, run, monkeypatch):
    """Nothing is settled, and the message says which variable to set."""
    batched(stage, policy()).create(THREE)
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    assert "ANTHROPIC_API_KEY" in run("batches", "drain", code=1)
    assert held(stage) == ["a", "b", "c"]


@once
def test_a_drain_names_what_is_gone(stage, run):
    """A batch that the API has no results of is named, and what becomes of its holds."""
    batch = batched(stage, policy()).create(THREE[:1])
    outside = stage.api.client().messages.batches
    outside.retrieve(batch.id)
    outside.delete(batch.id)
    assert f"gone     {batch.id}: no results" in run("batches", "drain")


@once
def test_why_tells_of_an_item(stage, run):
    """An item is told like a call, with its batch and how its result was."""
    one = batched(stage, policy())
    batch = one.create(THREE)
    identifier = batch.receipt.items[1].request_id
    assert "In flight" in run("why", identifier)
    one.results(batch.id)
    shown = run("why", identifier)
    assert f"batch      {batch.id}, as b: succeeded" in shown
    assert json.loads(run("why", identifier, "--json"))


@once
def test_why_of_a_batch_as_a_whole_says_where_to_look(stage, run):
    """The ids of a batch's own holds are no calls: the message names those of its items."""
    one = batched(stage, policy())
    batch = one.create(THREE)
    shown = run("why", f"batch.of.{batch.id}", code=1)
    hold = batch.receipt.items[0].request_id.removesuffix(".a")
    assert f"governor why {hold}.CUSTOM_ID" in "".join(shown.splitlines())

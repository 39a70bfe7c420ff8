"""The made-up weeks on which alert rules are judged have records such as a governed call's."""

from __future__ import annotations

import json

import anthropic
import pytest
from support.endings import policy
from support.fortnight import Fortnight
from support.stages import on_sqlite

from governor.journal.fold import Fold
from governor.ledger.detail import read_balances, read_closing
from governor.testing import status_error

OPTIONAL = {"findings", "budget", "door", "cached_answer_ms", "priority", "of", "leg", "pushed", "limit_bp"}


def shape(entry):
    """The names of a record's fields, and of those of its candidates and budgets."""
    record = json.loads(entry.record)
    inner = {
        name: set(record[name][0]) - {"output_nanos", "changes"}
        for name in ("candidates", "budgets")
        if name in record
    }
    return set(record) - OPTIONAL, inner


@on_sqlite
def test_made_up_records_have_the_fields_of_real_ones(stage):
    """Reserve, settle and release have the same fields, so no rule is judged on what no call tells."""
    caller = stage.governor(policy())
    caller.call(feature="chat", run="r")
    stage.api.inject(status_error(400))
    with pytest.raises(anthropic.BadRequestError):
        caller.call()
    real = {entry.kind: shape(entry) for entry in stage.journal() if entry.kind != "create"}
    made = {}
    for entry in Fortnight(seed=3).entries(1.5):
        if entry.kind != "create":
            made.setdefault(entry.kind, shape(entry))
            assert read_balances(entry.detail) if entry.kind == "reserve" else read_closing(entry.detail)
    assert made == real


def test_the_made_up_weeks_are_read_whole():
    """Every record of a call can be read, and each call ends."""
    fold = Fold()
    fold.take(Fortnight(seed=5, busy=0.3).entries(7))
    assert fold.unreadable == 0
    assert {call.state for call in fold.calls.values()} == {"answered", "refused"}

"""A back-test routes calls as the story does: by tier, complexity, load and run; made smaller; in legs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.journals import HOUR_MS, Crowd, Firm
from governor.journal.calls import Reader
from governor.ledger.commands import JournalEntry
from governor.policy import load
from governor.pricing import PriceTable
from governor.rehearsal.backtest import Backtest
from governor.story.legs import leg_id

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from governor.policy import Policies
    from governor.rehearsal.tally import Found

PRICES = PriceTable.load()
LINES = {"haiku": "claude-haiku-5-5", "sonnet": "claude-sonnet-5-5", "opus": "claude-opus-5-5"}
TIERS = {
    "premium": {"prefer": "opus"},
    "standard": {"prefer": "sonnet", "context": 20_000},
    "economy": {"prefer": "haiku"},
}
CHOOSE = [
    {"when": "budget > 60% or load > 85%", "tier": "economy"},
    {"when": "budget < 20% and load < 30%", "tier": "premium"},
    {"tier": "standard"},
]
BANDS = {"haiku": "<3", "sonnet": "3-7", "opus": ">7"}


def policies(folder: Path, *budgets: dict[str, Any], features: Any = None, **routing: Any) -> Policies:
    """The department `team` with these budgets and this routing."""
    folder.mkdir(exist_ok=True)
    file = {"version": 1, "department": "team", "budgets": list(budgets)}
    file |= {"routing": {"lines": LINES, "tiers": TIERS, **routing}} | (
        {"features": features} if features else {}
    )
    (folder / "team.yaml").write_text(json.dumps(file), encoding="utf-8")
    return load(folder)


def records(
    under: Policies, calls: int, *, runs: bool = True, asked: tuple[str, ...] = ("auto",)
) -> list[JournalEntry]:
    """The journal of so many calls in an hour, each decided by the story."""
    crowd = Crowd((("team", "ada", "review"), ("team", "bob", None)), runs=runs, asked=asked)
    rows = map(json.loads, Firm(under, PRICES, crowd).lines(calls, length_ms=HOUR_MS))
    names = ("seq", "kind", "id", "at_ms", "outcome", "detail", "record")
    return [JournalEntry(*(row[name] for name in names)) for row in rows]


def replayed(under: Policies, journal: Iterable[JournalEntry]) -> Found:
    """What a back-test finds."""
    test, reader = Backtest(under, PRICES), Reader()
    test.read(reader.read(record) for record in journal)
    return test.end()


DAY = {"per": "department", "usd": 3, "window": "day"}
USER = {"per": "user", "usd": 2, "window": "day"}
MODEL = {"per": "model", "usd": 1, "window": "day"}
WAYS: list[dict[str, Any]] = [
    {"choose": CHOOSE},
    {"choose": CHOOSE, "complexity": BANDS},
    {"complexity": BANDS, "shrink": {"min_tokens": 64}},
    {
        "choose": CHOOSE,
        "value": {"quality": {"haiku": 60, "sonnet": 85, "opus": 100}, "at_least": 20},
        "features": {"review": {"value": 0.5}, "*": {}},
    },
    {"default": "opus", "choose": CHOOSE, "shrink": {"min_tokens": 1}},
    {"default": "opus", "floors": {"opus": 1.9, "sonnet": 1}},
]


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("routing", WAYS, ids=["choose", "bands", "shrink", "value", "default", "floors"])
def test_the_policies_that_were_in_force_change_nothing(tmp_path, routing, runs):
    """Whatever chose the line then, chooses it again: every call goes as it went, at its cost."""
    old = policies(tmp_path, DAY, USER, MODEL, **routing)
    names = ("auto",) if runs else ("auto", "auto", "opus", "haiku", LINES["opus"])
    journal = records(old, 300, runs=runs, asked=names)
    total = replayed(old, journal).total()
    told = [json.loads(record.record) for record in journal if record.kind == "reserve"]
    assert len({one["candidates"][0]["line"] for one in told}) > 1
    assert (total.calls, total.changed, total.saved_nanos) == (len(told), 0, 0)


def test_a_tier_that_serves_instead_is_the_cause(tmp_path):
    """A call that a rule gives to economy is downgraded because of that rule."""
    ample = {"per": "department", "usd": 500, "window": "day"}
    old = policies(tmp_path / "old", ample)
    journal = records(old, 60, runs=False)
    busy = [{"when": "load > 85%", "tier": "economy"}, {"tier": "standard"}]
    found = replayed(policies(tmp_path / "new", ample, choose=busy), journal)
    told = [json.loads(record.record) for record in journal if record.kind == "reserve"]
    loaded = sum(one["load"] > 8_500 and one["candidates"][0]["line"] != "haiku" for one in told)
    assert found.total().downgraded == loaded > 3
    (cause,) = found.causes
    assert cause.budget == "the economy tier: load > 85%"


def test_what_would_be_refused_is_served_smaller(tmp_path):
    """It is counted for itself, costs no more than its smaller answer, and is no block."""
    wide = {"per": "user", "tokens": 10_000_000, "window": "day"}
    tight = {"per": "user", "tokens": 250_000, "window": "day"}
    only = {"lines": {"haiku": LINES["haiku"]}, "tiers": {"standard": {"prefer": "haiku"}}}
    journal = records(policies(tmp_path / "old", wide, **only), 60, runs=False)
    plain = replayed(policies(tmp_path / "tight", tight, **only), journal).total()
    shrink = {"min_tokens": 16}
    total = replayed(policies(tmp_path / "new", tight, **only, shrink=shrink), journal).total()
    assert (plain.shrunk, total.shrunk > 0) == (0, True)
    assert total.changed == total.shrunk + total.blocked
    assert total.first_blocked_ms > plain.first_blocked_ms
    assert 0 < total.new_nanos < total.then_nanos


def in_two_legs(journal: list[JournalEntry], index: int) -> list[JournalEntry]:
    """A call that was served at once, as one whose first leg met an overload: the second is what it was."""
    reserve = journal[index]
    name = leg_id(reserve.id, 2)
    end = next(one for one in journal if one.id == reserve.id and one.kind != "reserve")
    closing = json.loads(end.record)
    of = {"of": reserve.id, "leg": 2}
    posted = end.detail.split("posted=")[1].partition(" ")[0].split(",")
    free = end.detail.replace(",".join(posted), ",".join("0" for _ in posted))
    away = {**closing, "ended": "refused", "cost_nanos": 0, "usage": {}, "next": name}
    legs = [
        reserve,
        replace(
            end, kind="release", outcome="released", detail=free, at_ms=reserve.at_ms, record=json.dumps(away)
        ),
        replace(reserve, id=name, record=json.dumps({**json.loads(reserve.record), **of})),
        replace(end, id=name, record=json.dumps({**closing, **of})),
    ]
    rest = [one for one in journal if one.id != reserve.id]
    return sorted([*legs, *rest], key=lambda one: one.at_ms)


def test_a_call_of_several_legs_is_one_call(tmp_path):
    """It counts once, as a call and as a request, and its cost is that of its legs."""
    requests = {"per": "user", "requests": 15, "window": "day"}
    old = policies(tmp_path / "old", DAY, {**requests, "requests": 1000})
    journal = records(old, 40, runs=False)
    first = next(
        index for index, one in enumerate(journal) if one.kind == "reserve" and one.outcome == "held"
    )
    legged = in_two_legs(journal, first)
    one, two = replayed(old, journal).total(), replayed(old, legged).total()
    assert (two.calls, two.changed, two.then_nanos) == (one.calls, 0, one.then_nanos)
    new = policies(tmp_path / "new", DAY, requests)
    one, two = replayed(new, journal).total(), replayed(new, legged).total()
    assert (two.blocked, two.new_nanos) == (one.blocked, one.new_nanos)
    assert two.blocked > 0


def test_a_call_whose_first_leg_is_refused_has_no_other(tmp_path):
    """It is blocked once, and costs nothing."""
    old = policies(tmp_path / "old", DAY)
    journal = records(old, 1, runs=False)
    legged = in_two_legs(journal, next(i for i, one in enumerate(journal) if one.kind == "reserve"))
    none = policies(tmp_path / "none", {"per": "department", "usd": 0.000001, "window": "day"})
    total = replayed(none, legged).total()
    assert (total.calls, total.blocked, total.new_nanos) == (1, 1, 0)
    assert total.then_nanos > 0


def test_a_leg_asks_no_model_that_was_asked_in_vain(tmp_path):
    """What was overloaded then is not what serves now: the next line does, as it did."""
    old = policies(tmp_path, DAY, tiers={"standard": {"prefer": "opus"}})
    journal = records(old, 1, runs=False)
    index = next(i for i, one in enumerate(journal) if one.kind == "reserve")
    legs = in_two_legs(journal, index)
    second = next(i for i, one in enumerate(legs) if one.kind == "reserve" and "~2" in one.id)
    record = json.loads(legs[second].record)
    for key in ("candidates", "asks"):
        record[key] = record[key][1:]
    legs[second] = replace(legs[second], record=json.dumps(record))
    total = replayed(old, legs).total()
    assert (total.calls, total.changed) == (1, 0)

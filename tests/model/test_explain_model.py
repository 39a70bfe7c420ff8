"""Whatever `policy explain` says, the ledger then does: on every store, for random policies and balances."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from support.fake_redis import FakeRedis

from governor import flow
from governor.budgets import Unit
from governor.cli.story import tell
from governor.clock import LedgerClock
from governor.errors import Deferred, GovernorError
from governor.ledger import commands as c
from governor.ledger.keys import Keys
from governor.ledger.redis import RedisLedger
from governor.ledger.servers import connect
from governor.ledger.sqlite import SqliteLedger
from governor.policy import Attribution, load
from governor.pricing import PriceTable
from governor.rehearsal import Stage, made_up
from governor.story import matrix
from governor.story.effects import Ended, Notify, Send
from governor.story.request import House
from governor.testing.ledger_contract import SettableClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from governor.ledger import Ledger

PRICES = PriceTable.load()
LINES = {"haiku": "claude-haiku-5-5", "sonnet": "claude-sonnet-5-5", "opus": "claude-opus-5-5"}
TTL_MS = 10_000_000
OUTPUT = 10
KINDS: list[dict[str, Any]] = [
    {"per": "department", "window": "month"},
    {"per": "user", "window": "month"},
    {"per": "user", "window": "day"},
    {"per": "user", "user_tier": "premium", "window": "week"},
    {"per": "run"},
    {"per": "feature", "name": "review", "window": "hour"},
    {"per": ["user", "model"], "window": "day"},
    {"per": "model", "window": "minute"},
    {"per": "tag:project", "window": "rolling 7d"},
]
"""Budgets of every kind of scope and window."""

LADDER = {"20%": {"downgrade": "haiku"}, "95%": "block"}
BANDS = {"haiku": "<3", "sonnet": "3-7", "opus": ">7"}
CHOICES: list[list[dict[str, str]]] = [
    [],
    [{"tier": "premium"}],
    [
        {"when": "budget > 90% or load > 85%", "tier": "economy"},
        {"when": "budget < 50% and load < 30%", "tier": "premium"},
        {"tier": "standard"},
    ],
]
rarely = st.sampled_from([False, False, False, True])
millis = st.integers(1, 3000).map(lambda thousandth: thousandth / 1000)
counts = st.integers(1, 20_000)
percents = st.lists(st.integers(1, 100), min_size=3, max_size=3, unique=True).map(sorted)


@st.composite
def thresholds(draw: st.DrawFn) -> dict[str, Any]:
    """Warnings and steps down at random shares; a block, or none."""
    first, second, third = draw(percents)
    ladder = draw(
        st.sampled_from(
            [
                {},
                {first: "warn"},
                {first: {"downgrade": "haiku"}, third: "block"},
                {first: ["warn", {"downgrade": "sonnet"}], second: {"downgrade": "haiku"}, third: "block"},
            ]
        )
    )
    return {f"{share}%": action for share, action in ladder.items()}


@st.composite
def budget(draw: st.DrawFn, kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """One budget of a random kind, unit and limit."""
    kind = draw(st.sampled_from(kinds))
    unit = draw(st.sampled_from(["usd", "usd", "usd", "tokens", "requests"]))
    limit = draw({"usd": millis, "tokens": counts, "requests": st.integers(1, 4)}[unit])
    more: dict[str, Any] = {}
    if draw(rarely) and (steps := draw(thresholds())):
        more["thresholds"] = steps
    if draw(rarely) and "feature" not in kind["per"]:
        more |= {"keep": f"{draw(st.integers(1, 60))}%", "for": ["review", "urgent"]}
    if draw(rarely) and kind.get("window") in ("hour", "day", "week", "month") and unit == "usd":
        more |= {"pace": "even", "thresholds": LADDER}
    if draw(rarely):
        more["mode"] = "shadow"
    return {**kind, unit: limit, **more}


def distinct(budgets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One budget of each kind and unit: two would count the same."""
    seen = {(str(b["per"]), b.get("window"), *({*b} & {*Unit})): b for b in budgets}
    return list(seen.values())


@st.composite
def routing(draw: st.DrawFn) -> dict[str, Any]:
    """Tiers and when each is chosen, bands of complexity, the smallest answer, what is deferred when."""
    lines = st.sampled_from(list(LINES))
    context = st.sampled_from([{}, {}, {"context": 2000}])
    said: dict[str, Any] = {"tiers": {"standard": {"prefer": draw(lines), **draw(context)}}}
    if draw(st.booleans()):
        said["tiers"] |= {
            "premium": {"prefer": draw(lines)},
            "economy": {"prefer": draw(lines), **draw(context)},
        }
        said["choose"] = draw(st.sampled_from(CHOICES))
    if draw(st.booleans()):
        said["complexity"] = draw(st.sampled_from([{"haiku": "<3", "opus": ">7"}, BANDS]))
    if draw(st.booleans()):
        said["shrink"] = {"min_tokens": draw(st.sampled_from([1, 50, 1000]))}
    if draw(rarely):
        said["defer"] = {"when": draw(st.sampled_from(["load > 70%", "budget >= 50% or load > 90%"]))}
    return said


@st.composite
def policies(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """The organisation's file and a department's."""
    budgets = [{"per": "user", "usd": draw(millis), "window": "life"}]
    budgets += draw(st.lists(budget(KINDS), max_size=5))
    if draw(st.booleans()):
        budgets.append({"per": "user", "concurrent": draw(st.integers(1, 3))})
    floors = draw(st.sampled_from([{}, {"opus": 0.01}, {"sonnet": 0.001, "opus": 0.1}]))
    team = {
        "version": 1,
        "department": "team",
        "timezone": draw(st.sampled_from(["UTC", "Europe/Berlin"])),
        "budgets": distinct(budgets),
        "thresholds": draw(thresholds()),
        "routing": {
            "lines": LINES,
            "floors": floors,
            **draw(routing()),
            "when_contended": {"max_wait": 0},
        },
        "limits": draw(st.sampled_from([{}, {"cost_per_request": 0.02}, {"input_tokens": 3000}])),
        "features": {"review": {"max_tokens": 900}, "sort": {"lines": ["haiku", "sonnet"]}},
        "users": {"ada": {"user_tier": "premium"}, "*": {}},
        "mode": draw(st.sampled_from(["enforce"] * 7 + ["shadow"])),
    }
    wide = [kind for kind in KINDS if "run" not in kind["per"] and "user_tier" not in kind]
    shared = distinct(draw(st.lists(budget([{"per": "organization", "window": "day"}, *wide]), max_size=2)))
    return {"version": 1, "budgets": shared, "thresholds": draw(thresholds())}, team


requests = st.fixed_dictionaries(
    {
        "user": st.sampled_from(["ada", "bob"]),
        "feature": st.sampled_from([*(None, "review", "sort") * 5, "no-such"]),
        "run": st.sampled_from([None, "r1"]),
        "tags": st.sampled_from([(), (("project", "atlas"),)]),
        "priority": st.sampled_from([None, None, "urgent"]),
        "model": st.sampled_from(
            [*("auto", "opus", "sonnet", "haiku", "claude-opus-4-8") * 4, "no-such-model"]
        ),
        "pin": st.sampled_from([False, False, False, True]),
        "input_tokens": st.sampled_from([*(0, 1, 500, 2999) * 4, 3001, 150_000]),
        "max_tokens": st.sampled_from([1, 100, 1024, 20_000]),
        "tier": st.sampled_from([*(None,) * 6, "premium", "standard", "economy"]),
        "complexity": st.sampled_from([None, 0, 2.9, 5, 7.5]),
        "load_bp": st.sampled_from([None, 0, 4_000, 9_000]),
        "deferrable": st.sampled_from([False, False, True]),
    }
)
OPTIONS = ("model", "pin", "input_tokens", "max_tokens", "tier", "complexity", "load_bp", "deferrable")
shares = st.one_of(st.just(0), st.integers(0, 1100))
"""Of a limit, permille: nothing, something, or more than all."""


@dataclass
class Firm:
    """One organisation's ledger, its policies, and the clock of both."""

    ledger: Ledger
    policies: Any
    clock: SettableClock

    def terms(self, who: Attribution) -> tuple[Any, ...]:
        """Every budget that a request may touch."""
        return self.policies.budgets(who, [*LINES.values(), "claude-opus-4-8"])

    def spend_and_hold(self, who: Attribution, data: st.DataObject) -> None:
        """What others did: postings, open holds, a freeze and a grant, each by the ledger's own verbs."""
        for index, row in enumerate(matrix.build(self.terms(who), (), self.clock.now_ms).rows):
            posted, held = (
                data.draw(shares, label=f"{word} of {row.identity}") for word in ("spent", "held")
            )
            if posted and row.unit is not Unit.CONCURRENT:
                self.ledger.execute(c.Settle(f"p{index}", (c.Posting(row, row.limit * posted // 1000),)))
            if held:
                ask = c.Ask(row.limit * min(held, 1000) // 1000 or 1)
                self.ledger.execute(c.Reserve(f"h{index}", (row,), ((ask,),), TTL_MS))
            change = data.draw(st.sampled_from([None] * 18 + ["freeze", "grant"]), label="change")
            if change == "freeze":
                self.ledger.execute(c.Freeze(f"f{index}", row.identity, "audit"))
            elif change == "grant":
                self.ledger.execute(c.Grant(f"g{index}", row.identity, row.window, row.limit // 3 + 1))


def govern(firm: Firm, request: Any) -> Any:
    """What the ledger does: the decision of a real call, or the error that its caller gets."""
    story = flow.govern(House(firm.policies, PRICES, LedgerClock(firm.clock)), request)
    reply: Any = None
    try:
        while True:
            effect = story.send(reply)
            if isinstance(effect, Send):
                reply = Ended("answered", usage={"input_tokens": 1, "output_tokens": OUTPUT})
            else:
                reply = None if isinstance(effect, Notify) else firm.ledger.execute(effect)
    except StopIteration as done:
        return done.value[1].decision
    except GovernorError as error:
        return error


@pytest.mark.parametrize("store", ["sqlite", "redis", "fakeredis"])
def test_what_explain_says_the_ledger_then_does(store, request, tmp_path_factory):
    """The same decision, number by number: outcome, model, every verdict, what binds; and the same words."""
    make_ledger = maker(store, request, tmp_path_factory)

    @given(files=policies(), asked=requests, data=st.data())
    def holds(files: Any, asked: dict[str, Any], data: st.DataObject) -> None:
        organization, clock = f"test-{secrets.token_hex(8)}", SettableClock()
        folder = tmp_path_factory.mktemp("policies")
        for name, content in zip(("organization", "team"), files, strict=True):
            named = {**content, "organization": organization} if name == "organization" else content
            (folder / f"{name}.yaml").write_text(json.dumps(named), encoding="utf-8")
        firm = Firm(make_ledger(organization, clock), load(folder), clock)
        try:
            agree(firm, asked, data)
        finally:
            firm.ledger.close()

    holds()


def agree(firm: Firm, asked: dict[str, Any], data: st.DataObject) -> None:
    """Explain a request on a ledger that others used, then make it."""
    who = Attribution("team", asked["user"], asked["feature"], asked["run"], asked["tags"], asked["priority"])
    if asked["feature"] != "no-such":
        firm.spend_and_hold(who, data)
    options = {name: asked[name] for name in OPTIONS}
    request = made_up(who, **options)
    stage = Stage(firm.policies, PRICES, firm.clock.now_ms)
    told = stage.explain(request, lambda rows: firm.ledger.execute(c.Read(tuple(rows))).balances)
    dry = stage.decide(request, lambda row: firm.ledger.execute(c.Read((row,))).balances[0])
    done = govern(firm, request)
    event(told.outcome if told.decision is None else f"{told.outcome}: {told.decision.outcome}")
    if told.decision is None:
        assert (told.refused, dry.reason) == (str(done), str(done))
        return
    assert dry == told.decision
    if told.outcome == "deferred":
        assert isinstance(done, Deferred)
        assert (told.refused, told.decision.model) == (str(done), None)
        return
    event(f"made smaller: {told.larger is not None}; {told.decision.tier} {told.decision.tier_why}")
    if isinstance(done, GovernorError):
        assert (told.outcome, told.refused) == ("refused", str(done))
        assert told.binding == done.budget.identity
        done = done.decision
    else:
        assert told.outcome != "refused"
    assert done == told.decision
    in_the_journal(firm, told.decision)


def in_the_journal(firm: Firm, decision: Any) -> None:
    """The ledger's own record of the decision says the same of every candidate."""
    ruling = tell(decision.request_id, firm.ledger.execute(c.ReadJournal(decision.request_id))).rulings[-1]
    assert ruling.outcome == decision.outcome
    said = sorted((tried.model, tried.verdict, tried.binding or "") for tried in ruling.tried)
    assert said == sorted((each.model, each.verdict, each.binding or "") for each in decision.candidates)


def maker(
    store: str, request: pytest.FixtureRequest, folders: pytest.TempPathFactory
) -> Callable[[str, SettableClock], Ledger]:
    """Makes ledgers of an organisation in `sqlite`, `redis` or `fakeredis`."""
    folder: Path = folders.mktemp("ledgers")

    def make_ledger(org: str, clock: SettableClock) -> Ledger:
        if store == "sqlite":
            return SqliteLedger(folder / f"{org}.db", org, clock=clock)
        return RedisLedger(client(), Keys(org), store, clock=clock, create=True)

    def client() -> Any:
        if store == "redis":
            return connect(request.getfixturevalue("redis_server").url)
        return FakeRedis(server=fakeredis.FakeServer(), decode_responses=True)

    return make_ledger

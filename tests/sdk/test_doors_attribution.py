"""Whose a request is: headers, a callable, the code around it and defaults, wherever the code runs."""

from __future__ import annotations

import asyncio
import json
import threading
from contextvars import copy_context

import pytest
from support.doors import BY_NAME, Doorway, Visit, got
from support.governed import HAIKU, OPUS, SONNET, department
from support.stages import on_sqlite, once

import governor
from governor import BudgetExceeded, PolicyViolation
from governor.clients import attribution

LIFE = {"per": "department", "usd": 10, "window": "life"}
TEAM = department(LIFE)
CREATE, RAW_STREAM = BY_NAME["create"], BY_NAME["raw-stream"]
NOBODY = {}
WHOLE = {
    "user": "ada",
    "department": "team",
    "feature": "review",
    "run": "r-1",
    "tags": {"project": "atlas"},
    "priority": "high",
}


def doorway(stage, **options):
    """A client with the middleware of a governor of TEAM."""
    return Doorway(stage, stage.governor(TEAM), **options)


def headers(**values):
    """A visit with headers of the governor's."""
    return Visit(params={"extra_headers": {f"governor-{name}": value for name, value in values.items()}})


def asked(stage):
    """Whose each held request was, oldest first."""
    records = [json.loads(entry.record) for entry in stage.journal("reserve")]
    return [{part: record.get(part) for part in WHOLE} for record in records]


def users(stage):
    """The user of each held request, oldest first."""
    return [who["user"] for who in asked(stage)]


def refused(door, visit=None):
    """The text of the refusal of a request that is sent nowhere."""
    with pytest.raises(PolicyViolation) as refusal:
        door.go(CREATE, visit)
    return str(refusal.value)


def inside(work, **said):
    """*work* of a client, done inside an `attribute` in the context where it runs."""

    async def attributed(client):
        with governor.attribute(**said):
            return await work(client)

    return attributed


def create(client):
    """One request."""
    return CREATE.go(client, Visit())


# Who says it


@on_sqlite
def test_headers_say_all_and_none_of_them_is_sent(stage):
    """Every part that a header may have reaches the journal, in any case of letters, and not the API."""
    door = doorway(stage, door=NOBODY)
    said = {**WHOLE, "Tag-Project": "atlas", "tier": "standard"}
    del said["tags"]
    for way in (CREATE, RAW_STREAM):
        door.go(way, headers(**said))
    assert asked(stage) == [WHOLE, WHOLE]
    assert len(stage.sent()) == 2
    for request in stage.api.requests:
        assert not [name for name in request.headers if name.startswith("governor-")]


@on_sqlite
def test_headers_are_not_sent_with_what_is_free_either(stage):
    """A client that sends them with each request tells nobody else whose it is."""
    door = doorway(stage, door=NOBODY)
    extra = {"governor-user": "ada", "Governor-Anything": "else"}

    async def free(client):
        messages = [{"role": "user", "content": "Hi"}]
        await got(client.messages.count_tokens(model=SONNET, messages=messages, extra_headers=extra))
        await got(client.messages.batches.retrieve("none", extra_headers=extra))

    with pytest.raises(Exception, match="404"):
        door.run(free)
    assert len(stage.api.requests) == 2
    for request in stage.api.requests:
        assert not [name for name in request.headers if name.startswith("governor-")]


@on_sqlite
def test_the_nearest_word_goes_first_part_by_part(stage):
    """Headers, then the callable, then the inner and the outer attribute, then the defaults."""
    told = {"feature": "callable", "run": "callable"}
    defaults = {"user": "default", "department": "team", "feature": "default", "priority": "default"}
    door = doorway(stage, door={"who": lambda _: told, **defaults})
    outer = {"user": "outer", "feature": "outer", "run": "outer", "priority": "outer"}
    work = inside(lambda client: CREATE.go(client, headers(run="header")), user="inner", feature="inner")
    door.run(inside(work, **outer))
    assert asked(stage) == [
        {**WHOLE, "user": "inner", "feature": "callable", "run": "header", "priority": "outer", "tags": {}}
    ]


@on_sqlite
def test_tags_of_all_add_up_and_the_nearest_value_of_one_stands(stage):
    """A tag is a part of its own."""
    who = {"who": lambda _: {"tags": {"who": "who", "b": "who"}}}
    defaults = {"user": "u", "department": "team", "tags": {"default": "default", "c": "default"}}
    door = doorway(stage, door={**who, **defaults})
    work = inside(
        lambda client: CREATE.go(client, headers(**{"tag-a": "header"})),
        tags={"inner": "inner", "a": "inner", "b": "inner"},
    )
    door.run(inside(work, tags={"outer": "outer", "inner": "outer", "c": "outer"}))
    assert asked(stage)[0]["tags"] == {
        "a": "header",
        "b": "who",
        "c": "outer",
        **{name: name for name in ("who", "inner", "outer", "default")},
    }


@on_sqlite
def test_a_callable_reads_the_request_and_may_have_nothing_to_say(stage):
    """It is asked for each request; `None` leaves it to the others; what it raises is the caller's."""
    seen = []

    def who(request):
        seen.append(request.json["model"])
        if request.json["model"] == HAIKU:
            raise KeyError("no user in this session")
        return None if request.json["model"] == OPUS else {"user": "sonneteer"}

    door = doorway(stage, door={"user": "u", "department": "team", "who": who})
    for model in (SONNET, OPUS):
        door.go(CREATE, Visit(params={"model": model}))
    with pytest.raises(KeyError, match="no user in this session"):
        door.go(CREATE, Visit(params={"model": HAIKU}))
    assert (seen, users(stage)) == ([SONNET, OPUS, HAIKU], ["sonneteer", "u"])
    assert len(stage.sent()) == 2
    assert stage.holds() == ()


@on_sqlite
def test_tier_and_pin_are_said_like_the_rest(stage):
    """A tier chooses the line of `auto`; what is pinned is refused rather than swapped."""
    tiers = {"economy": {"prefer": "haiku"}, "standard": {"prefer": "sonnet"}}
    team = department(LIFE, thresholds={"50%": {"downgrade": "haiku"}}, routing={"tiers": tiers})
    door = Doorway(stage, stage.governor(team))
    door.go(CREATE, Visit(params={"model": "auto", "extra_headers": {"governor-tier": "economy"}}))
    assert door.receipts[0].decision.tier == "economy"
    stage.spend("department=team/usd/life", 6_000_000_000, 10_000_000_000)
    with governor.attribute(pin=True):
        with pytest.raises(BudgetExceeded):
            door.go(CREATE)
        with governor.attribute(pin=False):
            door.go(CREATE)
    assert [body["model"] for body in stage.sent()] == [HAIKU, HAIKU]


# What is refused


@on_sqlite
@pytest.mark.parametrize(
    ("said", "missing"), [({"department": "team"}, "user"), ({"user": "u"}, "department")]
)
def test_what_nobody_says_is_asked_for(stage, said, missing):
    """The refusal names the part and the three ways to give it; nothing is sent, and nothing tried again."""
    text = refused(doorway(stage, door=said, max_retries=2))
    for way in (f"governor.attribute({missing}=", f"governor-{missing}", f"gov.middleware({missing}="):
        assert way in text
    assert stage.api.requests == []
    assert stage.holds() == ()


@on_sqlite
def test_an_empty_header_is_no_user(stage):
    """It does not fall through to the next who says one: somebody meant to say it."""
    assert "governor-user" in refused(doorway(stage), headers(user=""))


@on_sqlite
@pytest.mark.parametrize("name", ["usr", "pin", "tags", "project"])
def test_a_misspelt_header_is_refused(stage, name):
    """It is named, and so are those there are."""
    text = refused(doorway(stage), headers(**{name: "x"}))
    assert f"governor-{name}" in text
    assert "governor-tag-NAME" in text
    assert stage.api.requests == []


@on_sqlite
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("ada", "'ada'"),
        ({"usr": "ada"}, "'usr'"),
        ({"tags": "atlas"}, "'atlas'"),
        ({"tier": 1}, "tier is 1"),
        ({"pin": "yes"}, "pin is 'yes'"),
        ({"user": 7}, "user"),
        ({1: 2, "a": 3}, "no part"),
    ],
)
def test_a_callable_that_answers_something_else_is_refused(stage, answer, says):
    """What it answered is said."""
    assert says in refused(doorway(stage, door={"user": "u", "department": "team", "who": lambda _: answer}))
    assert stage.sent() == []


@once
def test_a_default_that_is_no_part_is_refused_when_the_middleware_is_made(stage):
    """Not at the first request; and so are tags that are no mapping."""
    gov = stage.governor(TEAM).governor
    with pytest.raises(PolicyViolation, match="usr"):
        gov.middleware(usr="ada")
    with pytest.raises(PolicyViolation, match="atlas"):
        gov.middleware(tags="atlas")
    with pytest.raises(PolicyViolation, match="atlas"):
        governor.attribute(tags="atlas")


# Where the code runs


@on_sqlite
def test_a_decorated_async_function_is_attributed_at_every_call(stage):
    """It keeps its name and its answer, may call itself, and says nothing outside of it."""
    door = doorway(stage, door={"department": "team"})

    @governor.attribute(user="decorated")
    async def review(client, deeper):
        """Review it."""
        await create(client)
        await inside(create, user="inner")(client)
        return await review(client, deeper - 1) if deeper else "done"

    assert (review.__name__, review.__doc__) == ("review", "Review it.")
    assert door.run(lambda client: review(client, 1)) == "done"
    assert users(stage) == ["decorated", "inner", "decorated", "inner"]
    refused(door)


@once
def test_a_decorated_function_is_attributed_at_every_call(stage):
    """The same of a blocking function; what it raises passes, and ends what was said."""
    door = doorway(stage, door={"department": "team"})

    @governor.attribute(user="decorated")
    def review(deeper):
        door.go(CREATE)
        if deeper:
            return review(deeper - 1)
        raise KeyError("deep")

    with pytest.raises(KeyError, match="deep"):
        review(1)
    assert users(stage) == ["decorated"] * 2
    refused(door)


@on_sqlite
def test_one_attribute_may_be_entered_again_inside_itself(stage):
    """Each entry is ended by its own exit, and each has its own receipts."""
    door = doorway(stage, door={"department": "team"})
    again = governor.attribute(user="again")
    with again as outer:
        with governor.attribute(user="between"), again as inner:
            door.go(CREATE)
        door.go(CREATE)
    assert users(stage) == ["again", "again"]
    assert (len(outer.receipts), len(inner.receipts)) == (2, 1)
    refused(door)


@on_sqlite
def test_tasks_and_threads_started_inside_are_attributed_each_by_its_own(stage):
    """In `gather`, `to_thread` and threads with a copied context; a bare thread is nobody's."""
    door = doorway(stage, door={"department": "team"})

    async def in_a_task(client, name):
        with governor.attribute(user=name):
            await asyncio.sleep(0)
            await create(client)
            await asyncio.to_thread(lambda: seen.append((name, said())))
            thread = threading.Thread(target=copy_context().run, args=(lambda: seen.append((name, said())),))
            thread.start()
            await asyncio.to_thread(thread.join)

    def said():
        return attribution.current().part("user")

    async def all_of(client):
        with governor.attribute(run="all") as work:
            await asyncio.gather(*(in_a_task(client, f"u{number}") for number in range(5)))
        return work

    seen = []
    work = door.start(all_of).result(15) if stage.is_async else asyncio.run(all_of(door.client))
    assert sorted(users(stage)) == [f"u{number}" for number in range(5)]
    assert {who["run"] for who in asked(stage)} == {"all"}
    assert sorted(seen) == sorted([(f"u{number}", f"u{number}") for number in range(5)] * 2)
    assert len(work.receipts) == 5


@once
def test_a_thread_of_ones_own_needs_the_context(stage):
    """With `copy_context` it is attributed; without, it is refused rather than taken for another's."""
    door = doorway(stage, door={"department": "team"})
    outcomes = []
    with governor.attribute(user="main"):
        bare = threading.Thread(target=lambda: outcomes.append(refused(door)))
        copied = threading.Thread(target=copy_context().run, args=(door.go, CREATE))
        for thread in (bare, copied):
            thread.start()
            thread.join()
    assert "which user" in outcomes[0]
    assert users(stage) == ["main"]


# Receipts


@on_sqlite
def test_receipts_are_kept_by_every_attribute_around(stage):
    """Inner ones have theirs, outer ones all; the newest 1,000 of a long work."""
    door = doorway(stage, door={"user": "u", "department": "team"})
    with governor.attribute(run="r") as outer:
        door.go(CREATE)
        with governor.attribute(feature="f") as inner:
            door.go(RAW_STREAM)
    assert [len(outer.receipts), len(inner.receipts)] == [2, 1]
    assert outer.receipts[-1] is inner.receipts[0]
    assert sum(receipt.cost.nanos for receipt in outer.receipts) == stage.posted() == stage.api.billed_nanos
    for _ in range(1200):
        outer.account(inner.receipts[0])
    assert len(outer.receipts) == 1000


@on_sqlite
@pytest.mark.parametrize("way", [CREATE, RAW_STREAM], ids=["create", "stream"])
def test_a_listener_that_raises_is_logged_and_harms_nothing(stage, way, caplog):
    """The caller has its answer, the hold is settled, and the receipt is in `attribute` all the same."""

    def broken(receipt):
        raise RuntimeError(f"cannot tell {receipt.model}")

    door = doorway(stage, door={"user": "u", "department": "team", "on_receipt": broken})
    with governor.attribute(run="r") as work:
        assert door.go(way)
    assert len(work.receipts) == 1
    assert stage.posted() == stage.api.billed_nanos > 0
    assert stage.holds() == ()
    assert [record.exc_text for record in caplog.records if "listener for receipts" in record.message]

"""Requests for more budget, in random stories: both stores answer alike, and their journals tell it all."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fakeredis
from hypothesis import given
from hypothesis import strategies as st
from support.fake_redis import FakeRedis

from governor.budgets import Unit
from governor.errors import ReservationConflict
from governor.journal.replay import Replay
from governor.ledger import commands as c
from governor.ledger.keys import Keys
from governor.ledger.recovery import ReadSince
from governor.ledger.redis import RedisLedger
from governor.ledger.sqlite import SqliteLedger
from governor.testing.ledger_contract import SettableClock

if TYPE_CHECKING:
    from governor.ledger import Ledger

DAY_MS = 24 * 3600 * 1000
ROW = c.BudgetRow("department=eng/usd/life", "life", 0, 0, Unit.USD, 1000)
PEOPLE = [
    c.Person("Ada", "ada@laptop-7"),
    c.Person("Grace", "grace@laptop-9"),
    c.Person("ADA", "root@server"),
    c.Person("", "root@server"),
]

steps = st.lists(
    st.fixed_dictionaries(
        {
            "verb": st.sampled_from(["ask", "ask", "approve", "approve", "deny", "wait"]),
            "name": st.sampled_from(["q1", "q2", "q3"]),
            "amount": st.integers(1, 3),
            "by": st.sampled_from(PEOPLE),
            "reason": st.sampled_from(["", "why", "a=b reason=c\nd"]),
            "days": st.sampled_from([0, 1, 1, 90]),
            "stale": st.booleans(),
        }
    ),
    min_size=5,
    max_size=30,
)


@given(story=steps)
def test_both_stores_and_the_journal_tell_the_same_story(story: list[dict[str, Any]]) -> None:
    """Answer by answer, record by record; replayed, the journal has each request with its answer.

    And the limit is the file's and what the approved requests say.
    """
    clock, org = SettableClock(), f"model-{secrets.token_hex(8)}"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        client = FakeRedis(server=fakeredis.FakeServer(), decode_responses=True)
        stores: list[Ledger] = [
            SqliteLedger(Path(folder) / "governor.db", org, clock=clock),
            RedisLedger(client, Keys(org), "a fake", clock=clock, create=True),
        ]
        for store in stores:
            stack.callback(store.close)
        granted: dict[str, int] = {}
        for step in story:
            if step["verb"] == "wait":
                clock.advance(step["days"] * DAY_MS)
                continue
            known = stores[0].execute(c.FindRequest(step["name"]))
            command = _command(step, known, clock.now_ms)
            one, other = (_answer(store, command) for store in stores)
            assert one == other, command
            if isinstance(command, c.Approve) and isinstance(one, c.BudgetRequest):
                assert one.answer is not None
                granted.setdefault(one.id, one.answer.amount)  # an id that comes again grants nothing
        _same(stores, sum(granted.values()))


def _command(step: dict[str, Any], known: c.BudgetRequest | None, now_ms: int) -> c.Command[Any]:
    """What the step asks of the ledger; of a request as it is there, or as somebody believes it to be."""
    ends_ms = now_ms // DAY_MS * DAY_MS + step["days"] * DAY_MS if step["days"] else 0
    asked = c.BudgetRequest(
        step["name"], ROW.identity, "life", step["amount"], step["by"], step["reason"], ends_ms=ends_ms
    )
    if step["verb"] == "ask":
        return c.RequestGrant(asked, '{"asked":1}')
    request = asked if known is None or step["stale"] else known
    if step["verb"] == "deny":
        return c.Deny(request, step["by"], step["reason"])
    return c.Approve(request, step["by"], step["reason"], step["amount"])


def _answer(store: Ledger, command: c.Command[Any]) -> object:
    try:
        return store.execute(command)
    except ReservationConflict as error:
        return str(error)


def _same(stores: list[Ledger], granted: int) -> None:
    listed = [store.execute(c.ListRequests()) for store in stores]
    assert listed[0] == listed[1]
    pages = [store.execute(ReadSince(limit=10_000)) for store in stores]
    told = [[(e.kind, e.id, e.outcome, e.detail, e.record) for e in page.entries[1:]] for page in pages]
    assert told[0] == told[1]
    for store, page in zip(stores, pages, strict=True):
        assert store.execute(c.Read((ROW,))).balances[0].limit == ROW.limit + granted
        replay = Replay()
        replay.read(page.epoch, page.entries)
        assert not replay.strange
        assert {one.id: one for one in listed[0]}.items() <= replay.requests.items()
        assert replay.grants.get((ROW.identity, "life"), 0) == granted

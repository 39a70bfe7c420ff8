"""A Redis is emptied while calls run, and rebuilt: the bill, less what the archive had not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.governed import Stage, department
from support.redis_server import RedisServer

from governor import LedgerUnavailable
from governor.journal import rebuild
from governor.journal.archive import open_archive
from governor.journal.archiving import copy_new
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.testing import FakeClaude, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

TEAM = {"per": "department", "usd": "5", "window": "life"}
USD = "department=team/usd/life"


class Loss:
    """A stage on a Redis of its own, with an archive."""

    def __init__(self, stage: Stage, server: RedisServer) -> None:
        self.stage, self.server = stage, server
        self.archive = open_archive(f"{stage.folder}/journal.jsonl", stage.org)

    def keep(self) -> None:
        copy_new(self.stage.ledger, self.archive, lambda *_: None)

    def empty(self) -> None:
        with self.server.client() as client:
            client.flushall()

    def rebuild(self) -> rebuild.Plan:
        ledger = open_ledger(self.stage.url, self.stage.org)
        now_ms = ledger.execute(c.Inspect()).now_ms
        plan = rebuild.plan(self.archive, now_ms, now_ms, lambda _: None)
        rebuild.carry_out(ledger, plan, "epoch-2", {}, freeze=False, tell=lambda _: None)
        ledger.close()
        return plan

    def during(self, *deeds: object) -> None:
        """Do this, one after the other, while the API has the next request."""

        def reply(_: object) -> Reply:
            while pending:
                pending.pop(0)()
            return Reply()

        pending = list(deeds)
        self.stage.api.replies(reply)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def loss(request, redis_available, tmp_path, org) -> Iterator[Loss]:
    """A stage whose Redis may be emptied."""
    with RedisServer() as server, FakeClaude() as api:
        stage = Stage(api, tmp_path, server.url, org, request.param, clock=None)
        yield Loss(stage, server)
        stage.close()
        api.wait_idle()


def test_what_is_missing_after_a_rebuild_is_what_the_archive_had_not(loss):
    """A call settled in the lost tail is charged its hold, one that settles later its cost."""
    stage, api = loss.stage, loss.stage.api
    gov = stage.governor(department(TEAM))
    for _ in range(5):
        gov.call()
    loss.during(loss.keep)
    open_then = gov.call(request_id="open-then")
    held = stage.journal("reserve", "open-then")[0]
    missing = gov.call()
    loss.during(loss.empty)
    told_later = gov.call(request_id="told-later")
    assert not told_later.receipt.settled
    with pytest.raises(LedgerUnavailable, match="emptied or never created"):
        gov.call()
    plan = loss.rebuild()
    (charged,) = plan.charged
    assert charged.id == held.id == "open-then"
    hold = charged.rows[0].charge
    assert hold > open_then.receipt.cost.nanos
    gov.call()
    bill = api.billed_nanos
    lag = missing.receipt.cost.nanos
    assert stage.posted() == bill - lag + hold - open_then.receipt.cost.nanos
    assert [entry.outcome for entry in stage.journal("settle", "told-later")] == ["settled"]
    assert stage.balances()[USD].held == 0


def test_a_call_in_flight_over_a_loss_and_a_rebuild_is_posted_once(loss):
    """Its ledger was emptied and rebuilt meanwhile: its settle replaces the charge, and nothing is lost."""
    stage = loss.stage
    gov = stage.governor(department(TEAM))
    for _ in range(3):
        gov.call()
    loss.during(loss.keep, loss.empty, loss.rebuild)
    message = gov.call(request_id="in-flight")
    assert message.receipt.settled
    assert stage.posted() == stage.api.billed_nanos
    assert [entry.outcome for entry in stage.journal("settle", "in-flight")] == ["settled_late"]
    gov.call()
    assert stage.posted() == stage.api.billed_nanos

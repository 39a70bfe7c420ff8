"""A ledger that is missing, foreign, full, forgetful or down is told clearly, and loses nothing."""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.governed import HELLO, department, until
from support.redis_server import RedisServer, free_port
from support.stages import WAYS, on_sqlite, once

from governor import Governor, LedgerUnavailable
from governor.ledger import commands as c
from governor.testing import Reply

TEAM = {"per": "department", "usd": "1", "window": "life"}
USD = "department=team/usd/life"
NOBODY = 65534
REDIS = [way for way in WAYS if "redis" in way.id]


@pytest.mark.parametrize(
    "url",
    [
        "postgres://host/db",
        "governor.db",
        "sqlite://",
        "redis+cluster://127.0.0.1:1/main",
        "redis://127.0.0.1:port/0",
    ],
)
@once
def test_a_url_that_is_no_ledger(stage, url):
    """A URL of no store is refused at load with the URLs there are, and without its password."""
    stage.write(department(TEAM))
    with pytest.raises(LedgerUnavailable, match=r"(use|write) (redis|sqlite)://"):
        Governor.load(stage.policies, ledger=url)
    with pytest.raises(LedgerUnavailable) as refused:
        Governor.load(stage.policies, ledger="mongo://me:secret@host/")
    assert "secret" not in str(refused.value)


@on_sqlite
def test_a_ledger_in_a_folder_that_is_missing(stage):
    """A SQLite file cannot be made where there is no folder: the folder is named."""
    stage.url = f"sqlite:///{stage.folder}/nowhere/governor.db"
    with pytest.raises(
        LedgerUnavailable, match=r"the folder .*/nowhere of the ledger does not exist: make it first"
    ):
        stage.governor(department(TEAM)).call()
    assert stage.sent() == []


@on_sqlite
def test_a_file_that_is_no_ledger(stage):
    """A file that is not SQLite is refused, and left as it was."""
    path = stage.folder / "governor.db"
    path.write_text("a shopping list, and long enough to be read as a header of some file", encoding="utf-8")
    with pytest.raises(LedgerUnavailable, match=r"is not a SQLite database: .*; use another file"):
        stage.governor(department(TEAM)).call()
    assert path.read_text(encoding="utf-8").startswith("a shopping list")
    assert stage.sent() == []


@on_sqlite
def test_a_ledger_of_another_organisation(stage):
    """A file with somebody else's balances is refused, naming both organisations."""
    stage.governor(department(TEAM)).call()
    theirs, stage.org = stage.org, "newcomers"
    with pytest.raises(
        LedgerUnavailable, match=f"ledger of organization '{theirs}'.*'newcomers'.*use another file"
    ):
        stage.governor(department(TEAM)).call()


@contextmanager
def a_stranger():
    """Go on as a user who may read a file but not write it; root, who may do all, becomes nobody."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@on_sqlite
def test_a_read_only_sqlite_file(stage):
    """A ledger that may not be written refuses the call before it is sent, with the permission to give."""
    with tempfile.TemporaryDirectory() as folder:
        stage.url = f"sqlite:///{folder}/governor.db"
        stage.governor(department(TEAM)).call()
        before = stage.posted()
        other = stage.governor(None)
        for path in Path(folder).glob("*"):
            path.chmod(0o444)
        Path(folder).chmod(0o555)
        with (
            a_stranger(),
            pytest.raises(LedgerUnavailable, match="give this user write permission on the file"),
        ):
            other.call()
        Path(folder).chmod(0o755)
        assert len(stage.sent()) == 1
        assert stage.posted() == before


@on_sqlite
def test_a_sqlite_file_that_turns_read_only(stage):
    """A ledger that cannot be written any more refuses with what to do; once it can, it goes on as before."""
    caller = stage.governor(department(TEAM))
    caller.call()
    ledger = caller.governor.ledger
    connection = getattr(ledger, "_ledger", ledger)._connection
    connection.execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerUnavailable, match="readonly database; give this user write permission"):
        caller.call()
    assert len(stage.sent()) == 1
    connection.execute("PRAGMA query_only = OFF")
    caller.call()
    assert stage.posted() == stage.api.billed_nanos


@pytest.mark.parametrize("stage", REDIS, indirect=True)
def test_a_redis_that_is_down(stage):
    """Without its ledger the governor refuses, naming the server and what to check; nothing is sent."""
    stage.url = f"redis://127.0.0.1:{free_port()}/0"
    with pytest.raises(LedgerUnavailable, match=rf"{stage.url} cannot be reached: .*check the URL, and that"):
        stage.governor(department(TEAM)).call()
    assert stage.sent() == []


@pytest.mark.parametrize("stage", REDIS, indirect=True)
def test_a_redis_that_was_never_made_a_ledger(stage):
    """A Redis without the ledger's marker is refused, with the command that makes one."""
    with pytest.raises(LedgerUnavailable, match=r"emptied or never created; .*governor ledger create URL"):
        stage.governor(department(TEAM), create_ledger=False).call()
    assert stage.sent() == []
    stage.governor(department(TEAM), create_ledger=True).call()
    stage.governor(department(TEAM), create_ledger=False).call()


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
@once
def test_a_redis_that_evicts(stage, redis_available, policy):
    """A Redis that may forget balances is refused with its setting and the command that changes it."""
    with RedisServer(maxmemory="50mb", maxmemory_policy=policy) as server:
        stage.url = server.url
        caller = stage.governor(department(TEAM))
        with pytest.raises(
            LedgerUnavailable, match=rf"evicts keys \(maxmemory-policy {policy}\).*noeviction"
        ):
            caller.call()
        assert stage.sent() == []
        with server.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
        assert caller.call().receipt.settled


def test_a_redis_that_is_full(down, own_redis):
    """A full Redis refuses new holds and says what to raise; a call in flight can still settle."""

    def fill(_body):
        with own_redis.client() as client:
            client.config_set("maxmemory", 1)
        return Reply()

    caller = down.governor(department(TEAM))
    down.api.replies(fill)
    receipt = caller.call().receipt
    assert (receipt.settled, receipt.cost.nanos) == (True, down.api.billed_nanos)
    with pytest.raises(LedgerUnavailable, match=r"redis://.* is full: raise its maxmemory"):
        caller.call()
    assert len(down.sent()) == 1
    with own_redis.client() as client:
        client.config_set("maxmemory", 0)
    down.api.replies(Reply())
    caller.call()
    assert down.posted() == down.api.billed_nanos
    assert down.holds() == ()


def unlucky(down, own_redis, caplog, **more):
    """A governor whose only call was answered, and whose ledger went away before it could be told."""

    def pull_the_plug(_body):
        own_redis.kill()
        return Reply()

    caller = down.governor(department(TEAM, timeout=5, **more))
    down.api.replies(pull_the_plug)
    with caplog.at_level(logging.ERROR, "governor"):
        message = caller.call(request_id="unlucky")
    receipt = message.receipt
    assert message.content[0].text
    assert (receipt.settled, receipt.cost.nanos) == (False, down.api.billed_nanos)
    assert "the ledger was not told how request unlucky ended" in caplog.text
    down.api.replies(Reply())
    return caller, receipt


def test_a_ledger_that_goes_down_during_a_call(down, own_redis, caplog):
    """The answer still arrives, unsettled and logged; the ledger is told of its end before the next call."""
    caller, receipt = unlucky(down, own_redis, caplog)
    with pytest.raises(LedgerUnavailable, match="cannot be reached"):
        caller.call()
    own_redis.start()
    assert down.balances()[USD].held == receipt.ceiling.nanos
    other = caller.call().receipt
    assert other.settled
    assert down.posted() == receipt.cost.nanos + other.cost.nanos == down.api.billed_nanos
    assert down.holds() == ()
    assert [entry.outcome for entry in down.journal(identifier="unlucky")] == ["held", "settled"]


@pytest.mark.parametrize("on_expiry", ["charge", "release"])
def test_a_ledger_that_was_down_is_told_at_close(down, own_redis, caplog, on_expiry):
    """A governor that ends says first what its ledger has not heard, also after the hold has expired."""
    caller, receipt = unlucky(down, own_redis, caplog, on_expiry=on_expiry)
    own_redis.start()
    if on_expiry == "release":
        down.clock.forward(3600)
        due = tuple(c.DueHold(hold.id, hold.balances) for hold in down.holds())
        assert down.ledger.execute(c.Expire(due)).ids == ("unlucky",)
        assert down.posted() == 0
    caller.close()
    down._open.remove(caller)
    assert down.posted() == receipt.cost.nanos == down.api.billed_nanos
    assert down.holds() == ()


def test_a_process_that_ends_while_the_ledger_is_down(down, own_redis, caplog):
    """What nobody could tell the ledger any more is charged whole when the hold expires."""
    caller, receipt = unlucky(down, own_redis, caplog)
    caller.close()
    down._open.remove(caller)
    own_redis.start()
    assert down.balances()[USD].held == receipt.ceiling.nanos
    down.clock.forward(3600)
    other = down.governor(None).call().receipt
    assert other.settled
    assert down.posted() == receipt.ceiling.nanos + other.cost.nanos >= down.api.billed_nanos
    assert down.holds() == ()


def test_a_ledger_that_comes_back_in_time_is_told(down, own_redis):
    """A ledger that is away only for a moment is told how the call ended: nothing is left to expire."""
    caller = down.governor(department(TEAM))
    down.api.replies(Reply(delay_ms=50))
    call = caller.start()
    until(down.sent)
    own_redis.restart()
    assert call.result().receipt.settled
    assert down.posted() == down.api.billed_nanos
    assert down.holds() == ()


@once
def test_a_key_in_the_url_is_not_told(stage):
    """An unreachable Redis is named without the password of its URL."""
    stage.url = f"redis://me:hunter2@127.0.0.1:{free_port()}/0"
    with pytest.raises(LedgerUnavailable) as refused:
        stage.governor(department(TEAM)).call(messages=HELLO)
    assert "hunter2" not in str(refused.value)
    assert "me:***@127.0.0.1" in str(refused.value)

"""What a Redis that cannot serve says: what is wrong, where, and what to do; never a password."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import redis
from support.redis_server import HOST, RedisServer, free_port
from support.refused import RESERVE, ROW, SECRET, refusal

from governor.errors import LedgerDown, LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.ledger.keys import Keys

if TYPE_CHECKING:
    from pathlib import Path


def test_a_server_that_is_down_is_named_without_its_password() -> None:
    """Where it should be, and that it should run."""
    port = free_port()
    message = refusal(f"redis://app:{SECRET}@{HOST}:{port}/0")
    assert message.startswith(f"redis://app:***@{HOST}:{port}/0 cannot be reached: ")
    assert message.endswith("check the URL, and that the server is running")


def test_a_missing_unix_socket_is_named(tmp_path: Path) -> None:
    """A socket is a place like any other."""
    assert refusal(f"unix://{tmp_path}/redis.sock").startswith(
        f"unix://{tmp_path}/redis.sock cannot be reached"
    )


def test_a_server_that_comes_back_is_used_again(redis_available: None) -> None:
    """An outage is an error for as long as it lasts, and not for the ledger object's whole life."""
    with RedisServer(appendonly=True) as server:
        ledger = open_ledger(server.url, "acme", create=True)
        ledger.execute(RESERVE)
        server.stop()
        with pytest.raises(LedgerUnavailable, match="cannot be reached"):
            ledger.execute(c.Read((ROW,)))
        server.start()
        assert ledger.execute(c.Read((ROW,))).balances[0].held == 10
        ledger.close()


def test_a_redis_never_created_is_refused(redis_server: RedisServer, org: str) -> None:
    """An empty Redis is not a ledger with nothing spent; the message says how to make it one."""
    message = refusal(redis_server.url, org=org)
    assert f"no ledger for organization '{org}': it was emptied or never created" in message
    assert "governor ledger create" in message


def test_another_schema_in_redis_is_refused(redis_server: RedisServer, org: str) -> None:
    """A layout of a release to come is not guessed at, nor made one's own by `create`."""
    with redis_server.client() as client:
        client.hset(Keys(org).meta, "schema", "99")
    for create in (False, True):
        message = refusal(redis_server.url, create=create, org=org)
        assert "has schema 99, this release knows 2: use the release that wrote it" in message


def test_an_evicting_redis_is_refused(redis_available: None) -> None:
    """A server that forgets keys forgets spend: refused before anything is written."""
    with RedisServer(maxmemory_policy="allkeys-lru") as server:
        message = refusal(server.url, create=True)
        assert message.startswith(f"{server.url} evicts keys (maxmemory-policy allkeys-lru)")
        assert "CONFIG SET maxmemory-policy noeviction" in message
        with server.client() as client:
            assert client.dbsize() == 0


def test_a_redis_that_begins_to_evict_is_refused_within_a_minute(
    redis_available: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that runs for long looks again, once a minute; what was emptied is not made anew by that."""
    now_s = [1_000.0]
    monkeypatch.setattr("governor.ledger.redis.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    with RedisServer() as server, server.client() as client:
        ledger = open_ledger(server.url, "acme", create=True)
        ledger.execute(RESERVE)
        client.config_set("maxmemory-policy", "volatile-lru")
        now_s[0] += 59
        ledger.execute(RESERVE)
        now_s[0] += 2
        with pytest.raises(LedgerUnavailable, match="evicts keys"):
            ledger.execute(RESERVE)
        client.config_set("maxmemory-policy", "noeviction")
        ledger.execute(RESERVE)
        client.flushall()
        now_s[0] += 61
        with pytest.raises(LedgerUnavailable, match="holds no ledger"):
            ledger.execute(RESERVE)
        ledger.close()


def test_a_redis_is_looked_at_anew_when_it_was_away(redis_available: None) -> None:
    """After an outage another server may answer under the same URL, with other settings."""
    with RedisServer() as server, server.client() as client:
        ledger = open_ledger(server.url, "acme", create=True)
        ledger.execute(RESERVE)
        client.config_set("maxmemory", 1)
        with pytest.raises(LedgerDown):
            ledger.execute(c.Grant("g", ROW.identity, ROW.window, 1))
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "volatile-lru")
        with pytest.raises(LedgerUnavailable, match="evicts keys"):
            ledger.execute(RESERVE)
        ledger.close()


def test_a_redis_that_runs_a_long_script_is_down_for_now(redis_available: None) -> None:
    """`BUSY` passes, so that what the policies say of an outage holds."""
    with RedisServer() as server, server.client() as client, server.client() as other:
        ledger = open_ledger(server.url, "acme", create=True)
        ledger.execute(RESERVE)
        client.config_set("busy-reply-threshold", 1)
        script = threading.Thread(target=_run_for_ever, args=(other,))
        script.start()
        while not _is_busy(client):
            pass
        with pytest.raises(LedgerDown, match="BUSY"):
            ledger.execute(RESERVE)
        client.script_kill()
        script.join()
        assert isinstance(ledger.execute(RESERVE), c.Held)
        ledger.close()


def _run_for_ever(client: redis.Redis) -> None:
    with suppress(redis.RedisError):
        client.eval("while true do end", 0)


def _is_busy(client: redis.Redis) -> bool:
    try:
        client.ping()
    except redis.ResponseError:
        return True
    return False


def test_a_full_redis_is_refused_with_what_to_do(redis_available: None) -> None:
    """No memory is said as such, not as a lack of money."""
    with RedisServer(maxmemory="1") as server:
        assert refusal(server.url, create=True).startswith(f"{server.url} is full: raise its maxmemory")


def test_keys_of_another_kind_are_an_answer_not_a_crash(redis_server: RedisServer, org: str) -> None:
    """Somebody else's value under a ledger's key is reported with the server's words."""
    with redis_server.client() as client:
        client.set(Keys(org).meta, "mine")
    message = refusal(redis_server.url, org=org)
    assert message.startswith(f"{redis_server.url} answered: ")
    assert "WRONGTYPE" in message

"""What a store that cannot serve says: what is wrong, where, and what to do; never a password."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import redis
from support.redis_server import HOST, RedisServer, free_port

from governor.budgets import Unit
from governor.errors import LedgerDown, LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger import open_async_ledger, open_ledger
from governor.ledger.keys import Keys
from governor.ledger.servers import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW = c.BudgetRow("department=eng/usd/life", "life", 0, 0, Unit.USD, 1000)
RESERVE = c.Reserve("r1", (ROW,), ((c.Ask(10),),), 60_000)
SECRET = "hunter2"
NOBODY = 65534


def refusal(
    url: str, command: c.Command[object] = RESERVE, *, create: bool = False, org: str = "acme"
) -> str:
    """What a command on *url* is refused with, the same on the blocking and the async ledger."""
    ledger = open_ledger(url, org, create=create)
    with pytest.raises(LedgerUnavailable) as blocking:
        ledger.execute(command)
    ledger.close()

    async def attempt() -> None:
        other = open_async_ledger(url, org, create=create)
        try:
            await other.execute(command)
        finally:
            await other.close()

    with pytest.raises(LedgerUnavailable) as waiting:
        asyncio.run(attempt())
    assert SECRET not in str(blocking.value) + str(waiting.value) + repr(blocking.value)
    return str(blocking.value)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Nobody's rights, where the tests run as root, whom no file permission binds."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter and read (pytest's own are closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="governor-store-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


# URLs.


@pytest.mark.parametrize("url", ["postgres://u:hunter2@db/x", "mysql://db", "governor.db", ""])
def test_an_unknown_store_is_named_with_those_that_are_known(url: str) -> None:
    """A URL of no known scheme is refused at once, with the schemes there are."""
    for opener in (open_ledger, open_async_ledger):
        with pytest.raises(
            LedgerUnavailable, match=r"no ledger: use sqlite:///.*redis://.*unix://"
        ) as caught:
            opener(url, "acme")
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis+cluster://:{SECRET}@",
        f"redis+cluster://:{SECRET}@db:port",
        f"redis+cluster://:{SECRET}@db/main",
        f"redis+cluster://:{SECRET}@db?socket_timeout=1",
        f"redis+sentinel://:{SECRET}@db:26379",
        f"rediss+sentinel://:{SECRET}@db/main/first",
    ],
)
def test_a_url_of_many_servers_has_its_form(url: str) -> None:
    """A cluster has hosts alone, sentinels hosts and a service: anything else is refused with both forms."""
    for opener in (open_ledger, open_async_ledger):
        with pytest.raises(LedgerUnavailable, match=r"redis\+cluster://.*redis\+sentinel://") as caught:
            opener(url, "acme")
        assert SECRET not in str(caught.value)


def test_what_a_url_of_many_servers_says() -> None:
    """Hosts with their usual ports, a percent-encoded password, the service and the database, TLS."""
    cluster = parse("rediss+cluster://me:p%40ss@a:7000,b,[::1]:7002?ssl_ca_certs=/etc/ca.pem")
    assert cluster.hosts == (("a", 7000), ("b", 6379), ("::1", 7002))
    assert cluster.user == {"username": "me", "password": "p@ss"}
    assert cluster.tls == {"ssl": True, "ssl_ca_certs": "/etc/ca.pem"}
    sentinel = parse("redis+sentinel://:pw@a,b:1/main/3?sentinel_password=other")
    assert (sentinel.hosts, sentinel.service, sentinel.db) == ((("a", 26379), ("b", 1)), "main", 3)
    assert (sentinel.user, sentinel.sentinel_user, sentinel.tls) == (
        {"password": "pw"},
        {"password": "other"},
        {},
    )


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite://host/file.db", "sqlite://"])
def test_a_sqlite_url_without_a_file_is_refused(url: str) -> None:
    """The number of slashes is easily got wrong, so the message shows both right ways."""
    with pytest.raises(LedgerUnavailable, match=r"names no file: write sqlite:///governor.db or sqlite:////"):
        open_ledger(url, "acme")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2/hunter2@db:6379/0",
        "redis://user:hunter2@db:port/0",
        "redis://db/0?socket_timeout=soon&password=hunter2",
        "redis://[db/0",
    ],
)
def test_a_malformed_redis_url_is_refused_without_its_password(url: str) -> None:
    """The message shows how such a URL is written, and the traceback hides what was in it."""
    for opener in (open_ledger, open_async_ledger):
        with pytest.raises(LedgerUnavailable, match=r"no Redis URL: write redis://user:password@") as caught:
            opener(url, "acme")
        assert SECRET not in str(caught.value)
        assert caught.value.__suppress_context__


# SQLite.


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The governor makes the file, not the folder around it."""
    folder = tmp_path / "nowhere"
    assert refusal(f"sqlite:///{folder}/governor.db") == (
        f"the folder {folder} of the ledger does not exist: make it first"
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A directory in place of the file is refused by name."""
    assert refusal(f"sqlite:///{tmp_path}").startswith(
        f"the ledger {tmp_path} cannot be used: unable to open"
    )


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    """Somebody's notes are not overwritten."""
    path = tmp_path / "notes.txt"
    path.write_text("Not a database, but the plan for next year.\n" * 40)
    before = path.read_bytes()
    message = refusal(f"sqlite:///{path}")
    assert message.startswith(f"{path} is not a SQLite database")
    assert message.endswith("use another file")
    assert path.read_bytes() == before


def test_another_program_s_database_is_left_alone(tmp_path: Path) -> None:
    """No table is added to a database that is not ours."""
    path = tmp_path / "app.db"
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE customer (id INTEGER)")
    foreign.close()
    message = refusal(f"sqlite:///{path}")
    assert message == f"{path} is some other program's database: use another file"
    with sqlite3.connect(path) as foreign:
        assert foreign.execute("SELECT name FROM sqlite_master").fetchall() == [("customer",)]
    foreign.close()


@pytest.mark.parametrize("command", [RESERVE, c.Inspect()], ids=["reserve", "inspect"])
def test_another_schema_in_sqlite_is_refused(tmp_path: Path, command: c.Command[object]) -> None:
    """A file of a release to come is not guessed at."""
    path = tmp_path / "governor.db"
    _make(path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")
    database.close()
    message = refusal(f"sqlite:///{path}", command)
    assert message == f"{path} has ledger schema 99, this release knows 2: use the release that wrote it"


def test_another_organization_s_file_is_refused(tmp_path: Path) -> None:
    """Two organisations do not share one file by mistake."""
    path = tmp_path / "governor.db"
    _make(path)
    message = refusal(f"sqlite:///{path}", org="globex")
    assert "organization 'acme', the policies are 'globex''s: use another file" in message


def test_a_read_only_file_is_refused_with_what_to_do(open_folder: Path) -> None:
    """Spend that could not be recorded is not allowed: the file must be writable."""
    path = open_folder / "governor.db"
    _make(path)
    path.chmod(0o444)
    open_folder.chmod(0o555)
    with unprivileged():
        message = refusal(f"sqlite:///{path}")
    assert message.startswith(f"the ledger {path} cannot be used: ")
    assert message.endswith("; give this user write permission on the file and its folder")


def test_a_folder_one_may_not_write_is_refused_with_what_to_do(open_folder: Path) -> None:
    """A file that cannot be made is named, with the permission that is missing."""
    path = open_folder / "governor.db"
    open_folder.chmod(0o555)
    with unprivileged():
        message = refusal(f"sqlite:///{path}")
    assert message.startswith(f"the ledger {path} cannot be used: unable to open database file")
    assert message.endswith("; give this user write permission on the file and its folder")


def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    """A transaction that finds no room is undone whole, and the ledger goes on once there is some."""
    ledger = open_ledger(f"sqlite:///{tmp_path}/governor.db", "acme")
    ledger.execute(RESERVE)
    connection: sqlite3.Connection = ledger._connection  # type: ignore[attr-defined]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    wide = c.Settle("r1", (c.Posting(ROW, 5),), record="x" * 100_000)
    with pytest.raises(LedgerUnavailable, match=r"governor.db cannot be used: database or disk is full"):
        ledger.execute(wide)
    connection.execute("PRAGMA max_page_count = 1000000")
    assert ledger.execute(c.Read((ROW,))).balances == (c.Balance(0, 10, 1000),)
    assert ledger.execute(wide).state == "settled"
    ledger.close()


# Redis.


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


def test_a_wrong_password_is_refused_and_not_shown(redis_server: RedisServer, org: str) -> None:
    """The server's own refusal is passed on, with where to look."""
    url = f"redis://{org}:{SECRET}@{HOST}:{redis_server.port}/0"
    message = refusal(url)
    assert message.startswith(f"redis://{org}:***@{HOST}:{redis_server.port}/0 refuses this user: ")
    assert message.endswith("check the URL's name and password")


def test_a_missing_password_is_asked_for(redis_available: None) -> None:
    """A server that wants a password is not said to be down."""
    with RedisServer() as server:
        with server.client() as client:
            client.config_set("requirepass", SECRET)
        message = refusal(server.url)
        assert message.startswith(f"{server.url} refuses this user: ")


@pytest.mark.parametrize(
    ("command", "said", "keys", "role"),
    [
        (RESERVE, "reserve", "*", "governor"),
        (c.ListBalances(), "list balances", "*", "governor"),
        (c.Unfreeze("u", ROW.identity), "unfreeze", "admin", "admin"),
        (c.Create("e"), "create", "*", "admin"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_user_without_the_rights_is_told_which(
    redis_server: RedisServer, org: str, command: c.Command[object], said: str, keys: str, role: str
) -> None:
    """A user whose ACL forbids the ledger's keys is named, with what it asked, and whose rights do."""
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", org, "on", f">{SECRET}", "+@all", "~other:*")
        try:
            message = refusal(f"redis://{org}:{SECRET}@{HOST}:{redis_server.port}/0", command)
        finally:
            client.acl_deluser(org)
    assert "refuses this user: " in message
    assert f"{org!r} has no right to `{said}` on gov:2:{{acme}}:{keys}: use the URL" in message
    assert f"with the rights of `{role}` in docs/ledger.md" in message


def test_keys_of_another_kind_are_an_answer_not_a_crash(redis_server: RedisServer, org: str) -> None:
    """Somebody else's value under a ledger's key is reported with the server's words."""
    with redis_server.client() as client:
        client.set(Keys(org).meta, "mine")
    message = refusal(redis_server.url, org=org)
    assert message.startswith(f"{redis_server.url} answered: ")
    assert "WRONGTYPE" in message


def _make(path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{path}", "acme")
    ledger.execute(RESERVE)
    ledger.close()


APPLICATION_KEYS = ("b:*", "h:*", "expiry", "journal")
APPLICATION_COMMANDS = (
    "evalsha eval info time client|setname select hmget hget hgetall hset hincrby zadd zrem zrange"
    " zrangebyscore xadd xrevrange scan ping cluster command readonly"
)


@pytest.mark.parametrize("server_of", ["redis_server", "redis_cluster_server"])
def test_an_application_may_spend_and_not_change_limits(
    request: pytest.FixtureRequest, server_of: str, org: str
) -> None:
    """Its rights let it read what administrators keep; the server refuses every change of theirs."""
    server: RedisServer = request.getfixturevalue(server_of)
    ledger = open_ledger(server.url, org, create=True)
    ledger.execute(c.SetLimit("l", ROW.identity, 20))
    with server.client() as client:
        prefix = Keys(org).prefix
        rights = [f"(+evalsha +eval ~{prefix}:*)", f"(+hdel +pexpire ~{prefix}:b:* ~{prefix}:h:*)"]
        rights += [f"%R~{prefix}:meta", f"%R~{prefix}:admin"]
        rights += [f"%R~gov:1:{{{org}}}:meta", *(f"~{prefix}:{name}" for name in APPLICATION_KEYS)]
        rights += [f"+{name}" for name in APPLICATION_COMMANDS.split()]
        client.execute_command("ACL", "SETUSER", f"app-{org}", "reset", "on", f">{SECRET}", *rights)
    app = open_ledger(server.url.replace("://", f"://app-{org}:{SECRET}@"), org)
    assert isinstance(app.execute(RESERVE), c.Held)
    assert isinstance(app.execute(c.Reserve("r2", (ROW,), ((c.Ask(11),),), 60_000)), c.Refused)
    assert app.execute(c.Settle("r1", (c.Posting(ROW, 10),))).state == "settled"
    assert app.execute(c.Read((ROW,))).balances == (c.Balance(10, 0, 20),)
    for command in (
        c.Grant("g", ROW.identity, "life", 1),
        c.SetLimit("more", ROW.identity, 9000),
        c.Freeze("f", ROW.identity, "mine"),
        c.Unfreeze("u", ROW.identity),
        c.Create("anew"),
    ):
        with pytest.raises(LedgerUnavailable, match="refuses this user") as refused:
            app.execute(command)
        assert "script:" not in str(refused.value)
    assert ledger.execute(c.Read((ROW,))).balances == (c.Balance(10, 0, 20),)
    with server.client() as client:
        client.acl_deluser(f"app-{org}")
    app.close()
    ledger.close()

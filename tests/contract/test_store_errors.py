"""What a URL of no store, and a SQLite file that cannot serve, say: what is wrong, where, and what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.refused import RESERVE, ROW, SECRET, refusal

from governor.errors import LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger import open_async_ledger, open_ledger
from governor.ledger.opening import redact
from governor.ledger.servers import connect, connect_async
from governor.ledger.urls import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


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
    cluster = parse(
        "rediss+cluster://me:p%40ss@a:7000,b,[::1]:7002?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=no"
    )
    assert cluster.hosts == (("a", 7000), ("b", 6379), ("::1", 7002))
    assert cluster.user == {"username": "me", "password": "p@ss"}
    assert cluster.tls == {"ssl": True, "ssl_ca_certs": "/etc/ca.pem", "ssl_check_hostname": False}
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
        "redis://:7713/hunter2@db/0",
        "redis://:7713#hunter2@db/0",
        "redis://:7713?hunter2=1@db/0",
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


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "redis://u:hunter2@db/0?ssl_ca_cert=/x",
            "there is no option 'ssl_ca_cert' (did you mean 'ssl_ca_certs'?): correct it, or leave it out",
        ),
        ("rediss://db?sl_ca_certs=/x&password=hunter2", "there is no option 'sl_ca_certs' (did you mean"),
        ("unix:///run/redis.sock?socket_timeot=1", "there is no option 'socket_timeot' (did you mean"),
        ("redis://db?retry=hunter2", "there is no option 'retry' (known: client_name, db, "),
        ("redis://db?decode_responses", "there is no option 'decode_responses' ("),
        (
            "redis://db?ssl_ca_certs=/x",
            "the option 'ssl_ca_certs' is of TLS: write rediss://, or leave it out",
        ),
        ("unix:///run/redis.sock?socket_keepalive=1", "there is no option 'socket_keepalive' ("),
    ],
)
def test_an_option_that_no_url_has_is_named(url: str, said: str) -> None:
    """A misspelt option is refused before anything is sent, with the one that was probably meant."""
    assert_refused(url, said)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://u:hunter2@db/O", "the database after the host is a number, as in redis://host:6379/0"),
        ("rediss://db/abc?db=1", "the database after the host is a number"),
        ("redis://db/1/2", "the database after the host is a number"),
        ("redis://db?db=x", "the option 'db' is a whole number"),
        ("redis://db?socket_timeout=hunter2", "the option 'socket_timeout' is a number of seconds above 0"),
        ("redis://db?socket_timeout=nan", "the option 'socket_timeout' is a number of seconds above 0"),
        ("redis://db?socket_timeout=", "the option 'socket_timeout' is a number of seconds above 0"),
        ("redis://db?max_connections=0", "the option 'max_connections' is a whole number above 0"),
        ("unix:///run/redis.sock?protocol=9", "the option 'protocol' is 2 or 3"),
        ("rediss://db?ssl_cert_reqs=maybe", "the option 'ssl_cert_reqs' is none, optional or required"),
        ("rediss://db?ssl_min_version=3", "the option 'ssl_min_version' is the number of a TLS version"),
        ("rediss://db?ssl_include_verify_flags=X", "the option 'ssl_include_verify_flags' is names of"),
        ("rediss+cluster://db?ssl_check_hostname=flase", "the option 'ssl_check_hostname' is true or false"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_its_name(url: str, said: str) -> None:
    """It is said what the database or the option is; the value, which may be a secret, is not said again."""
    assert_refused(url, said)


def assert_refused(url: str, said: str) -> None:
    """Both ledgers refuse *url* as it is opened, and show it without its password."""
    for opener in (open_ledger, open_async_ledger):
        with pytest.raises(LedgerUnavailable) as caught:
            opener(url, "acme")
        message = str(caught.value)
        assert message.startswith(f"{redact(url)!r} cannot be read: {said}")
        assert SECRET not in message.removeprefix(repr(redact(url)))
        assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:pw@db:6380/3/?socket_timeout=2&socket_keepalive=no&client_name=a@b&protocol=3",
        "rediss://db?ssl_ca_certs=/ca.pem&ssl_min_version=772&ssl_include_verify_flags=[VERIFY_X509_STRICT]",
        "rediss://db?ssl_ciphers=HIGH&ssl_cert_reqs=none&ssl_check_hostname=False&ssl_password=pw",
        "unix://me:pw@/run/redis.sock?db=3&timeout=.5&health_check_interval=0",
    ],
)
def test_what_redis_py_reads_is_left_to_it(url: str) -> None:
    """A URL whose options are right makes a connection's settings, blocking and not."""
    for pool in (connect(url).connection_pool, connect_async(url).connection_pool):
        assert pool.connection_class(**pool.connection_kwargs)


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


def _make(path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{path}", "acme")
    ledger.execute(RESERVE)
    ledger.close()

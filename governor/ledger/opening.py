"""From a URL to a ledger: the one place that knows which store is which."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from governor.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.ledger.commands import Command
    from governor.ledger.memory import InMemoryLedger

R = TypeVar("R")

DEFAULT_URL = "sqlite:///governor.db"
"""A file in the working directory: no server to run."""

_ONE = {"redis", "rediss", "unix"}
_MEMORY = "memory"
_MANY = {"redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"}


class Ledger(Protocol):
    """Any store of balances, holds and the journal, for blocking callers."""

    def execute(self, command: Command[R]) -> R:
        """Carry out *command* and return its answer."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of files and connections; the next command opens them again."""


class AsyncLedger(Protocol):
    """The same for an event loop."""

    async def execute(self, command: Command[R]) -> R:
        """Carry out *command* and return its answer."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of files and connections."""


def open_ledger(
    url: str, organization: str, *, create: bool = False, clock: Callable[[], int] | None = None
) -> Ledger:
    """The ledger at *url*; nothing is opened or sent before its first command.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db`, `redis://…`, `rediss://…`, `unix://…`,
            `redis+cluster://host:port,…` or `redis+sentinel://host:port,…/service`. For tests only,
            `memory://name`: see `governor.ledger.memory`; without a name, one that nobody else opens.
        organization: Whose ledger.
        create: Whether an empty Redis is made a ledger. A SQLite file, or memory, always is.
        clock: Unix milliseconds; only tests give one.

    Raises:
        LedgerUnavailable: The URL names no store this release knows.
    """
    scheme = _scheme(url)
    if scheme == "sqlite":
        from governor.ledger.sqlite import SqliteLedger  # noqa: PLC0415 - only the store in use is imported

        return SqliteLedger(_sqlite_path(url), organization, clock=clock)
    if scheme == _MEMORY:
        return _in_memory(url, organization, clock)
    from governor.ledger import servers  # noqa: PLC0415 - as above
    from governor.ledger.keys import Keys  # noqa: PLC0415 - as above
    from governor.ledger.redis import RedisLedger  # noqa: PLC0415 - as above

    keys = Keys(organization)
    make = servers.connect if scheme in _ONE else partial(servers.connect_many, home=keys.meta)
    client: Any = _client(lambda: make(url), url)
    return RedisLedger(client, keys, redact(url), clock=clock, create=create)


def open_async_ledger(
    url: str, organization: str, *, create: bool = False, clock: Callable[[], int] | None = None
) -> AsyncLedger:
    """As `open_ledger`, for an event loop."""
    scheme = _scheme(url)
    if scheme == "sqlite":
        from governor.ledger.sqlite import AsyncSqliteLedger, SqliteLedger  # noqa: PLC0415 - as above

        return AsyncSqliteLedger(SqliteLedger(_sqlite_path(url), organization, clock=clock))
    if scheme == _MEMORY:
        from governor.ledger.sqlite import AsyncSqliteLedger  # noqa: PLC0415 - as above

        return AsyncSqliteLedger(_in_memory(url, organization, clock))
    from governor.ledger import servers  # noqa: PLC0415 - as above
    from governor.ledger.keys import Keys  # noqa: PLC0415 - as above
    from governor.ledger.redis import AsyncRedisLedger  # noqa: PLC0415 - as above

    keys = Keys(organization)
    make = servers.connect_async if scheme in _ONE else partial(servers.connect_many_async, home=keys.meta)
    client: Any = _client(lambda: make(url), url)
    return AsyncRedisLedger(client, keys, redact(url), clock=clock, create=create)


def named(url: str) -> str:
    """*url*; of a bare `memory://`, with a name of its own, so that it can be opened again."""
    if _scheme(url) != _MEMORY or _memory_name(url):
        return url
    from governor.ledger.memory import new_name  # noqa: PLC0415 - as above

    return f"{_MEMORY}://{new_name()}"


def redact(url: str) -> str:
    """*url* without its password, fit for messages and logs."""
    shown = re.sub(r"(?<=://)([^:/@?]*):.*@", r"\1:***@", url)  # up to the last @: it may hold one, or a /
    return re.sub(r"([?&]\w*password=)[^&#]*", r"\1***", shown)


def _scheme(url: str) -> str:
    scheme = url.partition("://")[0].lower()
    if scheme not in {"sqlite", _MEMORY} | _ONE | _MANY:
        raise LedgerUnavailable(
            f"{redact(url)!r} is no ledger: use sqlite:///path/governor.db, redis://host:6379/0, rediss://, "
            "unix://, redis+cluster://host:port or redis+sentinel://host:port/service; in tests, memory://name"
        )
    return scheme


def _sqlite_path(url: str) -> Path:
    parts = urlsplit(url)
    path = unquote(parts.path).removeprefix("/")
    if parts.netloc or not path:
        raise LedgerUnavailable(
            f"{url!r} names no file: write sqlite:///governor.db or sqlite:////var/lib/governor.db"
        )
    return Path(path)


def _in_memory(url: str, organization: str, clock: Callable[[], int] | None) -> InMemoryLedger:
    from governor.ledger.memory import InMemoryLedger, new_name  # noqa: PLC0415 - as above

    return InMemoryLedger(_memory_name(url) or new_name(), organization, clock=clock)


def _memory_name(url: str) -> str:
    name = url.partition("://")[2]
    if not re.fullmatch(r"[\w.@-]*", name):
        raise LedgerUnavailable(f"{url!r} names no ledger in memory: write memory://name")
    return name


def _client(make: Callable[[], R], url: str) -> R:
    from governor.ledger.urls import WrongPart  # noqa: PLC0415 - as above

    shown = redact(url)
    try:
        return make()
    except WrongPart as error:
        if not error.name or f"?{error.name}" in shown or f"&{error.name}" in shown:
            raise LedgerUnavailable(f"{shown!r} cannot be read: {error}") from None
    except (ValueError, TypeError):
        pass
    # Not the cause's own words: they may quote a piece of a password that was not percent-encoded.
    raise LedgerUnavailable(
        f"{shown!r} is no Redis URL: write redis://user:password@host:6379/0, "
        "redis+cluster://user:password@host:port,host:port or redis+sentinel://host:port/service, with "
        "the password percent-encoded"
    ) from None

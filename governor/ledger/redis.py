"""The Redis ledger: two thin shells, one blocking and one async, around the same dialogues."""

from __future__ import annotations

import re
import ssl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote

import redis as redis_py
import redis.asyncio as redis_aio
from redis import exceptions as rex

from governor.errors import LedgerDown, LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger.dialogue import converse, refuse_older, server_facts
from governor.ledger.following import ListFollowers
from governor.ledger.glance import Glance
from governor.ledger.migration import FindOld, Migrate
from governor.ledger.talk import PlainCall

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from governor.ledger.keys import Keys
    from governor.ledger.talk import Call, Dialogue

R = TypeVar("R")

MINIMUM_VERSION = 7
_PASSING = (rex.ReadOnlyError, rex.ClusterDownError, rex.MasterDownError, rex.TryAgainError)
_PASSING_CODES = frozenset({"MISCONF", "NOREPLICAS", "BUSY"})
"""Answers of a server that takes nothing for now (`BUSY`: a long script), without a class of redis-py's."""

GREETED_FOR_S = 60.0
"""How long what a server said of itself is believed: its settings may change, or another take its place."""

_APPLICATIONS = (
    *(c.Reserve, c.Settle, c.Release, c.Extend, c.Expire, c.Read, c.ReadChanges),
    *(c.FindGrant, c.ListChanged, c.ListBalances, c.ListHolds, c.FindHolds, c.ReadJournal),
    *(c.Inspect, c.Enter, c.ListOrders, ListFollowers, Glance),
    *(c.RequestGrant, c.FindRequest, c.ListRequests),
    *(c.ReadPolicyHead, c.ReadPolicies, c.ListPolicyVersions),
)
"""What the first Redis user of docs/ledger.md may ask; for anything else it takes the second."""

_OF_POLICIES = (c.PushPolicies, c.ReadPolicyHead, c.ReadPolicies, c.ListPolicyVersions)

_NO_RIGHT = re.compile("user executing the script|ACL failure in script")
"""How servers word a right that a user lacks inside a script."""

_PLACE = re.compile(r" script: [0-9a-f]{40}, on @user_script:\d+\.?$")
"""Where in which script that was, which helps nobody."""


class RedisLedger:
    """A ledger in Redis 7 or newer, one Lua script per verb.

    Args:
        client: A client of `governor.ledger.servers`, or a redis-py client of one server whose replies are
            decoded (`decode_responses=True`).
        keys: The organisation's key names.
        where: The URL without its password, for error messages.
        clock: Unix milliseconds; only tests give one, production uses the server's.
        create: Whether a store without a ledger is made one.
    """

    def __init__(
        self,
        client: Any,
        keys: Keys,
        where: str,
        *,
        clock: Callable[[], int] | None = None,
        create: bool = False,
    ) -> None:
        self._client = client
        self._shell = _Shell(keys, where, clock, create=create)

    def __repr__(self) -> str:
        return f"RedisLedger({self._shell.where!r})"

    def execute(self, command: c.Command[R]) -> R:
        """Carry out *command* and return its answer.

        Raises:
            LedgerUnavailable: Redis cannot be reached, is full, evicts, or holds no ledger.
            ReservationConflict: An id came again with another payload.
        """
        with self._shell.errors(command):
            return cast("R", self._drive(self._shell.dialogue(command)))

    def close(self) -> None:
        """Close the connections; the next command opens new ones."""
        self._client.close()
        if isinstance(self._client, redis_py.Redis):
            self._client.connection_pool.disconnect()

    def _drive(self, dialogue: Dialogue) -> Any:
        try:
            call = next(dialogue)
            while True:
                call = dialogue.send(self._say(call))
        except StopIteration as done:
            return done.value

    def _say(self, call: Call) -> Any:
        if isinstance(call, PlainCall):
            return self._client.execute_command(*call.words)
        try:
            return self._client.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
        except rex.NoScriptError:
            return self._client.eval(call.script.text, len(call.keys), *call.keys, *call.args)


class AsyncRedisLedger:
    """The same ledger for an event loop; arguments and errors as for `RedisLedger`."""

    def __init__(
        self,
        client: Any,
        keys: Keys,
        where: str,
        *,
        clock: Callable[[], int] | None = None,
        create: bool = False,
    ) -> None:
        self._client = client
        self._shell = _Shell(keys, where, clock, create=create)

    def __repr__(self) -> str:
        return f"AsyncRedisLedger({self._shell.where!r})"

    async def execute(self, command: c.Command[R]) -> R:
        """Carry out *command*; raises as `RedisLedger.execute` does."""
        with self._shell.errors(command):
            return cast("R", await self._drive(self._shell.dialogue(command)))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        if isinstance(self._client, redis_aio.Redis):
            await self._client.connection_pool.disconnect()

    async def _drive(self, dialogue: Dialogue) -> Any:
        try:
            call = next(dialogue)
            while True:
                call = dialogue.send(await self._say(call))
        except StopIteration as done:
            return done.value

    async def _say(self, call: Call) -> Any:
        if isinstance(call, PlainCall):
            return await self._client.execute_command(*call.words)
        try:
            return await self._client.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
        except rex.NoScriptError:
            return await self._client.eval(call.script.text, len(call.keys), *call.keys, *call.args)


class _Shell:
    """What both shells share: greeting the server at first and now and then, and the wording of errors."""

    def __init__(self, keys: Keys, where: str, clock: Callable[[], int] | None, *, create: bool) -> None:
        self.keys = keys
        self.where = where
        self._clock = clock
        self._create = create
        self._greeted_s: float | None = None

    def dialogue(self, command: c.Command[Any]) -> Dialogue:
        """The dialogue of *command*, with a look at the server before the first one, and each minute."""
        now = "" if self._clock is None else str(self._clock())
        if not self._knows_the_server() and not isinstance(command, c.Inspect | FindOld | Migrate):
            yield from self._greet(now)
        return (yield from converse(command, self.keys, now))

    def _knows_the_server(self) -> bool:
        return self._greeted_s is not None and time.monotonic() - self._greeted_s < GREETED_FOR_S

    def _greet(self, now: str) -> Generator[Call, Any, None]:
        facts = yield from server_facts()
        version = facts.get("redis_version", str(MINIMUM_VERSION))
        if int(version.split(".")[0]) < MINIMUM_VERSION:
            raise LedgerUnavailable(
                f"{self.where} is Redis {version}: the ledger needs {MINIMUM_VERSION} or newer"
            )
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise LedgerUnavailable(
                f"{self.where} evicts keys (maxmemory-policy {policy}), so spend would be forgotten: "
                "run `CONFIG SET maxmemory-policy noeviction`, or use a Redis of the ledger's own"
            )
        yield from refuse_older(self.keys)
        if self._create:
            import uuid  # noqa: PLC0415 - only a ledger that may be created needs it

            yield from converse(c.Create(uuid.uuid4().hex), self.keys, now)
            self._create = False  # one that is emptied later is missed, not made anew with every limit whole
        self._greeted_s = time.monotonic()

    @contextmanager
    def errors(self, command: c.Command[Any]) -> Iterator[None]:
        """Turn redis-py's errors into the governor's; after an outage the server is looked at anew."""
        try:
            with self._worded(command):
                yield
        except LedgerDown:
            self._greeted_s = None
            raise

    @contextmanager
    def _worded(self, command: c.Command[Any]) -> Iterator[None]:
        """Name the server and what to do."""
        try:
            yield
        except rex.OutOfMemoryError as error:
            raise LedgerDown(
                f"{self.where} is full: raise its maxmemory; calls in flight can still settle"
            ) from error
        except (rex.AuthorizationError, rex.NoPermissionError) as error:
            raise self._lacks(error, command) from error
        except rex.AuthenticationError as error:
            raise LedgerUnavailable(
                f"{self.where} refuses this user: {error}; check the URL's name and password"
            ) from error
        except (rex.ConnectionError, rex.TimeoutError, rex.RedisClusterException, OSError) as error:
            kind = LedgerUnavailable if _distrusted(error) else LedgerDown
            raise kind(
                f"{self.where} cannot be reached: {error}; check the URL, and that the server is running"
            ) from error
        except rex.RedisError as error:
            if "OOM" in str(error):
                raise LedgerDown(f"{self.where} is full: raise its maxmemory") from error
            if _NO_RIGHT.search(str(error)):
                raise self._lacks(error, command) from error
            kind = LedgerDown if _passing(error) else LedgerUnavailable
            raise kind(f"{self.where} answered: {error}") from error

    def _lacks(self, error: rex.RedisError, command: c.Command[Any]) -> LedgerUnavailable:
        """Who lacks a right for what, on which keys, and where it is written how to give it."""
        given = self.where.partition("://")[2].rpartition("@")[0]
        user = unquote(given.partition(":")[0]) or "default"
        role = "governor" if isinstance(command, _APPLICATIONS) else "admin"
        keys = (
            self.keys.admin
            if isinstance(command, c.Change | c.Approve | c.Deny | c.PlaceOrder | c.LiftOrder)
            else f"{self.keys.prefix}:*"
        )
        keys = self.keys.policies if isinstance(command, _OF_POLICIES) else keys
        verb = re.sub(r"\B([A-Z])", r" \1", type(command).__name__).lower()
        said = _PLACE.sub("", str(error)).rstrip(".")
        return LedgerUnavailable(
            f"{self.where} refuses this user: {said}; {user!r} has no right to `{verb}` on {keys}: use the "
            f'URL of a user with the rights of `{role}` in docs/ledger.md ("Running it"), or give it those'
        )


def _passing(error: rex.RedisError) -> bool:
    """Whether a server that answers takes no writes now: a fail-over, a full disk, replicas out of reach."""
    return isinstance(error, _PASSING) or str(error).partition(" ")[0] in _PASSING_CODES


def _distrusted(error: Exception) -> bool:
    """Whether the server shows a certificate that is not trusted: a wrong setting, or another server."""
    cause: BaseException | None = error
    while cause is not None:
        # A cluster's client passes on only the words of what its nodes raised.
        if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False

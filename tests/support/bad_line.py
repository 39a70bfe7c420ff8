"""A TCP proxy before a Redis server: a line that cuts, stalls and swallows replies, command by command."""

from __future__ import annotations

import enum
import hashlib
import math
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from governor.ledger.scripts import script
from support.redis_server import HOST

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO, Self

VERBS = ("reserve", "settle", "release", "extend", "expire", "read", "create")
ALWAYS = math.inf
CHUNK = 65536


class Fault(enum.Enum):
    """What becomes of a command on this line."""

    CUT = "the connection is closed, and the command never arrives"
    STALL = "the command does not arrive, and nothing is said"
    CUT_REPLY = "it is carried out, and the connection is closed instead of its reply"
    SWALLOW = "it is carried out, and nothing is said"

    @property
    def arrives(self) -> bool:
        """Whether the server carries the command out."""
        return self in (Fault.CUT_REPLY, Fault.SWALLOW)

    @property
    def closes(self) -> bool:
        """Whether the client is told, by a closed connection; else only its time-out tells it."""
        return self in (Fault.CUT, Fault.CUT_REPLY)


@dataclass
class Plan:
    """The next *times* commands of *verb* meet *fault*, after *skip* of them; *act* is called at each."""

    verb: str
    fault: Fault
    times: float
    skip: int
    act: Callable[[], object]


class BadLine:
    """A proxy on a port of loopback; it passes everything on until it is told otherwise.

    Attributes:
        url: What a governor is given, with a short time-out for a silent server.
        seen: The verbs (of other commands: their names, in lower case) that came, oldest first.
        befallen: Of these, the ones that met a fault.
        late: The commands that were stalled, as their words; `deliver_late` sends them on.
    """

    def __init__(self, port: int, *, timeout_s: float = 0.3) -> None:
        """Prepare a line to the server on *port* of loopback."""
        self._to = (HOST, port)
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"redis://{HOST}:{self.port}/0?socket_timeout={timeout_s}"
        self.seen: list[str] = []
        self.befallen: list[str] = []
        self.late: list[tuple[bytes, ...]] = []
        self._plans: list[Plan] = []
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._threads: list[threading.Thread] = []
        self._names = {script(verb).sha: verb for verb in VERBS}

    def __enter__(self) -> Self:
        self.spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()  # it accepts: from here on there are no more
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def befalls(
        self,
        verb: str,
        fault: Fault,
        *,
        times: float = 1,
        skip: int = 0,
        act: Callable[[], object] = lambda: None,
    ) -> None:
        """Let *fault* befall the next commands of a verb.

        Args:
            verb: A ledger's verb, or a plain command in lower case, such as `info`.
            fault: What becomes of each.
            times: How many; `ALWAYS` for all from now on, until `heal`.
            skip: How many pass unharmed before.
            act: Called at each: once the server has carried it out, if it arrives, else when it comes.
        """
        with self._lock:
            self._plans.append(Plan(verb, fault, times, skip, act))

    def heal(self) -> None:
        """From now on everything is passed on."""
        with self._lock:
            self._plans.clear()

    @property
    def open(self) -> int:
        """How many connections are open now."""
        with self._lock:
            return len(self._connections)

    def cut(self) -> None:
        """Close every connection that is open now."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.close()

    def fall_silent(self) -> None:
        """Let nothing more through on the connections that are open now, and tell neither side."""
        with self._lock:
            for connection in self._connections:
                connection.mute = True

    def deliver_late(self) -> list[object]:
        """Let the server have what was stalled, now; returns its replies."""
        late, self.late = self.late, []
        with redis.Redis(*self._to, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
            return [client.execute_command(*words) for words in late]

    def spawn(self, work: Callable[[], None]) -> None:
        """Run *work* in a thread that the line's end waits for."""
        thread = threading.Thread(target=work, name="bad-line")
        self._threads.append(thread)
        thread.start()

    def meets(self, words: tuple[bytes, ...]) -> Plan | None:
        """What befalls this command, if anything does."""
        name = self._name(words)
        with self._lock:
            self.seen.append(name)
            plan = next((one for one in self._plans if one.verb == name and one.times > 0), None)
            if plan is None:
                return None
            if plan.skip:
                plan.skip -= 1
                return None
            plan.times -= 1
            self.befallen.append(name)
            if plan.fault is Fault.STALL:
                self.late.append(words)
            return plan

    def not_yet(self, plan: Plan) -> None:
        """The server did not know the script: the fault befalls its text, which the client sends next."""
        with self._lock:
            plan.times += 1
            self.befallen.pop()

    def gone(self, connection: _Connection) -> None:
        """A connection is closed."""
        with self._lock:
            self._connections.discard(connection)

    def _name(self, words: tuple[bytes, ...]) -> str:
        command = words[0].decode().lower()
        if command == "evalsha":
            return self._names.get(words[1].decode(), command)
        if command == "eval":
            return self._names.get(hashlib.sha1(words[1], usedforsecurity=False).hexdigest(), command)
        return command

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._to)
            except OSError:
                client.close()  # as near to a refused connection as a proxy comes
                continue
            connection = _Connection(self, client, server)
            with self._lock:
                self._connections.add(connection)
            self.spawn(connection.requests)
            self.spawn(connection.replies)


class _Connection:
    """One client's connection, and ours to the server in its name; *mute*: nothing passes any more."""

    def __init__(self, line: BadLine, client: socket.socket, server: socket.socket) -> None:
        self._line = line
        self._client = client
        self._server = server
        self._awaited: Plan | None = None
        self.mute = False

    def close(self) -> None:
        """Close both sides; again is harmless."""
        self._line.gone(self)
        for side in (self._client, self._server):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

    def requests(self) -> None:
        """Pass the client's commands on, or not, until either side has gone."""
        with self._client.makefile("rb") as stream, suppress(OSError, ValueError):
            while (read := _command(stream)) is not None:
                if not self.mute and not self._passed_on(*read):
                    break
        self.close()

    def replies(self) -> None:
        """Pass the server's replies on, or not."""
        with suppress(OSError):
            while chunk := self._server.recv(CHUNK):
                plan, self._awaited = self._awaited, None
                if plan is not None and chunk.startswith(b"-NOSCRIPT"):
                    self._line.not_yet(plan)
                elif plan is not None:
                    self.mute = True  # a reply has begun, so the script, which is atomic, has run
                    plan.act()
                    if plan.fault.closes:
                        break
                if not self.mute:
                    self._client.sendall(chunk)
        self.close()

    def _passed_on(self, raw: bytes, words: tuple[bytes, ...]) -> bool:
        """Deal with one command; false where the connection is to be closed."""
        plan = self._line.meets(words)
        if plan is not None and not plan.fault.arrives:
            plan.act()
            self.mute = True
            return not plan.fault.closes
        self._awaited = plan
        self._server.sendall(raw)
        return True


def _command(stream: BinaryIO) -> tuple[bytes, tuple[bytes, ...]] | None:
    """The next command as it came, and its words; `None` at the end. Clients send arrays of bulk strings."""
    raw = head = stream.readline()
    words: list[bytes] = []
    for _ in range(int(head[1:] or 0)):
        size = stream.readline()
        word = stream.read(int(size[1:]) + 2)
        raw += size + word
        words.append(word[:-2])
    return (raw, tuple(words)) if head else None

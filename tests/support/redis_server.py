"""Private Redis servers for tests: started on a free port, stopped by process id, never shared."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HOST = "127.0.0.1"
MAJOR_MIN = 7
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 0.5
POLL_S = 0.01
PORT_ATTEMPTS = 5
LAST_SLOT = 16383
HOW_TO_GET = "apt-get install redis-server, or set REDIS_SERVER=/path/to/redis-server"


@functools.cache
def find_redis_server() -> str | None:
    """The first server of version 7 or newer, or `None`.

    Looks at the environment variable `REDIS_SERVER`, then for `redis-server` and `valkey-server` on the PATH.
    """
    for name in (os.environ.get("REDIS_SERVER"), "redis-server", "valkey-server"):
        path = shutil.which(name) if name else None
        if path is not None and _major_version(path) >= MAJOR_MIN:
            return path
    return None


def _major_version(path: str) -> int:
    """7 for `Redis server v=7.0.15 sha=…`; 0 for a program that is no Redis."""
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\bv=(\d+)\.", shown)
    return int(found.group(1)) if found else 0


def _cluster_info(client: redis.Redis) -> dict[str, str]:
    """`CLUSTER INFO` as a mapping, for example `{"cluster_state": "ok", …}`."""
    text: bytes = client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
    return dict(line.split(":", 1) for line in text.decode().splitlines())


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A `redis-server` of one's own, as a context manager.

    It keeps nothing on disk unless *appendonly* is set, and lives in a temporary folder that goes with it.
    Port, folder and settings survive `restart`; without *appendonly* the data does not.

    Attributes:
        port: The TCP port on 127.0.0.1; 0 before the first start.
        folder: The server's temporary folder, with its `server.log`.
        socket_path: The unix socket, or `None` where none was asked for.
    """

    def __init__(
        self,
        *,
        maxmemory: str | None = None,
        maxmemory_policy: str = "noeviction",
        cluster: bool = False,
        appendonly: bool = False,
        appendfsync: str = "always",
        unix_socket: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        """Prepare a server; entering the context, or `start`, runs it.

        Args:
            maxmemory: As in redis.conf, for example `"4mb"`; `None` is no limit.
            maxmemory_policy: As in redis.conf.
            cluster: Run as a cluster of one node that owns all 16,384 slots.
            appendonly: Keep an append-only file, so that data survives `kill`.
            appendfsync: When that is synced: `always`, or `everysec`, which may keep a write back while it
                syncs, so that `kill` loses it.
            unix_socket: Listen on a unix socket in the temporary folder as well.
            options: Further words of the command line, for example `--tls-port 6380 …`.
        """
        self.port = 0
        self._cluster = cluster
        self.folder = Path(tempfile.mkdtemp(prefix="governor-redis-"))
        self.socket_path = self.folder / "redis.sock" if unix_socket else None
        self._options = [
            "--maxmemory-policy",
            maxmemory_policy,
            "--appendonly",
            "yes" if appendonly else "no",
            "--appendfsync",
            appendfsync,
            *options,
        ]
        if maxmemory is not None:
            self._options += ["--maxmemory", maxmemory]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT/0`, or `redis+cluster://127.0.0.1:PORT` for a cluster of one."""
        return f"redis+cluster://{HOST}:{self.port}" if self._cluster else f"redis://{HOST}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """`unix:///…/redis.sock`. Raises `ValueError` for a server without a unix socket."""
        if self.socket_path is None:
            raise ValueError("this server has no unix socket: ask for one with RedisServer(unix_socket=True)")
        return f"unix://{self.socket_path}"

    @property
    def pid(self) -> int | None:
        """The process id while the server was started and not yet stopped, else `None`."""
        return self._process.pid if self._process else None

    def client(self, timeout_s: float = 5.0) -> redis.Redis:
        """A new plain client of this node that retries nothing; the caller closes it."""
        return redis.Redis(HOST, self.port, socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        """Run the server and return once it answers.

        Raises:
            RuntimeError: No redis-server on this machine, or it did not come up; with the end of its log.
        """
        if self._process is not None:
            raise RuntimeError(f"the server on port {self.port} runs already")
        # Another may take a free port before the server binds it; a port kept from before may not change.
        ports = [self.port] if self.port else [free_port() for _ in range(PORT_ATTEMPTS)]
        for self.port in ports:
            if self._comes_up():
                return
        raise RuntimeError(f"redis-server did not start on port {self.port}:\n{self._log_tail()}")

    def _comes_up(self) -> bool:
        self._launch()
        try:
            up = self._wait_until(self._answers) and (not self._cluster or self._owns_all_slots())
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        if not up:
            self._end(signal.SIGKILL)
        return up

    def stop(self) -> None:
        """End the server by its process id and wait until it is gone; again is harmless."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL): nothing is said to clients, nothing is flushed."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the server and start it again on the same port, in the same folder."""
        self.stop()
        self.start()

    def written(self) -> int:
        """How many bytes the append-only file has: with `always`, all that was answered is in them."""
        return self._append_only_file().stat().st_size

    def lose_power(self, kept: int) -> None:
        """End the server as a power cut would that left the first *kept* bytes of its file on the disk."""
        self.kill()
        os.truncate(self._append_only_file(), kept)

    def _append_only_file(self) -> Path:
        (file,) = (self.folder / "appendonlydir").glob("*.incr.aof")
        return file

    def _launch(self) -> None:
        executable = find_redis_server()
        if executable is None:
            raise RuntimeError(f"no redis-server of version {MAJOR_MIN} or newer was found: {HOW_TO_GET}")
        command = [executable, "--bind", HOST, "--port", str(self.port), "--dir", str(self.folder)]
        command += ["--save", "", "--daemonize", "no", *self._options]
        if self.socket_path is not None:
            command += ["--unixsocket", str(self.socket_path)]
        if self._cluster:
            # Redis would take port + 10,000 for the bus, which may be taken or above 65,535.
            command += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _answers(self) -> bool:
        """Whether it is this very process that answers, all loaded: another may have taken the port first."""
        with self.client(PROBE_TIMEOUT_S) as client:
            try:
                facts = client.info()
                return bool(facts["process_id"] == self.pid and not facts["loading"])
            except (redis.ConnectionError, redis.TimeoutError):
                return False

    def _owns_all_slots(self) -> bool:
        with self.client() as client:
            if _cluster_info(client)["cluster_slots_assigned"] == "0":
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, LAST_SLOT)
            return self._wait_until(lambda: _cluster_info(client)["cluster_state"] == "ok")

    def _wait_until(self, holds: Callable[[], bool]) -> bool:
        """Poll *holds*; false once the process has ended or `START_TIMEOUT_S` seconds are over."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            if holds():
                return True
            time.sleep(POLL_S)
        return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _log_tail(self) -> str:
        lines = (self.folder / "server.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-20:])

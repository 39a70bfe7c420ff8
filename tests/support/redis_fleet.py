"""Several private Redis servers at once: a cluster of three; a primary and its replica under a sentinel."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import redis

from support.redis_server import HOST, LAST_SLOT, RedisServer, find_redis_server, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_S = 30.0


def wait_until(holds: Callable[[], bool]) -> None:
    """Poll *holds*; an error after `WAIT_S` seconds."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError("the servers did not come to terms in time")
        time.sleep(0.02)


class _Node(RedisServer):
    """A node of a cluster that owns no slot yet."""

    def __init__(self) -> None:
        super().__init__(cluster=True)

    def _owns_all_slots(self) -> bool:
        return True


class ClusterOfThree:
    """Three nodes that share the 16,384 slots; no replicas."""

    def __init__(self) -> None:
        self.nodes = [_Node() for _ in range(3)]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for node in self.nodes:
            self._stack.enter_context(node)
        bounds = [0, (LAST_SLOT + 1) // 3, 2 * (LAST_SLOT + 1) // 3, LAST_SLOT + 1]
        for index, node in enumerate(self.nodes):
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1)
                # Nodes of one epoch settle that among themselves later, and may then take back a moved slot.
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        with self.nodes[0].client() as first:
            for node in self.nodes[1:]:
                first.execute_command("CLUSTER", "MEET", HOST, node.port, self._bus(node))
        wait_until(lambda: all(self._agrees(node) for node in self.nodes))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """`redis+cluster://127.0.0.1:PORT,127.0.0.1:PORT,…`."""
        return "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    def move_slot_of(self, key: str) -> None:
        """Move the slot of *key*, with what is in it, from its node to another one."""
        with self.nodes[0].client() as client:
            slot = int(client.execute_command("CLUSTER", "KEYSLOT", key))
        owner = next(node for node in self.nodes if self._owns(node, slot))
        target = next(node for node in self.nodes if node is not owner)
        ids = {node: self._id(node) for node in self.nodes}
        self._say(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[owner])
        self._say(owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        with owner.client() as client:
            while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                client.execute_command("MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, owner, *self.nodes):
            self._say(node, "CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    def _bus(self, node: RedisServer) -> int:
        with node.client() as client:
            return int(client.config_get("cluster-port")["cluster-port"])

    def _agrees(self, node: RedisServer) -> bool:
        with node.client() as client:
            text = client.execute_command("CLUSTER", "INFO").decode()
        return "cluster_state:ok" in text and "cluster_known_nodes:3" in text

    def _owns(self, node: RedisServer, slot: int) -> bool:
        with node.client() as client:
            mine = client.execute_command("CLUSTER", "MYID").decode()
            slots = client.execute_command("CLUSTER", "SLOTS")
        return any(low <= slot <= high and owner[2].decode() == mine for low, high, owner, *_ in slots)

    def _id(self, node: RedisServer) -> str:
        with node.client() as client:
            return str(client.execute_command("CLUSTER", "MYID").decode())

    def _say(self, node: RedisServer, *words: object) -> None:
        with node.client() as client:
            client.execute_command(*words)


class UnderSentinel:
    """A primary, its replica, and one sentinel that decides alone."""

    SERVICE = "main"

    def __init__(self) -> None:
        self.primary = RedisServer()
        self.replica = RedisServer()
        self.port = 0
        self._stack = ExitStack()
        self._sentinel: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for server in (self.primary, self.replica):
            self._stack.enter_context(server)
        with self.replica.client() as client:
            client.execute_command("REPLICAOF", HOST, self.primary.port)
            wait_until(lambda: client.info("replication")["master_link_status"] == "up")
        self._start_sentinel()
        return self

    def __exit__(self, *_: object) -> None:
        if self._sentinel is not None:
            self._sentinel.terminate()
            self._sentinel.wait()
        self._stack.close()

    @property
    def url(self) -> str:
        """`redis+sentinel://127.0.0.1:PORT/main/0`."""
        return f"redis+sentinel://{HOST}:{self.port}/{self.SERVICE}/0"

    def primary_port(self) -> int:
        """The port of the server that the sentinel names, once a failover is over."""
        with redis.Redis(HOST, self.port) as client:
            return int(client.sentinel_masters()[self.SERVICE]["port"])

    def fail_over(self) -> None:
        """Kill the primary, once its replica has all of it, and wait until that has taken its place."""
        with self.primary.client() as client:
            client.execute_command("WAIT", 1, 5000)
        self.primary.kill()
        wait_until(lambda: self.primary_port() == self.replica.port)

    def _start_sentinel(self) -> None:
        executable = find_redis_server()
        if executable is None:
            raise RuntimeError("no redis-server was found")
        self.port = free_port()
        file = self.primary.folder / "sentinel.conf"
        name = self.SERVICE
        file.write_text(
            f"port {self.port}\nbind {HOST}\ndir {self.primary.folder}\n"
            f"sentinel monitor {name} {HOST} {self.primary.port} 1\n"
            f"sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 3000\n"
        )
        log = (self.primary.folder / "sentinel.log").open("ab")
        with log:
            self._sentinel = subprocess.Popen(
                [executable, str(file), "--sentinel"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._knows_the_replica)

    def _knows_the_replica(self) -> bool:
        try:
            with redis.Redis(HOST, self.port) as client:
                return len(client.execute_command("SENTINEL", "REPLICAS", self.SERVICE)) == 1
        except redis.ConnectionError:
            return False

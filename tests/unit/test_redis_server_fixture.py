"""The servers that every other Redis test stands on."""

from __future__ import annotations

import os
import re
import socket

import pytest
import redis
from redis.cluster import RedisCluster
from support.redis_server import HOST, RedisServer, free_port

pytestmark = pytest.mark.usefixtures("redis_available")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_answers_inside_its_context_and_is_gone_with_its_folder_after_it() -> None:
    """The process and its temporary folder live exactly as long as the context."""
    with RedisServer() as server:
        pid = server.pid
        assert pid is not None
        with server.client() as client:
            assert client.info("server")["process_id"] == pid
            assert client.config_get("dir") == {"dir": str(server.folder)}
        assert server.folder.is_dir()
    assert server.pid is None
    assert not _is_alive(pid)
    assert not server.folder.exists()


def test_stopping_ends_only_the_server_it_belongs_to() -> None:
    """Of two servers, stopping one (twice, which is harmless) leaves the other answering."""
    with RedisServer() as one, RedisServer() as other:
        assert one.port != other.port
        one.stop()
        one.stop()
        with other.client() as client, one.client() as dead:
            assert client.ping()
            with pytest.raises(redis.ConnectionError):
                dead.ping()


def test_a_restart_keeps_the_url_and_forgets_the_data() -> None:
    """Without an append-only file a restarted server is an emptied one, at the same address."""
    with RedisServer() as server, server.client() as client:
        before = (server.url, server.pid)
        client.set("spent", "1")
        server.restart()
        assert server.url == before[0]
        assert server.pid != before[1]
        assert client.get("spent") is None


def test_an_append_only_server_remembers_across_a_crash() -> None:
    """With an append-only file, what was acknowledged before SIGKILL is there after the next start."""
    with RedisServer(appendonly=True) as server, server.client() as client:
        client.set("spent", "1")
        server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        assert client.get("spent") == b"1"


def test_nothing_is_written_to_disk_by_default() -> None:
    """A plain server leaves neither a snapshot nor an append-only file when told to shut down."""
    with RedisServer() as server:
        with server.client() as client:
            client.set("spent", "1")
        server.stop()
        assert [path.name for path in server.folder.iterdir()] == ["server.log"]


def test_a_cluster_of_one_serves_keys_of_any_slot() -> None:
    """Keys of different slots are all at home, and still are after a restart."""
    with RedisServer(cluster=True) as server:
        _assert_all_slots_are_served(server)
        server.restart()
        _assert_all_slots_are_served(server)


def _assert_all_slots_are_served(server: RedisServer) -> None:
    with RedisCluster(HOST, server.port) as cluster:
        for key in ("{one}:spent", "{other}:spent", "spent"):
            cluster.set(key, server.port)
            assert cluster.get(key) == str(server.port).encode()


def test_a_cluster_of_one_refuses_a_command_across_slots(redis_cluster_server: RedisServer) -> None:
    """What would fail on a cluster of many fails on the cluster of one."""
    with redis_cluster_server.client() as client, pytest.raises(redis.ResponseError, match="same slot"):
        client.mset({"{one}:spent": 1, "{other}:spent": 1})


def _fill(client: redis.Redis) -> None:
    for number in range(64):
        client.set(f"filler:{number}", "x" * 65_536)


def test_a_full_server_refuses_to_write() -> None:
    """With a memory limit and `noeviction`, the default, a write ends in OOM and no key is lost."""
    with RedisServer(maxmemory="2mb") as server, server.client() as client:
        with pytest.raises(redis.OutOfMemoryError):
            _fill(client)
        assert client.exists("filler:0")


def test_the_eviction_policy_reaches_the_server() -> None:
    """A server told to evict takes every write and reports its policy."""
    with (
        RedisServer(maxmemory="2mb", maxmemory_policy="allkeys-lru") as server,
        server.client() as client,
    ):
        _fill(client)
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
        assert client.info("stats")["evicted_keys"] > 0


def test_a_unix_socket_serves_the_same_data() -> None:
    """Asked for, the socket answers beside the port."""
    with (
        RedisServer(unix_socket=True) as server,
        server.client() as client,
        redis.Redis.from_url(server.unix_url) as by_socket,
    ):
        client.set("spent", "1")
        assert by_socket.get("spent") == b"1"


def test_the_url_of_a_socket_not_asked_for_is_an_error() -> None:
    """The error says how to ask for one."""
    with RedisServer() as server, pytest.raises(ValueError, match="unix_socket=True"):
        _ = server.unix_url


def test_a_taken_port_is_an_error_with_the_servers_own_words() -> None:
    """A server whose old port was taken meanwhile says so instead of talking to the new owner."""
    with RedisServer() as server:
        server.stop()
        with socket.socket() as squatter:
            squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            squatter.bind((HOST, server.port))
            squatter.listen()
            with pytest.raises(RuntimeError, match="Address already in use"):
                server.start()


def test_the_shared_servers_answer_at_their_urls(
    redis_server: RedisServer, redis_cluster_server: RedisServer
) -> None:
    """The session's two servers are different ones, and neither is on Redis's own port."""
    assert redis_server.url == f"redis://127.0.0.1:{redis_server.port}/0"
    assert redis_cluster_server.url == f"redis+cluster://127.0.0.1:{redis_cluster_server.port}"
    assert 6379 not in {redis_server.port, redis_cluster_server.port}
    with redis_server.client() as plain, redis_cluster_server.client() as cluster:
        assert plain.info("cluster")["cluster_enabled"] == 0
        assert cluster.info("cluster")["cluster_enabled"] == 1


def test_every_test_has_an_organisation_of_its_own(org: str, request: pytest.FixtureRequest) -> None:
    """The name is fit for a namespace."""
    assert re.fullmatch(r"[a-z0-9_-]{1,64}", org)


def test_free_ports_can_be_bound() -> None:
    """A port that was said to be free takes a listener."""
    with socket.socket() as listener:
        listener.bind((HOST, free_port()))
        listener.listen()

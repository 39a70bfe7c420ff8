"""Every way to a Redis: a unix socket, TLS with a certificate that is trusted, and one that is not."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

import pytest
import trustme
from support.redis_server import HOST, RedisServer, find_redis_server, free_port

from governor.budgets import Unit
from governor.errors import LedgerDown, LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger import open_async_ledger, open_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROW = c.BudgetRow("department=eng/usd/life", "life", 0, 0, Unit.USD, 1000)


def spend(url: str, org: str) -> c.Balance:
    """Hold and settle on the blocking ledger, then on the async one; the balance in the end."""
    ledger = open_ledger(url, org, create=True)
    assert isinstance(ledger.execute(reserve("blocking")), c.Held)
    ledger.execute(c.Settle("blocking", (c.Posting(ROW, 5),)))
    ledger.close()

    async def asynchronously() -> c.Balance:
        other = open_async_ledger(url, org)
        assert isinstance(await other.execute(reserve("async")), c.Held)
        await other.execute(c.Settle("async", (c.Posting(ROW, 7),)))
        readings = await other.execute(c.Read((ROW,)))
        await other.close()
        return readings.balances[0]

    return asyncio.run(asynchronously())


def reserve(name: str) -> c.Reserve:
    """Hold 10 of the budget."""
    return c.Reserve(name, (ROW,), ((c.Ask(10),),), 60_000)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a server's `cert.pem` and `key.pem`, its `ca.pem`, and a stranger's `other.pem`."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert(HOST, "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    return folder


@pytest.fixture(params=[False, True], ids=["one", "cluster"])
def secure(request: pytest.FixtureRequest, redis_available: None, tls: Path) -> Iterator[str]:
    """The URL of a server, or of a cluster of one, that speaks TLS; without the certificate to trust."""
    port = free_port()
    words = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    words += ["--tls-cert-file", f"{tls}/cert.pem", "--tls-key-file", f"{tls}/key.pem"]
    words += ["--tls-ca-cert-file", f"{tls}/ca.pem", "--tls-cluster", "yes" if request.param else "no"]
    if not _speaks_tls(words):
        pytest.skip("this redis-server was built without TLS")
    with RedisServer(cluster=request.param, options=words):
        yield f"rediss{'+cluster' if request.param else ''}://localhost:{port}"


def _speaks_tls(words: list[str]) -> bool:
    program = find_redis_server()
    assert program is not None
    command = [program, *words, "--port", "0", "--bind", "256.0.0.1"]
    said = subprocess.run(command, capture_output=True, check=False)
    return b"Bad directive" not in said.stdout + said.stderr


def test_a_unix_socket_reaches_the_ledger(redis_available: None, org: str) -> None:
    """`unix:///path`: no port at all."""
    with RedisServer(unix_socket=True) as server:
        assert spend(server.unix_url, org) == c.Balance(12, 0, 1000)


def test_tls_reaches_the_ledger(secure: str, tls: Path, org: str) -> None:
    """`rediss://` and `rediss+cluster://` with the authority to trust."""
    assert spend(f"{secure}?ssl_ca_certs={tls}/ca.pem", org) == c.Balance(12, 0, 1000)


def test_a_certificate_that_is_not_trusted_is_refused(secure: str, tls: Path, org: str) -> None:
    """As a wrong setting, or another server: never as an outage that a policy may live through."""
    ledger = open_ledger(f"{secure}?ssl_ca_certs={tls}/other.pem", org, create=True)
    with pytest.raises(LedgerUnavailable, match=r"(?i)certificate") as refused:
        ledger.execute(reserve("never"))
    assert not isinstance(refused.value, LedgerDown)
    ledger.close()

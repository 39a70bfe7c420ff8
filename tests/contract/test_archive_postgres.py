"""The archive in a private PostgreSQL, where its programs are installed; only in the deep profile."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING

import pytest

from governor.journal.archive import open_archive
from governor.ledger import commands as c

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.deep
ENTRIES = [
    c.JournalEntry(f"17952624300{n:02}-{n}", "freeze", f"f{n}", n, "b", "0 é", "{}") for n in range(60)
]


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of a private server on a unix socket."""
    pytest.importorskip("psycopg")
    if not (shutil.which("postgres") and shutil.which("initdb")):
        pytest.skip("no postgres and initdb were found")
    owner = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = tempfile.mkdtemp(prefix="governor-postgres-")
    if owner:
        os.chown(folder, pwd.getpwnam(owner).pw_uid, -1)
    data = f"{folder}/data"
    subprocess.run(
        ["initdb", "-D", data, "-U", "me", "-A", "trust", "--no-sync"],
        check=True,
        capture_output=True,
        user=owner,
        cwd=folder,
    )
    server = subprocess.Popen(
        ["postgres", "-D", data, "-k", folder, "-c", "listen_addresses="],
        user=owner,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"{folder}/.s.PGSQL.5432")
        yield f"postgresql://me@/postgres?host={folder}"
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def _wait_for(path: str) -> None:
    import psycopg

    folder = os.path.dirname(path)  # noqa: PTH120 - a socket's folder as text
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(f"host={folder} user=me dbname=postgres").close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
        else:
            return


def test_archivers_at_once_leave_each_record_once_and_in_order(postgres, org):
    """Four of them, with overlapping batches, into a table that none of them finds."""

    def work() -> None:
        own = open_archive(postgres, org)
        barrier.wait()
        for size in range(5, 61, 5):
            own.append("e", ENTRIES[:size])
        own.close()

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    archive = open_archive(postgres, org)
    assert [one.entry for one in archive.read()] == ENTRIES
    assert (archive.last().seq, archive.count()) == (ENTRIES[-1].seq, 60)
    newest_first = [entry.seq for entry in reversed(ENTRIES[9:])]
    assert [link.seq for link in archive.back_to("e", ENTRIES[9].seq)] == newest_first
    archive.close()

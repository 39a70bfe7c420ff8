"""A private PostgreSQL on a unix socket, where its programs are installed; ended by its process id."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from typing import Self

START_TIMEOUT_S = 60.0


def postgres_is_installed() -> bool:
    """Whether there are its programs, and the driver."""
    from importlib.util import find_spec

    return bool(shutil.which("postgres") and shutil.which("initdb") and find_spec("psycopg"))


class PostgresServer:
    """A server of one's own, as a context manager; `stop` and `start` keep its data.

    Attributes:
        folder: Its temporary folder, with the socket.
        url: SQLAlchemy's URL of the database `postgres`, as its owner.
    """

    def __init__(self) -> None:
        # PostgreSQL refuses to run as root.
        self._owner = "nobody" if os.geteuid() == 0 else None
        self.folder = tempfile.mkdtemp(prefix="governor-postgres-")
        self.url = f"postgresql://me@/postgres?host={self.folder}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._owner:
            os.chown(self.folder, pwd.getpwnam(self._owner).pw_uid, -1)
        words = ["initdb", "-D", f"{self.folder}/data", "-U", "me", "-A", "trust", "--no-sync"]
        subprocess.run(words, check=True, capture_output=True, user=self._owner, cwd=self.folder)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Run it and return once it answers."""
        words = ["postgres", "-D", f"{self.folder}/data", "-k", self.folder, "-c", "listen_addresses="]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(words, user=self._owner, cwd=self.folder, stdout=quiet, stderr=quiet)
        import psycopg

        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(f"host={self.folder} user=me dbname=postgres").close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it as `pg_ctl stop -m immediate` does, and wait."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(3)  # SIGQUIT: connections are cut, nothing is flushed that was not synced
            process.wait()

    def database(self, user: str = "me") -> str:
        """The URL of a new, empty database."""
        import psycopg

        name = f"db_{secrets.token_hex(6)}"
        with psycopg.connect(f"host={self.folder} user=me dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://{user}@/{name}?host={self.folder}"

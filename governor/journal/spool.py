"""The local journal of what the ledger has still to be told, so that a process that ends loses none of it.

One file for each process, locked while it lives: the file of a live process is left alone, that of a dead one
is taken over by the next that calls with the same organisation's policies and ledger. What is taken over
twice is told twice, which the ledger recognises by its ids. Keep the folder on a local disk: the lock is
`flock`.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from governor.journal.owed import head_line, heard_line, ledger_of, owe_line, read_owed
from governor.story.effects import Owe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.ledger.commands import Release, Settle
    from governor.story.effects import Heard

log = logging.getLogger("governor")

SPOOL_VARIABLE = "GOVERNOR_SPOOL"
SUFFIX, TORN_SUFFIX = ".jsonl", ".torn"
MOST_LINES = 1_000
"""A file of more lines, most of them struck out, is written anew."""


def spool_folder(given: str | Path | None) -> Path:
    """Where spools are: as given, else `GOVERNOR_SPOOL`, else `governor` in `XDG_STATE_HOME`.

    Raises:
        RuntimeError: None is given, and this user has no home.
    """
    named = given or os.environ.get(SPOOL_VARIABLE)
    if named:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "governor"


class Spool:
    """One process's file of what is owed to one ledger; made when there is something to write.

    Args:
        folder: As `spool_folder` gives it; the organisation's files are in a folder of its own below.
        organization: Whose ledger.
        ledger: Which, without password: files of another one are left alone.
    """

    def __init__(self, folder: Path, organization: str, ledger: str) -> None:
        self._folder = folder / organization
        self._ledger = ledger
        self._prefix = hashlib.blake2b(ledger.encode(), digest_size=6).hexdigest()
        self.forget()

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            os.close(file)

    def __repr__(self) -> str:
        return f"Spool({str(self._folder)!r}, {self._ledger!r})"

    def forget(self) -> None:
        """Begin anew, as a forked child does: the file is its parent's, and so is its lock."""
        inherited = getattr(self, "_file", None)
        if inherited is not None:
            os.close(inherited)
        self._lock = threading.Lock()
        self.adopted = False
        self._file: int | None = None
        self._path = Path()
        self._owed: dict[str, str] = {}
        self._lines = 0
        self._head = 0
        self._whole = True

    def carry_out(self, effect: Owe | Heard) -> None:
        """Write down what is owed, on the disk when this returns; or strike it out.

        Raises:
            OSError: The disk is full, the folder cannot be written, and the like.
        """
        with self._lock:
            if isinstance(effect, Owe):
                self._owe([effect.command])
            elif self._owed.pop(effect.id, None) is not None:
                self._strike_out(effect.id)

    def adopt(self) -> list[Settle | Release]:
        """Take over what processes that have ended left owed, and return it.

        Lines that cannot be read are kept beside, in a file that ends in `.torn`, and logged. What cannot be
        taken over is logged and left where it is, for the next process.
        """
        found: list[Settle | Release] = []
        with self._lock:
            self.adopted = True
            try:
                for path in sorted(self._folder.glob(f"{self._prefix}.*{SUFFIX}")):
                    found += self._take_over(path)
            except OSError as error:
                log.warning("what lies in %s cannot be taken over: %s", self._folder, error)
        return found

    def _take_over(self, path: Path) -> list[Settle | Release]:
        with _if_dead(path) as text:
            if text is None:
                return []
            owed, torn = read_owed(text.splitlines())
            _keep_aside(path, torn)
            if owed:
                self._owe([*owed.values()])
            path.unlink()
        return [*owed.values()]

    def close(self) -> None:
        """Let go of the file; it goes where nothing is owed any more."""
        with self._lock:
            if self._file is None:
                return
            if not self._owed:
                self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None
            self._owed = {}

    def _owe(self, commands: list[Settle | Release]) -> None:
        lines = {command.id: owe_line(command) for command in commands}
        self._write(self._opened(), [*lines.values()], durably=True)
        self._owed.update(lines)

    def _strike_out(self, identifier: str) -> None:
        """What is struck out and comes back, after a power cut, is only told again."""
        file = self._opened()
        if not self._owed:
            os.ftruncate(file, self._head)
            self._lines = 0
        elif self._lines < MOST_LINES + 2 * len(self._owed):
            self._write(file, [heard_line(identifier)])
        else:
            old = self._path
            self._file = None
            self._write(self._opened(), [*self._owed.values()], durably=True)
            old.unlink()
            os.close(file)

    def _opened(self) -> int:
        """The file, made and locked under a name that nobody looks for until it is whole."""
        if self._file is not None:
            return self._file
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{self._prefix}.{os.getpid()}.{secrets.token_hex(4)}{SUFFIX}"
        new = path.with_suffix(".new")
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._whole = True
            self._write(file, [head_line(self._ledger, os.getpid())])
            self._head, self._lines = os.fstat(file).st_size, 0
            new.rename(path)
            _sync_folder(self._folder)
        except BaseException:
            os.close(file)
            new.unlink(missing_ok=True)
            raise
        self._file, self._path = file, path
        return file

    def _write(self, file: int, lines: list[str], *, durably: bool = False) -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        data = data if self._whole else b"\n" + data  # after half a line, begin a new one
        self._whole = False
        while data:
            data = data[os.write(file, data) :]
        self._whole = True
        self._lines += len(lines)
        if durably:
            os.fsync(file)


@dataclass(frozen=True, slots=True)
class Left:
    """What lies in one file of a spool.

    Attributes:
        path: The file.
        ledger: Whom it is to be told.
        alive: Whether its process lives, and will tell it.
        owed: How many ends of calls and leases.
        torn: How many lines cannot be read.
    """

    path: Path
    ledger: str
    alive: bool
    owed: int
    torn: int


def survey(folder: Path, organization: str) -> list[Left]:
    """What lies in an organisation's spool, for any ledger; changes nothing.

    Raises:
        OSError: It cannot be read.
    """
    found = []
    for path in sorted((folder / organization).glob(f"*{SUFFIX}")):
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            alive = not _locked(file, fcntl.LOCK_SH)
            lines = _read(file).splitlines()
        finally:
            os.close(file)
        owed, torn = read_owed(lines)
        found.append(Left(path, ledger_of(lines), alive, len(owed), 0 if alive else len(torn)))
    aside = sorted((folder / organization).glob(f"*{TORN_SUFFIX}"))
    return found + [Left(path, "", alive=False, owed=0, torn=_count_lines(path)) for path in aside]


@contextmanager
def _if_dead(path: Path) -> Iterator[str | None]:
    """What a file says, locked meanwhile; `None` where its process lives, or another has taken it over."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        taken = _locked(file, fcntl.LOCK_EX) and os.fstat(file).st_nlink
        yield _read(file) if taken else None
    finally:
        os.close(file)


def _locked(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _count_lines(path: Path) -> int:
    return len(path.read_text("utf-8", "replace").splitlines())


def _read(file: int) -> str:
    return os.pread(file, os.fstat(file).st_size, 0).decode("utf-8", "replace")


def _keep_aside(path: Path, torn: list[str]) -> None:
    if not torn:
        return
    beside = path.with_suffix(TORN_SUFFIX)
    with beside.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in torn)
        file.flush()
        os.fsync(file.fileno())
    log.error("%s has %d lines that cannot be read: kept in %s", path, len(torn), beside)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)

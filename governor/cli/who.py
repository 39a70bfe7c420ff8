"""Who runs a command: what they call themselves, and as whom they are logged in."""

from __future__ import annotations

import getpass
import os
import socket

from governor.cli.typed import plain
from governor.ledger import commands as c


def actor_of(given: str | None) -> str:
    """Who decides: as given, else this user at this host.

    Raises:
        Failure: It has a line break or another control character.
    """
    if given and given.strip():
        return plain("--actor", given)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return _at_this_host(user)


def person(given: str | None) -> c.Person:
    """Who asks or answers: the actor, and the login, which `--actor` cannot change.

    Raises:
        Failure: As from `actor_of`.
    """
    return c.Person(actor_of(given), _at_this_host(_user()))


def _user() -> str:
    """The operating system's user; what the environment says (`USER`, `LOGNAME`) counts only without one."""
    try:
        import pwd  # noqa: PLC0415 - not on Windows

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return "unknown"


def _at_this_host(user: str) -> str:
    return f"{user}@{socket.gethostname()}"

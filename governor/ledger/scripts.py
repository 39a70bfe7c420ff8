"""The Lua scripts as they are sent: one file per verb, joined with what it shares, and their SHA-1."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_ADMINISTER = ("prelude", "admin")
_LOOK = ("prelude", "limits")
_CHANGE = (*_LOOK, "posting")

_SHARED = {
    "create": ("prelude",),
    "since": ("prelude",),
    "trim": ("prelude", "groups"),
    "follow": ("prelude", "groups"),
    "followers": ("prelude", "groups"),
    "glance": ("prelude", "board"),
    "restore_begin": ("prelude",),
    "restore_finish": ("prelude",),
    "migrate": ("prelude",),
    "extend": ("prelude",),
    "grant": _ADMINISTER,
    "set": _ADMINISTER,
    "freeze": _ADMINISTER,
    "unfreeze": _ADMINISTER,
    "enter": ("prelude",),
    "place": (*_ADMINISTER, "orders"),
    "lift": (*_ADMINISTER, "orders"),
    "request": ("prelude",),
    "approve": (*_ADMINISTER, "answer"),
    "deny": (*_ADMINISTER, "answer"),
    "push": ("prelude",),
    "read": _LOOK,
    "list": _LOOK,
    "reserve": (*_CHANGE, "board"),
    "expire": _CHANGE,
    "restore": _CHANGE,
    "settle": (*_CHANGE, "board", "close"),
    "release": (*_CHANGE, "board", "close"),
}


@dataclass(frozen=True, slots=True)
class Script:
    """One verb's text, and the digest by which the server knows it."""

    verb: str
    text: str
    sha: str


@cache
def script(verb: str) -> Script:
    """The script of *verb*: its `#!lua` line, what it shares, then its own body."""
    shebang, _, body = _read(f"{verb}.lua").partition("\n")
    shared = "".join(_read(f"shared/{part}.lua") for part in _SHARED[verb])
    text = f"{shebang}\n{shared}{body}"
    return Script(verb, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(path: str) -> str:
    return files("governor.ledger").joinpath("lua", *path.split("/")).read_text("utf-8")

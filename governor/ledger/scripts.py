"""The Lua scripts as they are sent: one file per verb, joined with what they share, and their SHA-1."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_SHARED = {"settle": ("prelude", "close"), "release": ("prelude", "close")}


@dataclass(frozen=True, slots=True)
class Script:
    """One verb's text, and the digest by which the server knows it."""

    verb: str
    text: str
    sha: str


@cache
def script(verb: str) -> Script:
    """The script of *verb*: its `#!lua` line, what it shares, then its own body."""
    shebang, _, body = _read(verb).partition("\n")
    shared = "".join(_read(part) for part in _SHARED.get(verb, ("prelude",)))
    text = f"{shebang}\n{shared}{body}"
    return Script(verb, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return files("governor.ledger").joinpath("lua", f"{name}.lua").read_text("utf-8")

"""What a dialogue with Redis is made of: calls that it yields, and is sent the replies of."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from governor.ledger.scripts import Script


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """Run one script."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlainCall:
    """Send one ordinary Redis command; its reply comes as redis-py parses it."""

    words: tuple[str, ...]


Call = ScriptCall | PlainCall
Dialogue = Generator[Call, Any, Any]

"""fakeredis, taught the two things the ledger needs and it lacks: the `#!lua` line and `INFO`."""

from __future__ import annotations

from typing import Any

import fakeredis

INFO = {"redis_version": "7.0.15", "server_name": "fakeredis", "maxmemory_policy": "noeviction"}


def _without_flags(script: str) -> str:
    """*script* without its first line, `#!lua flags=…`, which fakeredis takes for Lua."""
    first, _, rest = script.partition("\n")
    return f"\n{rest}" if first.startswith("#!lua") else script


class FakeRedis(fakeredis.FakeRedis):
    """A blocking client of a fake server."""

    def eval(self, script: str, *arguments: Any) -> Any:
        return super().eval(_without_flags(script), *arguments)

    def execute_command(self, *words: Any, **options: Any) -> Any:
        return INFO if words == ("INFO",) else super().execute_command(*words, **options)


class FakeAsyncRedis(fakeredis.FakeAsyncRedis):
    """The same for an event loop."""

    def eval(self, script: str, *arguments: Any) -> Any:
        return super().eval(_without_flags(script), *arguments)

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        return INFO if words == ("INFO",) else await super().execute_command(*words, **options)

"""The fake Claude API in a process of its own, so that its work is not done in the callers' time."""

from __future__ import annotations

import multiprocessing
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from governor.testing import FakeClaude, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from governor.testing import Traffic

STOP_TIMEOUT_S = 10.0


class ApiProcess:
    """What can be asked of a fake API in another process. One thread at a time may ask."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.url: str = pipe.recv()
        self.api_key = "fake-key"

    @property
    def traffic(self) -> Traffic:
        """As `FakeClaude.traffic`, while it runs."""
        return self._ask("traffic")

    @property
    def billed_nanos(self) -> int:
        """As `FakeClaude.billed_nanos`, once nothing is being answered any more."""
        return self._ask("billed_nanos")

    def _ask(self, name: str) -> Any:
        self._pipe.send(name)
        return self._pipe.recv()


@contextmanager
def api_process(reply: Reply, **settings: Any) -> Iterator[ApiProcess]:
    """A fake API that answers every call with *reply*; *settings* go to `FakeClaude`."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs, reply, settings))
    process.start()
    theirs.close()  # so that a server that fails to start is an error here and not a wait
    try:
        yield ApiProcess(ours)
    finally:
        ours.close()
        process.join(STOP_TIMEOUT_S)
        if process.is_alive():
            process.kill()
            process.join()


def _serve(pipe: Connection, reply: Reply, settings: dict[str, Any]) -> None:
    with FakeClaude(**settings) as api:
        api.replies(reply)
        pipe.send(api.url)
        while True:
            try:
                name = pipe.recv()
            except EOFError:  # the test is over
                return
            api.wait_idle(0 if name == "traffic" else STOP_TIMEOUT_S)
            pipe.send(getattr(api, name))

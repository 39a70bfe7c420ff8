"""The fake Claude API in a process of its own, so that its work is not counted as the client's."""

from __future__ import annotations

import multiprocessing
from contextlib import contextmanager
from typing import TYPE_CHECKING

from governor.testing import FakeClaude, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

API_KEY = "fake-key"
OUTPUT_TOKENS = 100
STOP_TIMEOUT_S = 10.0


@contextmanager
def fake_api() -> Iterator[str]:
    """The base URL of a fake API that answers every call with 100 tokens at once."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()  # so that a server that fails to start is an error here and not a wait
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join(STOP_TIMEOUT_S)
        if process.is_alive():
            process.kill()


def _serve(pipe: Connection) -> None:
    with FakeClaude(api_key=API_KEY) as api:
        api.replies(Reply(output_tokens=OUTPUT_TOKENS))
        pipe.send(api.url)
        try:
            pipe.recv()
        except EOFError:  # the benchmark is over
            return

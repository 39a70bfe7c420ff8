"""How long work says on stderr how far it is, and what holds when somebody interrupts it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from governor.cli.output import Failure, note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

LINE_EVERY_S = 10.0
"""How often a line is said where there is no terminal: seldom enough for the log of a timer's job."""


class Interrupted(Failure):
    """Somebody pressed Ctrl-C; the message says what is done, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=INTERRUPTED)


@contextmanager
def progress(what: str, again: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show how far something long is: a bar on a terminal, elsewhere a line now and then.

    Args:
        what: What is counted: `records archived`.
        again: What holds when it is interrupted, and what to do.

    Yields:
        What is to be told how many are done, and of how many (`None`: unknown).

    Raises:
        Interrupted: By Ctrl-C.
    """
    from rich.console import Console  # noqa: PLC0415 - only what takes long needs it
    from rich.progress import Progress  # noqa: PLC0415 - as above

    err = Console(stderr=True)
    done, spoken_s = 0, time.monotonic()
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def tell(count: int, total: int | None) -> None:
            nonlocal done, spoken_s
            done = count
            bar.update(task, completed=count, total=total)
            if not err.is_terminal and time.monotonic() - spoken_s >= LINE_EVERY_S:
                spoken_s = time.monotonic()
                note(f"{count:,} {what}" if total is None else f"{count:,} of {total:,} {what}")

        try:
            yield tell
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted: {done:,} {what}; {again}") from None

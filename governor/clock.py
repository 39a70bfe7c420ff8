"""The ledger's time, as a client knows it: its own clock, corrected by what the ledger last said."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class LedgerClock:
    """Unix milliseconds by the ledger's clock, without asking it.

    Args:
        local: This host's Unix milliseconds; tests give a clock of their own.
    """

    def __init__(self, local: Callable[[], int] | None = None) -> None:
        self._local = local or (lambda: time.time_ns() // 1_000_000)
        self._offset_ms = 0

    def now_ms(self) -> int:
        """The ledger's time, as well as it is known."""
        return self._local() + self._offset_ms

    def local_ms(self) -> int:
        """This host's own time, for how long something took: it does not jump when the ledger is heard."""
        return self._local()

    def learn(self, ledger_now_ms: int) -> None:
        """Take the ledger's word for what time it is."""
        self._offset_ms = ledger_now_ms - self._local()

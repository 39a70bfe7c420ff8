"""A core for each: without it the scheduler puts client and server now on one core, now on two.

The bare script takes twice as long across two cores as on one, and every ratio changes with it, so figures of
two runs could not be compared. Across cores is nearer to how client and server meet in production.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

APART = hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1
"""Whether this machine can keep them apart: Linux, and more than one core."""


@contextmanager
def apart(*server_pids: int) -> Iterator[None]:
    """Keep this process on one core and the servers on another; all may go anywhere afterwards."""
    if not APART:
        yield
        return
    cores = os.sched_getaffinity(0)
    first, second, *_ = sorted(cores)
    os.sched_setaffinity(0, {first})
    for pid in server_pids:
        os.sched_setaffinity(pid, {second})
    try:
        yield
    finally:
        for pid in (0, *server_pids):
            os.sched_setaffinity(pid, cores)

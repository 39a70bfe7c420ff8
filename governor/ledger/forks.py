"""What a forked child must not go on with: locks of threads that are not there, connections of its parent."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def renew_in_children(renew: Callable[[], None]) -> None:
    """Call the bound method *renew* in every forked child, for as long as its object is there."""
    reference = weakref.WeakMethod(renew)

    def in_child() -> None:
        found = reference()
        if found is not None:
            found()

    os.register_at_fork(after_in_child=in_child)

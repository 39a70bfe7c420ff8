"""The stages on which governed calls are tested, and what is logged of the calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.lines import listening
from support.stages import shared_api, stage

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["lines", "shared_api", "stage"]


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What is logged of each call while a test runs."""
    with listening() as kept:
        yield kept

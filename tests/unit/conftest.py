"""A fake Claude API whose clock stands, and a client of it that retries nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.fixed_api import NOW_MS

from governor.testing import FakeClaude

if TYPE_CHECKING:
    from collections.abc import Iterator

    import anthropic


@pytest.fixture
def api() -> Iterator[FakeClaude]:
    """A fake API; it is always `NOW_MS` there."""
    with FakeClaude(now_ms=lambda: NOW_MS) as running:
        yield running


@pytest.fixture
def client(api: FakeClaude) -> anthropic.Anthropic:
    """A client of it."""
    return api.client(max_retries=0)

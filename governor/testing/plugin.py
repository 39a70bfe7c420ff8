"""The pytest plugin: the fixture `fake_claude`. It is loaded wherever the governor is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.testing.fake_api import FakeClaude


@pytest.fixture
def fake_claude() -> Iterator[FakeClaude]:
    """A running fake Claude API, stopped after the test; see `governor.testing.FakeClaude`."""
    from governor.testing.fake_api import FakeClaude  # noqa: PLC0415 - loaded in every pytest run

    with FakeClaude() as api:
        yield api

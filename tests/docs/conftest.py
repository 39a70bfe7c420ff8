"""What the tests of pages and examples run programs with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.fresh import Fresh

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def fresh() -> Iterator[Fresh]:
    """Runs a program as its own interpreter would, sooner."""
    with Fresh() as runner:
        yield runner

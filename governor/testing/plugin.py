"""The pytest plugin: fixtures for tests of policies. It is loaded wherever the governor is installed.

So it loads nothing but itself until a test asks for a fixture.
"""
# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from governor.testing.clock import FrozenClock
    from governor.testing.fake_api import FakeClaude
    from governor.testing.making import MakeAsyncGovernor, MakeGovernor


@pytest.fixture
def frozen_clock() -> FrozenClock:
    """A clock that only the test moves, for the governors, the ledger and the fake API alike."""
    from governor.testing.clock import FrozenClock

    return FrozenClock()


@pytest.fixture
def fake_claude(request: pytest.FixtureRequest) -> Iterator[FakeClaude]:
    """A running fake Claude API, stopped after the test; see `governor.testing.FakeClaude`.

    In a test with a `frozen_clock` it goes by that: its prices and its minutes.
    """
    from governor.testing.fake_api import FakeClaude

    frozen = "frozen_clock" in request.fixturenames
    options = {"now_ms": request.getfixturevalue("frozen_clock")} if frozen else {}
    with FakeClaude(**options) as api:
        yield api


@pytest.fixture
def memory_ledger() -> Iterator[str]:
    """The URL of a ledger in memory that is this test's alone; it ends with the test."""
    from governor.ledger.opening import named, open_ledger

    url = named("memory://")
    kept = open_ledger(url, "")  # never used, so it is nobody's yet; there as long as the test
    yield url
    kept.close()


@pytest.fixture
def make_governor(
    fake_claude: FakeClaude, memory_ledger: str, frozen_clock: FrozenClock, tmp_path: Path
) -> Iterator[MakeGovernor]:
    """Makes governors from policies: `make_governor(text_or_folder)`; they are closed after the test."""
    from governor.testing.making import MakeGovernor

    make = MakeGovernor(fake_claude, memory_ledger, frozen_clock, tmp_path)
    yield make
    make.close()


@pytest.fixture
def make_async_governor(
    fake_claude: FakeClaude, memory_ledger: str, frozen_clock: FrozenClock, tmp_path: Path
) -> MakeAsyncGovernor:
    """Makes governors for an event loop, each for an `async with` block; see `make_governor`."""
    from governor.testing.making import MakeAsyncGovernor

    return MakeAsyncGovernor(fake_claude, memory_ledger, frozen_clock, tmp_path)

"""What every test may ask for: Redis servers of its own, an organisation of its own, Hypothesis profiles."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from support.postgres_server import PostgresServer, postgres_is_installed
from support.redis_server import HOW_TO_GET, MAJOR_MIN, RedisServer, find_redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_REDIS = f"no redis-server of version {MAJOR_MIN} or newer was found"
PROFILES = {"quick": 20, "deep": 2000}


def pytest_configure(config: pytest.Config) -> None:
    """Load the Hypothesis profile named by GOVERNOR_TEST_PROFILE: `quick` (the default) or `deep`."""
    config.addinivalue_line("markers", "deep: only in the deep profile: it needs several servers and seconds")
    for name, examples in PROFILES.items():
        # How fast the machine is says nothing about the code, so no deadline and no slowness check.
        settings.register_profile(
            name,
            max_examples=examples,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        )
    chosen = os.environ.get("GOVERNOR_TEST_PROFILE") or "quick"
    if chosen not in PROFILES:
        raise pytest.UsageError(
            f"GOVERNOR_TEST_PROFILE={chosen!r}: no such profile; use {' or '.join(PROFILES)}"
        )
    settings.load_profile(chosen)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, in the quick profile, what is marked `deep`."""
    if os.environ.get("GOVERNOR_TEST_PROFILE") == "deep":
        return
    left_out = [item for item in items if item.get_closest_marker("deep")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("deep")]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say aloud, below the list of skipped tests, that some were skipped for want of a Redis server."""
    yield
    reports = terminalreporter.stats.get("skipped", [])
    count = sum(isinstance(report.longrepr, tuple) and NO_REDIS in report.longrepr[2] for report in reports)
    if count:
        text = f"Redis tests were skipped ({count} of them): {NO_REDIS}. To run them: {HOW_TO_GET}."
        terminalreporter.write_line(text, yellow=True)


def _require_redis_server() -> None:
    """Skip where there is no redis-server; fail where CI is set, lest a run be green by skipping."""
    if find_redis_server() is not None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI is set and {NO_REDIS}: {HOW_TO_GET}", pytrace=False)
    pytest.skip(NO_REDIS)


@pytest.fixture(scope="session")
def redis_available() -> None:
    """For tests that start a `RedisServer` themselves: skipped, or failed where CI is set, if none can be."""
    _require_redis_server()


@pytest.fixture(scope="session")
def redis_server(redis_available: None) -> Iterator[RedisServer]:
    """One private Redis for each test process; tests keep apart by their `org` and never flush it."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster_server(redis_available: None) -> Iterator[RedisServer]:
    """One private Redis cluster of a single node for each test process; kept apart likewise."""
    with RedisServer(cluster=True) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One private PostgreSQL for each test process, where it is installed; each test asks for a database."""
    if not postgres_is_installed():
        pytest.skip("no postgres and initdb were found")
    with PostgresServer() as server:
        yield server


@pytest.fixture
def org() -> str:
    """A fresh organisation name (`[a-z0-9-]`, 21 characters): one test's namespace on a shared server."""
    return f"test-{secrets.token_hex(8)}"

"""Every example runs as its first lines say: no key, no server, exit code 0."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fresh import Fresh
    from support.redis_server import RedisServer

    Run = Callable[..., str]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
CHECKED = ("handling_refusals", "routing", "langchain_chat", "pydantic_ai_agent")
"""What these say is looked at below."""

NOT_GIVEN = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "GOVERNOR_POLICIES", "GOVERNOR_LEDGER", "REDIS_URL")


@pytest.fixture
def run(fresh: Fresh, tmp_path: Path) -> Run:
    """Runs an example of a name in an empty folder; what it prints."""
    folder = tmp_path / "empty"

    def one(name: str, **more: str) -> str:
        folder.mkdir()
        environment = {name: value for name, value in os.environ.items() if name not in NOT_GIVEN}
        done = fresh.run([str(ROOT / "examples" / f"{name}.py")], folder, {**environment, **more})
        assert done.code == 0, done.out + done.err
        assert "Traceback" not in done.err
        assert list(folder.iterdir()) == []
        return done.out

    return one


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in CHECKED])
def test_example_runs_and_says_something(name: str, run: Run) -> None:
    """It ends well, prints what it shows, and leaves nothing behind in the working directory."""
    assert run(name)


def test_there_are_examples() -> None:
    """The folder is found, so that the test above cannot pass by testing nothing."""
    assert {"quickstart", "handling_refusals", "testing_your_policy"} <= {*EXAMPLES}


def test_redis_example_shares_a_budget_through_redis(redis_server: RedisServer, run: Run) -> None:
    """With REDIS_URL two services spend one budget of that Redis, in an organisation of its own."""
    shown = run("budgets_in_redis", REDIS_URL=redis_server.url)
    assert "was refused" in shown
    assert "SQLite" not in shown
    with redis_server.client() as client:
        assert client.exists("gov:2:{governor-example}:meta")


def test_refusals_example_meets_every_refusal(run: Run) -> None:
    """It shows a violation, a contended and an exceeded budget, and the way on with a cheaper model."""
    shown = run("handling_refusals")
    for expected in (
        "PolicyViolation\n",
        "BudgetContended\n",
        "BudgetExceeded\n",
        "went on with claude-haiku-5-5",
    ):
        assert expected in shown


def test_routing_example_goes_where_it_says(run: Run) -> None:
    """Each of its calls is served by the line that its comment promises, and says why."""
    shown = run("routing").splitlines()
    served = [line.partition(",")[0] for line in shown[:-1]]
    haiku, sonnet, opus = (f"claude-{line}-5-5" for line in ("haiku", "sonnet", "opus"))
    assert served == [haiku, sonnet, opus, haiku, sonnet, sonnet]
    assert f"its conversation is on {sonnet}" in shown[5]
    assert shown[-1].startswith("for the Batches API")


@pytest.mark.parametrize("name", ["langchain_chat", "pydantic_ai_agent"])
def test_frameworks_are_governed(name: str, run: Run) -> None:
    """Every request that the framework makes has a receipt, and its budget's refusal comes out of it."""
    shown = run(name)
    total = re.search(r"all together (\S+); the API billed (\S+)$", shown.strip())
    assert total is not None
    assert total[1] == total[2] != "$0.00"
    assert re.search(r"^(refused|ended after \d+ requests).* of \$0\.00[12] ", shown, re.MULTILINE)

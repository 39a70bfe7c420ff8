"""Every example runs as its first lines say: no key, no server, exit code 0."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NOT_GIVEN = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "GOVERNOR_POLICIES", "GOVERNOR_LEDGER", "REDIS_URL")


def run(example: Path, folder: Path, **more: str) -> str:
    """What *example* prints, run in the empty *folder*."""
    environment = {name: value for name, value in os.environ.items() if name not in NOT_GIVEN}
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=folder,
        env={**environment, **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_says_something(example: Path, tmp_path: Path) -> None:
    """It ends well, prints what it shows, and leaves nothing behind in the working directory."""
    assert run(example, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_there_are_examples() -> None:
    """The folder is found, so that the test above cannot pass by testing nothing."""
    assert {"quickstart", "handling_refusals", "testing_your_policy"} <= {path.stem for path in EXAMPLES}


def test_redis_example_shares_a_budget_through_redis(redis_server: RedisServer, tmp_path: Path) -> None:
    """With REDIS_URL two services spend one budget of that Redis, in an organisation of its own."""
    shown = run(ROOT / "examples" / "budgets_in_redis.py", tmp_path, REDIS_URL=redis_server.url)
    assert "was refused" in shown
    assert "SQLite" not in shown
    with redis_server.client() as client:
        assert client.exists("gov:2:{governor-example}:meta")


def test_refusals_example_meets_every_refusal(tmp_path: Path) -> None:
    """It shows a violation, a contended and an exceeded budget, and the way on with a cheaper model."""
    shown = run(ROOT / "examples" / "handling_refusals.py", tmp_path)
    for expected in (
        "PolicyViolation\n",
        "BudgetContended\n",
        "BudgetExceeded\n",
        "went on with claude-haiku-5-5",
    ):
        assert expected in shown


def test_routing_example_goes_where_it_says(tmp_path: Path) -> None:
    """Each of its calls is served by the line that its comment promises, and says why."""
    shown = run(ROOT / "examples" / "routing.py", tmp_path).splitlines()
    served = [line.partition(",")[0] for line in shown[:-1]]
    haiku, sonnet, opus = (f"claude-{line}-5-5" for line in ("haiku", "sonnet", "opus"))
    assert served == [haiku, sonnet, opus, haiku, sonnet, sonnet]
    assert f"its conversation is on {sonnet}" in shown[5]
    assert shown[-1].startswith("for the Batches API")


@pytest.mark.parametrize("name", ["langchain_chat", "pydantic_ai_agent"])
def test_frameworks_are_governed(name: str, tmp_path: Path) -> None:
    """Every request that the framework makes has a receipt, and its budget's refusal comes out of it."""
    shown = run(ROOT / "examples" / f"{name}.py", tmp_path)
    total = re.search(r"all together (\S+); the API billed (\S+)$", shown.strip())
    assert total is not None
    assert total[1] == total[2] != "$0.00"
    assert re.search(r"^(refused|ended after \d+ requests).* of \$0\.00[12] ", shown, re.MULTILINE)

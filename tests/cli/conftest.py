"""A small firm with policies and a ledger that an application has used, and ways to run the command on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from governor import BudgetExceeded, Governor
from governor.cli import app
from governor.testing import FakeClaude, Reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.redis_server import RedisServer

ORGANIZATION = """\
version: 1
organization: {organization}
budgets:
  - {{per: organization, usd: 100, window: month}}
"""

ENGINEERING = """\
version: 1
department: engineering
timezone: Europe/Berlin
budgets:
  - {per: department, usd: 1, window: month}
  - {per: user, usd: 0.5, window: life}
  - {per: user, requests: 60, window: life}
thresholds:
  80%: [warn, {downgrade: sonnet}]
  100%: block
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5, opus: claude-opus-5-5}
  tiers:
    standard: {prefer: opus}
"""

LEGAL = """\
version: 1
department: legal
budgets:
  - {per: department, usd: 6, window: life}
routing:
  lines: {haiku: claude-haiku-5-5}
"""

QUESTION = [{"role": "user", "content": "Why?"}]


@dataclass(frozen=True)
class Firm:
    """Policies and a ledger, and the options that name them."""

    policies: Path
    ledger: str

    @property
    def options(self) -> list[str]:
        return ["--policies", str(self.policies), "--ledger", self.ledger]


def write_policies(folder: Path, organization: str) -> Path:
    """The firm's three files, in a new folder."""
    folder.mkdir()
    (folder / "organization.yaml").write_text(ORGANIZATION.format(organization=organization))
    (folder / "engineering.yaml").write_text(ENGINEERING)
    (folder / "legal.yaml").write_text(LEGAL)
    return folder


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOVERNOR_POLICIES", "GOVERNOR_LEDGER", "ANTHROPIC_ADMIN_KEY", "GOVERNOR_ADMIN_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def policies(tmp_path: Path, org: str) -> Path:
    return write_policies(tmp_path / "policies", org)


@pytest.fixture(params=["sqlite", "redis"])
def firm(request: pytest.FixtureRequest, tmp_path: Path, policies: Path) -> Firm:
    """A firm whose application made two calls that were served and one that was refused."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        url = server.url
    else:
        url = f"sqlite:///{tmp_path}/governor.db"
    with FakeClaude() as api:
        api.replies(lambda _: Reply(output_tokens=1000))
        with Governor.load(policies, ledger=url, client=api.client(), create_ledger=True) as governor:
            # Opus costs $20 a million tokens of output, Haiku half a dollar: $0.02 and $0.0005, and a little.
            call(governor, request_id="first", max_tokens=1000)
            call(governor, request_id="second", max_tokens=1000, model="haiku", run="pr-7")
            with pytest.raises(BudgetExceeded):
                call(governor, request_id="refused", max_tokens=30_000, model="opus", pin=True)
    return Firm(policies, url)


def call(governor: Governor, **request: Any) -> Any:
    """One call by ada of engineering."""
    asked = {"user": "ada@example.com", "department": "engineering", "messages": QUESTION, **request}
    return governor.call(**asked)


@dataclass(frozen=True)
class Said:
    """What the command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run() -> Callable[..., Said]:
    """Run the command in this process."""

    def invoke(*arguments: str) -> Said:
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture
def terminal() -> Callable[..., Said]:
    """Run the command as a process of its own, whose questions are answered at a terminal."""

    def start(*arguments: str, typed: str) -> Said:
        master, slave = os.openpty()
        os.write(master, typed.encode())
        try:
            done = subprocess.run(
                [sys.executable, "-m", "governor.cli", *arguments],
                stdin=slave,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            os.close(master)
            os.close(slave)
        return Said(done.returncode, done.stdout, done.stderr)

    return start


@pytest.fixture
def shell() -> Callable[..., Said]:
    """Run the command as a process of its own, in *cwd*."""

    def start(*arguments: str, cwd: Path, **environment: str) -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "governor.cli", *arguments],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return start

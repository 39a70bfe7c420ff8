"""Whatever becomes of a good tests file, it runs or is refused with a place: never anything else."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from support.mutations import mutate
from typer.testing import CliRunner

from governor.cli import app

POLICY = """\
version: 1
department: research
budgets: [{per: user, usd: 50, window: day}, {per: run, usd: 5}, {per: user, concurrent: 4}]
thresholds: {80%: [warn, {downgrade: haiku}], 100%: block}
routing: {lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5}}
"""
GOOD = """\
version: 1
policy: research.yaml
tests:
  - name: a
    at: 2026-11-03T10:00
    spent: {user/day: 85%, run: 4.5}
    held: {user/concurrent: 1}
    request: {user: ada, run: r, model: sonnet, input_tokens: 20, max_tokens: 30, pin: false, tags: {a: b}}
    expect: {decision: downgraded, line: haiku, budget: user/day, reason: "80 %"}
  - name: b
    steps:
      - {at: 2026-11-03T10:00, user: ada, spend: {usd: 40, tokens: 5, requests: 1}, warns: [user/day 80%]}
      - {after: 2h, request: {user: ada, output_tokens: 7}, expect: {decision: downgraded, shadow: served}}
      - {user: ada, run: r, department: research, spent: {run: 4}}
"""
WORDS = sorted({*re.findall(r"[\w.%*/-]+", GOOD)})
ODD = ["", "~", "[]", "{}", "[", "}", "-1", "0", "1e999", ".nan", "true", '"', "&a x", "*a", "9" * 30, "\x00"]
ODD += [
    "0001-01-01",
    "8999-12-31T23:59:59",
    "2026-11-03T10:00+23:59",
    "999999d",
    "9999%",
    "org",
    "user",
    "a/b/c",
]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The good file with some words or lines deleted, doubled or replaced."""
    return mutate(draw, GOOD, words=WORDS, odd=ODD, most=3)


@given(mutated())
def test_a_mutated_tests_file_runs_or_is_refused_with_a_place(text: str) -> None:
    """Exit code 0, 1 or 3 and no exception; a refusal names the file."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "research.yaml").write_text(POLICY, encoding="utf-8")
        file = Path(folder) / "research.tests.yaml"
        file.write_bytes(text.encode("utf-8", "replace"))
        said = CliRunner().invoke(app, ["policy", "test", folder])
        assert said.exception is None or isinstance(said.exception, SystemExit), (text, said.exception)
        assert said.exit_code in (0, 1, 3), said.output
        if said.exit_code == 3:
            assert said.stderr.startswith(f"{file}:"), said.stderr

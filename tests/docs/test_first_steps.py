"""The README's first steps, from `governor init` to a refused call and its `why`, run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
SECTION = "## From nothing to a refusal\n"
REQUEST = "REQUEST_ID"


def blocks() -> list[tuple[str, str]]:
    """Kind and text of each block of the section, in order."""
    section = README.read_text(encoding="utf-8").split(SECTION)[1].split("\n## ")[0]
    return re.findall(r"```(\w+)\n(.*?)```", section, flags=re.DOTALL)


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """One command, typed in *folder* by a new user: with this Python, without a key or a setting."""
    words = shlex.split(line, comments=True)
    head = {"governor": [sys.executable, "-m", "governor.cli"], "python": [sys.executable]}[words[0]]
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GOVERNOR", "ANTHROPIC"))
    }
    command = [*head, *words[1:]]
    return subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=False)


def test_the_readme_alone_leads_from_nothing_to_a_refused_call_and_its_why(tmp_path: Path) -> None:
    """Every step works as written: the call is served, then refused, and `why` says what would pass."""
    told: list[str] = []
    for kind, text in blocks():
        if kind == "python":
            (tmp_path / "first.py").write_text(text, encoding="utf-8")
            continue
        for line in text.strip().splitlines():
            command = line.replace(REQUEST, told[-1].split()[0] if told else "")
            done = run(command, tmp_path)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            told.append(done.stdout)
    served, refused, why = told[4], told[7], told[8]
    assert re.search(r" \$0\.\d+ claude-opus-5-5: asked for", served)
    assert "department=research/user=ada@example.com/usd/day" in refused
    assert "resets at" in refused
    assert "exhausted" in why
    assert "would have" in why

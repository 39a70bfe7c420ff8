"""The page of the commands is what they say; what other pages show of them exists; each has an example."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from governor.cli.app import app
from governor.cli.examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(?:\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROVIDED = {"-h", "--help", "--version", "--install-completion", "--show-completion"}


def script() -> Any:
    """The maker of the page."""
    spec = importlib.util.spec_from_file_location("commands_page", ROOT / "scripts" / "commands_page.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = script()
COMMANDS = {" ".join(path): command for path, command in MAKER.commands() if not hasattr(command, "commands")}


def shown() -> list[str]:
    """Every line that begins with `governor`, in a block or a code span of a page, without its comment."""
    found: set[str] = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8").partition("## Not there yet")[0]  # what is not built
        lines = [line for body in FENCE.findall(text) for line in body.splitlines()]
        lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
        found.update(line.partition("  #")[0] for line in lines if re.match(r"governor( |$)", line))
    return sorted(found)


def options(command: Any) -> set[str]:
    """All that may be written before a value; of a group, what any of its commands takes."""
    own = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return own.union(*(options(inner) for inner in getattr(command, "commands", {}).values()))


def test_the_page_is_what_the_commands_say() -> None:
    """`docs/commands.md` is what `make docs` would write now."""
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == MAKER.page(), "run `make docs`"


def test_each_command_is_on_the_page_with_an_example() -> None:
    """Every command has a heading and one line that runs it; there is no example of anything else."""
    page = MAKER.page()
    assert sorted(EXAMPLES) == sorted(COMMANDS)
    assert [name for name in COMMANDS if not re.search(rf"^##+ governor {name}$", page, re.MULTILINE)] == []
    assert [name for name, line in EXAMPLES.items() if f"```console\n{line}\n```" not in page] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_right(name: str) -> None:
    """It is a line of its command, and its arguments and options are such as that takes."""
    words = shlex.split(EXAMPLES[name])
    assert words[: len(name.split()) + 1] == ["governor", *name.split()]
    with COMMANDS[name].make_context(name, words[len(name.split()) + 1 :]) as context:
        assert context.args == []


@pytest.mark.parametrize("line", shown())
def test_what_a_page_shows_exists(line: str) -> None:
    """Behind a `governor` that a page shows is a command, and behind that are options of its own."""
    command: Any = typer.main.get_command(app)
    words = re.findall(r"[^\s\"']+", line)[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not getattr(command, "commands", {}) or not words or not words[0][0].isalpha()
    used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert used - options(command) - PROVIDED == set()


def test_pages_show_commands() -> None:
    """The search finds lines in blocks and in the text, with options, so that the test above is not empty."""
    lines = shown()
    assert len(lines) > 2 * len(EXAMPLES)
    assert any("--reason" in line for line in lines)

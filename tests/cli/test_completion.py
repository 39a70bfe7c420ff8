"""Shell completion: commands, options, and the names and budgets of the policy files; in three shells."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from governor.cli import main

REFERENCE = Path(__file__).parents[2] / "policies" / "engineering.yaml"
BUDGETS = {
    "org/usd/month",
    "department=engineering/usd/month",
    "department=engineering/user=ada@example.com/usd/life",
    "department=engineering/user=ada@example.com/requests/life",
    "department=legal/usd/life",
}


@pytest.fixture
def folder(policies):
    """The firm's policies; engineering knows ada and everybody else."""
    file = policies / "engineering.yaml"
    file.write_text(file.read_text() + 'users:\n  ada@example.com: {}\n  "*": {}\n')
    return policies


def asked(typed, kind):
    """What a shell puts into the environment behind what was typed; bash takes words apart."""
    parts = re.split(r"( |[=:@]+)", typed)
    words = [word for word in parts if word.strip()] + ([""] if typed.endswith(" ") else [])
    protocol = {
        "bash": {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": typed},
        "fish": {"_TYPER_COMPLETE_ARGS": typed, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    return {"_GOVERNOR_COMPLETE": f"complete_{kind}", **protocol[kind]}


@pytest.fixture
def complete(monkeypatch, capsys):
    """What a shell is offered behind what was typed."""

    def ask(typed, kind="bash", **environment):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["governor"])
            for name, value in {**asked(typed, kind), **environment}.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit):
                main()
        said = capsys.readouterr()
        assert said.err == ""
        return said.out.split("\n")[:-1] if said.out.strip() else []

    return ask


def test_commands_and_options(complete):
    """The names of commands and options complete."""
    assert complete("governor bud") == ["budget"]
    assert {"check", "fmt"} <= set(complete("governor policy "))
    assert "--reason" in complete("governor budget grant --r")


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_budgets_in_each_shell(complete, folder, kind):
    """The budgets that the files tell, of the users they name too, without asking a ledger."""
    settings = {"GOVERNOR_POLICIES": str(folder), "GOVERNOR_LEDGER": "redis://127.0.0.1:1/0"}
    offered = "\n".join(complete("governor budget show ", kind, **settings))
    found = re.findall(r"[\w.@=]+(?:/[\w.@=]+){2,}", offered)
    assert set(found) == BUDGETS
    assert len(found) == len(BUDGETS)


def test_what_bash_takes_apart_is_put_together(complete, folder):
    """Behind an `=` or `@`, where bash begins a new word, only the rest of the budget is offered."""
    grant = f"governor budget grant --policies {folder} department=engineering/us"
    assert complete(grant) == ["engineering/usd/month", *(rest(one) for one in sorted(BUDGETS, key=len)[-2:])]
    assert complete(f"governor budget show --policies {folder} department=leg") == ["legal/usd/life"]
    assert len(complete(f"governor budget show --policies {folder} department=")) == 4
    assert complete(
        f"governor budget show --policies {folder} department=engineering/user=ada@example.com/r"
    ) == ["example.com/requests/life"]


def rest(identity):
    """What bash takes for the last word of an identity with one `=` typed."""
    return identity.removeprefix("department=")


def test_departments_users_and_zones(complete, folder):
    """Names of the files complete as values of options, with or without an `=`; time zones do."""
    assert complete(f"governor budget list --policies {folder} --department ") == ["engineering", "legal"]
    assert complete(f"governor budget list --policies {folder} --department=l") == ["legal"]
    assert complete(f"governor budget list --policies {folder} -u ") == ["ada@example.com"]
    assert "Europe/Berlin" in complete("governor init --timezone Europe/B")


def test_policy_files(complete, folder):
    """The files of the policies' folder, or of the folder being typed; else the shell's own files."""
    names = [str(folder / name) for name in ("engineering.yaml", "legal.yaml", "organization.yaml")]
    assert complete("governor policy check ", GOVERNOR_POLICIES=str(folder)) == names
    assert complete(f"governor policy fmt {folder}/l") == names[1:2]
    assert complete("governor policy fmt ./no/such/folder/") == []


@pytest.mark.parametrize("text", [None, "version: [", "version: 1\ndepartment: x\n", "a: \udc80"])
def test_no_policies_no_noise(shell, tmp_path, text):
    """Without policies that can be read nothing is offered, and nothing is written across the line."""
    (tmp_path / "policies").mkdir()
    if text is not None:
        (tmp_path / "policies" / "legal.yaml").write_text(text, errors="surrogateescape")
    said = shell(cwd=tmp_path, **asked("governor budget show ", "bash"))
    assert (said.out.strip(), said.err) == ("", "")


def test_what_is_not_in_force_is_not_said(shell, tmp_path):
    """The loader's warnings stay out of the line that is being typed."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "engineering.yaml").write_text(REFERENCE.read_text())
    said = shell(cwd=tmp_path, **asked("governor budget show department=engineering/usd", "bash"))
    assert (said.out, said.err) == ("engineering/usd/month\n", "")


@pytest.mark.parametrize(
    "environment", [{"COMP_WORDS": "governor", "COMP_CWORD": "7"}, {"COMP_WORDS": "", "COMP_CWORD": "1"}]
)
def test_odd_words(shell, tmp_path, environment):
    """Words that no shell would send are no traceback."""
    said = shell(cwd=tmp_path, _GOVERNOR_COMPLETE="complete_bash", **environment)
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("kind", "sign"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --")]
)
def test_the_script_of_each_shell(shell, tmp_path, kind, sign):
    """`--show-completion` prints the script, and `--install-completion` puts it where that shell looks."""
    settings = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = shell("--show-completion", kind, cwd=tmp_path, **settings).out
    assert sign in script
    assert "_GOVERNOR_COMPLETE" in script
    assert shell("--install-completion", kind, cwd=tmp_path, **settings).code == 0
    installed = [file for file in tmp_path.rglob("*") if file.is_file() and sign in file.read_text()]
    assert installed


def test_bash_itself_completes(tmp_path, folder, shell):
    """The script that `--show-completion` prints, in a real bash: a budget behind its `department=`."""
    settings = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = shell("--show-completion", "bash", cwd=tmp_path, **settings).out
    command = tmp_path / "governor"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m governor.cli "$@"\n')
    command.chmod(0o755)
    words = f"{command} budget show --policies {folder} department = le"
    asked = f"COMP_WORDS=({words})\nCOMP_CWORD=7\n_governor_completion {command}\n"
    told = "printf '%s\\n' \"${COMPREPLY[@]}\""
    line = [script, asked, told]
    done = subprocess.run(["bash", "-c", "\n".join(line)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("legal/usd/life\n", "")

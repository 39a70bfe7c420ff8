"""The `governor` command as a process: never a traceback, and the exit codes it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.cells import cell_len
from support.redis_server import free_port

from governor.cli.output import print_rows

READING = [
    ["budget", "list"],
    ["budget", "show", "org/usd/month"],
    ["budget", "grant", "org/usd/month", "5", "--reason", "x"],
    ["why", "some-id"],
    ["holds", "list"],
    ["holds", "reap"],
]

POLICY = [["policy", "check"], ["policy", "explain", "--user", "ada"], ["policy", "test"]]


def test_version(shell, tmp_path):
    """`governor --version` prints the distribution's version."""
    said = shell("--version", cwd=tmp_path)
    assert (said.code, said.out) == (0, f"governor {version('claude-governor')}\n")


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["demo"],
        ["init"],
        *(["policy", verb] for verb in ("check", "explain", "test", "fmt", "push", "versions")),
        *(["policy", verb] for verb in ("rollback", "withdraw", "pull")),
        *(["budget", verb] for verb in ("list", "show", "grant", "revoke", "set", "freeze", "unfreeze")),
        ["why"],
        ["doctor"],
        ["ledger", "create"],
        ["holds", "list"],
        ["holds", "reap"],
    ],
)
def test_help(run, command):
    """Every command explains itself, and every option of it has a text."""
    said = run(*command, "--help")
    assert said.code == 0
    assert "Usage: " in said.out


def test_importing_the_command_is_cheap():
    """`--help` tells of every command without the SDK, redis, YAML, pydantic or what else only one needs."""
    code = (
        "import sys, typer.main as main; from governor.cli import app; command = main.get_command(app); "
        "[list(one.commands.values()) for one in command.commands.values() if hasattr(one, 'commands')]; "
        "print([m for m in sys.modules if m in set(sys.argv[1:])])"
    )
    heavy = ["anthropic", "redis", "ruamel.yaml", "pydantic", "sqlite3", "governor.testing", "rich.live"]
    heavy += ["sqlalchemy", "textual", "apprise", "matplotlib", "jinja2"]
    said = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_a_command_imports_no_other():
    """A line imports what its own command is made of, and no module of another's."""
    code = "import sys; sys.argv[1:] = ['report', 'today', '--help']; from governor.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "print([m for m in sys.modules if m.startswith(('governor.cli.a', 'governor.cli.policy'))])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Answer at once" in said.stdout
    assert said.stdout.splitlines()[-1] == "['governor.cli.app']"


@pytest.mark.parametrize("command", [*READING, *POLICY, ["ledger", "create"]])
def test_no_policies_folder(run, tmp_path, command):
    """Without policies every command says so, exit code 3, on stderr and in JSON."""
    said = run(*command, "--policies", str(tmp_path / "none"), "--json")
    assert said.code == 3
    assert said.err == f"{tmp_path}/none: no such file or folder (make it, or correct the path)\n"
    assert said.json["error"]["type"] == "PolicyError"


@pytest.mark.parametrize("command", READING)
def test_a_ledger_that_is_down(run, policies, command):
    """A Redis that nobody runs is a failure that names it; its password is not printed."""
    url = f"redis://:hunter2@127.0.0.1:{free_port()}/0"
    said = run(*command, "--policies", str(policies), "--ledger", url, "--json")
    assert said.code == 1
    assert "cannot be reached" in said.err
    assert "hunter2" not in said.err + said.out
    assert said.json["error"]["type"] == "LedgerUnavailable"


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("mysql://localhost/x", "is no ledger: use sqlite:///"),
        ("sqlite:///", "names no file"),
        ("sqlite:////no/such/folder/governor.db", "holds no ledger"),
        ("governor.db", "is no ledger"),
        ("memory://x", "which no command can look into"),
    ],
)
def test_a_url_that_names_no_ledger(run, policies, url, hint):
    """A URL of another kind, or of nothing, is a failure that says what to write."""
    said = run("budget", "list", "--policies", str(policies), "--ledger", url)
    assert (said.code, hint in said.err) == (1, True)


@pytest.mark.parametrize(
    ("files", "code", "told"),
    [
        (None, 3, "policies: no such file or folder"),
        ({}, 3, "policies: the folder holds no policy file"),
        ({"legal.yaml": "version: 1\ndepartment: [\n"}, 3, "policies/legal.yaml:3:1: "),
        ({"legal.yaml": "version: 1\ndepartmnt: legal\n"}, 3, "policies/legal.yaml:2:1: "),
    ],
)
def test_bad_folders_as_a_process(shell, tmp_path, files, code, told):
    """Run as a user runs it, a missing, empty or malformed folder is one clear message and no traceback."""
    if files is not None:
        (tmp_path / "policies").mkdir()
        for name, text in files.items():
            (tmp_path / "policies" / name).write_text(text)
    said = shell("budget", "list", cwd=tmp_path)
    assert (said.code, said.out) == (code, "")
    assert said.err.startswith(told)
    assert "Traceback" not in said.err


def test_settings_from_the_environment(shell, policies, tmp_path):
    """GOVERNOR_POLICIES and GOVERNOR_LEDGER stand for the options; only JSON is on stdout."""
    settings = {"GOVERNOR_POLICIES": str(policies), "GOVERNOR_LEDGER": f"sqlite:///{tmp_path}/x.db"}
    assert shell("ledger", "create", cwd=tmp_path, **settings).code == 0
    said = shell("budget", "list", "--json", cwd=tmp_path, **settings)
    assert (said.code, said.err) == (0, "")
    assert {row["identity"] for row in json.loads(said.out)["budgets"]} >= {"org/usd/month"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["bugdet"],
        ["budget", "lst"],
        ["budget", "list", "--nope"],
        ["budget", "list", "--user"],
        ["budget", "grant", "org/usd/month", "5"],
        ["why"],
        ["--nope", "budget", "list"],
    ],
)
def test_usage_errors(run, arguments):
    """A command, option or argument that is not there is exit code 2; with --json one document says so."""
    assert (run(*arguments).code, run(*arguments).out) == (2, "")
    said = run(*arguments[:2], "--json", *arguments[2:])
    assert said.code == 2
    assert said.err
    error = said.json["error"]
    assert (error["type"], error["exit_code"], bool(error["message"])) == ("UsageError", 2, True)


def test_columns_stand_below_each_other_whatever_the_names(capsys):
    """A character that takes two columns of a terminal counts as two."""
    print_rows(("user", "spent", "limit"), [("陳大文", "$1", "$2"), ("ada", "$10", "$200")])
    lines = capsys.readouterr().out.splitlines()
    assert {cell_len(line) for line in lines} == {20}


@pytest.mark.parametrize("firm", ["sqlite"], indirect=True)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("command", [["audit", "export"], ["report", "today", "--json"], ["audit", "verify"]])
def test_a_full_disk_behind_stdout_is_one_message(firm, command):
    """The exit code says that the output is not whole."""
    words = [sys.executable, "-m", "governor.cli"]
    subprocess.run([*words, "report", "today", *firm.options], capture_output=True, check=True)
    with Path("/dev/full").open("w") as full:
        words += [*command, *firm.options]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the output was cut off: No space left")

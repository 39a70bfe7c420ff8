"""`governor init`: a first folder that is right, and what to do next."""

from __future__ import annotations

import json
import shlex

import jsonschema
import pytest

from governor.policy import load
from governor.policy.positions import read_yaml

FILES = ["engineering.yaml", "organization.yaml", "schema.json"]


def test_the_next_three_steps_run(shell, tmp_path):
    """In an empty folder the command writes three files, and each step that it prints then works as typed."""
    said = shell("init", cwd=tmp_path)
    assert (said.code, said.err) == (0, "")
    assert sorted(file.name for file in (tmp_path / "policies").iterdir()) == FILES
    steps = [line.strip() for line in said.out.splitlines() if line.startswith("  governor ")]
    assert len(steps) == 3
    for step in steps:
        done = shell(*shlex.split(step)[1:], cwd=tmp_path)
        assert (done.code, done.err) == (0, ""), step
    assert "department=engineering/usd/month" in done.out


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--organization", "acme", "--department", "legal", "--timezone", "America/Argentina/ComodRivadavia"],
        ["--organization", "null", "--department", "7", "--timezone", "Etc/GMT+1"],
        ["--organization", "a" * 64, "--department", "d" * 64],
    ],
)
def test_what_it_writes_is_right(run, tmp_path, options):
    """The folder loads without a notice, fits the schema beside it, and is in canonical form."""
    folder = tmp_path / "my policies"
    assert run("init", str(folder), *options).code == 0
    told = run("policy", "check", str(folder), "--json").json
    assert told["notices"] == []
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert told["organization"] == given.get("--organization", "example")
    assert told["departments"] == [given.get("--department", "engineering")]
    assert {row["timezone"] for row in told["budgets"]} == {given.get("--timezone", "UTC")}
    assert run("policy", "fmt", str(folder), "--check").code == 0
    schema = json.loads((folder / "schema.json").read_text())
    for file in folder.glob("*.yaml"):
        text = file.read_text()
        assert text.startswith("# yaml-language-server: $schema=schema.json\n")
        jsonschema.validate(json.loads(json.dumps(read_yaml("x", text).root.plain(), default=float)), schema)


def test_it_is_commented(run, tmp_path):
    """A newcomer finds a comment on every line that says something, or right above it."""
    run("init", str(tmp_path))
    for file in tmp_path.glob("*.yaml"):
        lines = file.read_text().splitlines()
        bare = [number for number, line in enumerate(lines) if line and "# " not in line]
        above = "\n".join(lines[number - 2] + lines[number - 1] for number in bare)
        assert above.count("  # ") >= len(bare)


def test_a_second_department(run, tmp_path):
    """What is there stays, to the byte, and is named; a department of another name is added to it."""
    run("init", str(tmp_path), "--organization", "acme")
    (tmp_path / "organization.yaml").write_text("version: 1\norganization: mine\n")
    said = run("init", str(tmp_path), "--department", "legal", "--json")
    assert said.json["written"] == ["legal.yaml"]
    assert said.json["kept"] == ["organization.yaml", "schema.json"]
    assert load(tmp_path).organization == "mine"
    assert load(tmp_path).departments == ("engineering", "legal")
    assert f"{tmp_path}/schema.json is there already" in run("init", str(tmp_path), "--department", "x").out


def test_nothing_is_written_over(run, tmp_path):
    """Where all its files are there already the command is a failure that names them."""
    run("init", str(tmp_path))
    before = {file: file.read_text() for file in tmp_path.iterdir()}
    said = run("init", str(tmp_path), "--timezone", "Asia/Tokyo")
    assert said.code == 1
    assert all(str(tmp_path / name) in said.err for name in FILES)
    assert {file: file.read_text() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--organization", "Acme Inc"], "--organization 'Acme Inc' cannot be a name"),
        (["--department", ""], "--department '' cannot be a name"),
        (["--department", "organization"], "give another name"),
        (["--timezone", "Europe/Berln"], "did you mean 'Europe/Berlin'?"),
        (["--timezone", "??"], "write for example Europe/Berlin"),
    ],
)
def test_what_cannot_be_meant(run, tmp_path, options, hint):
    """A name or a time zone that no policy could have is exit code 2, and no folder is made."""
    said = run("init", str(tmp_path / "policies"), *options)
    assert (said.code, hint in said.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(run, tmp_path):
    """A file in the folder's place is a failure that says so."""
    (tmp_path / "policies").write_text("")
    said = run("init", str(tmp_path / "policies"), "--json")
    assert said.code == 1
    assert "cannot be written" in said.json["error"]["message"]

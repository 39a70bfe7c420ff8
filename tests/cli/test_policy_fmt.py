"""`governor policy fmt`: files in canonical form, and none of them harmed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

POLICIES = Path(__file__).parents[2] / "policies"
LOOSE = """\
department: legal   # theirs
version: 1
budgets:
- { per: user,usd: 5, window: day }
routing:
    lines: {haiku: 'claude-haiku-5-5'}
"""
EVEN = """\
version: 1
department: legal   # theirs
budgets:
  - {per: user, usd: 5, window: day}
routing:
  lines: {haiku: claude-haiku-5-5}
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a loose file, an even one, tests of theirs, and what is none of the command's."""
    files = {
        "legal.yaml": LOOSE,
        "sales.yml": EVEN.replace("legal", "sales"),
        "legal.tests.yaml": "cases:\n- {spend: 5}\n",
        ".hidden.yaml": LOOSE,
        "notes.txt": LOOSE,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_it_formats_a_folder(run, folder):
    """Policies and their tests are written, named, and in order from then on; the rest is left alone."""
    said = run("policy", "fmt", str(folder))
    assert (said.code, said.err) == (0, "")
    assert said.out == f"formatted: {folder}/legal.tests.yaml\nformatted: {folder}/legal.yaml\n"
    assert (folder / "legal.yaml").read_text() == EVEN
    assert (folder / "legal.tests.yaml").read_text() == "cases:\n  - {spend: 5}\n"
    assert (folder / ".hidden.yaml").read_text() == (folder / "notes.txt").read_text() == LOOSE
    assert run("policy", "fmt", str(folder)).out == "3 files are in canonical form\n"
    assert len(list(folder.iterdir())) == 5


def test_tests_keep_the_order_of_their_keys(run, tmp_path):
    """The language's order is for policies: a file of tests may have keys of the same name in another one."""
    file = tmp_path / "legal.tests.yaml"
    file.write_text("users: 1\nversion: 1\n")
    assert run("policy", "fmt", str(file)).code == 0
    assert file.read_text() == "users: 1\nversion: 1\n"


def test_the_reference_files_are_right(run):
    """The files that ship are in canonical form already, comments in their columns."""
    said = run("policy", "fmt", str(POLICIES), "--check")
    assert (said.code, "files are in canonical form" in said.out) == (0, True)


def test_check_writes_nothing(run, folder):
    """`--check` names what would change, and its exit code is 1."""
    said = run("policy", "fmt", str(folder / "legal.yaml"), "--check")
    assert (said.code, said.out) == (1, f"would change: {folder}/legal.yaml\n")
    assert "1 of 1 files would change" in said.err
    assert (folder / "legal.yaml").read_text() == LOOSE
    assert run("policy", "fmt", str(folder / "sales.yml"), "--check").code == 0


def test_diff_writes_nothing(run, folder):
    """`--diff` prints the changes, with exit code 0 unless `--check` asks for another."""
    file = folder / "legal.yaml"
    said = run("policy", "fmt", str(file), "--diff")
    assert said.code == 0
    assert said.out.startswith(f"--- {file}\n+++ {file}\n@@")
    assert "\n-- { per: user,usd: 5, window: day }\n+  - {per: user, usd: 5, window: day}\n" in said.out
    assert file.read_text() == LOOSE
    assert run("policy", "fmt", str(file), "--diff", "--check").code == 1


def test_json(run, folder):
    """`--json` tells of every file whether it changes, and the difference where it was asked for."""
    told = run("policy", "fmt", str(folder), "--check", "--diff", "--json").json
    assert told["written"] is False
    assert {file["file"].rsplit("/")[-1]: file["changes"] for file in told["files"]} == {
        "legal.tests.yaml": True,
        "legal.yaml": True,
        "sales.yml": False,
    }
    assert "+version: 1" in told["files"][1]["diff"]
    assert run("policy", "fmt", str(folder), "--json").json["written"] is True


def test_what_cannot_be_read_is_left_as_it_is(run, folder):
    """A broken file is refused with its place, exit code 3, and the others are formatted all the same."""
    broken = folder / "broken.yaml"
    broken.write_bytes(b"version: 1\nversion: 2\n")
    said = run("policy", "fmt", str(folder))
    assert said.code == 3
    assert said.err.startswith(f"{broken}:2:1: key 'version' is written twice")
    assert f"formatted: {folder}/legal.yaml" in said.out
    assert broken.read_bytes() == b"version: 1\nversion: 2\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: [\n", ":2:1: this is not valid YAML"),
        (b"", ":1:1: the file is empty"),
        (b"a: 1\nb: \xff\n", ":2:4: is not UTF-8 text"),
        (b"# " + b"x" * (1 << 20), ": is larger than 1 MiB"),
        (None, ": is not a regular file"),
    ],
)
def test_odd_files(run, tmp_path, content, told):
    """Whatever is no policy is one message with its place, exit code 3, in JSON too."""
    file = tmp_path / "legal.yaml"
    if content is None:
        os.mkfifo(file)
    else:
        file.write_bytes(content)
    said = run("policy", "fmt", str(file), "--json")
    assert said.code == 3
    assert said.err.startswith(f"{file}{told}")
    assert said.json["error"]["type"] == "PolicyError"


def test_nothing_to_format(run, tmp_path):
    """A folder without policies, and a path that is not there, are exit code 3 with what to do."""
    assert "governor init" in run("policy", "fmt", str(tmp_path)).err
    said = run("policy", "fmt", "--policies", str(tmp_path / "none"))
    assert (said.code, "no such file or folder" in said.err) == (3, True)


def test_a_file_keeps_its_mode_and_its_link(run, folder):
    """The new text takes the old one's place in one step, where a link leads, with the same permissions."""
    file, link = folder / "legal.yaml", folder / "linked.yaml"
    file.chmod(0o640)
    link.symlink_to(file)
    assert run("policy", "fmt", str(link)).code == 0
    assert link.is_symlink()
    assert file.read_text() == EVEN
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_line_breaks_and_marks_of_windows(run, tmp_path):
    """A byte order mark and CRLF become plain UTF-8 lines."""
    file = tmp_path / "legal.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + EVEN.replace("\n", "\r\n").encode())
    assert run("policy", "fmt", str(file)).code == 0
    assert file.read_text() == EVEN

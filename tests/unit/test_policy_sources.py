"""Where policies come from: files that change while they are read, names, fingerprints."""

from __future__ import annotations

import os
import shutil

import pytest

from governor.clients.sources import PolicyFiles
from governor.errors import PolicyError
from governor.policy import load
from governor.policy.load import fingerprint, is_policy_name, load_texts, read_texts
from governor.policy.pushed import load_pushed, plain_name

TEAM = """\
version: 1
department: {name}
budgets: [{{per: user, usd: {usd}, window: day}}]
routing: {{lines: {{haiku: claude-haiku-5-5}}}}
"""


def write(folder, name="team", usd=1):
    """One department's file."""
    (folder / f"{name}.yaml").write_text(TEAM.format(name=name, usd=usd), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """A folder with one department."""
    write(tmp_path)
    return tmp_path


class Meanwhile:
    """Accepts every policies; before, somebody else may write."""

    def __init__(self):
        self.then = []

    def __call__(self, policies):
        if self.then:
            self.then.pop()()


def test_a_folder_that_changes_while_it_is_read_is_left_for_the_next_look(folder):
    """Half of a change is never taken: neither what was read then, nor its error."""
    meanwhile = Meanwhile()
    files = PolicyFiles(folder, meanwhile)
    first = files.policies
    write(folder, usd=2)
    meanwhile.then = [lambda: write(folder, "other")]
    files.look()
    assert files.policies is first
    files.look()
    assert files.policies.hash == load(folder).hash != first.hash
    assert files.policies.departments == ("other", "team")


def test_an_error_in_a_folder_that_changes_is_no_error_yet(folder):
    """It is raised by the next look, if it is still there."""
    files = PolicyFiles(folder, lambda _: None)
    write(folder, usd=2)

    def refuse(_):
        write(folder, usd=3)
        raise PolicyError(load_error)

    load_error = _problems("nothing: here")
    files._accept = refuse
    files.look()
    files._accept = lambda _: None
    files.look()
    assert files.policies.hash == load(folder).hash


def _problems(text):
    with pytest.raises(PolicyError) as caught:
        load_texts({"a.yaml": text})
    return caught.value.problems


def test_nothing_is_read_again_that_did_not_change(folder):
    """A look at files that stayed the same loads nothing; with force it does."""
    os.utime(folder / "team.yaml", (1, 1))
    loads = []
    files = PolicyFiles(folder, loads.append)
    for _ in range(3):
        files.look()
    assert len(loads) == 1
    files.look(force=True)
    assert len(loads) == 2


def test_a_change_in_the_same_tick_of_the_clock_is_found(folder):
    """Files written just now are read once more: neither their size nor their times need differ."""
    files = PolicyFiles(folder, lambda _: None)
    first = files.policies
    write(folder, usd=2)
    files._seen = fingerprint(folder)  # as if the clock had not ticked in between
    files.look()
    assert files.policies.hash == load(folder).hash != first.hash
    (folder / "team.yaml").write_text("{", encoding="utf-8")
    with pytest.raises(PolicyError):
        files.look()
    for _ in range(2):
        files.look()
    write(folder, usd=2)
    files.look()
    assert files.policies.hash == load(folder).hash


@pytest.mark.parametrize("change", ["size", "time", "new", "gone", "replaced"])
def test_a_change_changes_the_fingerprint(folder, change):
    """By name, size, inode or time; whatever else the folder holds does not count."""
    write(folder, "other")
    before = fingerprint(folder)
    (folder / "notes.txt").write_text("x")
    (folder / "team.tests.yaml").write_text("x")
    assert fingerprint(folder) == before
    file = folder / "team.yaml"
    if change == "gone":
        (folder / "other.yaml").unlink()
    elif change == "new":
        write(folder, "third")
    elif change == "replaced":
        shutil.copy2(file, folder / "copy")
        (folder / "copy").replace(file)
    elif change == "size":
        write(folder, usd=23)
    else:
        os.utime(file, ns=(1, 1))
    assert fingerprint(folder) != before


def test_a_fingerprint_of_nothing_is_an_error(tmp_path):
    """As loading it is."""
    with pytest.raises(PolicyError, match="no such file"):
        fingerprint(tmp_path / "none")
    (tmp_path / "team.yaml").symlink_to(tmp_path / "none")
    with pytest.raises(PolicyError, match="cannot be read"):
        fingerprint(tmp_path)


def test_texts_mean_what_their_files_mean(folder):
    """Read as texts and loaded again, policies have the same hash."""
    write(folder, "other", usd=5)
    texts = read_texts(folder)
    assert list(texts) == ["other.yaml", "team.yaml"]
    assert load_texts(texts).hash == load(folder).hash
    pushed = load_pushed(texts, "default", 7)
    assert pushed.sources == ("ledger:default@7/other.yaml", "ledger:default@7/team.yaml")


def test_texts_that_are_none_are_an_error(folder):
    """Every file that cannot be read is named."""
    (folder / "odd.yaml").write_bytes(b"\xff")
    (folder / "odder.yaml").write_bytes(b"\xfe")
    with pytest.raises(PolicyError, match="not UTF-8") as caught:
        read_texts(folder)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("team.yaml", True),
        ("Team one.yml", True),
        ("../team.yaml", False),
        ("a/team.yaml", False),
        ("a\\team.yaml", False),
        (".team.yaml", False),
        ("team.tests.yaml", False),
        ("team.txt", False),
        ("te\nam.yaml", False),
        ("", False),
    ],
)
def test_only_plain_names_are_taken_from_a_ledger(name, plain):
    """No name leads out of a folder, or is one that a folder would not be read for."""
    assert plain_name(name) is plain
    assert is_policy_name(name) or not plain

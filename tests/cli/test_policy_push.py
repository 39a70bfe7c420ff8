"""`governor policy push`, `versions`, `rollback`, `withdraw` and `pull`: from files to a fleet, and back."""

from __future__ import annotations

import pytest

from governor.cli import policy_push
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.policy import load

WHY = ["--reason", "a test", "--actor", "ada", "--yes"]
QUICK = ["--reason", "a test"]


@pytest.fixture
def act(run, firm):
    """Run a verb of `governor policy` on the firm, as JSON; the answer must be 0."""

    def invoke(verb, *arguments):
        said = run("policy", verb, *arguments, *WHY, *firm.options, "--json")
        assert said.code == 0, said.err
        return said.json

    return invoke


def change(policies, old="usd: 1,", new="usd: 2,"):
    """Change engineering's file."""
    file = policies / "engineering.yaml"
    file.write_text(file.read_text().replace(old, new))
    return load(policies).hash


def head(firm, org):
    """The newest version."""
    ledger = open_ledger(firm.ledger, org)
    found = ledger.execute(c.ReadPolicies())
    ledger.close()
    return found


def test_a_push_is_in_force_and_says_what_changed(run, firm, org, act):
    """Version 1 replaces everybody's files, 2 the first; each is told with its hashes and its way back."""
    first = act("push")
    assert (first["changed"], first["in_force"], first["hash_before"]) == (True, 1, None)
    assert first["version"]["hash"] == load(firm.policies).hash
    second = change(firm.policies)
    (firm.policies / "new.yaml").write_text(
        (firm.policies / "legal.yaml").read_text().replace("legal", "new")
    )
    (firm.policies / "legal.yaml").unlink()
    said = run("policy", "push", *WHY, *firm.options)
    assert said.out.startswith(
        "version 2 was pushed: new: new.yaml; changed: engineering.yaml; gone: legal.yaml"
    )
    assert f"policy {first['version']['hash']} → {load(firm.policies).hash}, in every process" in said.out
    assert "governor policy rollback 1 --reason …" in said.out
    assert load(firm.policies).hash != second
    found = head(firm, org)
    assert found.files == {file.name: file.read_text() for file in firm.policies.iterdir()}
    assert (found.about.actor, found.about.reason) == ("ada", "a test")


def test_what_is_in_force_is_not_pushed_again(run, firm, act):
    """Nothing is asked and no version is made; comments alone are a version, of the same hash."""
    act("push")
    again = run("policy", "push", *QUICK, *firm.options)
    assert (again.code, "has it in force already: version 1, hash " in again.out) == (0, True)
    assert act("push")["changed"] is False
    change(firm.policies, "version: 1", "# why not\nversion: 1")
    commented = act("push")
    assert (commented["in_force"], commented["version"]["hash"]) == (2, commented["hash_before"])


def test_versions_are_listed_newest_first(run, firm, act):
    """Who, when, why and what of each; the one in force is marked."""
    assert "nothing was pushed" in run("policy", "versions", *firm.options).out
    act("push")
    change(firm.policies)
    act("push")
    act("rollback", "1")
    listed = run("policy", "versions", *firm.options, "--json").json
    rows = [
        (row["version"], row["what"], row["of"], row["actor"], row["in_force"]) for row in listed["versions"]
    ]
    assert rows == [
        (3, "rollback", 1, "ada", True),
        (2, "push", None, "ada", False),
        (1, "push", None, "ada", False),
    ]
    shown = run("policy", "versions", *firm.options).out.splitlines()
    assert "in force" in shown[1]
    assert "rollback to 1" in shown[1]
    assert shown[1].endswith("a test")


def test_rollback_and_withdraw_undo_a_push(run, firm, org, act):
    """The old files are in force again, as a new version; withdrawn, nobody's are."""
    first = act("push")["version"]["hash"]
    change(firm.policies)
    act("push")
    assert act("rollback", "1")["version"]["hash"] == first == head(firm, org).about.hash
    assert act("rollback", "3")["changed"] is False
    gone = act("withdraw")
    assert (gone["in_force"], gone["hash_before"], gone["version"]["what"]) == (None, first, "withdraw")
    assert head(firm, org).files == {}
    assert act("withdraw")["changed"] is False
    assert act("rollback", "2")["in_force"] == 5


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["rollback", "7"], 2, "there is no version 7"),
        (["rollback", "2"], 2, "version 2 withdrew what was pushed"),
        (["rollback", "none"], 2, "VERSION"),
        (["push", "{policies}/legal.yaml"], 2, "is one file, and a version is all of them"),
        (["push", "ledger:acme"], 2, "names no files"),
        (["push", "{policies}/none"], 3, "no such file or folder"),
        (["pull", "{policies}"], 1, "no policies are pushed"),
    ],
)
def test_what_cannot_be_meant(run, firm, act, arguments, code, told):
    """A message that says what to do, the right exit code, and no new version."""
    act("push")
    act("withdraw")
    words = [word.format(policies=firm.policies) for word in arguments]
    rest = ["--yes"] if words[0] == "pull" else WHY
    said = run("policy", *words, *rest, *firm.options, "--json")
    assert (said.code, told in said.json["error"]["message"]) == (code, True), said.err
    assert len(run("policy", "versions", *firm.options, "--json").json["versions"]) == 2


def test_a_push_is_checked_first(run, firm, org):
    """A mistake in a file, or a model without a price, is exit code 3 with its place; nothing is pushed.

    What needs no file but the organization's name says how to name it.
    """
    file = firm.policies / "engineering.yaml"
    for old, new in (("claude-opus-5-5", "claude-opus-9"), ("window: month", "windw: month")):
        file.write_text(file.read_text().replace(old, new))
        said = run("policy", "push", *WHY, *firm.options)
        assert (said.code, said.out) == (3, "")
        assert said.err.startswith(f"{firm.policies}/engineering.yaml:")
    assert head(firm, org) is None
    told = run("policy", "versions", *firm.options)
    assert (told.code, "add --policies ledger:NAME" in told.err) == (3, True)
    assert run("policy", "versions", "--policies", f"ledger:{org}", "--ledger", firm.ledger).code == 0


def test_files_too_long_for_a_version_are_refused(run, firm):
    """With how long they may be, and no traceback."""
    for name in ("a", "b"):
        text = (firm.policies / "legal.yaml").read_text().replace("legal", name)
        (firm.policies / f"{name}.yaml").write_text(text + "#" * 600_000)
    said = run("policy", "push", *WHY, *firm.options)
    assert (said.code, "bytes, and a version 1,048,576 at most" in said.err) == (1, True)


def test_every_change_is_asked_for(run, firm, act, terminal):
    """Without a terminal `--yes` is needed; a no changes nothing; the question names both hashes."""
    act("push")
    old, new = load(firm.policies).hash, change(firm.policies)
    for verb in (["push"], ["withdraw"]):
        said = run("policy", *verb, *QUICK, *firm.options)
        assert (said.code, "add --yes" in said.err) == (2, True)
    said = terminal("policy", "push", *QUICK, *firm.options, typed="n\n")
    assert (said.code, "nothing was changed" in said.err) == (1, True)
    assert f"Hash {new}; in force now: version 1, hash {old}, by ada." in said.err
    assert terminal("policy", "push", *QUICK, *firm.options, typed="y\n").code == 0
    assert terminal("policy", "rollback", "1", *QUICK, *firm.options, typed="n\n").code == 1


def test_a_push_that_was_overtaken_says_by_whom(run, firm, org, act, monkeypatch):
    """Somebody who pushes while the question is open is named, and their version stays."""
    act("push")
    change(firm.policies)

    def slow_answer(*_, **__):
        ledger = open_ledger(firm.ledger, org)
        record = '{"actor":"grace","reason":"in a hurry"}'
        ledger.execute(c.PushPolicies("hers", 1, {"legal.yaml": "hers"}, "abc", record))
        ledger.close()

    monkeypatch.setattr(policy_push, "confirm", slow_answer)
    said = run("policy", "push", *QUICK, *firm.options)
    assert (
        said.code,
        "grace made version 2 (push: in a hurry) meanwhile: nothing was changed" in said.err,
    ) == (
        1,
        True,
    )
    assert head(firm, org).about.actor == "grace"


def test_pull_writes_the_files(run, firm, act, tmp_path):
    """Into a new folder as they were; where nothing differs it writes nothing."""
    act("push")
    folder = tmp_path / "deep" / "copy"
    options = ["--policies", f"ledger:{load(firm.policies).organization}", "--ledger", firm.ledger]
    done = run("policy", "pull", str(folder), *options, "--json").json
    assert sorted(done["written"]) == sorted(file.name for file in folder.iterdir())
    assert load(folder).hash == load(firm.policies).hash == done["hash"]
    assert run("policy", "pull", str(folder), *options, "--json").json["written"] == []


def test_pull_overwrites_only_when_told(run, firm, act):
    """A file that differs is asked for by name; others in the folder are left alone, and named."""
    act("push")
    pushed = load(firm.policies).hash
    change(firm.policies)
    mine = (firm.policies / "legal.yaml").read_text().replace("legal", "mine")
    (firm.policies / "mine.yaml").write_text(mine)
    said = run("policy", "pull", str(firm.policies), *firm.options)
    assert (said.code, "Overwrite engineering.yaml in" in said.err) == (2, True)
    assert load(firm.policies).hash != pushed
    said = run("policy", "pull", str(firm.policies), *firm.options, "--yes")
    assert (said.code, "engineering.yaml written" in said.out) == (0, True)
    assert f"{firm.policies}/mine.yaml is no file of version 1: it was left alone" in said.err
    (firm.policies / "mine.yaml").unlink()
    assert load(firm.policies).hash == pushed


def test_pull_writes_no_name_that_leads_out(run, firm, org, act, tmp_path):
    """Whatever a ledger says, nothing is written outside of the folder, or at all."""
    ledger = open_ledger(firm.ledger, org)
    ledger.execute(c.PushPolicies("odd", 0, {"a.yaml": "x", "../b.yaml": "x"}, "abc"))
    ledger.close()
    said = run("policy", "pull", str(tmp_path / "copy"), *firm.options, "--yes")
    assert (said.code, "'../b.yaml', no name of a policy file: nothing was written" in said.err) == (1, True)
    assert not (tmp_path / "copy").exists()


def test_pull_into_what_is_no_folder_is_a_failure(run, firm, act, tmp_path):
    """With what to do, and no traceback."""
    act("push")
    (tmp_path / "file").write_text("x")
    said = run("policy", "pull", str(tmp_path / "file" / "deep"), *firm.options, "--yes")
    assert said.code == 1
    assert str(tmp_path / "file") in said.err


def test_commands_work_on_what_was_pushed(run, firm, act):
    """And say so in one line on stderr; an organisation without files is named by `ledger:NAME`."""
    act("push")
    organization = load(firm.policies).organization
    change(firm.policies, "usd: 1,", "usd: 7,")
    said = run("budget", "show", "department=engineering/usd/month", *firm.options, "--json")
    assert said.json["limit"] == 10**9
    assert said.err.startswith("policy version 1 (push, ")
    assert said.err.endswith(f", by ada) is in force, and not {firm.policies}\n")
    only = ["--policies", f"ledger:{organization}", "--ledger", firm.ledger]
    assert run("budget", "show", "department=engineering/usd/month", *only, "--json").json == said.json
    act("withdraw")
    said = run("budget", "show", "department=engineering/usd/month", *firm.options, "--json")
    assert (said.json["limit"], said.err) == (7 * 10**9, "")
    assert run("policy", "check", *only[:2]).code == 2


def test_commands_fall_back_on_files_where_a_version_cannot_be_read(run, firm, org):
    """What is wrong is said, and a freeze, say, is still possible."""
    ledger = open_ledger(firm.ledger, org)
    ledger.execute(c.PushPolicies("newer", 0, {"legal.yaml": "version: 9\ndepartment: legal\n"}, "abc"))
    ledger.close()
    said = run("budget", "list", *firm.options)
    assert said.code == 0
    assert "policy version 1 (push, abc, by nobody named) cannot be read by this release" in said.err
    assert f"ledger:{org}@1/legal.yaml:1:10: " in said.err


def test_the_doctor_looks_at_what_was_pushed(run, firm, org, act, monkeypatch):
    """In force, not to be read, or nothing where there are no files: each is told from the others."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    only = ["--policies", f"ledger:{org}", "--ledger", firm.ledger]
    said = run("doctor", *only)
    assert (said.code, "nothing is pushed: every call is refused" in said.out) == (1, True)
    act("push")
    for options in (only, firm.options):
        said = run("doctor", *options)
        assert (said.code, ", by ada) is in force, in place of files" in said.out) == (0, True)
    ledger = open_ledger(firm.ledger, org)
    ledger.execute(c.PushPolicies("newer", 1, {"legal.yaml": "version: 9\ndepartment: legal\n"}, "abc"))
    ledger.close()
    said = run("doctor", *firm.options)
    assert (said.code, "or `governor policy rollback VERSION`" in said.out) == (1, True)


def test_why_tells_of_a_push(run, firm, act):
    """By its id: which version, who and why."""
    made = act("push")["version"]
    said = run("why", made["id"], *firm.options)
    assert f"UTC  policy version 1 (push, {made['hash']}) by ada: a test" in said.out
    (told,) = run("why", made["id"], *firm.options, "--json").json["policies"]
    assert (told["version"], told["what"], told["reason"]) == (1, "push", "a test")


def test_a_rebuild_says_what_to_push_again(run, firm, org, act, tmp_path):
    """The journal has the hash of what was pushed and not its files: the report names it."""
    act("push")
    where = str(tmp_path / "journal.jsonl")
    assert run("ledger", "archive", where, *firm.options).code == 0
    told = f"policies were pushed (version 1, hash {load(firm.policies).hash}): push them again"
    dry = run("ledger", "rebuild", where, f"sqlite:///{tmp_path}/new.db", *firm.options, "--dry-run")
    assert told in dry.out
    url = f"sqlite:///{tmp_path}/new.db"
    done = run("ledger", "rebuild", where, url, *firm.options, "--json").json
    assert done["policies_to_push"] == {"version": 1, "hash": load(firm.policies).hash}
    assert done["not_replayed"] == {}
    act("withdraw")
    assert run("ledger", "archive", where, *firm.options).code == 0
    done = run("ledger", "rebuild", where, f"sqlite:///{tmp_path}/newer.db", *firm.options, "--json").json
    assert done["policies_to_push"] is None


def test_a_store_that_is_no_ledger_takes_no_push(run, policies, tmp_path):
    """It is not made by a push: the message says how."""
    said = run("policy", "push", str(policies), *WHY, "--ledger", f"sqlite:///{tmp_path}/none.db")
    assert (said.code, "governor ledger create" in said.err) == (1, True)
    assert not (tmp_path / "none.db").exists()

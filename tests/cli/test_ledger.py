"""`governor ledger create`, `governor holds` and `governor doctor`."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.redis_server import RedisServer

from governor.budgets import Unit
from governor.journal.owed import head_line, owe_line
from governor.journal.spool import Spool
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.ledger.keys import Keys
from governor.ledger.recovery import REBUILDING, BeginRestore
from governor.policy import load as load_policies
from governor.story.effects import Owe

DATA = Path(__file__).parent.parent / "data"
LEGAL = c.BudgetRow("department=legal/usd/life", "life", 0, 0, Unit.USD, 6 * 10**9)


def acme(tmp_path):
    """A folder of policies of the organisation `acme`."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "organization.yaml").write_text("version: 1\norganization: acme\n")
    (folder / "legal.yaml").write_text(
        "version: 1\ndepartment: legal\nbudgets: [{per: department, usd: 6, window: life}]\n"
        "routing: {lines: {haiku: claude-haiku-5-5}}\n"
    )
    return folder


def hold(url, org, identifier, *, ago_ms):
    """Hold $1.00 of legal's for a minute, that long ago."""
    now = open_ledger(url, org, create=True)
    now_ms = now.execute(c.Read(())).now_ms
    now.close()
    past = open_ledger(url, org, clock=lambda: now_ms - ago_ms)
    past.execute(c.Reserve(identifier, (LEGAL,), ((c.Ask(10**9),),), 60_000))
    past.close()


@pytest.fixture(params=["sqlite", "redis"])
def url(request, tmp_path):
    """A ledger's URL; nothing is there yet."""
    if request.param == "redis":
        return request.getfixturevalue("redis_server").url
    return f"sqlite:///{tmp_path}/governor.db"


def test_create_makes_a_ledger_once(run, policies, url):
    """The first time it is made; again it is left as it is, with its epoch."""
    first = run("ledger", "create", url, "--policies", str(policies), "--json").json
    second = run("ledger", "create", url, "--policies", str(policies), "--json").json
    assert (first["created"], second["created"]) == (True, False)
    assert first["epoch"] == second["epoch"]


def test_a_ledger_that_was_never_created_is_not_made_by_reading(run, policies, url, tmp_path):
    """Listing budgets of no ledger is a failure that says how to make one, and makes none."""
    said = run("budget", "list", "--policies", str(policies), "--ledger", url)
    assert said.code == 1
    assert "governor ledger create" in said.err
    assert list(tmp_path.glob("*.db")) == []


def test_holds_are_listed_and_the_overdue_ones_reaped(run, policies, url, org):
    """A hold in flight is left alone; one whose time is over is expired and charged."""
    hold(url, org, "overdue", ago_ms=3_600_000)
    hold(url, org, "in-flight", ago_ms=0)
    options = ["--policies", str(policies), "--ledger", url]
    listed = run("holds", "list", *options, "--json").json["holds"]
    assert [(one["id"], one["overdue"]) for one in listed] == [("overdue", True), ("in-flight", False)]
    assert "overdue" in run("holds", "list", *options).out
    assert run("holds", "reap", *options, "--json").json["expired"] == ["overdue"]
    assert run("holds", "reap", *options, "--json").json["expired"] == []
    legal = run("budget", "list", *options, "--department", "legal", "--json").json["budgets"][0]
    assert (legal["posted"], legal["held"]) == (10**9, 10**9)


def test_more_overdue_holds_than_one_command_takes(run, policies, url, org):
    """Every overdue hold is reaped, however many there are."""
    for number in range(c.DUE_PER_REPLY // 2 + 1):
        hold(url, org, f"one-{number}", ago_ms=3_600_000)
        reserve_small(url, org, f"two-{number}")
    options = ["--policies", str(policies), "--ledger", url]
    assert len(run("holds", "reap", *options, "--json").json["expired"]) > c.DUE_PER_REPLY
    assert run("holds", "list", *options, "--json").json["holds"] == []


def reserve_small(url, org, identifier):
    past = open_ledger(url, org, clock=lambda: 1_000_000)
    past.execute(c.Reserve(identifier, (LEGAL,), ((c.Ask(1),),), 60_000))
    past.close()


@pytest.fixture
def key(monkeypatch):
    """An API key in the environment."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    return "sk-ant-secret"


def test_doctor_is_content(run, firm, key):
    """With a key, right files and a ledger nothing is wrong; the key is never printed."""
    said = run("doctor", *firm.options)
    assert said.code == 0, said.out
    assert "✗" not in said.out
    assert key not in said.out
    report = run("doctor", *firm.options, "--json").json
    assert report["ok"] is True
    about = {finding["about"] for finding in report["findings"]}
    assert about == {
        "python",
        "packages",
        "key",
        "prices",
        "policies",
        "models",
        "ledger",
        "clock",
        "holds",
        "journal",
        "usage",
    }


def wrong(said):
    """What the doctor found wrong."""
    assert said.code == 1
    return {finding["about"]: finding for finding in said.json["findings"] if finding["state"] == "wrong"}


def test_doctor_misses_the_key(run, policies, url, monkeypatch, tmp_path):
    """Without any credentials it says what to set."""
    for name in [name for name in os.environ if name.startswith("ANTHROPIC_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    run("ledger", "create", url, "--policies", str(policies))
    found = wrong(run("doctor", "--policies", str(policies), "--ledger", url, "--json"))
    assert set(found) == {"key"}
    assert "ANTHROPIC_API_KEY" in found["key"]["advice"]


def test_doctor_finds_missing_things(run, tmp_path, policies, key):
    """Missing policies and a ledger that was never made are each found, with what to do."""
    assert set(wrong(run("doctor", "--policies", str(tmp_path / "none"), "--json"))) == {"policies"}
    ledger = f"sqlite:///{tmp_path}/none.db"
    found = wrong(run("doctor", "--policies", str(policies), "--ledger", ledger, "--json"))
    assert set(found) == {"ledger"}
    assert "governor ledger create" in found["ledger"]["advice"]


def test_doctor_finds_a_spool_that_cannot_be_written(run, firm, key, tmp_path, monkeypatch):
    """Where a department may go on without its ledger, a place to write that down is needed."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GOVERNOR_SPOOL", str(tmp_path / "file"))
    assert run("doctor", *firm.options, "--json").code == 0
    legal = firm.policies / "legal.yaml"
    legal.write_text(legal.read_text() + "if_ledger_is_down: allow\n")
    assert "GOVERNOR_SPOOL" in wrong(run("doctor", *firm.options, "--json"))["spool"]["advice"]


def test_doctor_looks_into_the_spool(run, firm, key, tmp_path, monkeypatch):
    """What lies in the spool is told: of processes that run, of those that ended, and what cannot be read."""
    monkeypatch.setenv("GOVERNOR_SPOOL", str(tmp_path / "spool"))
    organization = load_policies(firm.policies).organization
    alive = Spool(tmp_path / "spool", organization, "redis://here")
    alive.carry_out(Owe(c.Settle("one", ())))
    ended = tmp_path / "spool" / organization / "abc.1.def.jsonl"
    ended.parent.mkdir(parents=True, exist_ok=True)
    ended.write_text(f"{head_line('redis://there', 1)}\n{owe_line(c.Release('two', ()))}\nhalf a li")
    report = run("doctor", *firm.options, "--json").json
    alive.close()
    found = [finding for finding in report["findings"] if finding["about"] == "spool"]
    texts = {finding["text"].partition(": ")[2]: finding["advice"] for finding in found}
    assert texts["a process that runs has 1 ends of calls or leases to tell to redis://here"] == ""
    assert (
        "next process" in texts["a process that ended has 1 ends of calls or leases to tell to redis://there"]
    )
    assert [one["text"] for one in found if one["state"] == "wrong"] == [
        f"{ended} has 1 lines that cannot be read"
    ]


def test_doctor_refuses_a_redis_that_evicts(run, policies, key, redis_available):
    """A server that may forget spend is wrong, and the advice names the setting."""
    with RedisServer(maxmemory="64mb", maxmemory_policy="allkeys-lru") as server:
        client = server.client()
        client.config_set("maxmemory-policy", "noeviction")
        run("ledger", "create", server.url, "--policies", str(policies))
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.close()
        found = wrong(run("doctor", "--policies", str(policies), "--ledger", server.url, "--json"))
    assert "maxmemory-policy" in found["ledger"]["text"]


def test_doctor_looks_at_the_models(run, policies, key, url):
    """A line whose model has no price, or has retired, is wrong; overdue holds are worth a note."""
    file = policies / "engineering.yaml"
    text = file.read_text().replace("claude-opus-5-5", "claude-mythos-preview")
    file.write_text(text.replace("claude-sonnet-5-5", "claude-sonnet-99"))
    run("ledger", "create", url, "--policies", str(policies))
    said = run("doctor", "--policies", str(policies), "--ledger", url)
    assert said.code == 1
    assert "claude-mythos-preview retired on 2026-06-30" in said.out
    assert "claude-sonnet-99 has no price" in said.out


def test_doctor_notes_overdue_holds(run, policies, key, url, org):
    """Holds that nobody expired are a note with the command that does it, not a fault."""
    hold(url, org, "overdue", ago_ms=3_600_000)
    said = run("doctor", "--policies", str(policies), "--ledger", url)
    assert said.code == 0
    assert "1 of 1 open holds are overdue" in said.out
    assert "governor holds reap" in said.out


def test_migrate_brings_an_old_ledger_to_this_release(run, tmp_path):
    """Refused before, looked at without a change, then migrated once; what it holds is there."""
    folder = acme(tmp_path)
    with closing(sqlite3.connect(tmp_path / "old.db")) as database:
        database.executescript((DATA / "ledger_schema_1.sql").read_text("utf-8"))
    options = ["--policies", str(folder), "--ledger", f"sqlite:///{tmp_path}/old.db"]
    assert "governor ledger migrate" in run("budget", "list", *options).err
    looked = run("ledger", "migrate", *options, "--dry-run", "--json").json
    assert (looked["from"], looked["schema"], looked["dry_run"]) == (1, 1, True)
    assert "from schema 1 to 2" in run("ledger", "migrate", *options).out
    assert "is of schema 2 already" in run("ledger", "migrate", *options).out
    assert len(run("holds", "list", *options, "--json").json["holds"]) == 3
    shown = run("budget", "show", "department=eng/user=ada@example.com/usd/month", *options).out
    assert "granted $0.00000004" in shown


def test_what_was_changed_before_a_migration_is_unsure_after_a_loss(run, tmp_path):
    """Records of layout 1 do not say all of a change: its budget is named, and frozen if asked."""
    folder = acme(tmp_path)
    with closing(sqlite3.connect(tmp_path / "old.db")) as database:
        database.executescript((DATA / "ledger_schema_1.sql").read_text("utf-8"))
    options = ["--policies", str(folder), "--ledger", f"sqlite:///{tmp_path}/old.db"]
    run("ledger", "migrate", *options)
    run("ledger", "archive", str(tmp_path / "a.jsonl"), *options)
    options[-1] = f"sqlite:///{tmp_path}/new.db"
    done = run("ledger", "rebuild", str(tmp_path / "a.jsonl"), *options, "--freeze-unsure", "--json").json
    unsure = {one["identity"] for one in done["unsure"] if "granted, set or frozen" in one["why"]}
    assert {"department=eng/concurrent/life", "department=eng/usd/month"} <= unsure
    with closing(open_ledger(options[-1], "acme")) as ledger:
        row = c.BudgetRow("department=eng/concurrent/life", "life", 0, 0, Unit.CONCURRENT, 5)
        assert "rebuilt after a loss" in str(ledger.execute(c.Read((row,))).balances[0].frozen)


def test_migrate_moves_every_key_of_a_redis_ledger(run, tmp_path, redis_server):
    """With the number of keys it moved; where there is no ledger it says so."""
    folder = acme(tmp_path)
    with redis_server.client() as client:
        for left in client.scan_iter("gov:*:{acme}:*"):
            client.delete(left)
        nothing = run("ledger", "migrate", redis_server.url, "--policies", str(folder))
        for key in ("meta", "admin"):
            kept = json.loads((DATA / "ledger_schema_1.json").read_text("utf-8"))[f"gov:1:{{acme}}:{key}"]
            client.hset(f"gov:1:{{acme}}:{key}", mapping=kept["value"])
    assert (nothing.code, "there is nothing to migrate" in nothing.err) == (2, True)
    said = run("ledger", "migrate", redis_server.url, "--policies", str(folder))
    assert "was migrated from schema 1 to 2 (1 keys)" in said.out


def test_migrate_makes_no_ledger_of_an_empty_file(run, tmp_path):
    """Neither of one without a byte nor of a database without a table: there is nothing to migrate."""
    folder = acme(tmp_path)
    (tmp_path / "empty.db").touch()
    with closing(sqlite3.connect(tmp_path / "blank.db")) as database:
        database.execute("VACUUM")
        database.executescript("CREATE TABLE x (a); DROP TABLE x")
    for name in ("empty", "blank", "missing"):
        path = tmp_path / f"{name}.db"
        before = path.exists() and path.read_bytes()
        said = run("ledger", "migrate", f"sqlite:///{path}", "--policies", str(folder))
        assert (said.code, "there is nothing to migrate" in said.err) == (2, True)
        assert (path.exists() and path.read_bytes()) == before


@pytest.mark.parametrize("command", ["create", "migrate"])
def test_a_ledger_under_rebuild_is_no_ledger_yet(run, policies, url, org, command):
    """It is named as what it is, with what to do, and left alone."""
    ledger = open_ledger(url, org)
    ledger.execute(BeginRestore("epoch-2", "epoch-1/7"))
    said = run("ledger", command, url, "--policies", str(policies), "--json")
    assert said.code == 1
    assert "is being rebuilt: wait until `governor ledger rebuild` has ended" in said.json["error"]["message"]
    assert ledger.execute(c.Inspect()).schema == REBUILDING
    ledger.close()


@pytest.mark.parametrize("command", ["create", "migrate"])
def test_a_ledger_of_a_later_release_is_left_alone(run, policies, redis_server, org, command):
    """Its number is said as it is."""
    with redis_server.client() as client:
        client.hset(Keys(org).meta, mapping={"schema": "12", "epoch": "later"})
    said = run("ledger", command, redis_server.url, "--policies", str(policies))
    assert said.code == 1
    assert "has ledger schema 12, this release knows 2: use the release that wrote it" in said.err

"""`governor ledger archive`, `governor ledger rebuild`, and what `governor doctor` says of both."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import redis
from support.told import reserve

from governor.budgets import Unit
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.ledger.recovery import BeginRestore


@pytest.fixture
def key(monkeypatch):
    """An API key in the environment."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")


@pytest.fixture(params=["lines", "sql"])
def where(request, tmp_path):
    """An archive that is not there yet."""
    return {"lines": f"file://{tmp_path}/journal.jsonl", "sql": f"sqlite:///{tmp_path}/archive.db"}[
        request.param
    ]


def lose(firm, org, tmp_path):
    """Empty the store."""
    if firm.ledger.startswith("redis"):
        with redis.Redis.from_url(firm.ledger) as client:
            for name in client.scan_iter(f"gov:2:{{{org}}}:*"):
                client.delete(name)
    else:
        for file in tmp_path.glob("governor.db*"):
            file.unlink()


def listed(run, firm):
    """What is spent of each budget."""
    found = run("budget", "list", *firm.options, "--json").json["budgets"]
    return {(one["identity"], one["window"]): one["posted"] for one in found}


def test_a_lost_ledger_is_found_and_rebuilt(run, firm, org, tmp_path, where, key):
    """Archive, lose, look, rebuild: every budget is as it was, and the doctor content."""
    assert run("ledger", "archive", where, *firm.options).code == 0
    assert run("ledger", "archive", where, *firm.options, "--json").json["added"] == 0
    before = listed(run, firm)
    lose(firm, org, tmp_path)
    found = run("doctor", *firm.options, "--archive", where, "--json").json["findings"]
    ledger = next(one for one in found if one["about"] == "ledger")
    assert ledger["state"] == "wrong"
    assert "emptied or never created" in ledger["text"]
    assert "governor ledger rebuild" in ledger["advice"]
    assert "governor ledger create" in ledger["advice"]
    assert "the last record is of" in next(one for one in found if one["about"] == "archive")["text"]
    dry = run("ledger", "rebuild", where, firm.ledger, *firm.options, "--dry-run", "--json").json
    assert (dry["state"], dry["epoch"]) == ("dry run", None)
    assert run("budget", "list", *firm.options).code == 1
    done = run("ledger", "rebuild", where, firm.ledger, "--policies", str(firm.policies), "--json").json
    assert done["state"] == "begun"
    assert done["records"] == dry["records"] > 5
    assert listed(run, firm) == before
    assert run("ledger", "rebuild", where, *firm.options, "--json").json["state"] == "done"
    run("ledger", "archive", where, *firm.options)
    said = run("doctor", *firm.options, "--archive", where)
    assert said.code == 0, said.out
    assert "the newest archived" in said.out


@pytest.fixture
def dollar():
    """A budget of legal's."""
    return c.BudgetRow("department=legal/usd/life", "life", 0, 0, Unit.USD, 6 * 10**9)


def test_an_open_call_is_charged_reported_and_its_budgets_frozen(run, firm, org, tmp_path, where, dollar):
    """The report names it, its amounts, the lag, and what was frozen until when."""
    ledger = open_ledger(firm.ledger, org)
    ledger.execute(reserve("in-flight", (dollar, 10**9)))
    now_ms = ledger.execute(c.Inspect()).now_ms
    ledger.close()
    run("ledger", "archive", where, *firm.options)
    lose(firm, org, tmp_path)
    lost_at = (datetime.fromtimestamp(now_ms / 1000, UTC) + timedelta(hours=1)).isoformat()
    options = [where, *firm.options, "--lost-at", lost_at, "--freeze-unsure"]
    told = run("ledger", "rebuild", *options, "--dry-run").out
    assert "would be rebuilt; nothing was changed" in told
    assert "in-flight: $1.00 of department=legal/usd/life" in told
    assert "0:59:59" in told or "1:00:00" in told
    done = run("ledger", "rebuild", *options, "--json").json
    budget = {"identity": dollar.identity, "window": "life", "amount": 10**9}
    assert [(hold["id"], hold["budgets"]) for hold in done["charged"]] == [("in-flight", [budget])]
    unsure = {one["identity"]: one["why"] for one in done["unsure"]}
    assert "in flight" in unsure[dollar.identity]
    legal = run("budget", "list", *firm.options, "--department", "legal", "--json").json["budgets"]
    shown = next(one for one in legal if one["identity"] == dollar.identity)
    assert (shown["posted"], shown["held"]) == (10**9, 0)
    assert "rebuilt after a loss" in shown["frozen"]


def test_budgets_it_is_unsure_of_can_be_frozen_afterwards(run, firm, org, tmp_path, where, dollar):
    """Also after they were unfrozen: what is said to be frozen is, and each freeze is journalled once."""
    ledger = open_ledger(firm.ledger, org)
    ledger.execute(reserve("in-flight", (dollar, 10**9)))
    ledger.close()
    run("ledger", "archive", where, *firm.options)
    lose(firm, org, tmp_path)

    def freezes():
        shown = run("budget", "show", dollar.identity, *firm.options, "--json").json
        return shown["frozen"], [one["kind"] for one in shown["changes"]]

    run("ledger", "rebuild", where, *firm.options)
    assert freezes() == (None, [])
    for _ in range(2):
        told = run("ledger", "rebuild", where, *firm.options, "--freeze-unsure").out
        assert "had been rebuilt from this archive already: its balances were left as they are" in told
        assert "unsure of (frozen)" in told
        frozen, kinds = freezes()
        assert (frozen is not None, kinds) == (True, ["freeze"])
    run("budget", "unfreeze", dollar.identity, *firm.options)
    run("ledger", "rebuild", where, *firm.options, "--freeze-unsure")
    frozen, kinds = freezes()
    assert (frozen is not None, kinds) == (True, ["freeze", "unfreeze", "freeze"])


def test_trimming_leaves_what_is_young(run, firm, where):
    """What is archived and older than --keep goes; by default nothing of today's does."""
    first = run("ledger", "archive", where, *firm.options, "--trim", "--json").json
    assert first["trimmed"] == 0
    assert first["added"] > 5
    assert run("why", "first", *firm.options).code == 0
    told = run("ledger", "archive", where, *firm.options, "--trim", "--keep", "0s")
    assert "records removed from the ledger" in told.out
    assert run("why", "first", *firm.options).code == 1
    again = run("ledger", "archive", where, *firm.options, "--trim", "--keep", "0s", "--json").json
    assert (again["added"], again["trimmed"] <= 1) == (0, True)
    assert listed(run, firm)


def test_a_used_ledger_is_not_rebuilt(run, firm, where):
    """A store with balances is refused, and says why."""
    run("ledger", "archive", where, *firm.options)
    said = run("ledger", "rebuild", where, *firm.options)
    assert said.code == 1
    assert "in use" in said.err


@pytest.mark.parametrize("lost_at", ["2020-01-01", "1970-01-01", "0001-01-01T00:00:00+23:00"])
def test_a_loss_before_the_archive_s_end_is_refused(run, firm, where, lost_at):
    """A mistyped instant would hide what may be missing."""
    run("ledger", "archive", where, *firm.options)
    said = run("ledger", "rebuild", where, *firm.options, "--lost-at", lost_at, "--dry-run")
    assert said.code == 2
    assert "before the archive's last record" in said.err


def test_a_new_archive_of_a_trimmed_ledger_is_refused(run, firm, where, tmp_path):
    """It would begin in the middle, and a rebuild from it would restore a part without a word."""
    run("ledger", "archive", where, *firm.options, "--trim", "--keep", "0s")
    said = run("ledger", "archive", str(tmp_path / "another.jsonl"), *firm.options)
    assert said.code == 1
    assert "would begin in the middle" in said.err


def test_a_gap_of_the_archive_is_told_and_its_budgets_frozen(run, firm, org, tmp_path):
    """A line that is missing in the middle: between which records, and that what it did is not restored."""
    path = tmp_path / "journal.jsonl"
    run("ledger", "archive", str(path), *firm.options)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]))
    lose(firm, org, tmp_path)
    rebuild = ["ledger", "rebuild", str(path), *firm.options]
    places = [f"{row['epoch']}/{row['seq']}" for row in map(json.loads, lines)]
    told = run(*rebuild, "--dry-run").out
    assert f"the archive has a gap: records after {places[1]} of" in told
    assert f"before {places[3]} of" in told
    done = run(*rebuild, "--freeze-unsure", "--json").json
    (gap,) = done["gaps"]
    assert (gap["after"]["seq"], gap["before"]["seq"]) == tuple(places[n].partition("/")[2] for n in (1, 3))
    budgets = run("budget", "list", *firm.options, "--json").json["budgets"]
    assert all("records are missing in the archive" in one["frozen"] for one in budgets if one["posted"])


def test_an_archive_that_cannot_be_written_is_an_error_though_nothing_is_new(run, firm, tmp_path):
    """It is said while the ledger still has everything."""
    run("ledger", "archive", f"sqlite:///{tmp_path}/archive.db", *firm.options)
    read_only = f"sqlite:///file:{tmp_path}/archive.db?mode=ro&uri=true"
    said = run("ledger", "archive", read_only, *firm.options)
    assert said.code == 1
    assert "cannot be used: attempt to write a readonly database" in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["archive", "x.jsonl", "--keep", "soon"], "7d, 12h"),
        (["rebuild", "x.jsonl", "--lost-at", "noon"], "ISO instant"),
    ],
)
def test_an_option_that_cannot_be_meant_is_a_usage_error(run, policies, tmp_path, arguments, message):
    """It says what to write instead."""
    said = run("ledger", *arguments, "--policies", str(policies), "--ledger", f"sqlite:///{tmp_path}/g.db")
    assert said.code == 2
    assert message in said.err


def test_a_missing_archive_is_told(run, policies, tmp_path):
    """A file that is not there is an error with its name; with --json it is an object."""
    options = ["--policies", str(policies), "--ledger", f"sqlite:///{tmp_path}/g.db", "--json"]
    said = run("ledger", "rebuild", str(tmp_path / "none.jsonl"), *options)
    assert said.code == 1
    assert json.loads(said.out)["error"]["type"] == "ArchiveError"
    assert "none.jsonl" in said.err
    assert not (tmp_path / "g.db").exists()


def test_doctor_notes_what_is_not_archived(run, firm, where, key, tmp_path):
    """An archive that lags, has nothing of this ledger, or cannot be read is told apart."""
    none = run("doctor", *firm.options, "--archive", where)
    assert "has no record of this ledger" in none.out
    run("ledger", "archive", where, *firm.options)
    run("budget", "freeze", "department=legal/usd/life", "--reason", "audit", "--yes", *firm.options)
    behind = run("doctor", *firm.options, "--archive", where)
    assert behind.code == 0
    assert "the newest not archived" in behind.out
    assert "`governor ledger archive" in behind.out
    bad = run("doctor", *firm.options, "--archive", "redis://localhost")
    assert bad.code == 1
    assert "is no archive" in bad.out


def test_doctor_finds_an_unfinished_rebuild(run, firm, org, tmp_path, key):
    """A store between a rebuild's first and last command is wrong, with what to do."""
    lose(firm, org, tmp_path)
    ledger = open_ledger(firm.ledger, org)
    ledger.execute(BeginRestore("epoch-2", "epoch-1/7"))
    ledger.close()
    said = run("doctor", *firm.options)
    assert said.code == 1
    assert "is being rebuilt" in said.out
    assert "is being rebuilt" in run("budget", "list", *firm.options).err

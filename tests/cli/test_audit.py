"""`governor audit verify` and `governor audit export`: what they say of an archive, touched and untouched."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
import stat
import threading

import pytest
from support import tampering

from governor import Governor
from governor.testing import FakeClaude, Reply


@pytest.fixture
def archive(firm, run, tmp_path):
    """The firm's archive in SQLite, brought up to date."""
    url = f"sqlite:///{tmp_path}/kept.db"
    assert run("ledger", "archive", url, *firm.options).code == 0
    return url


def touch(archive, query):
    """Change an archive behind everybody's back."""
    with sqlite3.connect(archive.removeprefix("sqlite:///")) as connection:
        assert connection.execute(query).rowcount == 1
    connection.close()


def test_an_archive_that_nobody_touched_is_as_it_was_written(firm, run, archive):
    """Exit code 0, the head to be noted, and with it given back the same."""
    said = run("audit", "verify", "--archive", archive, *firm.options, "--json")
    assert said.code == 0
    assert said.json["intact"]
    assert said.json["calls"] == 3
    head = said.json["heads"][0]["head"]
    told = run("audit", "verify", "--archive", archive, "--head", head, *firm.options)
    assert told.code == 0
    assert f"head  {head}" in told.out
    assert "as it was written" in told.out


def test_a_changed_amount_is_named(firm, run, archive):
    """Exit code 1; the record, its id and what is wrong; likewise of a row that was made from records."""
    touch(
        archive,
        "UPDATE governor_journal SET record = replace(record, '\"ada@', '\"eve@') "
        "WHERE id = 'second' AND kind = 'settle'",
    )
    touch(archive, "UPDATE governor_calls SET cost_nanos = 1 WHERE id = 'first'")
    said = run("audit", "verify", "--archive", archive, *firm.options)
    assert said.code == 1
    assert "second: it is not what was archived: its text was changed" in said.out
    assert "first: its `cost_nanos` is 1, the records say" in said.out


def test_whoever_cuts_off_the_end_and_mends_the_head_is_caught_by_a_noted_head(firm, run, archive):
    """The one thing that an archive cannot tell of itself."""
    head = run("audit", "verify", "--archive", archive, *firm.options, "--json").json["heads"][0]["head"]
    with sqlite3.connect(archive.removeprefix("sqlite:///")) as connection:
        last = connection.execute("SELECT max(place), max(place_minor) FROM governor_journal").fetchone()
        rows = connection.execute(
            "SELECT place, place_minor, seq, hash, id FROM governor_journal ORDER BY place, place_minor"
        ).fetchall()
        assert rows[-1][0] == last[0]
        connection.execute("DELETE FROM governor_journal WHERE seq = ?", (rows[-1][2],))
        connection.execute("DELETE FROM governor_calls WHERE id = ?", (rows[-1][4],))
        connection.execute(
            "UPDATE governor_heads SET seq = ?, hash = ?, records = records - 1", (rows[-2][2], rows[-2][3])
        )
    connection.close()
    blind = run("audit", "verify", "--archive", archive, *firm.options, "--json").json
    assert [one["kind"] for one in blind["faults"]] in ([], ["call"])
    said = run("audit", "verify", "--archive", archive, "--head", head, *firm.options, "--json")
    assert said.code == 1
    assert "missing" in [one["kind"] for one in said.json["faults"]]


def test_with_a_key_nobody_without_it_makes_the_chain_anew(firm, run, tmp_path, monkeypatch):
    """The archive was written with one: verified with it, refused without and with another."""
    url = f"sqlite:///{tmp_path}/keyed.db"
    monkeypatch.setenv("GOVERNOR_AUDIT_KEY", "correct horse")
    assert run("ledger", "archive", url, *firm.options).code == 0
    assert run("audit", "verify", "--archive", url, *firm.options, "--json").json["keyed"]
    for other in ("", "battery staple"):
        monkeypatch.setenv("GOVERNOR_AUDIT_KEY", other)
        said = run("audit", "verify", "--archive", url, *firm.options)
        assert said.code == 1
        assert "no record's hash holds: was it written with GOVERNOR_AUDIT_KEY" in said.out


def test_lines_of_an_older_release_are_said_to_be_unchained(firm, run, tmp_path):
    """They stay readable; what is appended to them is chained, and a hash taken away is seen."""
    path = tmp_path / "journal.jsonl"
    run("ledger", "archive", str(path), *firm.options)
    whole = [json.loads(line) for line in path.read_text().splitlines()]
    old = [{name: value for name, value in row.items() if name != "hash"} for row in whole]
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in old[:3]))
    assert run("ledger", "archive", str(path), *firm.options, "--json").json["added"] == len(whole) - 3
    said = run("audit", "verify", "--archive", str(path), *firm.options)
    assert said.code == 0, said.out
    assert "3 records have no hash" in said.err
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    del rows[4]["hash"]
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    said = run("audit", "verify", "--archive", str(path), *firm.options, "--json")
    assert said.code == 1
    assert rows[4]["seq"] in [one["seq"] for one in said.json["faults"]]


def test_no_archive_is_an_error_that_says_what_to_do(firm, run, tmp_path):
    """Nothing is made by looking for it."""
    there = f"sqlite:///{tmp_path}/nowhere.db"
    said = run("audit", "verify", "--archive", there, *firm.options)
    assert said.code == 1
    assert "there is no archive at" in said.err
    assert not (tmp_path / "nowhere.db").exists()
    wrong = run("audit", "verify", "--archive", there, "--head", "abc", *firm.options)
    assert wrong.code == 2
    assert "EPOCH/SEQ=HASH" in wrong.err


def test_an_export_has_every_call_exactly_and_the_hash_of_its_record(firm, run, archive):
    """JSON lines, in order, for the figures of the journal and the hashes of the archive."""
    said = run("audit", "export", "--archive", archive, *firm.options)
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [one["request_id"] for one in lines] == ["first", "second", "refused"]
    assert lines[2]["state"] == "blocked"
    assert lines[2]["violation"] == "exhausted"
    with sqlite3.connect(archive.removeprefix("sqlite:///")) as connection:
        query = (
            "SELECT id, epoch || '/' || seq, hash, record FROM governor_journal ORDER BY place, place_minor"
        )
        newest = {row[0]: row[1:] for row in connection.execute(query)}
    connection.close()
    for one in lines:
        seq, digest, record = newest[one["id"]]
        assert (one["record"], one["record_hash"]) == (seq, digest)
        assert one["cost_nanos"] == json.loads(record).get("cost_nanos", 0)
    assert run("audit", "export", "--archive", archive, "--run", "pr-7", *firm.options).out.count("\n") == 1
    assert run("audit", "export", "--archive", archive, "--user", "bob", *firm.options).out == ""
    late = run("audit", "export", "--archive", archive, "--from", "2999-01-01", *firm.options)
    assert late.out == ""


def test_a_csv_has_no_formula_and_appears_whole(policies, org, run, tmp_path):
    """A user's name that a spreadsheet would run has an apostrophe before it."""
    url = f"sqlite:///{tmp_path}/governor.db"
    with FakeClaude() as api:
        api.replies(lambda _: Reply(output_tokens=10))
        with Governor.load(policies, ledger=url, client=api.client(), create_ledger=True) as governor:
            question = [{"role": "user", "content": "Why?"}]
            governor.call(
                user='=HYPERLINK("x")',
                department="engineering",
                run="-1+1",
                max_tokens=50,
                messages=question,
                tags={"team": "a,b"},
            )
    where = tmp_path / "out.csv"
    options = ["--policies", str(policies), "--ledger", url]
    said = run("audit", "export", *options, "--format", "csv", "-o", str(where))
    assert said.code == 0, said.err
    rows = list(csv.DictReader(where.read_text().splitlines()))
    assert len(rows) == 1
    assert rows[0]["user"] == '\'=HYPERLINK("x")'
    assert rows[0]["run"] == "'-1+1"
    assert int(rows[0]["cost_nanos"]) > 0
    assert [path.name for path in tmp_path.glob("out.csv*")] == ["out.csv"]
    assert run("audit", "export", *options, "--format", "xml").code == 2
    assert run("audit", "export", *options, "-o", str(tmp_path / "no" / "x")).code == 1


def test_a_pruned_archive_is_as_it_was_written(run, policies, tmp_path):
    """Records, attribution, findings let go of by rule: nothing amiss; what is changed is still seen."""
    path = tmp_path / "archive.db"
    tampering.make(f"sqlite:///{path}")
    options = ["--policies", f"ledger:{tampering.ORGANIZATION}"]
    heads = run("audit", "verify", "--archive", f"sqlite:///{path}", *options, "--json").json["heads"]
    from governor.journal import retention
    from governor.journal.archive_sql import SqlArchive

    entries = tampering.lives()[0][1]
    middle = entries[len(entries) // 2].at_ms
    for cuts in (
        retention.Cuts(content=middle),
        retention.Cuts(content=middle, performance=middle),
        retention.Cuts(0, middle, middle, middle),
        retention.Cuts(middle, middle, middle, middle),
        retention.Cuts(*[entries[-1].at_ms + 1] * 4),
    ):
        books = SqlArchive(f"sqlite:///{path}", tampering.ORGANIZATION)
        retention.prune(books, cuts)
        books.close()
        noted = [text for head in heads for text in ("--head", head["head"])]
        said = run("audit", "verify", "--archive", f"sqlite:///{path}", *options, *noted, "--json")
        assert said.json["faults"] == [], cuts
        assert said.code == 0
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    touch(f"sqlite:///{copy}", "UPDATE governor_heads SET before_hash = 'x' WHERE epoch = 'first'")
    assert run("audit", "verify", "--archive", f"sqlite:///{copy}", *options).code == 1


def test_an_export_replaces_no_device_or_pipe(firm, run, archive, tmp_path):
    """`-o /dev/stdout` writes to it; what is no file to write is an error."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    lines = []
    read = threading.Thread(target=lambda: lines.extend(pipe.read_text().splitlines()), daemon=True)
    read.start()
    told = ["audit", "export", "--archive", archive, *firm.options]
    said = run(*told, "-o", str(pipe))
    read.join(timeout=10)
    assert (said.code, len(lines)) == (0, 3)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    for place in ("", str(tmp_path)):
        said = run(*told, "-o", place)
        assert (said.code, "cannot be written" in said.err) == (1, True)


@pytest.mark.parametrize("words", [["verify"], ["export"]])
def test_who_interrupts_it_in_the_middle_of_a_row_is_told_what_is_done(
    run, firm, archive, monkeypatch, words
):
    """Exit code 130, one message, and no file."""
    texts = iter(range(40))

    def text_of(*_, **__):
        def read(given):
            if next(texts, None) is None:
                raise KeyboardInterrupt
            return given.decode()

        return read

    monkeypatch.setattr("governor.journal.audit.database.partial", text_of)
    said = run("audit", *words, "--archive", archive, *firm.options)
    assert (said.code, said.err.startswith("error: interrupted: ")) == (130, True)


def test_what_was_put_into_an_archive_commands_no_terminal(run, firm, archive):
    """Escapes and bytes that are no character are named and handed out, and end nothing."""
    odd = "UPDATE governor_journal SET id = CAST(x'ff1b5b324a' AS TEXT)"
    touch(archive, f"{odd} WHERE id = 'first' AND kind = 'settle'")
    touch(archive, "UPDATE governor_calls SET run = CAST(x'fe' AS TEXT) WHERE id = 'second'")
    said = run("audit", "verify", "--archive", archive, *firm.options)
    assert (said.code, "\x1b" in said.out, "its `run` is" in said.out) == (1, False, True)
    told = run("audit", "verify", "--archive", archive, *firm.options, "--json")
    assert (told.code, told.json["amiss"] > 1) == (1, True)
    for form in ("csv", "jsonl"):
        said = run("audit", "export", "--archive", archive, *firm.options, "--format", form)
        assert (said.code, "\\udcfe" in said.out) == (0, True)

"""`governor report`: what an application did, told in the terminal, as JSON and as CSV, on each store."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console

from governor import Governor
from governor.cli import report_screen
from governor.journal.reports.page import Chart, Column, Fact, Page, Series, Table
from governor.testing import FakeClaude, Reply

MONTH = "org/usd/month"


only_sqlite = pytest.mark.parametrize("firm", ["sqlite"], indirect=True)


@pytest.fixture
def spent(run, firm):
    """What the ledger says is spent this month, nano-dollars."""
    budgets = run("budget", "list", *firm.options, "--json").json["budgets"]
    return next(one["posted"] for one in budgets if one["identity"] == MONTH)


def rows(said, key):
    """A table's rows."""
    return said.json["tables"][key]["rows"]


def test_reports_tell_the_ledgers_own_sums(run, firm, spent):
    """Today, the views and the chargeback come to what the ledger has posted, whichever store it is."""
    today = run("report", "today", *firm.options, "--json").json
    assert today["facts"]["spend_nanos"]["value"] == spent > 0
    assert today["facts"]["top_user"]["value"] == "ada@example.com"
    fullest = today["tables"]["budgets"]["rows"][0]["budget"]
    assert fullest.startswith("department=engineering")
    views = run("report", "views", *firm.options, "--json")
    (all_calls,) = rows(views, "all")
    assert (all_calls["cost_nanos"], all_calls["calls"], all_calls["blocked"]) == (spent, 3, 1)
    assert all_calls["error_percent"] == 0.0
    assert {row["model"] for row in rows(views, "models")} >= {"claude-opus-5-5", "claude-haiku-5-5"}
    borne = run("report", "chargeback", *firm.options, "--json")
    assert [(row["department"], row["cost_nanos"]) for row in rows(borne, "departments")] == [
        ("engineering", spent)
    ]


def test_a_second_report_reads_what_came_meanwhile(run, firm, spent):
    """What was archived before is not counted twice."""
    first = run("report", "today", *firm.options, "--json").json["facts"]["spend_nanos"]["value"]
    assert (
        run("report", "today", *firm.options, "--json").json["facts"]["spend_nanos"]["value"]
        == first
        == spent
    )


def test_results_are_tied_to_what_their_calls_cost(run, firm, tmp_path):
    """governor.outcome, then cost per outcome with a target from an option or a file."""
    with FakeClaude() as api:
        api.replies(lambda _: Reply(output_tokens=1000))
        with Governor.load(firm.policies, ledger=firm.ledger, client=api.client()) as governor:
            governor.outcome(
                "ticket_resolved", run="pr-7", value=20, user="ada@example.com", department="engineering"
            )
            governor.outcome("reviewed", call="first", department="engineering", user="ada@example.com")
    targets = tmp_path / "targets"
    targets.write_text("# dollars\nreviewed: 0.000001\n")
    options = ["--target", "ticket_resolved=12.50", "--targets", str(targets), "--json"]
    told = {
        row["outcome"]: row for row in rows(run("report", "outcomes", *firm.options, *options), "outcomes")
    }
    ticket, reviewed = told["ticket_resolved"], told["reviewed"]
    assert (ticket["count"], ticket["untied"], ticket["verdict"]) == (1, 0, "within")
    assert (ticket["target_nanos"], ticket["value_nanos"]) == (12_500_000_000, 20_000_000_000)
    assert ticket["cost_each_nanos"] == ticket["cost_nanos"] > 0
    assert ticket["roi_percent"] > 0
    assert (reviewed["untied"], reviewed["verdict"]) == (0, "above")


def test_a_forecast_has_every_budget_of_a_month_or_for_life(run, firm, spent):
    """With what is spent as the ledger has it, and never less at the end."""
    found = rows(run("report", "forecast", *firm.options, "--json"), "budgets")
    org = next(row for row in found if row["budget"] == MONTH)
    assert org["posted_nanos"] == spent
    assert org["low_nanos"] <= org["expected_nanos"] <= org["high_nanos"]
    assert org["low_nanos"] >= spent
    assert {row["budget"].rpartition("/")[2] for row in found} == {"month", "life"}


def test_csv_is_one_table_or_a_folder_of_them(run, firm, spent, tmp_path):
    """To stdout, the named one; into a folder, all."""
    said = run("report", "chargeback", *firm.options, "--csv", "--table", "users")
    (row,) = csv.DictReader(io.StringIO(said.out))
    assert (row["user"], int(row["cost_nanos"])) == ("ada@example.com", spent)
    assert run("report", "chargeback", *firm.options, "-o", str(tmp_path / "new" / "csv")).out == ""
    names = sorted(path.name for path in (tmp_path / "new" / "csv").iterdir())
    assert names == ["chargeback-departments.csv", "chargeback-features.csv", "chargeback-users.csv"]
    wrong = run("report", "chargeback", *firm.options, "--csv", "--table", "user")
    assert wrong.code == 2
    assert "users" in wrong.err


def test_every_report_has_a_screen(run, firm):
    """Each prints something for people, and names the organization and the time it is about."""
    for name in ("today", "views", "daily", "forecast", "chargeback", "outcomes"):
        said = run("report", name, *firm.options)
        assert said.code == 0, said.err
        assert "Europe/Berlin" in said.out or "UTC" in said.out
    assert "Fullest budgets" in run("report", "today", *firm.options).out


def test_times_are_taken_as_they_are_written(run, firm, spent):
    """A date is meant whole, an instant to the second, in the policy's zone or in its own."""

    def cost(*options):
        return rows(run("report", "views", *firm.options, *options, "--json"), "all")[0]["cost_nanos"]

    now = datetime.now(UTC)
    day = f"{now:%Y-%m-%d}"
    before, after = (f"{now + timedelta(days=days):%Y-%m-%d}" for days in (-2, 2))
    assert cost("--from", before, "--to", after) == spent
    assert cost("--to", before, "--from", "2026-01-01") == 0
    assert cost("--from", (now + timedelta(hours=1)).isoformat(timespec="seconds"), "--to", after) == 0
    assert cost("--from", (now - timedelta(hours=1)).isoformat(timespec="seconds")) == spent
    months = rows(run("report", "chargeback", *firm.options, "--month", "2025-01", "--json"), "departments")
    assert months == []
    assert run("report", "daily", *firm.options, "--day", day).code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["today", "--department", "legl"], "did you mean 'legal'"),
        (["views", "--from", "yesterday"], "is no time"),
        (["views", "--from", "2026-11-05", "--to", "2026-11-01"], "is not after"),
        (["daily", "--day", "2026-13-01"], "is no date"),
        (["chargeback", "--month", "November"], "is no month"),
        (["chargeback", "--month", "2026-13"], "is no month"),
        (["chargeback", "--month", "9999-12"], "no calls of that year"),
        (["outcomes", "--month", "0001-01"], "no calls of that year"),
        (["chargeback", "--month", "2026-11", "--from", "2026-11-01"], "not both"),
        (["outcomes", "--target", "ticket"], "NAME=DOLLARS"),
        (["outcomes", "--target", "ticket=cheap"], "is not an amount"),
        (["outcomes", "--targets", "/nowhere/targets"], "cannot be read"),
        (["today", "--csv", "--json"], "not both"),
        (["today", "--table", "users"], "add --csv"),
    ],
)
def test_what_cannot_be_meant_is_refused(run, policies, tmp_path, options, said):
    """With exit code 2, what is wrong, and how it is written."""
    ledger = f"sqlite:///{tmp_path}/governor.db"
    assert run("ledger", "create", ledger, "--policies", str(policies)).code == 0
    found = run("report", *options, "--policies", str(policies), "--ledger", ledger)
    assert found.code == 2, found.out
    assert said in found.err


def test_what_cannot_be_written_is_said(run, policies, tmp_path):
    """A folder that is a file, a missing archive server: an error with the place, and no trace."""
    ledger = f"sqlite:///{tmp_path}/governor.db"
    run("ledger", "create", ledger, "--policies", str(policies))
    options = ["--policies", str(policies), "--ledger", ledger]
    (tmp_path / "file").write_text("")
    said = run("report", "today", *options, "-o", str(tmp_path / "file"))
    assert (said.code, str(tmp_path / "file") in said.err) == (1, True)
    said = run("report", "today", *options, "--archive", "sqlite:////nowhere/at/all.db")
    assert (said.code, "/nowhere/at/all.db" in said.err) == (1, True)


def test_a_new_ledgers_reports_are_empty(run, policies, tmp_path):
    """No call yet is no error, in any report, on the screen and as JSON."""
    ledger = f"sqlite:///{tmp_path}/governor.db"
    options = ["--policies", str(policies), "--ledger", ledger]
    run("ledger", "create", ledger, "--policies", str(policies))
    for name in ("today", "views", "daily", "forecast", "chargeback", "outcomes"):
        assert run("report", name, *options).code == 0
        assert run("report", name, *options, "--json").json["report"] == name


ESCAPES = "\x1b]0;x\x07\x1b[31mred\nTotal"
NASTY = (
    "ada@example.com",
    "x" * 200,
    "日本語のとても長い名前" * 5,
    "\u202eevil",
    ESCAPES,
    "x\u2028y",
    "[bold]no[/bold]",
    "👩‍👩‍👧 team",
    "",
    "ada@example.org",
)


def nasty_page():
    """A page with every kind of section, and names that terminals choke on."""
    columns = (
        Column("user", "User"),
        *(Column(f"c{n}_nanos", f"Column {n}", "usd") for n in range(8)),
    )
    table = Table("t", "A table", columns, tuple((name, *[10**12] * 8) for name in NASTY), "A note. " * 30)
    bars = Chart("b", "Bars", "bar", NASTY, (Series("cost", tuple(10**9 * n for n in range(len(NASTY)))),))
    days = tuple(f"2026-11-{day:02}" for day in range(1, 31))
    line = Chart(
        "l", "A line", "line", days, (Series("cost", tuple(n or None for n in range(30))),), "usd", 40
    )
    facts = (
        Fact("f", "A fact", 10**12, "usd", "what it is compared with, " * 6),
        Fact("g", "Who", ESCAPES, "text", f"{ESCAPES}: 2 answers"),
    )
    return Page("today", "Today", "acme", 0, "a day", (*facts, table, bars, line))


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_screens_fit_their_terminal_and_keep_its_colours(monkeypatch, width, encoding):
    """No line is too wide, no colour is set, and ASCII terminals get ASCII charts."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="replace", write_through=True)
    out = Console(file=file, width=width, force_terminal=True, highlight=False, emoji=False, markup=False)
    monkeypatch.setattr(report_screen, "console", lambda: out)
    report_screen.print_page(nasty_page(), 0)
    text = raw.getvalue().decode(encoding)
    styles = set(re.findall(r"\x1b\[([0-9;]*)m", text))
    assert styles <= {"0", "1"}
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "\x1b" not in plain
    assert not any(line.startswith("Total") for line in plain.splitlines())
    if encoding == "utf-8":  # in ASCII, a name of other letters is as many question marks
        assert max(cell_len(line) for line in plain.splitlines()) <= width
    assert "$1,000.00" in plain
    assert ("█" in plain) == (encoding == "utf-8")


def test_piped_tables_have_one_line_for_each_row(run, firm):
    """Whatever the width of a terminal that is not there."""
    out = run("report", "views", *firm.options).out
    assert len([line for line in out.splitlines() if line.startswith("ada@example.com")]) == 1
    assert json.loads(run("report", "views", *firm.options, "--json").out)


@only_sqlite
def test_every_report_is_a_page_that_a_browser_opens(run, firm, tmp_path):
    """With --html each writes a file with its figures; Chromium draws its charts and does not complain."""
    from support.browser import chromium

    pages = {}
    for name in ("today", "views", "daily", "forecast", "chargeback", "outcomes"):
        file = tmp_path / f"{name}.html"
        pages[file] = run("report", name, *firm.options, "--json", "--html", str(file))
        assert f"{file} is written" in pages[file].err
    charts = 0
    with chromium(tmp_path / "profile") as browser:
        for file, said in pages.items():
            told = said.json
            browser.get(file.as_uri())
            text = browser.execute_script("return document.body.textContent")
            assert told["organization"] in text
            assert len(browser.find_elements("css selector", ".facts .value")) == len(told["facts"])
            titles = [table["title"] for table in told["tables"].values()]
            assert all(title in text for title in titles)
            drawn = "return [...document.querySelectorAll('.plot')].map(one => one.offsetHeight)"
            heights = browser.execute_script(drawn)
            assert all(height > 50 for height in heights)
            charts += len(heights)
            assert browser.get_log("browser") == []
        assert charts
        browser.get((tmp_path / "today.html").as_uri())
        assert "ada@example.com" in browser.execute_script("return document.body.textContent")


@pytest.mark.parametrize("options", [["top", "--once"], ["report", "today", "--json"]])
@only_sqlite
def test_a_terminal_that_lacks_characters_gets_them_escaped(firm, options):
    """With Windows-1252 nothing ends in an error: names stand escaped, and JSON is the same JSON."""
    user = "名前 😀"
    with (
        FakeClaude() as api,
        Governor.load(firm.policies, ledger=firm.ledger, client=api.client()) as governor,
    ):
        question = [{"role": "user", "content": "?"}]
        governor.call(user=user, department="engineering", messages=question, max_tokens=100)
    told = subprocess.run(
        [sys.executable, "-m", "governor.cli", *options, *firm.options],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        check=False,
    )
    text = told.stdout.decode("cp1252")
    assert (told.returncode, "Traceback" in told.stderr.decode("cp1252")) == (0, False)
    if "--json" in options:
        assert user in {row["user"] for row in json.loads(text)["tables"]["top_users"]["rows"]}
    else:
        assert "\\u540d" in text


@only_sqlite
def test_an_archive_that_may_only_be_read_is_read(run, firm, spent, tmp_path):
    """What is new is not in the report, and that is said; where there is nothing to read, it is an error."""
    run("ledger", "archive", f"sqlite:///{tmp_path}/archive.db", *firm.options)
    read_only = f"sqlite:///file:{tmp_path}/archive.db?mode=ro&uri=true"
    said = run("report", "today", *firm.options, "--archive", read_only, "--json")
    assert (said.code, said.json["facts"]["spend_nanos"]["value"]) == (0, spent)
    assert "what follows is what it has so far" in said.err
    sqlite3.connect(tmp_path / "empty.db").close()
    nothing = f"sqlite:///file:{tmp_path}/empty.db?mode=ro&uri=true"
    said = run("report", "today", *firm.options, "--archive", nothing)
    assert (said.code, "cannot be used" in said.err) == (1, True)


@only_sqlite
def test_tables_that_cannot_be_read_are_an_error(run, firm, tmp_path):
    """What the database says of them is said in one message, and is no traceback."""
    where = f"sqlite:///{tmp_path}/archive.db"
    run("report", "today", *firm.options, "--archive", where)
    with sqlite3.connect(tmp_path / "archive.db") as connection:
        connection.execute("DROP TABLE governor_calls")
    connection.close()
    said = run("report", "today", *firm.options, "--archive", where)
    assert (said.code, "no such table: governor_calls" in said.err) == (1, True)

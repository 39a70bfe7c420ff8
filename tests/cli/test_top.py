"""`governor top --once` and `--json`: one look at a ledger in use, and what a look costs it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from support.governed import until

from governor import Governor
from governor.budgets import Unit
from governor.cli import top_cells as cells
from governor.cli.context import open_desk
from governor.cli.top_alerts import open_alerts
from governor.cli.top_picture import Picture, Spender
from governor.cli.top_tail import MOST_BUDGETS, SPAN_MS, Tail
from governor.cli.top_watch import Watch
from governor.ids import new_id
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.ledger.entering import Enter
from governor.ledger.glance import GLANCED_HOLDS
from governor.money import Money
from governor.routing.notices import Word, write
from governor.story.decision import BudgetView
from governor.testing import FakeClaude, Reply

QUESTION = [{"role": "user", "content": "Review this diff"}]
TEAM = "department=engineering/usd/month"
OTHERS = "department=legal/usd/life"


@contextmanager
def in_flight(firm, **request):
    """A call that the API has received and does not answer before the block has ended."""
    go, here = threading.Event(), threading.Event()

    def wait(_):
        here.set()
        assert go.wait(30)
        return Reply()

    with (
        FakeClaude() as api,
        Governor.load(firm.policies, ledger=firm.ledger, client=api.client()) as governor,
    ):
        api.replies(wait)
        asked = {"user": "ada@example.com", "department": "engineering", "feature": "review", **request}
        calling = threading.Thread(target=lambda: governor.call(messages=QUESTION, max_tokens=500, **asked))
        calling.start()
        try:
            assert here.wait(30)
            yield
        finally:
            go.set()
            calling.join()


def test_a_look_has_what_the_ledger_and_the_journal_have(run, firm):
    """Budgets equal `budget list`; calls, whose they are and what they cost equal the journal."""
    seen = run("top", *firm.options, "--json").json
    listed = run("budget", "list", *firm.options, "--json").json["budgets"]
    assert {row["identity"]: row for row in seen["budgets"]} == {row["identity"]: row for row in listed}
    assert (seen["calls"], seen["blocked"], seen["failed"], seen["in_flight"]) == (3, 1, 0, 0)
    posted = next(row["posted"] for row in listed if row["identity"] == TEAM)
    (ada,) = seen["spenders"]["user"]
    assert seen["spent_nanos"] == posted == ada["cost_nanos"]
    assert (ada["name"], ada["calls"], ada["blocked"]) == ("ada@example.com", 3, 1)
    assert {one["name"]: one["calls"] for one in seen["spenders"]["run"]} == {"": 2, "pr-7": 1}
    assert seen["whole"]


def test_a_call_in_flight_is_seen_with_who_and_how_much(run, firm):
    """While the API works on a call, a look names its user, run and model, and what is held for it."""
    with in_flight(firm, run="pr-9"):
        seen = run("top", *firm.options, "--json").json
    (flight,) = seen["flights"]
    team = next(row for row in seen["budgets"] if row["identity"] == TEAM)
    assert (flight["user"], flight["run"], flight["feature"]) == ("ada@example.com", "pr-9", "review")
    assert flight["model"] == "claude-opus-5-5"
    assert flight["held_nanos"] == team["held"] > 0
    assert flight["age_ms"] >= 0
    assert not flight["overdue"]
    assert TEAM in flight["identities"]
    assert seen["in_flight"] == 1
    assert seen["spenders"]["run"][-1]["in_flight"] + seen["spenders"]["run"][0]["in_flight"] == 1


def test_models_show_what_their_callers_tell_each_other(firm):
    """A model's requests in flight, answers and pushes back are those that processes post on the board."""
    with (
        FakeClaude() as api,
        Governor.load(firm.policies, ledger=firm.ledger, client=api.client()) as governor,
    ):
        api.replies(lambda _: Reply(output_tokens=5))
        for _ in range(3):
            governor.call(user="u", department="legal", messages=QUESTION, max_tokens=50)
        with open_desk(str(firm.policies), firm.ledger) as desk:
            watch = Watch(desk)

            def spoken():
                governor.call(user="u", department="legal", messages=QUESTION, max_tokens=50)
                return [one for one in watch.look().models if one.answers >= 3]

            (haiku,) = [one for one in until(spoken) if one.model == "claude-haiku-5-5"]
    assert (haiku.breaker, haiku.pushed, haiku.processes) == ("closed", 0, 1)
    assert 0 <= haiku.load_bp <= 10_000


def test_an_open_breaker_is_named_with_why(firm):
    """A model that a process says it closed its breaker to is shown so, with why and until about when."""
    said = write(
        [("claude-opus-5-5", Word(in_flight=3, answers=9, pushed=6, waiting=2, breaker=("open", 100, 1)))]
    )
    notice = c.Notice("other", said)
    ledger = open_ledger(firm.ledger, organization(firm))
    ledger.execute(c.Reserve("told", (), ((),), 60_000, notice=notice))
    ledger.close()
    with open_desk(str(firm.policies), firm.ledger) as desk:
        (one,) = [one for one in Watch(desk).look().models if one.model == "claude-opus-5-5"]
    assert (one.breaker, one.in_flight, one.waiting, one.pushed) == ("open", 3, 2, 6)
    assert "529" in one.why
    assert one.opens_in_s > 0


def test_a_look_again_takes_in_only_what_is_new(firm):
    """A call made between two looks is counted once, and its cost moves the budget by the same amount."""
    with open_desk(str(firm.policies), firm.ledger) as desk:
        watch = Watch(desk)
        before = watch.look()
        with in_flight(firm):
            during = watch.look()
        after = watch.look()
        again = watch.look()
    assert [len(one.calls) for one in (before, during, after, again)] == [3, 3, 4, 4]
    assert during.open == 1
    assert after.flights == ()
    budgets = [{view.identity: view.posted for view in one.budgets}[TEAM] for one in (before, after)]
    assert after.spent_nanos - before.spent_nanos == budgets[1] - budgets[0] > 0


def test_a_hold_older_than_the_records_is_still_named(firm):
    """Of a hold whose record was not read, its budgets tell who, and the ledger what it holds."""
    ledger = open_ledger(firm.ledger, organization(firm))
    row = c.BudgetRow("department=legal/user=eve%20x/usd/life", "life", 0, 0, Unit.USD, 10**9)
    reply = ledger.execute(c.Reserve("old-one", (row,), ((c.Ask(7_000_000),),), 600_000, record="not JSON"))
    ledger.close()
    assert isinstance(reply, c.Held)
    with open_desk(str(firm.policies), firm.ledger) as desk:
        watch = Watch(desk)
        for _ in range(2):
            (flight,) = watch.look().flights
            assert (flight.department, flight.user, flight.began_ms) == ("legal", "eve x", None)
            assert flight.held_nanos == 7_000_000


def test_only_so_many_holds_are_named_and_all_are_counted(firm):
    """With more holds open than one look names, it says how many there are."""
    ledger = open_ledger(firm.ledger, organization(firm))
    for number in range(GLANCED_HOLDS + 20):
        assert isinstance(ledger.execute(c.Reserve(f"h{number:03d}", (), ((),), 600_000)), c.Held)
    ledger.close()
    with open_desk(str(firm.policies), firm.ledger) as desk:
        picture = Watch(desk).look()
    assert (picture.open, len(picture.flights)) == (GLANCED_HOLDS + 20, GLANCED_HOLDS)


def test_a_ledger_made_anew_is_looked_at_anew(redis_server, org, policies):
    """Where the store was emptied and made again, the figures begin again; nothing of before is counted."""
    ledger = open_ledger(redis_server.url, org, create=True)
    row = c.BudgetRow(OTHERS, "life", 0, 0, Unit.USD, 6 * 10**9)
    with (
        FakeClaude() as api,
        Governor.load(policies, ledger=redis_server.url, client=api.client()) as governor,
    ):
        ledger.execute(c.Create(new_id()))
        governor.call(user="u", department="legal", messages=QUESTION, max_tokens=50)
        with open_desk(str(policies), redis_server.url) as desk:
            watch = Watch(desk)
            first = watch.look()
            with redis_server.client() as client:
                client.delete(*client.scan_iter(match=f"gov:2:{{{org}}}:*"))
            ledger.execute(c.Create(new_id()))
            watch.look()
            second = watch.look()
    ledger.close()
    assert (len(first.calls), len(second.calls)) == (1, 0)
    assert {view.posted for view in second.budgets if view.identity == row.identity} == {0}


def test_piped_it_is_one_look_as_text(run, firm):
    """Where stdout is no terminal, budgets, calls, models, spenders and alerts are printed once."""
    with in_flight(firm, run="pr-9"):
        said = run("top", *firm.options)
    assert said.code == 0
    for words in (
        "engineering · $ month",
        "Calls in flight",
        "run pr-9",
        "Who spends, per user",
        "Alerts: none",
    ):
        assert words in said.out
    assert max(len(line) for line in said.out.splitlines()[3:]) <= 100


def test_it_needs_no_textual_where_it_draws_no_screen():
    """`--help`, and one look, import no textual."""
    rooms = "governor.cli.app, governor.cli.top_plain, governor.cli.top_watch"
    code = f"import sys, {rooms}; print('textual' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--every", "0.01"], "is not between 0.2 and 60 seconds"),
        (["--theme", "pink"], "is not auto, dark or light"),
        (["--actor", "a\nb"], "--actor"),
    ],
)
def test_what_cannot_be_meant_is_refused(run, firm, options, words):
    """An interval, theme or actor that cannot be meant is a usage error that says what can."""
    said = run("top", *firm.options, *options)
    assert said.code == 2
    assert words in said.err


def test_a_ledger_that_is_not_there_is_said_at_once(run, policies, tmp_path):
    """A misspelt ledger is an error with what to do, not a screen that waits."""
    said = run("top", "--policies", str(policies), "--ledger", f"sqlite:///{tmp_path}/no.db")
    assert said.code == 1
    assert "holds no ledger" in said.err


def test_an_archive_that_is_asked_for_shows_its_alerts(run, firm, tmp_path):
    """Alerts that go on are read from the archive; those that have ended are not shown."""
    from sqlalchemy import create_engine, insert

    from governor.journal.tables import META, alerts

    url = f"sqlite:///{tmp_path}/archive.db"
    engine = create_engine(url)
    META.create_all(engine)
    told = {
        "key": "k1",
        "title": "Opus is overloaded",
        "severity": "critical",
        "began_ms": 1,
        "advice": "wait",
    }
    row = {
        "organization": organization(firm),
        "rule": "r",
        "severity": "critical",
        "cause": "c",
        "seen_ms": 2,
    }
    rows = [
        {**row, "key": "k1", "began_ms": 1, "ended_ms": None, "told": json.dumps(told)},
        {**row, "key": "k2", "began_ms": 1, "ended_ms": 2, "told": json.dumps({**told, "key": "k2"})},
    ]
    with engine.begin() as connection:
        connection.execute(insert(alerts), rows)
    engine.dispose()
    seen = run("top", *firm.options, "--archive", url, "--json").json
    assert [one["key"] for one in seen["alerts"]] == ["k1"]
    assert "Opus is overloaded" in run("top", *firm.options, "--archive", url).out


def test_an_archive_that_cannot_be_read_hides_no_figure(run, firm, tmp_path):
    """An archive without the table of alerts costs a look nothing but the alerts."""
    seen = run("top", *firm.options, "--archive", f"sqlite:///{tmp_path}/empty.db", "--json").json
    assert (seen["alerts"], seen["calls"]) == ([], 3)
    assert not (tmp_path / "empty.db").exists()  # who only looks makes nothing


def test_an_archive_that_does_not_answer_holds_up_one_look(monkeypatch):
    """It is waited for so long and no longer, and then left alone for a while."""
    pytest.importorskip("psycopg")
    monkeypatch.setattr("governor.journal.archive_sql.CONNECT_TIMEOUT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/x?sslmode=disable"
        read = open_alerts(url, "redis://nowhere", "acme")
        began_s = time.monotonic()
        assert [read() for _ in range(5)] == [[]] * 5
    assert time.monotonic() - began_s < 4


@pytest.mark.parametrize("began_ms", ["yesterday", 10**400, 1e300, [1], None, -5])
def test_an_alert_that_says_no_instant_hides_nothing(run, firm, began_ms):
    """A damaged record of an alert is shown as far as it can be read, and so is all else."""
    with open_desk(str(firm.policies), firm.ledger) as desk:
        record = json.dumps({"key": "k", "title": "it burns", "severity": 3, "began_ms": began_ms})
        desk.ledger.execute(Enter("odd", "alert", "cause", record))
    said = run("top", *firm.options, "--once")
    assert (said.code, "it burns" in said.out, "3 calls" in said.out) == (0, True, True)
    assert run("top", *firm.options, "--json").json["calls"] == 3


# Pure parts.


def entry(number, kind="reserve", **record):
    """A record of a made-up call."""
    identity = f"user=u{number}/usd/life"
    told = {
        "department": "d", "user": f"u{number}", "asked": "auto", "preferred": "m",
        "candidates": [{"model": "m", "line": "l", "ceiling_nanos": 5}],
        "budgets": [{"identity": identity, "window": "life", "end_ms": 0, "limit": 9}],
        **record,
    }  # fmt: skip
    return c.JournalEntry(
        str(number), kind, f"c{number}", 1000 + number, "held", "0 1:0:9:0", json.dumps(told)
    )


def test_what_is_kept_of_a_journal_is_bounded():
    """However many users call, no more than so many budgets are kept, and the newest of them."""
    tail = Tail()
    tail.take(entry(number) for number in range(MOST_BUDGETS + 50))
    assert len(tail.touched) == MOST_BUDGETS
    assert next(iter(tail.touched)) == ("user=u50/usd/life", "life")


def test_calls_are_let_go_of_after_some_minutes():
    """A call that ended longer ago than the span is not counted any more."""
    tail = Tail()
    refused = entry(1)
    tail.take([c.JournalEntry("1", "reserve", "c1", 1000, "exhausted", "- 1:0:9:0", refused.record)])
    assert len(tail.calls(1000 + SPAN_MS)) == 1
    assert tail.calls(1001 + SPAN_MS) == []


@pytest.mark.parametrize("record", ["", "{", "[]", '{"budgets": 3}', '{"key": 1}', "null", "[" * 5000])
@pytest.mark.parametrize("kind", ["reserve", "settle", "alert", "outcome", "grant", "new-kind"])
def test_records_of_any_kind_and_make_are_taken_calmly(kind, record):
    """What cannot be read, and kinds that are not known, are passed over."""
    tail = Tail()
    tail.take([c.JournalEntry("1", kind, "x", 1000, "held", "0 1:0:9:0", record), entry(2)])
    assert tail.call("c2") is not None


def test_an_alert_in_the_journal_goes_on_until_it_ends():
    """The last record of an alert's key holds: raised it is shown, ended it is not."""
    tail = Tail()
    raised = c.JournalEntry("1", "alert", "a", 5, "cause", "", json.dumps({"key": "k", "ended_ms": None}))
    ended = c.JournalEntry("2", "alert", "a", 9, "cause", "", json.dumps({"key": "k", "ended_ms": 9}))
    tail.take([raised])
    assert list(tail.alerts) == ["k"]
    tail.take([ended])
    assert list(tail.alerts) == []


names = st.text(max_size=60) | st.sampled_from(
    ["<script>", "שלום", "陳大文" * 20, "a" * 300, "👩‍👩‍👧‍👦" * 9, "\x1b[31mred"]
)


@given(text=names, width=st.integers(0, 80))
def test_a_text_never_takes_more_room_than_it_has(text, width):
    """Whatever a name is made of, it is one line of at most so many columns, with no control character."""
    shown = cells.clip(text, width)
    assert cell_len(shown) <= width
    assert "\x1b" not in shown
    assert "\n" not in shown


@given(
    posted=st.integers(0, 10**13), held=st.integers(0, 10**13), limit=st.integers(0, 10**13),
    width=st.integers(30, 220), name=names,
)  # fmt: skip
def test_a_budgets_row_fills_its_columns_exactly(posted, held, limit, width, name):
    """Whatever the numbers, the bar is as long as its column and no cell is wider than its own."""
    from governor.budgets import Period, balance_identity

    identity = balance_identity({"user": name or "x"}, Unit.USD, Period.LIFE)
    view = BudgetView(identity, "life", Unit.USD, limit, posted, held, None)
    columns = cells.budget_columns(max(60, width))
    _, texts = cells.budget_row(view, columns, Picture("o", "w", 1, 0), cells.DARK)
    assert texts[1].cell_len == columns[1].width
    assert all(text.cell_len <= column.width or column.title in ("spent", "held", "limit")
               for text, column in zip(texts, columns, strict=True))  # fmt: skip
    if limit and posted > limit:
        assert texts[1].plain.endswith(cells.OVER)


@given(nanos=st.integers(-(10**16), 10**16))
def test_money_is_never_shown_as_more_than_it_is(nanos):
    """Shown amounts are cut, never rounded up, and at most a cent away below $1,000."""
    shown = cells.usd(nanos).replace("$", "").replace(",", "")
    away = abs(nanos) - abs(Money.from_dollars(shown).nanos)
    assert 0 <= away < (10**7 if abs(nanos) < 1000 * 10**9 else 10**9)


@given(st.integers(0, 10**9))
def test_a_span_is_short(seconds):
    """A length of time takes at most eight columns up to a thousand years."""
    assert len(cells.span(seconds)) <= 8


def test_runs_of_one_name_in_two_departments_are_two():
    """A run belongs to its department: the same name elsewhere is another row."""
    from governor.journal.call import ANSWERED, Call

    made = [Call("a", department="x", run="r", cost_nanos=1, state=ANSWERED),
            Call("b", department="y", run="r", cost_nanos=2, state=ANSWERED)]  # fmt: skip
    picture = Picture("o", "w", 10, 0, calls=tuple(made))
    assert [(one.run_of, one.cost_nanos) for one in picture.spenders("run")] == [("y", 2), ("x", 1)]
    assert [type(one) for one in picture.spenders("user")] == [Spender]


def organization(firm):
    """The firm's organisation."""
    with open_desk(str(firm.policies), firm.ledger) as desk:
        return desk.policies.organization

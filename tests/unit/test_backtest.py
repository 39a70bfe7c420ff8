"""A back-test decides as the real story does, and counts what it says it counts."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.journals import HOUR_MS, START_MS, Crowd, Firm, shipped_crowd, write_journal
from governor.journal.calls import Began, Other, Reader
from governor.journal.feed import find_journal, reading
from governor.ledger.commands import Balance, JournalEntry
from governor.policy import Attribution, load
from governor.pricing import PriceTable
from governor.rehearsal import Refusal, Stage, made_up
from governor.rehearsal.backtest import Backtest, Range
from governor.rehearsal.judging import Judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.policy import Policies
    from governor.rehearsal.tally import Found

SHIPPED = load(Path(__file__).resolve().parents[2] / "policies")
PRICES = PriceTable.load()
HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
DOLLAR = 10**9


def policies(folder: Path, *budgets: dict[str, Any], **more: Any) -> Policies:
    """The department `team` with these budgets, preferring opus."""
    folder.mkdir(exist_ok=True)
    lines = {"haiku": HAIKU, "sonnet": SONNET, "opus": OPUS}
    routing = {"lines": lines, "tiers": {"standard": {"prefer": "opus"}}}
    file = {"version": 1, "department": "team", "budgets": list(budgets), "routing": routing, **more}
    (folder / "team.yaml").write_text(json.dumps(file), encoding="utf-8")
    return load(folder)


def entries(lines: Iterable[bytes]) -> list[JournalEntry]:
    """The records of an archive's lines."""
    rows = map(json.loads, lines)
    names = ("seq", "kind", "id", "at_ms", "outcome", "detail", "record")
    return [JournalEntry(*(row[name] for name in names)) for row in rows]


def replayed(test: Backtest, records: Iterable[JournalEntry]) -> Found:
    """What a back-test finds in these records."""
    reader = Reader()
    test.read(reader.read(record) for record in records)
    return test.end()


def team_calls(tmp_path: Path, old: Policies, calls: int = 40, **length: int) -> list[JournalEntry]:
    """Calls of one user under *old*, evenly over an hour unless *length* says otherwise."""
    crowd = Crowd((("team", "ada", None),), asked=("auto",))
    return entries(Firm(old, PRICES, crowd).lines(calls, **{"length_ms": HOUR_MS, **length}))


LINES = {"haiku": HAIKU, "sonnet": SONNET, "opus": OPUS}
WATCHED: dict[str, Any] = {
    "version": 1,
    "department": "watched",
    "mode": "shadow",
    "budgets": [{"per": "department", "usd": 30, "window": "day"}],
    "routing": {"lines": LINES, "tiers": {"standard": {"prefer": "opus"}}},
    "features": {"triage": {"max_tokens": 100, "lines": ["haiku"]}},
    "users": {"bob": {}},
    "limits": {"cost_per_request": "0.01", "input_tokens": 10},
}
PACED: dict[str, Any] = {
    "version": 1,
    "department": "paced",
    "budgets": [
        {"per": "department", "usd": 90, "window": "week", "pace": "even", "keep": "20%", "for": ["urgent"]},
        {"per": "user", "usd": 40, "window": "day", "mode": "shadow"},
    ],
    "thresholds": {"30%": {"downgrade": "sonnet"}, "60%": {"downgrade": "haiku"}, "95%": "block"},
    "routing": {"lines": LINES, "tiers": {"standard": {"prefer": "opus"}}},
}


MODELS = ("auto", "haiku", "opus", OPUS, "fable", "claude-haiku-4-5", "nonsense")


@pytest.fixture(scope="module", params=["shipped", "odd"])
def rules(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Policies:
    """The shipped policies; and some with shadow, an even pace and a kept part."""
    if request.param == "shipped":
        return SHIPPED
    folder = tmp_path_factory.mktemp("odd")
    for file in (WATCHED, PACED):
        (folder / f"{file['department']}.yaml").write_text(json.dumps(file), encoding="utf-8")
    return load(folder)


@given(seed=st.integers(0, 2**32))
def test_the_fast_path_decides_as_the_stage_does(rules, seed):
    """On random calls and balances: the same candidate, or the same reason to refuse."""
    draw = random.Random(seed)
    people = (
        *shipped_crowd(2).people,
        ("legal", "eve", None),
        ("legal", "eve", "unheard-of"),
        ("nobody", "x", None),
        ("watched", "bob", None),
        ("watched", "eve", "triage"),
        ("watched", "eve", "unheard-of"),
        *[("paced", "pat", None)] * 20 * ("paced" in rules.departments),
    )
    judge, stage = Judge(rules, PRICES, lambda _: None), Stage(rules, PRICES, START_MS)
    for number in range(25):
        department, user, feature = draw.choice(people)
        priority = draw.choice((None, "urgent", "idle"))
        who = (department, user, feature, draw.choice((None, "r1", "r2/x")), (), priority)
        call = Began(
            at_ms=START_MS + number * 2 * HOUR_MS + draw.randrange(HOUR_MS),
            id=str(number),
            who=who,
            # In shadow what cannot be planned goes as it went, and this call did not go.
            asked=draw.choice(MODELS[: -1 if department == "watched" else None]),
            pin=draw.random() < 0.2 and department != "watched",
            max_tokens=draw.choice((1, 1000, 60_000)),
            input_tokens=draw.choice((0, 900, 90_000, 300_000)),
            counted=True,
            offers=(),
            skipped=(),
            chosen=None,
            outcome="exhausted",
            budgets=(),
            touched=None,
            posted=(),
            changes=None,
            prices="",
            tier=draw.choice((None, None, None, "standard", "premium", "economy"))
            if department != "watched"
            else None,
            complexity=draw.choice((0, 2.9, 3, 7, 7.1, 10)),
            load_bp=draw.choice((0, 2_999, 3_000, 8_500, 8_501, 10_000)),
        )
        stage.now_ms = call.at_ms
        try:
            terms = rules.budgets(Attribution(*who), (HAIKU, SONNET, OPUS, "claude-haiku-4-5"))
        except Exception:  # noqa: BLE001 - then there is no balance to set
            terms = ()
        balances = {}
        for seat in judge.seats(who, (HAIKU, SONNET, OPUS, "claude-haiku-4-5")) if terms else ():
            account = seat.place.at(call.at_ms)
            share = draw.choice((0, 0, 70, 80, 85, 90, 99, 100))
            account.posted = seat.term.limit * share // 100 - draw.choice((0, 1))
            account.held = draw.choice((0, 0, seat.term.limit // 20))
            balances[seat.term.identity] = (account.posted, account.held)
        told = stage.decide(
            made_up(
                Attribution(*who),
                model=call.asked,
                input_tokens=call.input_tokens,
                max_tokens=call.max_tokens,
                pin=call.pin,
                tier=call.tier,
                complexity=call.complexity,
                load_bp=call.load_bp,
            ),
            lambda row, known=balances: Balance(*known.get(row.identity, (0, 0)), row.limit),
        )
        found = judge.judge(call)
        if isinstance(told, Refusal):
            assert (found.outcome, found.offer) == ("policy", None), (call, told)
        else:
            served = None if found.offer is None else found.offer.candidate.model
            assert (found.outcome, served) == (told.outcome, told.model), (call, told.reason)
            most = 0 if found.offer is None else found.offer.ceiling.max_tokens
            assert most in (0, told.max_tokens), (call, told.reason)


def test_the_policies_that_were_in_force_change_nothing(tmp_path):
    """A journal replayed under the policies it was made under: every call goes as it went, at its cost."""
    old = policies(
        tmp_path,
        {"per": "department", "usd": 3, "window": "day"},
        {"per": "user", "concurrent": 2},
        {"per": "user", "tokens": 600_000, "window": "hour"},
        {"per": "user", "usd": 2, "window": "rolling 7d"},
        thresholds={"50%": {"downgrade": "sonnet"}, "80%": {"downgrade": "haiku"}},
    )
    records = team_calls(tmp_path, old, 300, length_ms=30 * HOUR_MS)
    found = replayed(Backtest(old, PRICES), records)
    total = found.total()
    assert total.calls == 300
    assert {json.loads(record.record).get("line") for record in records} >= {"opus", "sonnet", "haiku"}
    assert total.still_refused
    assert (total.changed, total.saved_nanos) == (0, 0)
    assert total.then_nanos > DOLLAR


def test_a_journal_that_begins_in_the_middle_is_taken_up_there(tmp_path):
    """What was spent before the first record is what that record says: nothing changes there either."""
    old = policies(
        tmp_path,
        {"per": "department", "usd": 4, "window": "month"},
        thresholds={"50%": {"downgrade": "haiku"}},
    )
    records = team_calls(tmp_path, old, 200)
    found = replayed(Backtest(old, PRICES), records[150:])
    assert found.total().changed == 0
    assert found.total().calls == sum(record.kind == "reserve" for record in records[150:])


def test_what_came_before_the_range_is_spent_and_not_counted(tmp_path):
    """With --from the calls before are posted as they went; those in the range meet those balances."""
    old = policies(tmp_path / "old", {"per": "department", "usd": 100, "window": "day"})
    records = team_calls(tmp_path, old, 100)
    half_ms = START_MS + HOUR_MS // 2
    cost = sum(json.loads(r.record).get("cost_nanos", 0) for r in records if r.at_ms < half_ms)
    new = policies(tmp_path / "new", {"per": "department", "usd": max(1, cost // DOLLAR), "window": "day"})
    found = replayed(Backtest(new, PRICES, Range(half_ms)), records)
    assert found.total().calls == 50
    assert found.total().blocked == 50
    assert replayed(Backtest(new, PRICES), records).total().blocked < 100
    none = replayed(Backtest(new, PRICES, Range(0, START_MS)), records)
    assert none.total().calls == 0


def test_blocked_calls_cost_nothing_and_downgraded_ones_what_their_usage_costs_there(tmp_path):
    """Saved is what was really spent, less what the same usage costs on the model that serves now."""
    old = policies(tmp_path / "old", {"per": "department", "usd": 100, "window": "day"})
    records = team_calls(tmp_path, old, 60)
    settled = {record.id for record in records if record.kind == "settle"}
    records = [record for record in records if record.id in settled]
    new = policies(
        tmp_path / "new",
        {"per": "department", "usd": 100, "window": "day"},
        routing={"lines": {"haiku": HAIKU}},
    )
    total = replayed(Backtest(new, PRICES), records).total()
    price = {name: PRICES.price_at(name, START_MS).rates for name in (HAIKU, OPUS)}
    usages = [json.loads(r.record) for r in records if r.kind == "settle"]
    cheap = sum(
        -(
            -(
                u["usage"]["input_tokens"] * price[HAIKU].input
                + u["usage"]["output_tokens"] * price[HAIKU].output
            )
            // 1
        )
        for u in usages
    )
    assert total.downgraded == len(settled)
    assert total.first_downgraded_ms == START_MS
    assert total.new_nanos == cheap
    gone = policies(tmp_path / "gone", {"per": "user", "usd": 100, "window": "day"}, users={"bob": {}})
    refused = replayed(Backtest(gone, PRICES), records)
    assert (refused.total().blocked, refused.total().new_nanos) == (len(settled), 0)
    assert refused.total().saved_nanos == refused.total().then_nanos
    assert dict(refused.outcomes) == {"policy": len(settled)}


def _spent(records: list[JournalEntry]) -> int:
    """What was posted to the one budget of these calls."""
    ends = (record.detail.split("posted=")[1] for record in records if "posted=" in record.detail)
    return sum(int(text.partition(" ")[0]) for text in ends)


@pytest.mark.parametrize("over", [False, True])
def test_a_block_is_false_where_all_that_was_really_spent_fits_the_limit(tmp_path, over):
    """By a mark, held money or order: false. Where the window's real spend is above the limit: not."""
    old = policies(tmp_path / "old", {"per": "department", "usd": 100, "window": "day"})
    records = team_calls(tmp_path, old, 40)
    spent = _spent(records)
    limit = spent // 2 if over else spent + 10**6
    block = {} if over else {"thresholds": {"40%": "block"}}
    usd = f"{limit // DOLLAR}.{limit % DOLLAR:09d}"
    new = policies(tmp_path / "new", {"per": "department", "usd": usd, "window": "day"}, **block)
    found = replayed(Backtest(new, PRICES), records)
    total = found.total()
    assert total.blocked > 5
    assert total.false_blocks == (0 if over else total.blocked)
    (cause,) = found.causes.values()
    assert (cause.blocked, cause.false_blocks) == (total.blocked, total.false_blocks)


@pytest.mark.parametrize("over", [False, True])
def test_a_rolling_window_is_judged_when_the_call_ends(tmp_path, over):
    """Where then all that was really spent lately fits the limit, the block was a false one."""
    old = policies(tmp_path / "old", {"per": "department", "usd": 100, "window": "day"})
    records = team_calls(tmp_path, old, 40)
    limit = _spent(records) // 4 if over else 99 * DOLLAR
    usd = f"{limit // DOLLAR}.{limit % DOLLAR:09d}"
    block = {} if over else {"thresholds": {"1%": "block"}}
    new = policies(tmp_path / "new", {"per": "department", "usd": usd, "window": "rolling 7d"}, **block)
    total = replayed(Backtest(new, PRICES), records).total()
    assert total.blocked > 5
    assert (total.false_blocks < total.blocked // 2) if over else (total.false_blocks == total.blocked)


def test_calls_at_once_are_false_blocks(tmp_path):
    """What only waited for others to end is no money that ran out."""
    old = policies(tmp_path / "old", {"per": "user", "usd": 100, "window": "day"})
    records = team_calls(tmp_path, old, 60, length_ms=120_000)
    new = policies(
        tmp_path / "new", {"per": "user", "concurrent": 1}, {"per": "user", "usd": 100, "window": "day"}
    )
    found = replayed(Backtest(new, PRICES), records)
    assert found.total().blocked == found.total().false_blocks > 0
    assert set(found.outcomes) == {"contended"}


def test_calls_that_were_refused_may_be_served_now(tmp_path):
    """They are told apart, and cost what was expected of them, at most their ceiling."""
    old = policies(tmp_path / "old", {"per": "department", "usd": 1, "window": "day"})
    records = team_calls(tmp_path, old, 100)
    new = policies(tmp_path / "new", {"per": "department", "usd": 500, "window": "day"})
    found = replayed(Backtest(new, PRICES), records)
    refused = sum(record.kind == "reserve" and record.outcome != "held" for record in records)
    assert found.total().freed == found.estimated == refused > 0
    assert found.total().saved_nanos < 0


def test_grants_and_freezes_count_as_they_did(tmp_path):
    """A limit that was raised by then is as much higher under the new policies; a frozen budget is frozen."""
    old = policies(tmp_path / "old", {"per": "department", "usd": 100, "window": "day"})
    records = team_calls(tmp_path, old, 20)
    new = policies(tmp_path / "new", {"per": "department", "usd": 0.01, "window": "day"})
    assert replayed(Backtest(new, PRICES), records).total().blocked > 10
    granted = [
        replace(r, detail=r.detail.replace(f":{100 * DOLLAR}:0", f":{150 * DOLLAR}:0")) for r in records
    ]
    assert replayed(Backtest(new, PRICES), granted).total().blocked == 0
    frozen = [
        replace(r, detail=r.detail.replace(f":{100 * DOLLAR}:0", f":{100 * DOLLAR}:1")) for r in records
    ]
    assert dict(replayed(Backtest(old, PRICES), frozen).outcomes) == {"frozen": 20}


@given(data=st.data())
def test_a_damaged_record_is_counted_and_never_an_error(data, tmp_path_factory):
    """Whatever is missing or wrong in a record: it is left out, and the others count."""
    folder = tmp_path_factory.mktemp("damaged")
    old = policies(folder, {"per": "department", "usd": 100, "window": "day"})
    records = team_calls(folder, old, 6)
    index = data.draw(st.integers(1, len(records) - 1))
    record = json.loads(records[index].record)
    odd = st.one_of(
        st.none(),
        st.integers(-5, 5),
        st.text(max_size=3),
        st.lists(st.none(), max_size=2),
        st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
    )
    for key in data.draw(st.lists(st.sampled_from(sorted(record) or ["v"]), max_size=4)):
        if data.draw(st.booleans()):
            record.pop(key, None)
        else:
            record[key] = data.draw(odd)
    detail = data.draw(st.sampled_from((records[index].detail, "", "- ", "9 1:2:3:4", "posted=x crossed=")))
    records[index] = replace(records[index], record=json.dumps(record), detail=detail)
    found = replayed(Backtest(old, PRICES), records)
    assert found.records == len(records)
    assert found.total().calls <= 6


def test_odd_records_are_told_apart(tmp_path):
    """Outage calls, leases, late settles and ends without a beginning each have their count."""
    old = policies(tmp_path, {"per": "department", "usd": 100, "window": "day"})
    records = team_calls(tmp_path, old, 3)
    settle = next(record for record in records if record.kind == "settle")
    outage = json.dumps({**json.loads(settle.record), "admitted": "allowed", "call": "c"})
    lease = json.dumps({"v": 1, "lease": "team", "budgets": [], "asks": [[]]})
    odd = [
        replace(settle, id="outage", record=outage),
        replace(settle, id="before"),
        replace(settle, id="lease", kind="reserve", record=lease),
        replace(settle, id="late", outcome="settled_late"),
        JournalEntry("9", "grant", "g", settle.at_ms, "org/usd/day", "amount=1", "{}"),
    ]
    found = replayed(Backtest(old, PRICES), [*records, *odd])
    assert (found.unasked, found.ends_alone, found.leases, found.late, found.unreadable) == (1, 2, 1, 1, 0)
    assert found.total().calls == 4
    assert Reader().read(odd[-1]) == Other(settle.at_ms, "grant")


def test_a_late_settle_replaces_the_charge_of_the_expiry(tmp_path):
    """Both sums end at what the call cost."""
    old = policies(tmp_path, {"per": "department", "usd": 100, "window": "day"})
    records = team_calls(tmp_path, old, 1)
    reserve = next(record for record in records if record.kind == "reserve")
    settle = next(record for record in team_calls(tmp_path, old, 9) if record.kind == "settle")
    nanos = json.loads(reserve.record)["candidates"][0]["ceiling_nanos"]
    expire = JournalEntry(
        "7", "expire", reserve.id, reserve.at_ms + 9, "expired", f"posted={nanos} crossed=", "{}"
    )
    late = replace(settle, id=reserve.id, outcome="settled_late", at_ms=reserve.at_ms + 10)
    assert replayed(Backtest(old, PRICES), [reserve, expire]).total().then_nanos == nanos
    found = replayed(Backtest(old, PRICES), [reserve, expire, late]).total()
    assert found.then_nanos == found.new_nanos == json.loads(settle.record)["cost_nanos"]


@pytest.mark.parametrize("alone", [True, False])
def test_an_archive_is_read_alike_in_one_process_and_in_two(tmp_path, alone):
    """What a second process reads is what this one does."""
    path = tmp_path / "journal.jsonl"
    count = write_journal(path, Firm(SHIPPED, PRICES, shipped_crowd(3)), 700)
    test = Backtest(SHIPPED, PRICES)
    with reading(find_journal(str(path), SHIPPED.organization), alone=alone) as batches:
        for batch in batches:
            test.read(batch.events)
    found = test.end()
    assert (found.records, found.total().changed, found.gaps) == (count, 0, 0)
    assert found.total().calls == 700


def test_a_made_up_journal_has_every_field_of_a_real_one(tmp_path):
    """The records that the benchmark makes are made like the flow's."""
    from governor import Governor
    from governor.ledger import commands as c
    from governor.ledger import open_ledger
    from governor.testing import FakeClaude

    old = policies(tmp_path / "p", {"per": "department", "usd": 100, "window": "day"})
    url = f"sqlite:///{tmp_path}/governor.db"
    with FakeClaude() as api:
        governor = Governor.load(tmp_path / "p", ledger=url, create_ledger=True, client=api.client())
        governor.call(
            user="ada", department="team", messages=[{"role": "user", "content": "Hi"}], max_tokens=50
        )
        governor.close()
    ledger = open_ledger(url, old.organization)
    real = {entry.kind: entry for entry in ledger.execute(c.ReadJournal())}
    ledger.close()
    made = {entry.kind: entry for entry in team_calls(tmp_path, old, 3)}
    for kind in ("reserve", "settle"):
        assert set(json.loads(made[kind].record)) == set(json.loads(real[kind].record))

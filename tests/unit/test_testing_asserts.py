"""`assert_spent` and `assert_downgraded`, in tests of a policy as its owners would write them."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from governor import BudgetExceeded, Governor, Money
from governor.ledger import open_async_ledger, open_ledger
from governor.testing import assert_downgraded, assert_not_downgraded, assert_spent, overloaded

HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
HELLO = [{"role": "user", "content": "Hello"}]

ORGANIZATION = """
version: 1
organization: acme
budgets:
  - {per: organization, usd: 100, window: month}
  - {per: department, usd: 50, window: month}
"""
RESEARCH = """
version: 1
department: research
budgets:
  - {per: run, usd: 0.10}
  - {per: user, usd: 1, window: day}
  - {per: user, usd: 10, window: month}
  - {per: feature, name: summary, usd: 5, window: day}
  - {per: "tag:project", usd: 5, window: month}
  - {per: [user, model], usd: 5, window: month}
  - {per: user, requests: 60, window: minute}
thresholds:
  80%: {downgrade: haiku}
  100%: block
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5}
  default: sonnet
features:
  summary: {max_tokens: 1000}
"""
SALES = """
version: 1
department: sales
budgets: [{per: user, usd: 1, window: day}]
routing:
  lines: {haiku: claude-haiku-5-5}
"""


@pytest.fixture
def gov(make_governor):
    """A governor with two departments."""
    texts = {"organization.yaml": ORGANIZATION, "research.yaml": RESEARCH, "sales.yaml": SALES}
    return make_governor(texts)


def ask(gov, **request):
    """One call of ada's in the department research."""
    whole = {"user": "ada", "department": "research", "max_tokens": 1000, "messages": HELLO, **request}
    return gov.call(**whole)


def failure(call, *arguments, **options):
    """What an assertion that does not hold says."""
    with pytest.raises(AssertionError) as caught:
        call(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"department": "research"},
        {"department": "research", "user": "ada"},
        {"user": "ada"},
        {"user": "ada", "window": "day"},
        {"run": "r/1"},
        {"feature": "summary"},
        {"tags": {"project": "atlas"}},
        {"user": "ada", "model": SONNET},
    ],
    ids=str,
)
def test_what_was_spent_is_compared_exactly(gov, fake_claude, scope):
    """Of each scope the bill's amount holds, however it is written, and one nano-dollar more does not."""
    cost = ask(gov, run="r/1", feature="summary", tags={"project": "atlas"}).receipt.cost
    assert cost.nanos == fake_claude.billed_nanos > 0
    dollars = str(cost).removeprefix("$")
    for amount in (cost, dollars, Decimal(dollars)):
        assert_spent(gov, amount, **scope)
    assert_spent(gov, nanos=cost.nanos, **scope)
    off = Money(cost.nanos + 1)
    assert f"has spent {cost}, not {off}" in failure(assert_spent, gov, off, **scope)
    assert f"has spent {cost}, not {off}" in failure(assert_spent, gov, nanos=off.nanos, **scope)


def test_a_range_holds_between_its_bounds(gov):
    """Both bounds are inside; beyond either the failure says what was expected."""
    cost = ask(gov).receipt.cost
    less, more = Money(cost.nanos - 1), Money(cost.nanos + 1)
    assert_spent(gov, at_least=cost, at_most=cost, user="ada")
    assert_spent(gov, at_least=less, user="ada")
    assert_spent(gov, at_most="0.05", user="ada")
    assert f"not at most {less}" in failure(assert_spent, gov, at_most=less, user="ada")
    assert f"not at least {more}" in failure(assert_spent, gov, at_least=more, user="ada")
    said = failure(assert_spent, gov, at_least=more, at_most=3, user="ada")
    assert f"not at least {more} and at most $3.00" in said


def test_a_failure_shows_every_budget(gov):
    """Each usd budget that was touched stands in it, with what is spent of how much."""
    cost = ask(gov, run="r1").receipt.cost
    said = failure(assert_spent, gov, "0.5", run="r1")
    assert said.startswith(f"department=research/run=r1/usd/life has spent {cost}, not $0.50\n")
    assert f"org/usd/month: {cost} spent, $0.00 held of $100.00" in said
    assert f"department=research/user=ada/usd/day: {cost} spent, $0.00 held of $1.00" in said
    assert "requests" not in said


def test_what_nobody_touched_is_zero(gov):
    """A budget counts before its first call; other users' and other departments' do not move."""
    assert_spent(gov, 0, user="bob")
    ask(gov)
    assert_spent(gov, 0, department="sales", user="ada")
    assert_spent(gov, 0, user="bob")
    assert "bob" in failure(assert_spent, gov, at_least="0.01", user="bob", department="research")


def test_a_window_that_is_over_counts_no_more(gov, frozen_clock):
    """Where the windows of a scope differ, the one that differs is named, or one is asked for."""
    cost = ask(gov).receipt.cost
    frozen_clock.tick(days=1)
    assert_spent(gov, 0, user="ada", window="day")
    assert_spent(gov, cost, user="ada", window="month")
    said = failure(assert_spent, gov, cost, user="ada").partition("\n")[0]
    assert said == f"department=research/user=ada/usd/day has spent $0.00, not {cost}"


def test_money_that_is_only_held_is_not_spent(gov, fake_claude):
    """While the API answers, nothing is spent yet."""
    seen = []

    def look(body):
        assert_spent(gov, 0, user="ada")
        seen.append(failure(assert_spent, gov, at_least="0.01", user="ada"))
        return fake_reply()

    fake_claude.replies(look)
    ask(gov)
    assert len(seen) == 1
    assert "$0.00 spent, $0.0" in seen[0]
    assert "$0.00 spent, $0.00 held" not in seen[0]


def fake_reply():
    """Any answer."""
    from governor.testing import Reply

    return Reply()


def test_a_scope_that_no_budget_counts_is_an_error(gov):
    """It is no failed assertion: the message names the budgets of the files and of the ledger."""
    ask(gov)
    with pytest.raises(LookupError) as caught:
        assert_spent(gov, 0, user="ada", run="r1")
    said = str(caught.value)
    assert said.startswith("no usd budget counts run=r1/user=ada;")
    assert "department=research/run/usd/life (" in said
    assert "research.yaml:5)" in said
    assert "org/department/usd/month (" in said
    assert "department=research/user=ada/usd/day: $0.0" in said
    with pytest.raises(LookupError, match="no usd budget counts user=ada per week"):
        assert_spent(gov, 0, user="ada", window="week")
    with pytest.raises(LookupError, match="no usd budget counts department=legal;"):
        assert_spent(gov, 0, department="legal")


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((), {}, "one amount"),
        (("1",), {"nanos": 1}, "one amount"),
        (("1",), {"at_most": 1}, "one amount"),
        ((0.1,), {}, "0.1 is no exact amount of dollars"),
        ((True,), {}, "True is no exact amount"),
        ((), {"at_most": 0.5}, "0.5 is no exact amount"),
        ((), {"nanos": 1.0}, "nanos is 1.0: give a whole number"),
        ((), {"nanos": True}, "nanos is True"),
    ],
    ids=str,
)
def test_an_amount_that_is_none_is_a_type_error(gov, arguments, options, says):
    """No amount, two, or a binary fraction: the error says how it is written."""
    with pytest.raises(TypeError, match=says):
        assert_spent(gov, *arguments, **options)


def test_other_wrong_arguments_are_refused(gov):
    """A window that there is none of, dollars that are none, and what is neither governor nor ledger."""
    with pytest.raises(ValueError, match="'fortnight' is no window: give minute, hour, day"):
        assert_spent(gov, 0, window="fortnight")
    with pytest.raises(ValueError, match="'much' is not a number of dollars"):
        assert_spent(gov, "much")
    with pytest.raises(TypeError, match="neither a governor nor a ledger"):
        assert_spent("sqlite:///governor.db", 0)  # type: ignore[arg-type]


def test_a_ledger_alone_will_do(gov, memory_ledger, frozen_clock):
    """It knows what was touched, and says so of what was not."""
    cost = ask(gov).receipt.cost
    ledger = open_ledger(memory_ledger, "acme", clock=frozen_clock)
    assert_spent(ledger, cost, user="ada")
    with pytest.raises(LookupError, match="A ledger knows only what was touched: give the governor"):
        assert_spent(ledger, 0, user="bob")


def test_an_async_ledger_on_a_server_is_opened_anew():
    """It can only be awaited, so the error says what to give."""
    ledger = open_async_ledger("redis://127.0.0.1:1/0", "acme")
    with pytest.raises(TypeError, match=r"governor\.ledger\.open_ledger"):
        assert_spent(ledger, 0)


def test_an_async_governor_is_looked_at_while_its_loop_runs(make_async_governor, gov):
    """Its ledger is the blocking one's, and what it spends is seen in either."""

    async def scene():
        texts = {"organization.yaml": ORGANIZATION, "research.yaml": RESEARCH, "sales.yaml": SALES}
        async with make_async_governor(texts) as other:
            message = await ask(other)
            assert_spent(other, message.receipt.cost, user="ada")
            assert_not_downgraded(message)
            return message.receipt.cost

    cost = asyncio.run(scene())
    assert_spent(gov, cost, user="ada")
    again = ask(gov).receipt.cost
    assert_spent(gov, cost + again, user="ada")


def test_a_downgrade_is_found_with_its_line_its_model_and_its_reason(gov, fake_claude):
    """Beyond 80 % of the run's budget haiku serves; the message, its receipt and its decision tell it."""
    fake_claude.replies(output_tokens=1000)
    first = ask(gov, run="r1")
    assert_not_downgraded(first)
    last = first
    while last.receipt.model == SONNET:
        last = ask(gov, run="r1")
    for answer in (last, last.receipt, last.receipt.decision):
        assert_downgraded(answer)
        assert_downgraded(answer, to="haiku", because="RUN=r1")
        assert_downgraded(answer, HAIKU)
        assert "did not serve" in failure(assert_not_downgraded, answer)
    assert "not downgraded to opus: claude-haiku-5-5 served" in failure(assert_downgraded, last, to="opus")
    said = failure(assert_downgraded, last, because="user=ada")
    assert "not downgraded because of 'user=ada'" in said
    assert "claude-sonnet-5-5 (sonnet): exhausted by department=research/run=r1/usd/life" in said
    said = failure(assert_downgraded, first)
    assert said.startswith(f"nothing was downgraded: {SONNET} served; asked for auto, preferred {SONNET}")


def test_a_downgrade_by_the_api_is_one_too(gov, fake_claude):
    """Sonnet says 529, haiku serves."""
    fake_claude.inject(overloaded())
    assert_downgraded(ask(gov), to="haiku", because="overloaded")


def test_a_refusal_is_neither(gov, fake_claude):
    """Nothing served, so it was not downgraded, and the preferred model did not serve."""
    fake_claude.replies(output_tokens=4000)
    with pytest.raises(BudgetExceeded) as refused:  # noqa: PT012 - the loop ends by the refusal
        while True:
            ask(gov, run="r1", max_tokens=4000)
    decision = refused.value.decision
    assert "nothing was downgraded: nothing served" in failure(assert_downgraded, decision)
    assert "did not serve: nothing served" in failure(assert_not_downgraded, decision)


def test_what_has_no_decision_is_refused(fake_claude):
    """A message of the SDK's own client carries no receipt."""
    message = fake_claude.client().messages.create(model=HAIKU, max_tokens=10, messages=HELLO)
    for check in (assert_downgraded, assert_not_downgraded):
        with pytest.raises(TypeError, match="has no decision"):
            check(message)  # type: ignore[arg-type]


def test_the_governor_takes_the_memory_urls(fake_claude, tmp_path):
    """Two governors without a name share nothing, two with one share all."""
    (tmp_path / "research.yaml").write_text(RESEARCH, encoding="utf-8")
    name = f"memory://{tmp_path.name}"
    made = [
        Governor.load(tmp_path, ledger=url, client=fake_claude.client(), spool=tmp_path / "spool")
        for url in ("memory://", "memory://", name, name)
    ]
    cost, *_, shared = [ask(gov).receipt.cost for gov in made]
    for gov in made[:2]:
        assert_spent(gov, cost, user="ada")
    for gov in made[2:]:
        assert_spent(gov, cost + shared, user="ada")
        gov.close()

"""Routing as files write it: conditions, bands and tiers are read once; what cannot be meant is refused."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import PolicyError
from governor.policy import Attribution, load
from governor.policy.conditions import Band, Condition, Shares

if TYPE_CHECKING:
    from pathlib import Path

    from governor.policy.routes import Routes

TEAM = """\
version: 1
department: team
budgets:
  - {{per: department, usd: 100, window: month}}
routing:
  lines: {{haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5, opus: claude-opus-5-5}}
{routing}
features:
  review: {{max_tokens: 100{value}}}
"""
TIERS = "  tiers: {premium: {prefer: opus}, standard: {prefer: sonnet}, economy: {prefer: haiku}}\n"


def routes(folder: Path, routing: str, value: str = "") -> Routes:
    """What a file with this `routing` is compiled to."""
    (folder / "team.yaml").write_text(TEAM.format(routing=routing, value=value))
    return load(folder).rules(Attribution("team", "ada")).routes


def shares(budget: str, load_: str) -> Shares:
    """Percentages as a condition is asked with them."""
    return Shares(Fraction(budget) / 100, Fraction(load_) / 100)


@pytest.mark.parametrize(
    ("text", "budget", "load_", "holds"),
    [
        ("budget > 90%", "90", "0", False),
        ("budget > 90%", "90.001", "0", True),
        ("budget >= 90%", "90", "0", True),
        ("budget < 50% and load < 30%", "49.999", "29", True),
        ("budget < 50% and load < 30%", "10", "30", False),
        ("budget > 90% or load > 85%", "0", "85.5", True),
        ("budget > 90% or load > 80% and budget > 10%", "5", "99", False),
        ("budget > 90% or load > 80% and budget > 10%", "11", "99", True),
        ("  load  <=  0%  ", "0", "0", True),
    ],
)
def test_a_condition_is_judged_exactly(text, budget, load_, holds):
    """Comparisons are exact at their edge, and `and` binds closer than `or`."""
    assert Condition.read(text).holds(shares(budget, load_)) is holds


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("<3", [0, 2, 2.9], [3, 10]),
        ("3-7", [3, 7], [2.9, 7.1]),
        (">7", [7.1, 10], [7]),
        (">=7", [7], [6.9]),
        ("<=3", [3], [3.1]),
    ],
)
def test_a_band_holds_its_complexities(text, inside, outside):
    """A band's ends belong to it as they are written."""
    band = Band.read(text)
    assert [band.holds(value) for value in (*inside, *outside)] == [True] * len(inside) + [False] * len(
        outside
    )


@given(value=st.floats(0, 10))
def test_every_complexity_has_a_line(value):
    """Whatever a scorer says, a line is found: in a gap between bands the next dearer one."""
    from governor.policy.routes import Routes, TierTerms

    bands = {"haiku": Band.read("<3"), "sonnet": Band.read("4-6"), "opus": Band.read("9-10")}
    tiers = {"standard": TierTerms("standard", "sonnet", None, 1.0, 1)}
    found = Routes({}, "auto", tiers, complexity=bands).line_for(value)
    assert found == ("haiku" if value < 3 else "sonnet" if value <= 6 else "opus")


def test_the_first_rule_that_holds_chooses(tmp_path):
    """Rules are looked at in order, and what is written last without a condition is what remains."""
    choose = """\
  choose:
    - {when: "budget > 90% or load > 85%", tier: economy}
    - {when: "budget < 50% and load < 30%", tier: premium}
    - {tier: standard}
"""
    found = routes(tmp_path, TIERS + choose)
    chosen = [
        found.tier_for(shares(*pair)) for pair in (("95", "0"), ("10", "90"), ("10", "10"), ("60", "10"))
    ]
    assert [tier.name for tier, _ in chosen] == ["economy", "economy", "premium", "standard"]
    assert chosen[0][1] == "budget > 90% or load > 85%"


def test_without_tiers_there_is_a_standard_one(tmp_path):
    """A file that writes no tier has the usual time-out and retries, and no limit of context."""
    (standard,) = routes(tmp_path, "  default: auto").tiers.values()
    assert (standard.name, standard.prefer, standard.context) == ("standard", "sonnet", None)
    assert (standard.timeout_s, standard.retries) == (60.0, 2)


def test_everything_routing_says_is_read(tmp_path):
    """Value, load, shrink, defer, cached answers and successors arrive as they are written."""
    found = routes(
        tmp_path,
        """\
  value: {quality: {haiku: 60, sonnet: 85, opus: 100}, at_least: 20}
  load: {throttle: 70%, open: 85%, max_wait: 20.5}
  shrink: {min_tokens: 256}
  defer: {when: "load > 60%"}
  cached_answers: {max_age: 600}
  successors: {claude-opus-4-0: opus}
""",
        ", value: 0.5",
    )
    assert (found.quality, found.worth) == ({"haiku": 60, "sonnet": 85, "opus": 100}, 20)
    assert (found.load.throttle_bp, found.load.open_bp, found.load.max_wait_s) == (7000, 8500, 20.5)
    assert (found.shrink_to, found.cached_s, found.successors) == (256, 600.0, {"claude-opus-4-0": "opus"})
    assert found.defer is not None
    assert found.defer_asks("load")


@pytest.mark.parametrize(
    ("routing", "place", "says"),
    [
        (
            TIERS
            + '  choose: [{when: "budget > 50%", tier: premium}, {when: "budget > 60%", tier: economy}, '
            "{tier: standard}]",
            (8, 58),
            "a choice before it does",
        ),
        (
            TIERS + '  choose: [{when: "budget > 50% and budget < 20%", tier: premium}, {tier: standard}]',
            (8, 19),
            "no budget and load meet it",
        ),
        (
            TIERS + '  choose: [{when: "load > 50%", tier: premium}, {when: "load <= 50%", tier: economy}, '
            '{when: "load >= 0%", tier: economy}, {tier: standard}]',
            (8, 94),
            "a choice before it does",
        ),
        ('  complexity: {haiku: "<5", sonnet: "4-7"}', (7, 37), "both hold 4"),
        ('  complexity: {haiku: ">7", sonnet: "<3"}', (7, 37), "easier requests"),
        ("  value: {quality: {haiku: 60, sonnet: 70}}", (7, 20), "says nothing of 'opus'"),
        ("  load: {throttle: 90%, open: 80%}", (7, 31), "left alone at 80 %"),
        ("  successors: {a: b, b: a}", (7, 19), "comes back to itself"),
        ("  successors: {a: fable}", (7, 19), "'fable' is not in routing.lines"),
        ("  value: {quality: {haiku: 1, sonnet: 2, opus: 3}}", (7, 3), "no feature says"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(tmp_path, routing, place, says):
    """A rule that nothing reaches, bands that overlap, circles and half a valuation are errors."""
    with pytest.raises(PolicyError) as caught:
        routes(tmp_path, routing)
    found = {(problem.line, problem.column): problem.message for problem in caught.value.problems}
    assert place in found, found
    assert says in found[place]


def test_a_value_without_quality_is_refused(tmp_path):
    """What a call is worth decides nothing without the quality of the lines."""
    with pytest.raises(PolicyError, match="nothing goes by what a call is worth"):
        routes(tmp_path, "  default: auto", ", value: 0.5")


PAIRS = st.lists(
    st.tuples(
        st.sampled_from(["budget", "load"]), st.sampled_from(["<", "<=", ">", ">="]), st.integers(0, 100)
    ),
    min_size=1,
    max_size=3,
)


@given(rules=st.lists(PAIRS, min_size=1, max_size=3), budget=st.integers(0, 120), load_=st.integers(0, 100))
def test_a_rule_that_chooses_is_never_said_to_be_unreachable(rules, budget, load_):
    """What is first for any budget and load at all is not refused as never chosen."""
    from governor.policy.routing_check import _every, _first

    conditions = [Condition.read(" and ".join(f"{n} {s} {p}%" for n, s, p in rule)) for rule in rules]
    chosen = _first(conditions, shares(str(budget), str(load_)))
    assert chosen is None or chosen in {_first(conditions, one) for one in _every(conditions)}

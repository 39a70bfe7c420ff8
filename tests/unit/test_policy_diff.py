"""What `policy diff` says of two sets of policies holds for every request that is tried."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from governor.errors import PolicyError
from governor.policy import Attribution, load
from governor.policy.load import ALERT_FILES
from governor.pricing import PriceTable
from governor.rehearsal.cheaper import falls_with_the_line
from governor.rehearsal.compare import compare
from governor.rehearsal.differences import Way, together
from governor.rehearsal.examples import Examples, Probe, treat
from governor.rehearsal.sides import Side, told_user
from governor.rehearsal.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.policy import Policies

NOW_MS = 1_795_176_000_000
PRICES = PriceTable.load()
SHIPPED = Path(__file__).resolve().parents[2] / "policies"
FILES: dict[str, Any] = {
    path.stem: json.loads(json.dumps(YAML(typ="safe").load(path), default=str))
    for path in sorted(SHIPPED.glob("*.yaml"))
    if not path.name.endswith(".tests.yaml") and path.name not in ALERT_FILES
}
USERS = ("ada@example.com", "eve@example.com", "somebody@example.com")


def loaded(folder: Path, name: str, files: dict[str, Any]) -> Policies:
    """The policies of these files."""
    where = folder / name
    where.mkdir()
    for stem, content in files.items():
        (where / f"{stem}.yaml").write_text(json.dumps(content), encoding="utf-8")
    return load(where)


def _budget(draw: random.Random, file: dict[str, Any]) -> dict[str, Any]:
    return draw.choice(file["budgets"])


def _limit(draw: random.Random, file: dict[str, Any]) -> None:
    one = _budget(draw, file)
    unit = next(key for key in ("usd", "tokens", "requests", "concurrent") if key in one)
    one[unit] = max(1, int(float(one[unit]) * draw.choice((0.5, 0.9, 1.1, 2))))


def _remove(draw: random.Random, file: dict[str, Any]) -> None:
    if len(file["budgets"]) > 1:
        file["budgets"].remove(_budget(draw, file))


def _add(draw: random.Random, file: dict[str, Any]) -> None:
    file["budgets"].append(
        draw.choice(
            (
                {"per": "user", "tokens": 500_000, "window": "day"},
                {"per": "user", "usd": 900, "window": "life"},
                {"per": "model", "usd": 40, "window": "week"},
                {"per": "model", "name": "claude-haiku-5-5", "usd": 5, "window": "day"},
                {"per": ["user", "model"], "usd": 20, "window": "rolling 7d"},
                {"per": "tag:project", "usd": 30, "window": "day"},
                {"per": "feature", "usd": 45, "window": "day"},
            )
        )
    )


def _threshold(draw: random.Random, file: dict[str, Any]) -> None:
    steps = file.setdefault("thresholds", {})
    keys = [key for key in steps if key != "100%"]
    if keys and draw.random() < 0.7:
        key = draw.choice(keys)
        steps.setdefault(f"{min(99, max(1, int(key[:-1]) + draw.choice((-7, 4))))}%", steps.pop(key))
    else:
        steps["93%"] = {"downgrade": draw.choice(("haiku", "sonnet"))}


def _floor(draw: random.Random, file: dict[str, Any]) -> None:
    if "routing" in file:
        file["routing"].setdefault("floors", {})["sonnet"] = draw.choice((5, 60, 120))


def _limits(draw: random.Random, file: dict[str, Any]) -> None:
    key = draw.choice(("cost_per_request", "input_tokens", "max_tokens"))
    file.setdefault("limits", {})[key] = draw.choice(
        {"cost_per_request": (0.02, 0.3, 5)}.get(key, (2_000, 50_000))
    )


def _user(draw: random.Random, file: dict[str, Any]) -> None:
    if "department" not in file:
        return
    users = file.setdefault("users", {"*": {}})
    name = draw.choice((*USERS, "*"))
    if name in users and draw.random() < 0.5 and len(users) > 1:
        del users[name]
    else:
        users[name] = {"user_tier": draw.choice(("basic", "premium"))}


def _feature(draw: random.Random, file: dict[str, Any]) -> None:
    if "features" not in file:
        return
    name = draw.choice((*file["features"], "new_one"))
    if name in file["features"] and draw.random() < 0.4 and len(file["features"]) > 1:
        del file["features"][name]
    else:
        file["features"][name] = draw.choice(
            (
                {"max_tokens": 700},
                {"max_tokens": 700, "lines": ["haiku", "sonnet"]},
                {"lines": ["sonnet", "haiku"]},
            )
        )


def _routing(draw: random.Random, file: dict[str, Any]) -> None:
    if "routing" not in file:
        return
    lines = file["routing"]["lines"]
    if draw.random() < 0.5:
        lines.pop(draw.choice([*lines]))
    else:
        lines["haiku"] = "claude-haiku-4-5"


TIERS = {
    "premium": {"prefer": "sonnet"},
    "standard": {"prefer": "sonnet", "context": 100_000},
    "economy": {"prefer": "haiku"},
}
CHOOSE = (
    [],
    [{"when": "budget > 80%", "tier": "economy"}, {"tier": "standard"}],
    [{"when": "budget < 50% and load < 30%", "tier": "premium"}, {"tier": "standard"}],
    [{"when": "load > 60%", "tier": "economy"}, {"tier": "standard"}],
    [{"when": "budget > 60%", "tier": "premium"}, {"tier": "standard"}],
)
BANDS: tuple[dict[str, str], ...] = (
    {},
    {"haiku": "<3", "sonnet": ">=3"},
    {"haiku": "<5", "sonnet": ">=5"},
    {"haiku": "<=7"},
)


def _choosing(draw: random.Random, file: dict[str, Any]) -> None:
    if "routing" not in file:
        return
    routing = file["routing"]
    routing["tiers"] = copy.deepcopy(TIERS)
    routing["choose"] = draw.choice(CHOOSE)
    routing["complexity"] = draw.choice(BANDS)
    if draw.random() < 0.5:
        routing["tiers"][draw.choice([*TIERS])]["prefer"] = draw.choice(("haiku", "sonnet"))
    if draw.random() < 0.3:
        routing["shrink"] = {"min_tokens": draw.choice((50, 300))}
    if draw.random() < 0.3:
        routing["defer"] = {"when": draw.choice(("load > 50%", "budget < 20%", "budget > 70%"))}


def _zone(draw: random.Random, file: dict[str, Any]) -> None:
    file["timezone"] = draw.choice(("UTC", "Asia/Tokyo"))


def _pace(draw: random.Random, file: dict[str, Any]) -> None:
    one = _budget(draw, file)
    if one.get("window") in ("day", "month") and one.pop("pace", None) is None:
        one["pace"] = "even"


def _keep(draw: random.Random, file: dict[str, Any]) -> None:
    _budget(draw, file).update(keep=draw.choice(("10%", "30%")), **{"for": ["urgent"]})


def _own_steps(draw: random.Random, file: dict[str, Any]) -> None:
    percent = f"{draw.choice((40, 70, 90))}%"
    _budget(draw, file)["thresholds"] = {percent: draw.choice(("block", "warn", {"downgrade": "haiku"}))}


def _mode(draw: random.Random, file: dict[str, Any]) -> None:
    draw.choice((file, _budget(draw, file)))["mode"] = draw.choice(("shadow", "enforce"))


def _application(_: random.Random, file: dict[str, Any]) -> None:
    if "department" in file:
        file["users_from"] = "application"


MUTATIONS: tuple[Callable[[random.Random, dict[str, Any]], None], ...] = (
    *(_limit, _limit, _limit, _threshold, _threshold, _remove, _add, _floor),
    *(_limits, _user, _feature, _routing, _zone, _choosing, _choosing, _choosing),
    *(_pace, _keep, _own_steps, _mode, _application),
)


def _probes(draw: random.Random, sides: tuple[Policies, Policies], count: int) -> list[Probe]:
    """Requests at balances near the limits and the marks of either."""
    found = []
    while len(found) < count:
        policies = draw.choice(sides)
        department = draw.choice(policies.departments)
        own = Side(department, policies).own
        tags = (("project", "atlas"),) if draw.random() < 0.5 else ()
        feature = draw.choice((*own.features, None, "unheard-of"))
        user, priority = (
            draw.choice((*USERS, *map(told_user, (None, "basic")))),
            draw.choice((None, "urgent")),
        )
        who = Attribution(department, user, None if feature == "*" else feature, "r", tags, priority)
        models = ("claude-haiku-5-5", "claude-haiku-4-5", "claude-sonnet-5-5", "claude-opus-5-5")
        spent = {}
        side = Side(department, policies)
        for row in policies.all_terms():
            values = {
                scope: row.names.get(scope) or who.value_of(scope) for scope in row.inner if scope != "model"
            }
            if row.department not in (None, department) or None in values.values() or draw.random() < 0.6:
                continue
            if "model" in row.inner:
                values["model"] = row.names.get("model", draw.choice(models))
            cap = draw.choice(side.caps(row, who.user))
            less = (
                draw.choice((0, 1, 10**6, 10**7, 10**8)) if row.unit == "usd" else draw.choice((0, 1, 5_000))
            )
            at = max(0, cap - less + draw.choice((-1, 0, 1)))
            spent[row.identity(values)] = draw.choice(((at, 0), (0, at), (at // 2, at - at // 2)))
        asked = draw.choice(("auto", "auto", "haiku", "sonnet", "opus", *models))
        found.append(
            Probe(
                who,
                asked,
                draw.choice((50, 3_000, 60_000, 150_000)),
                draw.choice((1, 256, 8_192)),
                spent,
                complexity=draw.choice((0, 3, 4, 6, 7.5, 10)),
                load_bp=draw.choice((0, 0, 2_900, 5_500, 9_000)),
                tier=draw.choice((None, None, None, "premium", "economy")),
                deferrable=draw.random() < 0.2,
            )
        )
    return found


@given(seed=st.integers(0, 2**32))
def test_what_diff_says_holds_for_every_request_of_a_sample(seed, tmp_path_factory):
    """Tighter: no request is treated more loosely; looser: none more tightly; same: none otherwise."""
    draw, folder = random.Random(seed), tmp_path_factory.mktemp("pair")
    before, after = copy.deepcopy(FILES), copy.deepcopy(FILES)
    for _ in range(draw.choice((0, 2))):
        file = draw.choice([*before])
        draw.choice(MUTATIONS)(draw, before[file])
        after[file] = copy.deepcopy(before[file])
    for _ in range(draw.choice((1, 1, 2, 3))):
        draw.choice(MUTATIONS)(draw, after[draw.choice([*after])])
    try:
        old, new = loaded(folder, "old", before), loaded(folder, "new", after)
    except PolicyError:
        return  # the mutation made no right file
    now_ms = NOW_MS + draw.randrange(30 * 86_400_000)
    ways = {one.department: one.way for one in compare(old, new, PRICES, now_ms)}
    stages = Stage(old, PRICES, now_ms), Stage(new, PRICES, now_ms)
    for probe in _probes(draw, (old, new), 60):
        then, now = (treat(stage, probe) for stage in stages)
        way = ways[probe.who.department]
        if now.rank > then.rank:
            assert way in (Way.LOOSER, Way.NEITHER), (probe, then, now)
        if now.rank < then.rank:
            assert way in (Way.TIGHTER, Way.NEITHER), (probe, then, now)


def _changed(tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> tuple[Policies, Policies]:
    after = copy.deepcopy(FILES)
    change(after)
    return loaded(tmp_path, "old", FILES), loaded(tmp_path, "new", after)


def _tiers(files: dict[str, Any]) -> dict[str, Any]:
    tiers: dict[str, Any] = files["legal"]["routing"]["tiers"]
    return tiers


ROUTED: dict[str, Any] = {
    "tiers": {"standard": {"prefer": "sonnet", "timeout": 60}, "economy": {"prefer": "haiku"}},
    "choose": [{"when": "budget > 90%", "tier": "economy"}, {"tier": "standard"}],
}
CASES = [
    ("lower limit", lambda f: f["legal"]["budgets"][2].update(usd=30), Way.TIGHTER),
    ("higher limit", lambda f: f["legal"]["budgets"][2].update(usd=50), Way.LOOSER),
    ("less and more", lambda f: [f["legal"]["budgets"][n].update(usd=250) for n in (1, 2)], Way.NEITHER),
    ("lower step", lambda f: f["legal"]["thresholds"].update({"60%": {"downgrade": "sonnet"}}), Way.TIGHTER),
    ("removed budget", lambda f: f["legal"]["budgets"].pop(2), Way.LOOSER),
    (
        "added budget",
        lambda f: f["legal"]["budgets"].append({"per": "user", "usd": 9, "window": "hour"}),
        Way.TIGHTER,
    ),
    (
        "a longer budget takes the floors",
        lambda f: f["legal"]["budgets"].append({"per": "user", "usd": 900} | {"window": "life"}),
        Way.NEITHER,
    ),
    ("cost of a request", lambda f: f["legal"]["limits"].update(cost_per_request=0.3), Way.TIGHTER),
    (
        "a smaller max_tokens makes ceilings smaller",
        lambda f: f["legal"]["features"]["summarize"].update(max_tokens=1024),
        Way.NEITHER,
    ),
    ("another zone", lambda f: f["legal"].update(timezone="UTC"), Way.NEITHER),
    ("another model", lambda f: f["legal"]["routing"]["lines"].update(haiku="claude-haiku-4-5"), Way.NEITHER),
    ("a feature less", lambda f: f["legal"]["features"].pop("summarize"), Way.TIGHTER),
    ("a feature more", lambda f: f["legal"]["features"].update(new={"max_tokens": 9}), Way.LOOSER),
    ("fewer users", lambda f: f["legal"].update(users={"ada@example.com": {}}), Way.TIGHTER),
    ("no file", lambda f: f.pop("legal"), Way.TIGHTER),
    ("another owner", lambda f: f["legal"].update(owner="someone"), Way.SAME),
    ("shadow", lambda f: f["legal"].update(mode="shadow"), Way.NEITHER),
    ("a block sooner", lambda f: f["legal"]["thresholds"].update({"95%": "block"}), Way.TIGHTER),
    (
        "a block of its own",
        lambda f: f["legal"]["budgets"][2].update(thresholds={"60%": "block"}),
        Way.TIGHTER,
    ),
    ("an even pace", lambda f: f["legal"]["budgets"][1].update(pace="even"), Way.NEITHER),
    (
        "a kept part",
        lambda f: f["legal"]["budgets"][1].update({"keep": "9%", "for": ["urgent"]}),
        Way.NEITHER,
    ),
    ("a rule, and a tier that may be asked for", lambda f: f["legal"]["routing"].update(ROUTED), Way.NEITHER),
    (
        "a rule that takes premium",
        lambda f: f["legal"]["routing"].update(
            tiers={"premium": {"prefer": "opus"}, **f["legal"]["routing"]["tiers"]},
            choose=[{"when": "load < 30%", "tier": "premium"}, {"tier": "standard"}],
        ),
        Way.LOOSER,
    ),
    (
        "bands that go both ways",
        lambda f: f["legal"]["routing"].update(complexity={"haiku": "<3", "sonnet": "3-7", "opus": ">7"}),
        Way.NEITHER,
    ),
    (
        "bands that only spare",
        lambda f: f["legal"]["routing"].update(complexity={"haiku": "<3", "sonnet": ">=3"}),
        Way.TIGHTER,
    ),
    ("a tier that may be asked for", lambda f: _tiers(f).update(premium={"prefer": "opus"}), Way.LOOSER),
    ("another time-out", lambda f: _tiers(f)["standard"].update(timeout=99), Way.NEITHER),
    ("a smaller answer first", lambda f: f["legal"]["routing"].update(shrink={"min_tokens": 9}), Way.LOOSER),
    (
        "an earlier answer first",
        lambda f: f["legal"]["routing"].update(cached_answers={"max_age": 60}),
        Way.LOOSER,
    ),
    ("deferred", lambda f: f["legal"]["routing"].update(defer={"when": "load > 50%"}), Way.TIGHTER),
    ("spaced out sooner", lambda f: f["legal"]["routing"].update(load={"throttle": "50%"}), Way.NEITHER),
    (
        "a successor",
        lambda f: f["legal"]["routing"].update(successors={"claude-opus-4-0": "opus"}),
        Way.NEITHER,
    ),
    (
        "a premium user",
        lambda f: f["legal"].update(users={"ada@example.com": {"user_tier": "premium"}, "*": {}}),
        Way.LOOSER,
    ),
    ("tighter for everybody", lambda f: f["organization"]["budgets"][1].update(usd=300), Way.TIGHTER),
]


@pytest.mark.parametrize(("change", "way"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_change_goes_the_way_that_it_goes(tmp_path, change, way):
    """Each kind of change of one department's file is told as what it is."""
    old, new = _changed(tmp_path, change)
    ways = {one.department: one.way for one in compare(old, new, PRICES, NOW_MS)}
    assert ways["legal"] is way
    back = {one.department: one.way for one in compare(new, old, PRICES, NOW_MS)}
    assert back["legal"] is {Way.TIGHTER: Way.LOOSER, Way.LOOSER: Way.TIGHTER}.get(way, way)


@pytest.mark.parametrize(
    ("when", "way"),
    [("budget > 80%", Way.TIGHTER), ("budget < 80%", Way.NEITHER), ("load > 9%", Way.TIGHTER)],
)
def test_a_lower_limit_is_tighter_unless_a_fuller_budget_means_a_dearer_line(tmp_path, when, way):
    """A budget is fuller under a lower limit: a rule may then leave economy, so that nothing is proved."""
    before = copy.deepcopy(FILES)
    before["legal"]["routing"].update(
        tiers=ROUTED["tiers"], choose=[{"when": when, "tier": "economy"}, {"tier": "standard"}]
    )
    after = copy.deepcopy(before)
    after["legal"]["budgets"][2]["usd"] = 30
    ways = _ways(loaded(tmp_path, "old", before), loaded(tmp_path, "new", after))
    assert ways["legal"] is way


def test_a_rule_that_takes_a_cheaper_tier_is_tighter(tmp_path):
    """Where both have the tier: every way in which budget, load, length and complexity turn out is tried."""
    before = copy.deepcopy(FILES)
    before["legal"]["routing"].update(tiers=ROUTED["tiers"], choose=ROUTED["choose"])
    after = copy.deepcopy(before)
    after["legal"]["routing"]["choose"][0]["when"] = "budget > 90% or load > 70%"
    old, new = loaded(tmp_path, "old", before), loaded(tmp_path, "new", after)
    (found,) = (one for one in compare(old, new, PRICES, NOW_MS) if one.department == "legal")
    assert found.way is Way.TIGHTER
    (difference,) = found.differences
    (example,) = Examples(old, new, PRICES, NOW_MS).find(found, difference)
    assert (example.way, example.probe.asked, example.probe.load_bp > 7_000) == (Way.TIGHTER, "auto", True)


def _told_by_the_application(files: dict[str, Any], basic: int = 300) -> None:
    files["engineering"]["users_from"] = "application"
    del files["engineering"]["users"]
    files["engineering"]["budgets"][2]["usd"] = basic


@pytest.mark.parametrize(("basic", "way"), [(300, Way.SAME), (400, Way.LOOSER), (200, Way.TIGHTER)])
def test_users_whom_the_application_tells_of_are_compared_tier_by_tier(tmp_path, basic, way):
    """Nobody is there to ask who they are: one of each tier, and one without, stands for them."""
    files = (copy.deepcopy(FILES), copy.deepcopy(FILES))
    _told_by_the_application(files[0])
    _told_by_the_application(files[1], basic)
    old, new = (loaded(tmp_path, name, one) for name, one in zip(("old", "new"), files, strict=True))
    (found,) = (one for one in compare(old, new, PRICES, NOW_MS) if one.department == "engineering")
    assert found.way is way
    examples = Examples(old, new, PRICES, NOW_MS)
    for difference in found.differences:
        (example,) = examples.find(found, difference)
        assert (example.way, example.probe.who.user) == (way, told_user("basic"))


def test_an_even_pace_lifts_marks_and_not_floors(tmp_path):
    """Both stop opus at $200 now; later on in the month the mark is lifted, and the floor is not."""
    before, after = copy.deepcopy(FILES), copy.deepcopy(FILES)
    for files, floor, step in ((before, 100, "90%"), (after, 0, "66%")):
        legal = files["legal"]
        legal["budgets"] = [{"per": "user", "usd": 300, "window": "month", "pace": "even"}]
        legal["thresholds"] = {step: {"downgrade": "haiku"}}
        legal["routing"]["floors"] = {"opus": floor or 1, "sonnet": floor or 1}
    ways = _ways(loaded(tmp_path, "old", before), loaded(tmp_path, "new", after))
    assert ways["legal"] is Way.NEITHER


def test_an_even_pace_does_not_lift_the_organisations_marks(tmp_path):
    """A lower one is tighter for a paced budget, too."""
    before, after = copy.deepcopy(FILES), copy.deepcopy(FILES)
    for files, step in ((before, "90%"), (after, "70%")):
        files["organization"]["thresholds"] = {step: {"downgrade": "haiku"}}
        files["legal"]["budgets"][1]["pace"] = "even"
    ways = _ways(loaded(tmp_path, "old", before), loaded(tmp_path, "new", after))
    assert ways["legal"] is Way.TIGHTER


def test_what_is_said_of_every_feature_is_said_once(tmp_path):
    """A department's own setting is one difference, however many features it has; names of files are none."""
    old, new = _changed(tmp_path, lambda f: f["legal"].update(if_ledger_is_down="allow"))
    (legal,) = (one for one in compare(old, new, PRICES, NOW_MS) if one.department == "legal")
    assert [one.what for one in legal.differences] == [
        "if_ledger_is_down: refuse → allow, cannot be compared"
    ]
    shadow = copy.deepcopy(FILES)
    shadow["legal"]["mode"] = "shadow"
    here, there = loaded(tmp_path, "here", shadow), loaded(tmp_path, "there", shadow)
    assert _ways(here, there)["legal"] is Way.SAME


def _ways(old: Policies, new: Policies) -> dict[str, Way]:
    return {one.department: one.way for one in compare(old, new, PRICES, NOW_MS)}


def test_a_promotion_is_looser_for_who_is_promoted(tmp_path):
    """A user's tier has no way by itself: the budgets of the tiers have."""
    old, new = _changed(tmp_path, lambda f: f["engineering"]["users"].update(bob={"user_tier": "premium"}))
    (engineering,) = [one for one in compare(old, new, PRICES, NOW_MS) if one.department == "engineering"]
    assert engineering.way is Way.LOOSER
    assert {one.who.user for one in engineering.differences} == {"bob"}


def test_a_budget_of_the_cheap_model_may_push_a_feature_up(tmp_path):
    """Where a feature tries haiku first, refusing haiku serves sonnet: a tighter budget is not tighter."""
    cheap = {"per": "model", "name": "claude-haiku-5-5", "usd": 5, "window": "day"}
    old, new = _changed(tmp_path, lambda f: f["support"]["budgets"].append(cheap))
    (support,) = [one for one in compare(old, new, PRICES, NOW_MS) if one.department == "support"]
    assert support.way is Way.NEITHER
    who = Attribution("support", "u", "reply_draft")
    spent = {"department=support/model=claude-haiku-5-5/usd/day": (5 * 10**9, 0)}
    then, now = (
        treat(Stage(side, PRICES, NOW_MS), Probe(who, "auto", 500, 100, spent)) for side in (old, new)
    )
    assert now.rank > then.rank


@pytest.mark.parametrize("index", range(6))
def test_examples_are_treated_as_the_difference_says(tmp_path, index):
    """For a changed budget or limit of a request an example is found, and it goes the way that is told."""
    changes = [
        case
        for case in CASES
        if case[0]
        in {
            "lower limit",
            "higher limit",
            "lower step",
            "removed budget",
            "cost of a request",
            "a feature less",
        }
    ]
    old, new = _changed(tmp_path, changes[index][1])
    examples = Examples(old, new, PRICES, NOW_MS)
    shown = [
        (difference.way, example)
        for one in compare(old, new, PRICES, NOW_MS)
        for difference in one.differences
        for example in examples.find(one, difference)
    ]
    assert shown
    assert all(way is example.way for way, example in shown)


def test_ways_together():
    """Several changes go one way only if none goes another."""
    assert together([]) is Way.SAME
    assert together([Way.SAME, Way.TIGHTER, Way.TIGHTER]) is Way.TIGHTER
    assert together([Way.LOOSER, Way.TIGHTER]) is Way.NEITHER


def test_a_model_is_cheaper_only_where_it_is_so_in_every_way():
    """Haiku never costs more than sonnet; sonnet may; of other tokenizers nobody knows."""
    assert falls_with_the_line(PRICES, "claude-haiku-5-5", "claude-sonnet-5-5", NOW_MS)
    assert not falls_with_the_line(PRICES, "claude-sonnet-5-5", "claude-haiku-5-5", NOW_MS)
    assert not falls_with_the_line(PRICES, "claude-haiku-4-5", "claude-sonnet-5-5", NOW_MS)

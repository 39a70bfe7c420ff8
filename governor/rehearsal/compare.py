"""Is one set of policies tighter than another? Proved on what the files compile to. Pure.

*Tighter* means: no request, at the same balances, is served by a dearer line, or served where it was refused.
A request takes the first of its candidates that every budget can bear. So it is proved where the candidates
and their ceilings are the same, and whatever budget bears a candidate under the new policies bears it under
the old ones: each old budget has one in its place that fills up to no more, line by line, and the rules that
refuse or skip by size let no more through. What decides in any other way can't be compared: it is *neither*.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import combinations
from typing import TYPE_CHECKING, Any

from governor.budgets import Period, Rolling
from governor.money import Money
from governor.policy import LINES, Attribution, BudgetRow
from governor.rehearsal import routed
from governor.rehearsal.cheaper import falls_with_the_line
from governor.rehearsal.differences import Difference, Way, together
from governor.rehearsal.sides import Side
from governor.routing import rank
from governor.story.decision import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from governor.policy import Policies
    from governor.pricing import PriceTable


@dataclass(frozen=True, slots=True)
class Compared:
    """A department under both policies.

    Attributes:
        department: Its name.
        differences: Every change, in the order it was found.
    """

    department: str
    differences: tuple[Difference, ...]

    @property
    def way(self) -> Way:
        """Which way all changes go together."""
        return together(difference.way for difference in self.differences)


SOMEBODY, SOMETHING = "somebody-else@example.com", "something-else"
_COMPILED = {"budgets", "thresholds", "users", "features", "limits", "estimate", "server_tools", "workspace"}
_SILENT = {"version", "owner", "timezone", "department", "organization"}
"""Keys of a file that are compared as what they compile to, and those that decide nothing by themselves."""

_ORDERED = ("cost_per_request_nanos", "input_tokens")
_APART = {"attribution", "user_tier", "policy_hash", "owner", "shadow", "complaints", "routes", *_ORDERED}
_ROW = {
    "department",
    "scopes",
    "names",
    "user_tier",
    "unit",
    "period",
    "timezone",
    "limit",
    "steps",
    "warn_steps",
}
_ROW |= {"caps", "floor_caps", "watched_caps", "source", "block_bp"}
_WRITTEN = {"keep_bp": "keep", "kept_for": "for", "paced": "pace", "shadow": "mode"}
"""What a file calls the fields of a budget whose names are others."""


def compare(old: Policies, new: Policies, prices: PriceTable, now_ms: int) -> tuple[Compared, ...]:
    """Compare every department of either.

    Args:
        old: The policies before.
        new: The policies after.
        prices: The price table, the same for both.
        now_ms: When, Unix milliseconds: prices have dates.
    """
    names = dict.fromkeys((*old.departments, *new.departments))
    return tuple(Compared(name, tuple(_once(_differences(name, old, new, prices, now_ms)))) for name in names)


def _once(found: Iterable[Difference]) -> Iterator[Difference]:
    """Each change once, however many people it concerns."""
    seen = set()
    for one in found:
        if one.way is not Way.SAME and (one.what, one.way) not in seen:
            seen.add((one.what, one.way))
            yield one


def _differences(
    name: str, old: Policies, new: Policies, prices: PriceTable, now_ms: int
) -> Iterator[Difference]:
    anybody = Attribution(name, SOMEBODY)
    if name not in new.departments:
        yield Difference("the department has no file any more", Way.TIGHTER, anybody)
        return
    if name not in old.departments:
        yield Difference("the department is new", Way.LOOSER, anybody)
        return
    sides = (Side(name, old), Side(name, new))
    found = [*_of_files(sides, anybody)]
    pairs = [*_users(sides, found)]
    found += _of_routing(sides, [user for user, _ in pairs], anybody)
    for user, tiers in pairs:
        found += _of_rules(sides, user)
        found += _of_budgets(sides, user, tiers)
    way = together(one.way for one in found)
    if any(one.rows for one in found):
        found += [one for user, _ in pairs for one in _turning_back(sides, user)]
    if way in (Way.TIGHTER, Way.LOOSER):
        bounding = sides[way is Way.TIGHTER]
        found += [one for user, _ in pairs for one in _climbing(bounding, user, prices, now_ms)]
    yield from found


def _of_files(sides: tuple[Side, Side], who: Attribution) -> Iterator[Difference]:
    """What the files say beside budgets, users, features and limits: equal, or not to be compared."""
    old, new = sides
    if old.policies.organization != new.policies.organization:
        yield Difference("organization: another ledger, with other balances", Way.NEITHER, who)
    for where, before, after in (("", old.own, new.own), ("organization.yaml: ", old.shared, new.shared)):
        left, right = _plain(before), _plain(after)
        for key in sorted({*left, *right}):
            if left.get(key) != right.get(key):
                what = f"{where}{key}: {_told(left.get(key))} → {_told(right.get(key))}, cannot be compared"
                yield Difference(what, Way.NEITHER, who)


def _of_routing(sides: tuple[Side, Side], users: Sequence[str], who: Attribution) -> Iterator[Difference]:
    """Which line `auto` stands for, for each user; and what the files say of routing besides."""
    old, new = (side.own.routing for side in sides)
    ways = {}
    for user in users:
        before, after = (side.rules(user, None) for side in sides)
        if before is not None and after is not None:
            ways[user] = routed.of_lines(before, after)
    if all(getattr(old, key) == getattr(new, key) for key in routed.CHOOSING):
        for user, way in ways.items():
            what = f"the line that `auto` stands for, for the user {user}"
            yield Difference(what, way, Attribution(who.department, user))
    yield from routed.of_routing(old, new, together(ways.values()), who)


def _turning_back(sides: tuple[Side, Side], user: str) -> Iterator[Difference]:
    """Where a fuller budget may mean a dearer line, nothing is proved of another limit."""
    for side in sides:
        rules = side.rules(user, None)
        if rules is not None and routed.turns_back(rules):
            what = "a rule of routing lets more through as a budget fills: cannot be compared"
            yield Difference(what, Way.NEITHER, Attribution(side.name, user))


def _plain(policy: Any) -> dict[str, Any]:
    """The keys of a file that are not compared as what they compile to; of routing, each key by itself."""
    if policy is None:
        return {}
    said = policy.model_dump(mode="json", exclude=_COMPILED | _SILENT)
    routing = said.pop("routing", None) or {}
    for key in ("floors", *routed.APART):
        routing.pop(key, None)
    return {**said, **{f"routing.{key}": value for key, value in routing.items()}}


def _amount(name: str, value: Any) -> Any:
    return Money(value) if name.endswith("_nanos") and value is not None else value


def _told(value: Any) -> str:
    return "nothing" if value is None else str(value)[:60]


_Pair = tuple[str, tuple["str | None", "str | None"]]


def _users(sides: tuple[Side, Side], found: list[Difference]) -> Iterator[_Pair]:
    """One user of each kind who may ask under both, with both tiers; who may not is added to *found*."""
    old, new = sides
    named = dict.fromkeys((*(old.own.users or ()), *(new.own.users or ())))
    named.pop("*", None)
    told = old.told() | new.told()
    named |= dict.fromkeys(sorted(told))
    everybody = SOMEBODY
    while everybody in named:
        everybody = f"x{everybody}"
    seen = set()
    for user in (*named, everybody):
        before, after = old.tier(user), new.tier(user)
        if (before, after) in seen:
            continue
        seen.add((before, after))
        whose = "users without a row" if user == everybody else f"the user {user}"
        if user in told:
            whose = f"users whom the application knows, such as {user},"
        who = Attribution(old.name, user)
        if before is None and after is not None:
            found.append(Difference(f"{whose} may ask now", Way.LOOSER, who))
        elif before is not None and after is None:
            found.append(Difference(f"{whose} may not ask any more", Way.TIGHTER, who))
        elif before is not None and after is not None:
            yield user, (before[0], after[0])


def _of_rules(sides: tuple[Side, Side], user: str) -> Iterator[Difference]:
    """Features, and what bounds one request."""
    old, new = sides
    named = dict.fromkeys((*old.own.features, *new.own.features))
    named.pop("*", None)
    something = SOMETHING
    while something in named:
        something = f"x{something}"
    seen = set()
    for feature in (None, *named, *([something] if old.own.features or new.own.features else [])):
        before, after = old.rules(user, feature), new.rules(user, feature)
        told = "features without a row" if feature == something else f"the feature {feature}"
        who = Attribution(old.name, user, feature)
        if before is None or after is None:
            if before is not after:
                way, now = (
                    (Way.LOOSER, "may be used now") if before is None else (Way.TIGHTER, "may not be used")
                )
                yield Difference(f"{told} {now}", way, who)
            continue
        for name in _ORDERED:
            yield _ordered(name, getattr(before, name), getattr(after, name), who)
        for one in fields(before):
            values = (getattr(before, one.name), getattr(after, one.name))
            if one.name not in _APART and values[0] != values[1] and (one.name, str(values)) not in seen:
                seen.add((one.name, str(values)))
                of = "" if feature is None else f" of {told}"
                shown = (_told(_amount(one.name, value)) for value in values)
                what = f"{one.name.removesuffix('_nanos')}{of}: {' → '.join(shown)}, cannot be compared"
                yield Difference(what, Way.NEITHER, who)


def _ordered(name: str, before: int | None, after: int | None, who: Attribution) -> Difference:
    """A limit of one request: the smaller it is, the tighter."""
    if before == after:
        return Difference(name, Way.SAME, who)
    way = Way.TIGHTER if before is None or (after is not None and after < before) else Way.LOOSER
    least = min(value for value in (before, after) if value is not None)
    usd = name == "cost_per_request_nanos"

    def told(value: int | None) -> str:
        return "none" if value is None else str(Money(value)) if usd else f"{value:,}"

    what = f"limits.{name.removesuffix('_nanos')}: {told(before)} → {told(after)}"
    return Difference(what, way, who, size=least)


def _of_budgets(
    sides: tuple[Side, Side], user: str, tiers: tuple[str | None, str | None]
) -> Iterator[Difference]:
    old, new = sides
    before, after = old.rows(tiers[0]), new.rows(tiers[1])
    who = Attribution(old.name, user)
    for row in before:
        match = next((one for one in after if _key(one) == _key(row)), None)
        if match is not None:
            yield _of_one(sides, row, match, who)
        elif not any(_covers(new, one, old, row, user) for one in after):
            yield Difference(f"{_budget(row)} is removed", Way.LOOSER, who, (row,))
    for row in after:
        if any(_key(one) == _key(row) for one in before):
            continue
        if not any(_covers(old, one, new, row, user) for one in before):
            yield Difference(f"{_budget(row)} is added", Way.TIGHTER, who, (row,))


def _key(row: BudgetRow) -> tuple[Any, ...]:
    """What makes a budget's balances those balances."""
    return row.department, row.scopes, tuple(sorted(row.names.items())), row.unit, row.period


def _covers(of: Side, one: BudgetRow, other: Side, row: BudgetRow, user: str) -> bool:
    """Whether *one* counts all that *row* counts, on the same balances, and fills up to no more."""
    wider = (row.department, row.scopes, row.unit, row.period) == (
        one.department,
        one.scopes,
        one.unit,
        one.period,
    )
    if not wider or not one.names.items() <= row.names.items() or _incomparable(one, row):
        return False
    return all(a <= b for a, b in zip(of.caps(one, user), other.caps(row, user), strict=True))


def _incomparable(row: BudgetRow, other: BudgetRow) -> str:
    """Which field of two budgets for the same balances differs and has no order; '' if none does."""
    if (
        row.timezone != other.timezone
        and not isinstance(row.period, Rolling)
        and row.period is not Period.LIFE
    ):
        return "timezone"
    more = (one.name for one in fields(BudgetRow) if one.name not in _ROW)
    return next((name for name in more if getattr(row, name) != getattr(other, name)), "")


def _of_one(sides: tuple[Side, Side], row: BudgetRow, other: BudgetRow, who: Attribution) -> Difference:
    """The same balances under both: how far each line may fill them."""
    differs = _incomparable(row, other)
    if differs:
        values = f"{_value(row, differs)} → {_value(other, differs)}"
        what = f"{_budget(row)}: {_WRITTEN.get(differs, differs)} {values}, cannot be compared"
        return Difference(what, Way.NEITHER, who, (row, other))
    before, after = sides[0].caps(row, who.user), sides[1].caps(other, who.user)
    if before == after:
        return Difference(_budget(row), Way.SAME, who)
    less = any(b < a for a, b in zip(before, after, strict=True))
    more = any(b > a for a, b in zip(before, after, strict=True))
    way = Way.NEITHER if less and more else Way.TIGHTER if less else Way.LOOSER
    return Difference(f"{_budget(row)}: {_changes(sides, row, other, before, after)}", way, who, (row, other))


def _value(row: BudgetRow, name: str) -> str:
    """A field of a budget as a file writes it."""
    if name == "kept_for":
        return f"[{', '.join(row.kept_for)}]"
    written = {
        "keep_bp": f"{row.keep_bp // 100}%" if row.keep_bp else "nothing",
        "paced": "even" if row.paced else "nothing",
        "shadow": "shadow" if row.shadow else "enforce",
    }
    return written.get(name) or str(getattr(row, name))


def _changes(
    sides: tuple[Side, Side], row: BudgetRow, other: BudgetRow, before: Sequence[int], after: Sequence[int]
) -> str:
    if row.limit != other.limit:
        return f"limit {show(row.unit, row.limit)} → {show(row.unit, other.limit)}"
    changed = [
        (line, f"{line} up to {show(row.unit, a)} → {show(row.unit, b)}")
        for line, a, b in zip(LINES, before, after, strict=False)
        if a != b
    ]
    named = [told for line, told in changed if line in sides[0].own.routing.lines]
    return ", ".join(
        named or [told for _, told in changed] or ["its block, its floors, or the organisation's marks"]
    )


def _budget(row: BudgetRow) -> str:
    whose = " and ".join(" ".join(filter(None, (scope, row.names.get(scope)))) for scope in row.scopes)
    tier = f" ({row.user_tier})" if row.user_tier else ""
    shared = "" if row.department else "organization.yaml: "
    return f"{shared}{whose}{tier}, {row.unit} a {row.period}"


def _climbing(side: Side, user: str, prices: PriceTable, now_ms: int) -> Iterator[Difference]:
    """Features that try a cheaper line before a dearer one: a tighter budget could push them up.

    It can't where whatever bears the dearer line bears the cheaper one: no budget counts a model by itself,
    no budget lets the dearer line fill it further, and the cheaper model costs less in every way.
    """
    rows = [(row, side.caps(row, user)) for row in side.rows(*(side.tier(user) or (None,)))]
    for feature in side.own.features:
        rules = side.rules(user, SOMETHING if feature == "*" else feature)
        lines = (rules.feature_lines or ()) if rules else ()
        for cheap, dear in [(a, b) for a, b in combinations(lines, 2) if rank(a) < rank(b)]:
            models = (rules.lines[cheap], rules.lines[dear]) if rules else ("", "")
            apart = any("model" in row.scopes or caps[rank(cheap)] < caps[rank(dear)] for row, caps in rows)
            if apart or not falls_with_the_line(prices, *models, now_ms):
                what = f"the feature {feature} tries {cheap} before {dear}, and may be raised"
                who = Attribution(side.name, user, feature)
                yield Difference(f"{what}: cannot be compared", Way.NEITHER, who)

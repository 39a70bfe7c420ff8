"""Short names of a request's budgets: `department/month` for `department=legal/usd/month`; and their amounts.

A key says what the budget counts per, then its unit and its window where that is needed: `run`, `user/day`,
`user/requests/minute`, `user/model=claude-opus-5-5/day`, `org/user/day` (in everybody's file) beside
`department/user/day`, or the whole identity. Without a unit, dollars are meant where there are any.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from governor.budgets import Unit, period_of
from governor.errors import nearest
from governor.ledger.admission import mark
from governor.money import MAX_NANOS, Money

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from governor.ledger.commands import BudgetRow

_PERCENT = re.compile(r"([0-9]{1,4})(?:\.([0-9]{1,2}))? ?%")
_COUNT = re.compile(r"[0-9]{1,3}(,[0-9]{3})+|[0-9]{1,16}")
_DOLLARS = re.compile(rf"\$?(?:{_COUNT.pattern})(\.[0-9]{{1,9}})?")
_SAFE = "@._-+"
_ORG = ("org", "organization")

Amount = int | Decimal | str
"""As it is written: dollars or a count, or a share of the limit such as `85%`."""


class KeyRefused(ValueError):  # noqa: N818 - it is the key that is wrong, not the program
    """A key or an amount that cannot be meant.

    Attributes:
        key: The key as it was written.
        hint: What to write; may be empty.
    """

    def __init__(self, key: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.key = key
        self.hint = hint


def find(key: str, identities: Sequence[str]) -> str:
    """The one of a request's *identities* that *key* means.

    Raises:
        KeyRefused: None of them, or several.
    """
    found = _matching(key, identities)
    if len(found) == 1:
        return found[0]
    if found:
        ways = " or ".join(repr(short(one, identities)) for one in found)
        raise KeyRefused(key, f"{key!r} may be any of {len(found)} budgets of this request", f"write {ways}")
    known = [short(one, identities) for one in identities]
    raise KeyRefused(key, f"{key!r} is no budget of this request", nearest(key, known) or "it has none")


def short(identity: str, identities: Sequence[str]) -> str:
    """The shortest key that means *identity* among a request's *identities*."""
    return next((key for key in _keys(identity) if _matching(key, identities) == [identity]), identity)


def amount_of(key: str, written: Amount, unit: Unit, limit: int) -> int:
    """An amount as it is written, in *unit*: nano-dollars for usd, else a count; 0 and more.

    Args:
        key: Whose amount, for the error.
        written: Dollars or a count; or a share of *limit*, such as `85%`, rounded down.
        unit: The budget's.
        limit: The budget's, in its unit.

    Raises:
        KeyRefused: It is no such amount, or larger than a ledger can count.
    """
    text = str(written).strip()
    share = _PERCENT.fullmatch(text)
    if share is not None:
        whole, part = share.groups()
        amount = mark(limit, int(whole) * 100 + int((part or "").ljust(2, "0")))
    elif isinstance(written, bool) or not (_DOLLARS if unit is Unit.USD else _COUNT).fullmatch(text):
        example = "1500, 0.25 or 85%" if unit is Unit.USD else f"1000 ({unit.value}) or 85%"
        raise KeyRefused(key, f"{text[:40]!r} is no amount of {key}", f"write for example {example}")
    else:
        plain = text.removeprefix("$").replace(",", "")
        amount = Money.from_dollars(plain).nanos if unit is Unit.USD else int(plain)
    if amount > MAX_NANOS:
        raise KeyRefused(key, f"{text[:40]!r} is more than a ledger can count", "at most 9000000 dollars")
    return amount


def amounts(
    written: Mapping[str, Amount], rows: Sequence[BudgetRow], limits: Iterable[int]
) -> dict[str, int]:
    """What is written of some budgets, by identity; *limits* are those in force of *rows*, in their order.

    Raises:
        KeyRefused: As from `find` and `amount_of`; or a budget is named twice.
    """
    identities = [row.identity for row in rows]
    known = dict(zip(identities, zip(rows, limits, strict=True), strict=True))
    found: dict[str, int] = {}
    for key, amount in written.items():
        identity = find(key, identities)
        if identity in found:
            raise KeyRefused(key, f"{key!r} is {identity}, which is given already", "give it once")
        row, limit = known[identity]
        found[identity] = amount_of(key, amount, row.unit, limit)
    return found


def _parsed(key: str) -> tuple[list[str], str | None, str | None]:
    """What it counts per, the unit and the window; `None` for what it does not say."""
    parts = [part.strip() for part in key.replace("tag:", "tag.").split("/")]
    window = unit = None
    if len(parts) > 1 and _period(parts[-1]):
        window = _period(parts.pop())
    if len(parts) > 1 and parts[-1] in [*Unit]:
        unit = parts.pop()
    return [_ORG[0] if part == _ORG[1] else part for part in parts], unit, window


def _period(text: str) -> str | None:
    try:
        return str(period_of(text).value)
    except ValueError:
        return None


def _fits(identity: str, dimensions: Sequence[str], unit: str | None, window: str | None) -> bool:
    *own, its_unit, its_window = identity.split("/")
    if unit not in (None, its_unit) or window not in (None, its_window):
        return False
    return any(
        len(dimensions) == len(mine) and all(map(_same, dimensions, mine))
        for mine in ([own, own[1:]] if len(own) > 1 else [own])
    )


def _same(written: str, part: str) -> bool:
    name, given, value = written.partition("=")
    its_name, _, its_value = part.partition("=")
    return name == its_name and (not given or its_value in (value, quote(value, safe=_SAFE)))


def _keys(identity: str) -> Iterator[str]:
    """Ways to name a budget, shortest first."""
    *parts, unit, window = identity.split("/")
    names = [part.partition("=")[0] for part in parts]
    ends = [f"/{window}"] if unit == Unit.USD else []
    ends = [f"/{unit}"] if unit == Unit.CONCURRENT else [*ends, f"/{unit}/{window}"]
    ends = ["", *ends] if window == "life" and unit == Unit.USD else ends
    inner = slice(1 if len(names) > 1 else 0, None)
    valued = ["=".join(map(unquote, part.split("=", 1))) for part in parts]
    one = [[*names[:i], valued[i], *names[i + 1 :]][inner] for i in reversed(range(len(names)))]
    for dimensions in (names[inner], names, *one, valued[inner], valued):
        for end in ends:
            yield "/".join(dimensions) + end


def _matching(key: str, identities: Sequence[str]) -> list[str]:
    """Those of *identities* that a key may mean."""
    if key in identities:
        return [key]
    dimensions, unit, window = _parsed(key)
    found = [one for one in identities if _fits(one, dimensions, unit, window)]
    if unit is None:
        found = [one for one in found if one.split("/")[-2] == Unit.USD] or found
    return found

"""What would have changed an answer: the least that had to be otherwise for a refused candidate to be taken.

Computed by the admission rule itself from what the ledger was asked and the balances of that instant; what
became of them afterwards is no part of it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from governor.budgets import Unit
from governor.ledger.admission import Verdict, cap, decide, judge, judge_candidate
from governor.ledger.values import FULL_MARK_BP
from governor.money import MAX_NANOS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.ledger.commands import Ask, Balance


@dataclass(frozen=True, slots=True)
class Output:
    """What part of a candidate's ceiling its `max_tokens` is.

    Attributes:
        max_tokens: As it was asked for, at least 1.
        nanos: What they cost at most, nano-dollars.
    """

    max_tokens: int
    nanos: int

    def saved(self, unit: Unit, max_tokens: int) -> int:
        """How much less a hold takes of a budget in *unit* with fewer of them; never more than it is."""
        fewer = self.max_tokens - max_tokens
        if unit is Unit.USD:  # the price was rounded up
            return fewer * max(self.nanos - 1, 0) // self.max_tokens
        return fewer if unit is Unit.TOKENS else 0


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What would have let a refused candidate be the one that is taken.

    Attributes:
        candidate: Its index.
        extra: By how much the limit of each budget, by index, had to be larger at least, all of them
            together; in the budgets' units. `None` where no limits would have let it be taken.
        unfreeze: The budgets that had to be unfrozen besides.
        max_tokens: The largest `max_tokens` with which it had surely been taken, as the budgets were (for
            its price was rounded up, one more might have been too); `None` where none would, or the parts
            of its price are not known.
        settling: Whether it would have fitted once calls in flight had settled at nothing.
        reopens_ms: When the last of the spent budgets opens again, Unix milliseconds; `None` where waiting
            alone would not have let it fit, or for calls in flight only.
    """

    candidate: int
    extra: Mapping[int, int] | None
    unfreeze: tuple[int, ...]
    max_tokens: int | None
    settling: bool
    reopens_ms: int | None


def counterfactuals(
    asks: Sequence[Sequence[Ask | None]],
    balances: Sequence[Balance],
    units: Sequence[Unit],
    outputs: Sequence[Output | None],
    reopens_ms: Sequence[int],
) -> tuple[Counterfactual, ...]:
    """What would have changed the answer, for every candidate that was refused, best first.

    Where the same change would have let a better candidate be taken, it is told of that one alone.

    Args:
        asks: What each candidate asks of each budget.
        balances: The budgets' numbers just before.
        units: What the budgets count.
        outputs: Of each candidate, what its `max_tokens` cost; `None` where that is not known.
        reopens_ms: When each budget may bear more by itself, Unix milliseconds; 0 for never.
    """
    found: list[Counterfactual] = []
    best_max_tokens = 0
    for index, verdict in enumerate(decide(asks, balances).verdicts):
        if verdict.verdict is Verdict.FITS:
            break
        extra = _extra(asks, balances, index)
        output = outputs[index]
        most = 0 if output is None else _largest(asks[index], balances, units, output)
        settling, reopens = _waiting(asks[index], balances, reopens_ms)
        found.append(
            Counterfactual(
                candidate=index,
                extra=extra,
                unfreeze=() if extra is None else _frozen(asks[index], balances),
                max_tokens=most if most > best_max_tokens else None,
                settling=settling,
                reopens_ms=reopens,
            )
        )
        best_max_tokens = max(best_max_tokens, most)
    return tuple(found)


def with_limits(
    balances: Sequence[Balance], extra: Mapping[int, int], unfreeze: Sequence[int] = ()
) -> list[Balance]:
    """The balances with larger limits, by index, and some of them unfrozen."""
    return [
        replace(
            balance,
            limit=balance.limit + extra.get(index, 0),
            frozen=None if index in unfreeze else balance.frozen,
        )
        for index, balance in enumerate(balances)
    ]


def with_max_tokens(
    asks: Sequence[Ask | None], units: Sequence[Unit], output: Output, max_tokens: int
) -> list[Ask | None]:
    """What a candidate asks for with a smaller `max_tokens`."""
    return [
        None if ask is None else replace(ask, amount=max(0, ask.amount - output.saved(unit, max_tokens)))
        for ask, unit in zip(asks, units, strict=True)
    ]


def _extra(
    asks: Sequence[Sequence[Ask | None]], balances: Sequence[Balance], index: int
) -> dict[int, int] | None:
    """By how much the limits had to be larger for candidate *index* to be taken; `None` where they cannot."""
    extra: dict[int, int] = {}
    for budget, (ask, balance) in enumerate(zip(asks[index], balances, strict=True)):
        if ask is None or not ask.enforced:
            continue
        least = _least_limit(ask, balance)
        if least is None:
            return None
        if least > balance.limit:
            extra[budget] = least - balance.limit
    changed = with_limits(balances, extra, _frozen(asks[index], balances))
    return extra if decide(asks, changed).chosen == index else None


def _least_limit(ask: Ask, balance: Balance) -> int | None:
    """The least limit with which *balance* bears *ask*; `None` if the ledger cannot count to it."""
    spent = balance.posted + ask.amount
    shares = ((spent, ask.mark_bp), (spent, ask.share_bp), (spent + balance.held, ask.share_bp))
    if any(bp <= 0 < amount for amount, bp in shares):
        return None
    least = max(spent + ask.floor, *(-(-amount * FULL_MARK_BP // bp) for amount, bp in shares if bp > 0))
    return least if least <= max(MAX_NANOS, balance.limit) else None


def _frozen(asks: Sequence[Ask | None], balances: Sequence[Balance]) -> tuple[int, ...]:
    pairs = enumerate(zip(asks, balances, strict=True))
    return tuple(
        index
        for index, (ask, balance) in pairs
        if ask is not None and ask.enforced and balance.frozen is not None
    )


def _largest(
    asks: Sequence[Ask | None], balances: Sequence[Balance], units: Sequence[Unit], output: Output
) -> int:
    """The largest `max_tokens` below the one asked for with which every budget bears it; 0 for none."""
    low, high = 0, output.max_tokens - 1
    while low < high:
        middle = (low + high + 1) // 2
        smaller = with_max_tokens(asks, units, output, middle)
        if judge_candidate(smaller, balances).verdict is Verdict.FITS:
            low = middle
        else:
            high = middle - 1
    return low


def _waiting(
    asks: Sequence[Ask | None], balances: Sequence[Balance], reopens_ms: Sequence[int]
) -> tuple[bool, int | None]:
    """Whether calls in flight alone were in the way, else when the last of the spent budgets opens again."""
    latest = 0
    for ask, balance, opens in zip(asks, balances, reopens_ms, strict=True):
        said = Verdict.FITS if ask is None else judge(ask, balance)
        if ask is None or said in (Verdict.FITS, Verdict.CONTENDED):
            continue
        if said is Verdict.FROZEN or not opens or ask.amount > cap(balance.limit, ask):
            return False, None
        latest = max(latest, opens)
    return not latest, latest or None

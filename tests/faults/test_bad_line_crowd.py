"""Many calls at once on a line that cuts at random, with a budget too small for all of them."""

from __future__ import annotations

import random

import pytest
from support.bad_line import BadLine, Fault
from support.governed import usd
from support.invariants import policy, sound, tagged
from support.stages import on_redis

from governor import BudgetContended, BudgetExceeded, LedgerUnavailable
from governor.testing import Reply

CALLS = 120
ROOM_FOR = 6
"""Ceilings in the budget; what all calls are billed is more than twice of that, whatever their order."""

RUN = "department=team/run=crowd/usd/life"
deep = pytest.mark.deep


def fails_at_random(line, dice):
    """Cut every few commands, before or after they take effect; at times the same one again and again."""
    for verb in ("reserve", "settle", "extend", "expire"):
        for _ in range(CALLS // 4):
            line.befalls(verb, dice.choice([Fault.CUT, Fault.CUT_REPLY]), skip=dice.choice([0, 0, 2, 5, 9]))


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=deep) for seed in range(2, 6))])
@on_redis
def test_books_add_up_and_nobody_is_refused_while_there_is_room(stage, redis_server, seed):
    """Each call is charged its bill, or its hold where no reply came; refusals are for want of room."""
    dice = random.Random(seed)
    team = policy()
    ceiling = stage.governor(team).call(**tagged("measure")).receipt.ceiling.nanos
    limit = ceiling * ROOM_FOR
    team["budgets"].append({"per": "run", "usd": usd(limit), "window": "life"})
    stage.api.replies(lambda _body: Reply(output_tokens=dice.randrange(1, 90)))
    unheard, refused, served = [], [], []
    with BadLine(redis_server.port, timeout_s=20) as line:
        crowd = [stage.governor(team, ledger=line.url) for _ in range(2)]
        fails_at_random(line, dice)
        calls = [crowd[n % 2].start(**tagged(f"call-{n}", user=f"u-{n}", run="crowd")) for n in range(CALLS)]
        for number, call in enumerate(calls):
            try:
                served.append(call.result().receipt)
            except LedgerUnavailable:
                unheard.append(f"call-{number}")
            except (BudgetContended, BudgetExceeded) as error:
                refused.append(error)
        assert len(line.befallen) > 10
        line.heal()
        for caller in crowd:
            caller.close()
            stage._open.remove(caller)
    assert len(served) >= ROOM_FOR
    assert refused
    for error in refused:
        needed = min(view.ceiling.nanos for view in error.decision.candidates)
        assert error.budget.posted + error.budget.held + needed > error.budget.limit == limit
    assert {hold.id for hold in stage.holds()} <= set(unheard)
    books = sound(stage, guessed=unheard)
    spent = sum(charge for name, charge in books.charged.items() if name.startswith("call-"))
    assert stage.posted(RUN) == spent <= limit

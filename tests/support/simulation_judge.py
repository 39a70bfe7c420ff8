"""What must hold once a simulation is over: every balance, the whole journal, every bill and every notice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from governor.budgets import Unit
from governor.ledger import commands as c

if TYPE_CHECKING:
    from support.simulation import World


def judge(world: World) -> None:
    """Judge a world in which nothing happens any more and no hold is open.

    Raises:
        AssertionError: Something is not as it must be.
    """
    auditor = world.auditor
    auditor.now_ms = world.start_ms + world.time_ms + world.stepped_ms
    world.check(tuple(auditor.rows.values()))
    known = world.ledger.execute(c.ListBalances(past=True))
    auditor.check_lists(known, world.ledger.execute(c.ListHolds()))
    auditor.check_journal(world.ledger.execute(c.ReadJournal(limit=100_000)))
    assert not any(auditor.held.values())
    for name in auditor.holds:
        _judge_bill(world, name)
    unheld = {call.bill.nanos for name, call in world.calls.items() if name not in auditor.holds}
    assert not any(unheld), "the API billed a call that had no hold"
    world.met["told-later"] += sum(call.promised for call in world.calls.values())
    _judge_notices(world)


def _judge_bill(world: World, name: str) -> None:
    """A charge is the bill exactly, or, where no end was seen, not less than the bill."""
    call, auditor = world.calls[name], world.auditor
    ended = auditor.state[name] != "expired"
    if call.promised and call.process in world.processes and name not in world.strays:
        assert ended, f"{name} was never ended"
    bills = {Unit.USD: call.bill.nanos, Unit.TOKENS: call.bill.tokens, Unit.REQUESTS: int(call.sent)}
    for line, charged in zip(auditor.holds[name], auditor.charged[name], strict=True):
        unit = line.row.unit
        bill, said = bills.get(unit, 0), f"{name} is charged {charged} {unit} and billed {bills.get(unit)}"
        if unit is Unit.CONCURRENT or (ended and call.bill.known):
            assert charged == bill, said
        elif ended or line.charge:
            # An answer beyond its bound may bill more than was held; whose end nobody saw cannot post it.
            assert charged >= min(bill, line.held), said
        else:
            assert charged == 0, said
            world.met["given-back-unseen"] += bill > 0


def _judge_notices(world: World) -> None:
    """Each threshold was told at most once, and in a calm run exactly once."""
    crossed = world.auditor.crossed
    owed = Counter(f"{x.identity}:{x.window}:{x.step_bp}:{x.posted}" for x in crossed)
    assert world.notified <= owed, f"told {world.notified - owed} too often"
    if world.calm:
        assert world.notified == owed, f"never told {owed - world.notified}"
        assert not world.met["expired"] + world.met["settled_late"], "a hold expired, though nobody died"

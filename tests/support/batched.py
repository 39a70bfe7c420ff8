"""Batches through a stage's governor, blocking or async, in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.ledger import commands as c
from support.governed import HELLO, SONNET, department

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from support.governed import Caller, Stage

USD, TOKENS = "department=team/usd/life", "department=team/tokens/life"
REQUESTS = "department=team/user=u/requests/life"
BUDGETS = [
    {"per": "department", "usd": 100, "window": "life"},
    {"per": "department", "tokens": 1_000_000, "window": "life"},
    {"per": "user", "requests": 1000, "window": "life"},
    {"per": "user", "concurrent": 2},
    {"per": "user", "requests": 2, "window": "minute"},
]


def policy(**more: Any) -> dict[str, Any]:
    """A policy with a budget in each unit, and two that say how fast calls may be made."""
    return department(*BUDGETS, **{"estimate": "auto", **more})


def item(custom_id: str, **params: Any) -> dict[str, Any]:
    """A request of a batch; `...` leaves a parameter out."""
    whole = {"model": SONNET, "max_tokens": 100, "messages": HELLO, **params}
    params = {name: value for name, value in whole.items() if value is not ...}
    return {"custom_id": custom_id, "params": params}


class Batched:
    """The batches of a stage's governor, for blocking callers."""

    def __init__(self, stage: Stage, caller: Caller) -> None:
        self._stage = stage
        self._caller = caller
        self.batches = caller.governor.batches

    def create(self, requests: Iterable[Any], **more: Any) -> Any:
        """Make a batch as user u of the team, unless *more* says otherwise."""
        return self.run(self.batches.create(requests=requests, **{"user": "u", "department": "team", **more}))

    def results(self, batch_id: str, *, most: int | None = None, **who: Any) -> list[str]:
        """The ids and types of the results, sorted; with *most*, of those before the reader stopped."""
        if self._stage.is_async:
            return sorted(self.run(self._read_async(batch_id, most, who)))
        found = []
        for entry in self.batches.results(batch_id, **who):
            found.append(f"{entry.custom_id} {entry.result.type}")
            if len(found) == most:
                break
        return sorted(found)

    async def _read_async(self, batch_id: str, most: int | None, who: dict[str, Any]) -> list[str]:
        found = []
        async for entry in await self.batches.results(batch_id, **who):
            found.append(f"{entry.custom_id} {entry.result.type}")
            if len(found) == most:
                break
        return found

    def drain(self, progress: Callable[[Any], object] | None = None) -> Any:
        """Drain."""
        return self.run(self.batches.drain(progress))

    def ask(self, name: str, *args: Any) -> Any:
        """One of the methods that pass through."""
        return self.run(getattr(self.batches, name)(*args))

    def door(self) -> Any:
        """The middleware of the same governor."""
        return self._caller.governor.middleware(user="u", department="team")

    def run(self, work: Any) -> Any:
        """What comes of *work*, which an async governor is awaited for."""
        return self._caller.on_loop(work).result() if self._stage.is_async else work


def batched(stage: Stage, team: dict[str, Any] | None = None, **options: Any) -> Batched:
    """The batches of a new governor of the stage; of its files as they are, if *team* is left out."""
    return Batched(stage, stage.governor(team, **options))


def held(stage: Stage) -> list[str]:
    """The custom ids whose holds are open, sorted."""
    ids = [hold.id for hold in stage.holds()]
    return sorted(one.split(".")[2] for one in ids if not one.startswith(("batch.of.", "batch.new.")))


def whole(stage: Stage) -> list[str]:
    """How the ids of a batch's own holds begin, where they are open."""
    return sorted(".".join(hold.id.split(".")[:2]) for hold in stage.holds() if not hold.balances)


def settled_once(stage: Stage) -> None:
    """Nothing is open, nothing is held, and what is posted is what the API billed."""
    assert stage.holds() == ()
    balances = stage.balances()
    assert {name for name, balance in balances.items() if balance.held} == set()
    assert balances[USD].posted == stage.api.billed_nanos


def forget(stage: Stage, *prefixes: str) -> None:
    """Release a batch's own holds as if they had never been noted."""
    for hold in stage.ledger.execute(c.ListHolds()):
        if hold.id.startswith(prefixes):
            stage.ledger.execute(c.Release(hold.id, ()))

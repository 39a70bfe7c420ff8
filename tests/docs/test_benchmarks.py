"""The benchmarks measure what a governed call really asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import scene
from governor.ledger import open_ledger

if TYPE_CHECKING:
    from pathlib import Path


def test_the_scene_is_held_and_settled_by_a_ledger(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/bench.db", "bench", create=True)
    pair = scene.pair()

    held = ledger.execute(pair.reserve)
    closed = ledger.execute(pair.settle)
    ledger.close()

    assert len(held.balances) == scene.BUDGETS
    assert (closed.state, closed.overrun, closed.unknown) == ("settled", False, False)

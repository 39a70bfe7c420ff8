"""What every ledger does, as tests: subclass `LedgerContract` and give it a store of your own."""

from governor.testing.ledger_contract.bench import Bench, OnALoop, SettableClock
from governor.testing.ledger_contract.suite import LedgerContract

__all__ = ["Bench", "LedgerContract", "OnALoop", "SettableClock"]

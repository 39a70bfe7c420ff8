"""Is there money left? Balances, holds and the journal, in SQLite or in Redis."""

from governor.ledger.opening import AsyncLedger, Ledger, open_async_ledger, open_ledger

__all__ = ["AsyncLedger", "Ledger", "open_async_ledger", "open_ledger"]

"""The whole contract, in one class to subclass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.testing.ledger_contract.admission import AdmissionContract, RepetitionContract
from governor.testing.ledger_contract.bench import Bench, SettableClock
from governor.testing.ledger_contract.board import BoardContract
from governor.testing.ledger_contract.endings import EndingsContract
from governor.testing.ledger_contract.entering import EnteringContract
from governor.testing.ledger_contract.expiry import ExpiryContract, LateContract
from governor.testing.ledger_contract.finding import FindingContract
from governor.testing.ledger_contract.following import FollowingContract
from governor.testing.ledger_contract.limits import CrossingsContract, LimitsContract
from governor.testing.ledger_contract.orders import OrdersContract
from governor.testing.ledger_contract.policies import PoliciesContract
from governor.testing.ledger_contract.records import NewStoreContract, RecordsContract
from governor.testing.ledger_contract.requests import RequestsContract
from governor.testing.ledger_contract.rolling import RollingContract
from governor.testing.ledger_contract.timed import TimedLimitsContract

if TYPE_CHECKING:
    from governor.ledger import Ledger


class LedgerContract(
    AdmissionContract,
    RepetitionContract,
    EndingsContract,
    ExpiryContract,
    LateContract,
    FindingContract,
    CrossingsContract,
    LimitsContract,
    TimedLimitsContract,
    RequestsContract,
    PoliciesContract,
    RollingContract,
    RecordsContract,
    BoardContract,
    EnteringContract,
    FollowingContract,
    OrdersContract,
    NewStoreContract,
):
    """Every behaviour of a ledger.

    Give a subclass two fixtures and pytest does the rest:

        class TestMyStore(LedgerContract):
            @pytest.fixture
            def ledger(self, clock):          # a store made just now, that takes its time from `clock`
                yield (store := MyStore(clock=clock, create=True))
                store.close()

            @pytest.fixture
            def empty_ledger(self, clock):    # a store never created, and not to be created by use
                yield (store := MyStore(clock=clock, create=False))
                store.close()

    An async store is wrapped: `OnALoop(MyAsyncStore(…))`. Each test needs a store that no other has used.
    """

    @pytest.fixture
    def clock(self) -> SettableClock:
        """The one clock of the test and its store."""
        return SettableClock()

    @pytest.fixture
    def bench(self, ledger: Ledger, clock: SettableClock) -> Bench:
        """The ledger and its clock, with short words for the usual commands."""
        return Bench(ledger, clock)

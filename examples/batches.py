"""A batch: held at half the price when it is made, settled item by item when its results are read.

python examples/batches.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import governor
from governor.testing import FakeClaude, Reply

POLICIES = Path(__file__).resolve().parent.parent / "policies"
WHO = {"user": "grace@example.com", "department": "support", "feature": "triage"}
TICKETS = ["Printer on fire", "Lost my badge", "VPN is slow", "New laptop?"]


def main() -> None:
    """Make a batch, stop reading its results half-way, and let a nightly job do the rest."""
    with FakeClaude() as api, tempfile.TemporaryDirectory() as folder:
        api.replies(Reply("urgent"))
        api.batch_outcomes({"ticket-2": "expired"})
        ledger = f"sqlite:///{folder}/governor.db"
        with governor.Governor.load(POLICIES, ledger=ledger, client=api.client()) as gov:
            batch_id = make(gov)
            entry = next(iter(gov.batches.results(batch_id)))
            print(f"read {entry.custom_id}, and stopped: the rest is still held")
        with governor.Governor.load(POLICIES, ledger=ledger, client=api.client()) as nightly:
            drained = nightly.batches.drain()
            print(f"drained: {drained.settled} settled, {drained.released} given back")
            print(f"drained again: {nightly.batches.drain().items} items")
        print(f"the API billed {governor.Money(api.billed_nanos)} for all")


def make(gov: governor.Governor) -> str:
    """Ask about every ticket in one batch; returns the API's id of it."""
    requests = [
        {
            "custom_id": f"ticket-{number}",
            "params": {
                "model": "auto",
                "messages": [{"role": "user", "content": f"Urgent, normal or later? {ticket}"}],
            },
        }
        for number, ticket in enumerate(TICKETS)
    ]
    batch = gov.batches.create(requests=requests, **WHO)
    print(f"{batch.id} may cost {batch.receipt.ceiling}")
    for item in batch.receipt.items:
        print(f"  {item.custom_id}: {item.model}, at most {item.ceiling}")
    try:
        gov.batches.create(requests=[*requests, {**requests[0]}], **WHO)
    except governor.PolicyViolation as refused:
        print(f"refused: {refused}")
    return batch.id


if __name__ == "__main__":
    main()

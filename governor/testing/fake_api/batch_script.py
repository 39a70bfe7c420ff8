"""What becomes of the items of batches, and what goes wrong with the requests about them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Literal, get_args

from governor.testing.fake_api.faults import Fault, FaultKind
from governor.testing.fake_api.script import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

Outcome = Literal["errored", "canceled", "expired"] | Reply | Fault
"""How an item ends: without an answer, with a reply, or errored with the error of a status fault."""

BatchDoor = Literal["create", "retrieve", "list", "cancel", "delete", "results"]
"""A request about batches."""

_BEFORE_HEAD = (FaultKind.STATUS, FaultKind.HANG, FaultKind.CUT)
_IN_RESULTS = (*_BEFORE_HEAD, FaultKind.CUT_STREAM, FaultKind.STALL_STREAM)


class BatchScript:
    """Outcomes by `custom_id`, and faults by door; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: dict[str, Outcome] = {}
        self._faults: dict[str, list[Fault]] = {}

    def set_outcomes(self, outcomes: Mapping[str, Outcome]) -> None:
        """Let the items of those ids end so.

        Raises:
            ValueError: An outcome is none.
        """
        for custom_id, outcome in outcomes.items():
            status = isinstance(outcome, Fault) and outcome.kind is FaultKind.STATUS
            if not (status or isinstance(outcome, Reply) or outcome in ("errored", "canceled", "expired")):
                rule = "give 'errored', 'canceled', 'expired', a Reply or a status_error"
                raise ValueError(f"the outcome of {custom_id!r} is {outcome!r}; {rule}")
        with self._lock:
            self._outcomes.update(outcomes)

    def outcome(self, custom_id: str) -> Outcome | None:
        """How the item of that id ends, if that was said."""
        with self._lock:
            return self._outcomes.get(custom_id)

    def add_fault(self, fault: Fault, door: str, times: int) -> None:
        """Break the next *times* requests at *door*, after those that are to break already.

        Raises:
            ValueError: There is no such door, or the fault has no meaning at it.
        """
        if door not in get_args(BatchDoor):
            raise ValueError(f"at is {door!r}; give one of {', '.join(get_args(BatchDoor))}")
        if fault.kind not in (_IN_RESULTS if door == "results" else _BEFORE_HEAD):
            raise ValueError(
                f"a {fault.kind.name} fault has no meaning at {door}; give a status, hang or cut"
            )
        with self._lock:
            self._faults.setdefault(door, []).extend([fault] * times)

    def take_fault(self, door: BatchDoor) -> Fault | None:
        """What goes wrong with the next request at *door*, if anything."""
        with self._lock:
            waiting = self._faults.get(door)
            return waiting.pop(0) if waiting else None

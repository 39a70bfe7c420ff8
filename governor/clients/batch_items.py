"""What both faces of `gov.batches` share: items from requests, lines from results, and what was drained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from anthropic.types import messages as sdk
from pydantic import PrivateAttr

from governor.batch_reading import Reading
from governor.clients.private import set_request_id
from governor.clients.request import make_request
from governor.errors import PolicyViolation
from governor.money import Money
from governor.policy import Attribution
from governor.story import batches
from governor.story.request import Door

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.batch_reading import ItemEnd
    from governor.story.batches import Item
    from governor.story.decision import BatchReceipt
    from governor.story.request import Request

_NOTHING = Money(0)

PROGRESS_EVERY = 1_000
"""After so many items of one batch, who drains is told how far it has come."""

OF_AN_ITEM = frozenset(
    {"user", "department", "feature", "run", "tags", "priority", "pin", "tier", "data"},
)
"""What an item may say beside `custom_id` and `params`: it goes over what is said of the batch."""

_NOT_IN_A_BATCH = {
    "stream": "its results are read when the batch has ended",
    "extra_headers": "headers are the batch's, not an item's",
    "timeout": "a batch ends within a day",
}


class Batch(sdk.MessageBatch):
    """The SDK's batch, with the receipt of its items."""

    _receipt: BatchReceipt = PrivateAttr()

    @property
    def receipt(self) -> BatchReceipt:
        """What the batch may cost, and which model serves each item."""
        return self._receipt


def with_receipt(batch: sdk.MessageBatch, receipt: BatchReceipt) -> Batch:
    """*batch* again, carrying *receipt*; every field and the API's request id stay."""
    governed = Batch.__new__(Batch)
    governed.__setstate__({**batch.__getstate__(), "__pydantic_private__": {"_receipt": receipt}})
    set_request_id(governed, batch._request_id)  # noqa: SLF001 - the SDK gives it to users under this name
    return governed


def make_items(held_as: str, requests: Iterable[Mapping[str, Any]], usual: Mapping[str, Any]) -> list[Item]:
    """The items of a batch.

    Args:
        held_as: How the ids of their holds begin: `governor.story.batches.new_hold()`.
        requests: As `messages.batches.create` takes them: `custom_id` and `params`; or more, of `OF_AN_ITEM`.
        usual: What of `OF_AN_ITEM` holds where an item does not say it.

    Raises:
        PolicyViolation: A request is none, or cannot be in a batch; the message says which, and what to do.
    """
    listed = list(requests)
    for index, one in enumerate(listed):
        _check_shape(index, one)
    batches.check([one["custom_id"] for one in listed])
    return [_item(held_as, one, usual) for one in listed]


def read_attribution(user: str | None, department: str | None, **more: Any) -> Attribution | None:
    """Whose a batch is that the ledger does not know; `None` where nobody is named.

    Raises:
        PolicyViolation: One of *user* and *department* is missing.
    """
    if user is None and department is None:
        return None
    if user is None or department is None:
        raise PolicyViolation("give both user and department, or neither")
    return Attribution(department, user, more.get("feature"), more.get("run"))


def reading_of(batch: sdk.MessageBatch, who: Attribution | None = None) -> Reading:
    """A reading of a batch's results, from its beginning."""
    counts = batch.request_counts
    items = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
    return Reading(batch.id, made_ms_of(batch), items, who)


def made_ms_of(batch: sdk.MessageBatch) -> int:
    """When a batch was made, Unix milliseconds by the API's clock."""
    return int(batch.created_at.timestamp() * 1000)


def line_of(entry: sdk.MessageBatchIndividualResponse) -> dict[str, Any]:
    """What the story reads of an entry, as the API sends it; the content of messages is none of it."""
    result: Any = entry.result
    line: dict[str, Any] = {"type": result.type}
    if result.type == "succeeded":
        message = result.message
        usage = message.usage.model_dump()
        line["message"] = {"model": message.model, "stop_reason": message.stop_reason, "usage": usage}
    elif result.type == "errored":
        line["error"] = result.error.model_dump()
    return {"custom_id": entry.custom_id, "result": line}


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain has done so far.

    Attributes:
        batches: Batches that have ended, and whose results were read.
        waiting: Batches that the API still works on.
        gone: Ids of batches of which the API has no results (any more): their holds are charged when they
            expire.
        settled: Items that were posted at what they cost.
        released: Items that errored, expired or were cancelled, and were given back.
        known: Items that had ended before.
        unknown: Items that the ledger did not know: posted, and flagged for review.
        open: Items that the ledger could not be told of; they are when it is drained again.
        cost: What was posted.
    """

    batches: int = 0
    waiting: int = 0
    gone: tuple[str, ...] = ()
    settled: int = 0
    released: int = 0
    known: int = 0
    unknown: int = 0
    open: int = 0
    cost: Money = _NOTHING

    @property
    def items(self) -> int:
        """How many results were read."""
        return self.settled + self.released + self.known + self.unknown + self.open

    def plus(self, end: ItemEnd) -> Drained:
        """The same, and one item more."""
        counts = {"settled": self.settled, "released": self.released, "known": self.known}
        counts |= {"unknown": self.unknown, "open": self.open}
        counts[end.how] += 1
        return replace(self, **counts, cost=Money(self.cost.nanos + end.nanos))  # type: ignore[arg-type]

    def plus_batch(self, *, waiting: bool = False) -> Drained:
        """The same, and one batch more that was read, or that the API still works on."""
        return replace(self, waiting=self.waiting + 1) if waiting else replace(self, batches=self.batches + 1)

    def plus_gone(self, batch_id: str) -> Drained:
        """The same, and one batch more of which the API has no results."""
        return replace(self, gone=(*self.gone, batch_id))


def _check_shape(index: int, one: object) -> None:
    if not isinstance(one, Mapping) or not isinstance(one.get("params"), Mapping) or "custom_id" not in one:
        told = f"requests[{index}] is {repr(one)[:60]}"
        raise PolicyViolation(
            f"{told}: give {{'custom_id': …, 'params': {{…}}}}, as to messages.batches.create"
        )
    odd = sorted(str(name) for name in set(one) - {"custom_id", "params"} - OF_AN_ITEM)
    if odd:
        raise PolicyViolation(
            f"requests[{index}] has {', '.join(odd)}: an item takes custom_id and params, and of its own "
            f"{', '.join(sorted(OF_AN_ITEM))}"
        )


def _item(held_as: str, one: Mapping[str, Any], usual: Mapping[str, Any]) -> Item:
    custom_id = one["custom_id"]
    try:
        request = _request(one, {**usual, **{name: one[name] for name in OF_AN_ITEM if name in one}}, held_as)
    except PolicyViolation as error:
        raise PolicyViolation(f"item {custom_id!r} of the batch: {error}") from None
    return batches.Item(custom_id, request)


def _request(one: Mapping[str, Any], said: Mapping[str, Any], held_as: str) -> Request:
    params = dict(one["params"])
    for name, why in _NOT_IN_A_BATCH.items():
        if params.get(name) not in (None, False):
            raise PolicyViolation(f"`{name}` cannot be given to an item of a batch: {why}")
    if params.get("speed") == "fast":
        raise PolicyViolation("a batch has no fast mode: leave `speed` out, or send it as a call")
    if params.get("max_tokens") == 0:
        raise PolicyViolation("max_tokens is 0, which a batch does not take: send it as a call")
    request = make_request(
        user=said["user"],
        department=said["department"],
        feature=said.get("feature"),
        run=said.get("run"),
        tags=said.get("tags"),
        priority=said.get("priority"),
        model=params.pop("model", "auto"),
        max_tokens=params.pop("max_tokens", None),
        pin=said.get("pin", False),
        tier=said.get("tier"),
        data=said.get("data"),
        request_id=batches.item_id(held_as, one["custom_id"]),
        params={name: value for name, value in params.items() if name not in _NOT_IN_A_BATCH},
    )
    return replace(request, door=Door.BATCH, silence_s=batches.LIVES_S)

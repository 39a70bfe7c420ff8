"""`Governor.batches`: the Batches API, items held when a batch is made, settled as results are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic

from governor.batch_reading import end_batch, end_item, knows, open_batches
from governor.batching import create
from governor.clients.batch_items import (
    PROGRESS_EVERY,
    Batch,
    Drained,
    line_of,
    made_ms_of,
    make_items,
    read_attribution,
    reading_of,
    with_receipt,
)
from governor.clients.streaming import SENDING, Meter
from governor.story.batches import SKEW_MS, new_hold
from governor.story.effects import BatchMade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from anthropic.pagination import SyncPage
    from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

    from governor.batch_reading import Reading
    from governor.story.books import Story
    from governor.story.effects import Ended, SendBatch
    from governor.story.request import House, Request


def send(client: anthropic.Anthropic, effect: SendBatch) -> BatchMade | Ended:
    """Have the API make a batch."""
    meter = Meter()
    SENDING.set(meter)
    try:
        batch = client.messages.batches.create(requests=effect.requests)  # type: ignore[arg-type]
    except BaseException as error:  # noqa: BLE001 - the story decides what an error means
        return meter.failed(error)
    return BatchMade(batch.id, batch)


class Batches:
    """The Batches API of a governor, with the SDK's own methods; made by `Governor.batches`."""

    def __init__(
        self,
        drive: Callable[[Story], Any],
        client: Callable[[], anthropic.Anthropic],
        house_for: Callable[[Request | None], House],
    ) -> None:
        self._drive = drive
        self._client = client
        self._house_for = house_for

    def create(
        self,
        *,
        requests: Iterable[Mapping[str, Any]],
        user: str,
        department: str,
        feature: str | None = None,
        run: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: str | None = None,
        pin: bool = False,
        tier: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Batch:
        """Hold what every item may cost at the batch price, and make the batch: all of it or nothing.

        Args:
            requests: As to `messages.batches.create`: `custom_id` and `params`. In `params`, `model` and
                `max_tokens` are as in `call`. An item may also have a `user`, `department`, `feature`, `run`,
                `tags`, `priority`, `pin`, `tier` and `data` of its own.
            user: Who asks.
            department: Whose policy file.
            feature: What it is for.
            run: The agent run or job it belongs to.
            tags: What else to count it under.
            priority: How urgent it is, in the policy's words.
            pin: Refuse rather than swap a model.
            tier: The tier it is served in, where the policy has it.
            data: What its data is, for the audit: as `call` takes it.

        Returns:
            The SDK's batch; its `receipt` says what it may cost, and which model serves each item.

        Raises:
            BudgetExceeded, BudgetContended, PolicyViolation, UnknownModel: As `call` does, of the item that
                the message names; nothing is held or sent.
            LedgerUnavailable: The ledger cannot be reached; nothing is sent.
            anthropic.APIError: What the API answered. Every hold was given back, unless no answer came: then
                the batch may have been made, and the holds stay for `results` and `drain`.
        """
        usual = {
            "user": user,
            "department": department,
            "feature": feature,
            "run": run,
            "tags": tags,
            "priority": priority,
            "pin": pin,
            "tier": tier,
            "data": data,
        }
        held_as = new_hold()
        items = make_items(held_as, requests, usual)
        house = self._house_for(items[0].request)
        batch, receipt = self._drive(create(house, held_as, items, self._client().max_retries))
        return with_receipt(batch, receipt)

    def results(
        self, batch_id: str, *, user: str | None = None, department: str | None = None
    ) -> Iterator[MessageBatchIndividualResponse]:
        """Stream a batch's results, and settle each item before it is handed over.

        Who stops half-way leaves the rest held; reading again settles that, and nothing twice.

        Args:
            batch_id: The API's id of the batch.
            user: Whose it is, with *department*, where the ledger does not know the batch; else what it cost
                is posted to the organisation's own budgets alone. Either way it is flagged for review.
            department: Whose policy file.

        Raises:
            anthropic.AnthropicError: What the SDK raised: there is no such batch, it has not ended, or its
                results are not kept any more (after 29 days).
        """
        who = read_attribution(user, department)
        client = self._client()
        reading = reading_of(client.messages.batches.retrieve(batch_id), who)
        return self._read(reading, client.messages.batches.results(batch_id))

    def drain(self, progress: Callable[[Drained], object] | None = None) -> Drained:
        """Settle the open items of every batch that has ended; several may do so at once.

        Args:
            progress: Called after each batch, and after every 1,000 items, with what is done so far.

        Raises:
            LedgerUnavailable: The ledger does not say which batches are open.
            anthropic.AnthropicError: What the SDK raised; what was drained before is settled.
        """
        done, house = Drained(), self._house_for(None)
        for batch_id in self._open(house):
            done = self._drain(house, batch_id, done, progress)
            if progress is not None:
                progress(done)
        return done

    def retrieve(self, batch_id: str) -> MessageBatch:
        """As `messages.batches.retrieve`."""
        return self._client().messages.batches.retrieve(batch_id)

    def list(self, **page: Any) -> SyncPage[MessageBatch]:
        """As `messages.batches.list`."""
        return self._client().messages.batches.list(**page)

    def cancel(self, batch_id: str) -> MessageBatch:
        """As `messages.batches.cancel`; what it saves is given back as the results are read."""
        return self._client().messages.batches.cancel(batch_id)

    def _read(
        self, reading: Reading, entries: Iterable[MessageBatchIndividualResponse]
    ) -> Iterator[MessageBatchIndividualResponse]:
        house = self._house_for(None)
        for entry in entries:
            self._drive(end_item(house, reading, line_of(entry)))
            yield entry
        self._drive(end_batch(house, reading))

    def _drain(
        self, house: House, batch_id: str, done: Drained, progress: Callable[[Drained], object] | None
    ) -> Drained:
        client = self._client()
        try:
            batch = client.messages.batches.retrieve(batch_id)
            if batch.processing_status != "ended":
                return done.plus_batch(waiting=True)
            if batch.results_url is None:  # its results are not kept any more; the SDK would raise
                return done.plus_gone(batch_id)
            entries = client.messages.batches.results(batch_id)
        except anthropic.NotFoundError:
            return done.plus_gone(batch_id)
        reading = reading_of(batch)
        for entry in entries:
            done = done.plus(self._drive(end_item(house, reading, line_of(entry))))
            if progress is not None and done.items % PROGRESS_EVERY == 0:
                progress(done)
        self._drive(end_batch(house, reading))
        return done.plus_batch()

    def _open(self, house: House) -> Sequence[str]:
        """The batches that may have open items: those that the ledger knows, and those it was not told of."""
        noted = self._drive(open_batches(house))
        found = [one.batch_id for one in noted if one.batch_id]
        untold = [one for one in noted if not one.batch_id]
        if not untold:
            return found
        oldest_ms = min(one.noted_ms for one in untold) - SKEW_MS
        for batch in self._client().messages.batches.list(limit=100):
            made_ms = made_ms_of(batch)
            if made_ms < oldest_ms:
                break
            items = reading_of(batch).items
            likely = any(one.may_be(made_ms, items) for one in untold)
            if likely and batch.id not in found and not self._drive(knows(house, batch.id)):
                found.append(batch.id)
        return found

"""`AsyncGovernor.batches`: as `Governor.batches`, for an event loop."""

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
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

    from governor.batch_reading import Reading
    from governor.story.books import Story
    from governor.story.effects import Ended, SendBatch
    from governor.story.request import House, Request


async def send(client: anthropic.AsyncAnthropic, effect: SendBatch) -> BatchMade | Ended:
    """Have the API make a batch."""
    meter = Meter()
    SENDING.set(meter)
    try:
        batch = await client.messages.batches.create(requests=effect.requests)  # type: ignore[arg-type]
    except BaseException as error:  # noqa: BLE001 - the story decides what an error means
        return meter.failed(error)
    return BatchMade(batch.id, batch)


class AsyncBatches:
    """`Batches` for an event loop: the same methods, awaited."""

    def __init__(
        self,
        drive: Callable[[Story], Awaitable[Any]],
        client: Callable[[], anthropic.AsyncAnthropic],
        house_for: Callable[[Request | None], Awaitable[House]],
    ) -> None:
        self._drive = drive
        self._client = client
        self._house_for = house_for

    async def create(
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
        """As `Batches.create`; cancelled before it is sent, it gives every hold back."""
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
        house = await self._house_for(items[0].request)
        batch, receipt = await self._drive(create(house, held_as, items, self._client().max_retries))
        return with_receipt(batch, receipt)

    async def results(
        self, batch_id: str, *, user: str | None = None, department: str | None = None
    ) -> AsyncIterator[MessageBatchIndividualResponse]:
        """As `Batches.results`: `async for entry in await gov.batches.results(batch_id)`."""
        who = read_attribution(user, department)
        client = self._client()
        reading = reading_of(await client.messages.batches.retrieve(batch_id), who)
        return self._read(reading, await client.messages.batches.results(batch_id))

    async def drain(self, progress: Callable[[Drained], object] | None = None) -> Drained:
        """As `Batches.drain`; *progress* is a plain function."""
        done, house = Drained(), await self._house_for(None)
        for batch_id in await self._open(house):
            done = await self._drain(house, batch_id, done, progress)
            if progress is not None:
                progress(done)
        return done

    async def retrieve(self, batch_id: str) -> MessageBatch:
        """As `messages.batches.retrieve`."""
        return await self._client().messages.batches.retrieve(batch_id)

    def list(self, **page: Any) -> Any:
        """As `messages.batches.list`: await it for a page, or go through all of them with `async for`."""
        return self._client().messages.batches.list(**page)

    async def cancel(self, batch_id: str) -> MessageBatch:
        """As `messages.batches.cancel`; what it saves is given back as the results are read."""
        return await self._client().messages.batches.cancel(batch_id)

    async def _read(
        self, reading: Reading, entries: AsyncIterable[MessageBatchIndividualResponse]
    ) -> AsyncIterator[MessageBatchIndividualResponse]:
        house = await self._house_for(None)
        async for entry in entries:
            await self._drive(end_item(house, reading, line_of(entry)))
            yield entry
        await self._drive(end_batch(house, reading))

    async def _drain(
        self, house: House, batch_id: str, done: Drained, progress: Callable[[Drained], object] | None
    ) -> Drained:
        client = self._client()
        try:
            batch = await client.messages.batches.retrieve(batch_id)
            if batch.processing_status != "ended":
                return done.plus_batch(waiting=True)
            if batch.results_url is None:  # its results are not kept any more; the SDK would raise
                return done.plus_gone(batch_id)
            entries = await client.messages.batches.results(batch_id)
        except anthropic.NotFoundError:
            return done.plus_gone(batch_id)
        reading = reading_of(batch)
        async for entry in entries:
            done = done.plus(await self._drive(end_item(house, reading, line_of(entry))))
            if progress is not None and done.items % PROGRESS_EVERY == 0:
                progress(done)
        await self._drive(end_batch(house, reading))
        return done.plus_batch()

    async def _open(self, house: House) -> Sequence[str]:
        """The batches that may have open items: those that the ledger knows, and those it was not told of."""
        noted = await self._drive(open_batches(house))
        found = [one.batch_id for one in noted if one.batch_id]
        untold = [one for one in noted if not one.batch_id]
        if not untold:
            return found
        oldest_ms = min(one.noted_ms for one in untold) - SKEW_MS
        async for batch in self._client().messages.batches.list(limit=100):
            made_ms = made_ms_of(batch)
            if made_ms < oldest_ms:
                break
            items = reading_of(batch).items
            likely = any(one.may_be(made_ms, items) for one in untold)
            if likely and batch.id not in found and not await self._drive(knows(house, batch.id)):
                found.append(batch.id)
        return found

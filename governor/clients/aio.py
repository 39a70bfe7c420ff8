"""The async governor: the same story, driven on an event loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import anthropic

from governor.clients import setup
from governor.clients.abatches import AsyncBatches, send
from governor.clients.answer import Answer
from governor.clients.attempts import Attempts
from governor.clients.counting import COUNT_TIMEOUT_S, UNCOUNTED, counted, uncounted
from governor.clients.doors import AsyncDoors
from governor.clients.driving import AsyncDrive, Undertaking
from governor.clients.drops import AsyncDrops
from governor.clients.in_force import InForce
from governor.clients.inspector import AsyncInspector
from governor.clients.middleware import AsyncGovernorMiddleware, without_doors
from governor.clients.outcomes import AsyncOutcomes
from governor.clients.passage import AsyncEngine
from governor.clients.request import Message, make_request, with_receipt
from governor.clients.scorer import AsyncScorer
from governor.clients.streaming import SENDING, Departure, Meter, explained, silence
from governor.clients.threads import Threads
from governor.flow import catch_up, decide, govern
from governor.ledger import open_async_ledger, open_ledger
from governor.ledger.forks import renew_in_children
from governor.story.effects import (
    Abandon,
    Adopt,
    CountLater,
    CountTokens,
    Ended,
    Heard,
    Inspect,
    Notify,
    Owe,
    Resume,
    Running,
    Score,
    Send,
    SendBatch,
    Sleep,
)
from governor.story.told import Tell
from governor.telemetry.teller import Teller

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

    from governor.clients.inspector import AsyncLook, Look
    from governor.clients.people import Ask
    from governor.clients.scorer import AsyncJudge, Judge
    from governor.ledger import AsyncLedger
    from governor.policy import Policies
    from governor.story.books import Story
    from governor.story.decision import Decision, Event
    from governor.story.request import House, Request
    from governor.telemetry import Telemetry


class AsyncGovernor(AsyncDoors, AsyncOutcomes):
    """`Governor` for an event loop: the same methods, awaited. `load` is a plain call here too."""

    def __init__(
        self,
        house: House,
        ledger: AsyncLedger,
        client: anthropic.AsyncAnthropic | None = None,
        on_event: Callable[[Event], None] | None = None,
        in_force: InForce | None = None,
        scorer: AsyncScorer | None = None,
        inspector: AsyncInspector | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._house = house
        self._in_force = in_force or InForce(house)
        self.ledger = ledger
        self._client = client
        self._made: _Clients | None = None
        self._parents: _Clients | None = None
        self._own_client = client is None
        self._on_event = on_event
        self._scorer, self._inspector = scorer or AsyncScorer(None), inspector or AsyncInspector(None)
        self._teller = Teller(house, telemetry)
        self._engine = AsyncEngine(
            self._house_for, self._carry_out, Threads(), Attempts(), AsyncDrops(), self._teller
        )
        renew_in_children(self._renew)

    @classmethod
    def load(
        cls,
        policies: str | Path | None = None,
        *,
        ledger: str | None = None,
        client: anthropic.AsyncAnthropic | None = None,
        prices: str | Path | None = None,
        create_ledger: bool = False,
        on_event: Callable[[Event], None] | None = None,
        clock: Callable[[], int] | None = None,
        spool: str | Path | None = None,
        reload: bool = True,
        users: Ask | None = None,
        scorer: Judge | AsyncJudge | None = None,
        inspect: Look | AsyncLook | None = None,
        hash_content: bool = False,
        telemetry: Telemetry | None = None,
    ) -> Self:
        """As `Governor.load`; nothing is awaited, since connections open on first use."""
        url = setup.ledger_url(ledger)
        judge, look = AsyncScorer(scorer), AsyncInspector(inspect)
        in_force = setup.load_in_force(
            policies,
            prices,
            clock,
            url,
            spool,
            reload=reload,
            users=users,
            scored=judge.given,
            inspected=look.given,
            hashed=hash_content,
            tells=True,
        )
        house, organization = in_force.house, in_force.house.policies.organization
        store = open_async_ledger(url, organization, create=create_ledger, clock=clock)
        # Looks are made in threads, which the loop's connections are not for.
        looks = open_ledger(url, organization, create=create_ledger, clock=clock)
        setup.ask_ledger(in_force, looks, own=True)
        return cls(house, store, client, on_event, in_force, judge, look, telemetry)

    @property
    def policies(self) -> Policies:
        """As `Governor.policies`."""
        return self._in_force.house.policies

    async def reload_policies(self) -> Policies:
        """As `Governor.reload_policies`, in a worker thread."""
        return await asyncio.to_thread(self._in_force.reload)

    async def call(
        self,
        *,
        user: str,
        department: str,
        feature: str | None = None,
        run: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: str | None = None,
        data: Mapping[str, Any] | None = None,
        model: str = "auto",
        max_tokens: int | None = None,
        pin: bool = False,
        tier: str | None = None,
        deferrable: bool = False,
        request_id: str | None = None,
        **params: Any,
    ) -> Message:
        """As `Governor.call`; a cancelled call is settled before the cancellation goes on."""
        request = make_request(
            user=user,
            department=department,
            feature=feature,
            run=run,
            tags=tags,
            priority=priority,
            data=data,
            model=model,
            max_tokens=max_tokens,
            pin=pin,
            tier=tier,
            deferrable=deferrable,
            request_id=request_id,
            params=params,
        )
        with self._teller.around():
            message, receipt = await self._drive(govern(await self._house_for(request), request))
        return with_receipt(message, receipt)

    async def decide(
        self,
        *,
        user: str,
        department: str,
        feature: str | None = None,
        run: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: str | None = None,
        data: Mapping[str, Any] | None = None,
        model: str = "auto",
        max_tokens: int | None = None,
        pin: bool = False,
        tier: str | None = None,
        deferrable: bool = False,
        **params: Any,
    ) -> Decision:
        """As `Governor.decide`."""
        request = make_request(
            user=user,
            department=department,
            feature=feature,
            run=run,
            tags=tags,
            priority=priority,
            data=data,
            model=model,
            max_tokens=max_tokens,
            pin=pin,
            tier=tier,
            deferrable=deferrable,
            request_id=None,
            params=params,
        )
        decision: Decision = await self._drive(decide(await self._house_for(request), request))
        return decision

    @property
    def batches(self) -> AsyncBatches:
        """As `Governor.batches`."""
        return AsyncBatches(self._drive, self._whole_sdk, self._house_for)

    async def aclose(self) -> None:
        """As `Governor.close`."""
        await self._engine.drops.aclose()
        await asyncio.to_thread(self._in_force.close)
        await self._drive(catch_up(self._in_force.house))
        setup.let_go(self._house)
        await self.ledger.close()
        if self._own_client and self._client is not None:
            await self._client.close()
            self._client = self._made = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _house_for(self, request: Request | None) -> House:
        """What a request consults; where that takes a look first, in a worker thread."""
        if self._in_force.must_wait:
            return await asyncio.to_thread(self._in_force.house_for, request)
        return self._in_force.house_for(request)

    async def _drive(self, story: Story) -> Any:
        task = Undertaking()
        return await AsyncDrive(story, lambda effect: self._perform(effect, task), task).run()

    async def _carry_out(self, effect: Any, task: Undertaking) -> Any:
        """One effect of a story at another door, for which the governor sends nothing itself."""
        return await self._perform(effect, task)

    async def _perform(self, effect: Any, run: Undertaking) -> Any:  # noqa: PLR0911 - one for each effect
        match effect:
            case Send() | Resume() | Abandon():
                return await self._stream(effect, run)
            case SendBatch():
                if run.cancelled is not None:
                    return Meter().failed(run.cancelled, sent=False)
                return await send(self._sdk().sender, effect)
            case CountTokens():
                return await self._count(effect)
            case Score() | Inspect():
                return await (self._scorer if isinstance(effect, Score) else self._inspector).score(effect)
            case Sleep():
                if run.cancelled is not None:
                    raise run.cancelled
                await asyncio.sleep(effect.seconds)
            case Notify() | Tell():
                setup.pass_on(effect, self._on_event, self._teller)
            case Owe() | Heard() | Adopt():
                return await run.finish(asyncio.to_thread(setup.keep, self._house, effect))
            case _:
                return await run.finish(self.ledger.execute(effect))
        return None

    async def _stream(self, effect: Send | Resume | Abandon, run: Undertaking) -> Running | Ended:
        """Begin an answer, read on in it, or break it off; a cancellation that waited breaks it off too."""
        if isinstance(effect, Send):
            if run.cancelled is not None:
                return Meter().failed(run.cancelled, sent=False)
            run.sending = self._send(effect)
            return await anext(run.sending)
        error = effect.error if isinstance(effect, Abandon) else run.cancelled
        return await (anext(run.sending) if error is None else run.sending.athrow(error))

    async def _send(self, effect: Send) -> AsyncGenerator[Running | Ended, None]:
        """Read one answer; yields `Running` now and then, and at last how it ended."""
        meter, answer = Meter(self._teller.departing(effect)), Answer()
        SENDING.set(meter)
        report_at = time.monotonic() + effect.report_after_s
        try:
            client = self._sdk().sender
            body, wait = effect.body, silence(effect.silence_s)
            async with await client.messages.create(**body, timeout=wait, stream=True) as stream:
                meter.opened(stream.response.headers)
                async for event in stream:
                    meter.saw(event)
                    answer.take(event)
                    if time.monotonic() >= report_at:
                        yield Running()
                        report_at = time.monotonic() + effect.report_after_s
                ended = meter.finished(answer.whole())
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - a cancelled call must still be settled
            ended = meter.failed(error)
        yield ended

    async def _count(self, effect: CountTokens) -> int | CountLater | None:
        counter = self._sdk().counter
        try:
            count = await counter.messages.count_tokens(**effect.body, timeout=COUNT_TIMEOUT_S)
        except UNCOUNTED as error:
            return uncounted(error)
        except TypeError as error:
            raise explained(error) from None
        return counted(count)

    def _renew(self) -> None:
        """A client of its own is made anew in a forked child, as of a `Governor`; its parent's is kept."""
        if self._own_client and self._made is not None:
            self._parents = self._made
            self._client = self._made = None

    def _streamer(self) -> anthropic.AsyncAnthropic:
        return self._sdk().streamer

    def _whole_sdk(self) -> anthropic.AsyncAnthropic:
        """The client as it was given: what only asks may be retried by itself."""
        self._sdk()
        assert self._client is not None  # noqa: S101 - it was made just now
        return without_doors(self._client)

    def _sdk(self) -> _Clients:
        """The clients to send, count and stream with; their own retries are off: the flow retries."""
        if self._made is None:
            self._client = self._client or anthropic.AsyncAnthropic()
            plain = without_doors(self._client.with_options(max_retries=0))
            door = AsyncGovernorMiddleware(self._engine)
            self._made = _Clients(plain.with_middleware(Departure()), plain, plain.with_middleware(door))
        return self._made


class _Clients(NamedTuple):
    """What a governor sends, counts and streams with."""

    sender: anthropic.AsyncAnthropic
    counter: anthropic.AsyncAnthropic
    streamer: anthropic.AsyncAnthropic

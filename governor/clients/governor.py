"""The blocking governor: a thin driver of `governor.flow`."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import anthropic

from governor.clients import setup
from governor.clients.answer import Answer
from governor.clients.attempts import Attempts
from governor.clients.batches import Batches, send
from governor.clients.counting import COUNT_TIMEOUT_S, UNCOUNTED, counted, uncounted
from governor.clients.doors import Doors
from governor.clients.driving import Drive
from governor.clients.drops import Drops
from governor.clients.in_force import InForce
from governor.clients.inspector import Inspector
from governor.clients.middleware import GovernorMiddleware, without_doors
from governor.clients.outcomes import Outcomes
from governor.clients.passage import Engine
from governor.clients.request import Message, make_request, with_receipt
from governor.clients.scorer import Scorer
from governor.clients.streaming import SENDING, Departure, Meter, explained, silence
from governor.clients.threads import Threads
from governor.flow import catch_up, decide, govern
from governor.ledger import open_ledger
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
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from governor.clients.inspector import Look
    from governor.clients.people import Ask
    from governor.clients.scorer import Judge
    from governor.ledger import Ledger
    from governor.policy import Policies
    from governor.story.books import Story
    from governor.story.decision import Decision, Event
    from governor.story.request import House
    from governor.telemetry import Telemetry


class Governor(Doors, Outcomes):
    """Stands in front of an Anthropic client and lets no call spend more than its policies allow.

    Make one with `Governor.load`; it may be shared by threads.
    """

    def __init__(
        self,
        house: House,
        ledger: Ledger,
        client: anthropic.Anthropic | None = None,
        on_event: Callable[[Event], None] | None = None,
        in_force: InForce | None = None,
        scorer: Scorer | None = None,
        inspector: Inspector | None = None,
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
        self._scorer, self._inspector = scorer or Scorer(None), inspector or Inspector(None)
        self._teller = Teller(house, telemetry)
        self._lock = threading.Lock()
        self._engine = Engine(
            self._in_force.house_for,
            lambda effect: self._perform(effect, []),
            Threads(),
            Attempts(),
            Drops(),
            self._teller,
        )
        renew_in_children(self._renew)

    @classmethod
    def load(
        cls,
        policies: str | Path | None = None,
        *,
        ledger: str | None = None,
        client: anthropic.Anthropic | None = None,
        prices: str | Path | None = None,
        create_ledger: bool = False,
        on_event: Callable[[Event], None] | None = None,
        clock: Callable[[], int] | None = None,
        spool: str | Path | None = None,
        reload: bool = True,
        users: Ask | None = None,
        scorer: Judge | None = None,
        inspect: Look | None = None,
        hash_content: bool = False,
        telemetry: Telemetry | None = None,
    ) -> Self:
        """Read the files; connections open on first use, so this never waits for the network.

        Args:
            policies: A folder of policy files, or one file; or `ledger:NAME`: only what was pushed to the
                ledger of that organization; else `GOVERNOR_POLICIES`, else `policies/`.
            ledger: A URL (`sqlite:///…`, `redis://…`); else `GOVERNOR_LEDGER`, else `sqlite:///governor.db`.
            client: The Anthropic client to send with; else one made from the environment.
            prices: A company's own price file, or a whole table; else `GOVERNOR_PRICES`, else what ships.
            create_ledger: Make an empty Redis a ledger (a SQLite file is always made).
            on_event: Called with every `ThresholdCrossed`, in the thread of the call that crossed it; and
                with `ModelReplaced`, where a successor is asked instead of a model that is gone.
            clock: Unix milliseconds; only tests give one.
            spool: A folder for what the ledger has still to be told (see `if_ledger_is_down`); else
                `GOVERNOR_SPOOL`, else `$XDG_STATE_HOME/governor`, which is `~/.local/state/governor`.
            reload: Whether files that change, and policies that are pushed to the ledger, are taken over
                within seconds; else those in force at the first call stay, until `reload_policies`.
            users: Tells who the users are of files that say `users_from: application`: called with a user and
                a department, answers `{"user_tier": …}`, `{}`, or `None` of one it does not know. It runs in
                the call's way, so it must be quick; its answers are kept for 5 seconds.
            scorer: Says how hard a request is: called with the parameters of `messages.create` and the
                `Attribution` of the call, answers a number from 0 to 10. It runs in the call's way, for at
                most a second; where it fails, the governor's own score counts. See docs/routing.md.
            inspect: Says what is in a request, as `data` of `call()` does: called like *scorer*, and waited
                for as long; where it fails, the record says so. See docs/audit.md.
            hash_content: Whether each record has the SHA-256 of what was sent. See docs/audit.md.
            telemetry: What is told to metrics and traces, and by whose providers; else to those registered
                in the process. See docs/telemetry.md.

        Raises:
            PolicyError: A file is malformed or missing: with file, line, column and a hint.
            LedgerUnavailable: The URL names no known store.
            TypeError: *scorer* or *inspect* cannot be called, or must be awaited.
        """
        url = setup.ledger_url(ledger)
        judge, look = Scorer(scorer), Inspector(inspect)
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
        house = in_force.house
        store = open_ledger(url, house.policies.organization, create=create_ledger, clock=clock)
        setup.ask_ledger(in_force, store, own=False)
        return cls(house, store, client, on_event, in_force, judge, look, telemetry)

    @property
    def policies(self) -> Policies:
        """The policies in force; what was pushed to the ledger is known from the first call on."""
        return self._in_force.house.policies

    def reload_policies(self) -> Policies:
        """Look for newer policies now, and wait for them; returns those in force.

        Not for the body of a signal's handler, which may have interrupted a call of its own thread: start a
        thread there.

        Raises:
            PolicyError: The new ones are broken; the old ones stay.
            LedgerUnavailable: The ledger does not say what was pushed; the old ones stay.
        """
        return self._in_force.reload()

    def call(
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
        """Send one request within its budgets.

        Args:
            user: Who asks.
            department: Whose policy file.
            feature: What it is for; a file that declares features refuses others.
            run: The agent run or job it belongs to.
            tags: What else to count it under, such as `{"project": "atlas"}`; at most 16.
            priority: How urgent it is, in the policy's words: budgets may keep their last part for some.
            data: What its data is, for the audit: some of `classification`, `region` and `pii` (kinds).
            model: `auto`, a line (`haiku`, `sonnet`, `opus`) or a model id: a preference.
            max_tokens: The most tokens of output; may be left out where the feature has a maximum.
            pin: Refuse rather than swap the model.
            tier: `premium`, `standard` or `economy`, where the policy has it; else as its rules choose.
            deferrable: It can wait up to a day: where the policy's `defer` holds, it is not sent, and
                `Deferred` is raised with what to give the Batches API.
            request_id: Made by the caller, to recognise the call by; else a new one.
            params: The other arguments of `messages.create`: `messages`, `system`, `tools`, …

        Returns:
            The SDK's message; its `receipt` says what it cost and why this model served.

        Raises:
            BudgetExceeded: The money is spent. It names the budget, its numbers and when it resets.
            BudgetContended: The money is held by calls in flight; `retry_after` seconds.
            PolicyViolation: The policy forbids the request, whatever the balances.
            UnknownModel: The model has no price.
            LedgerUnavailable: The ledger cannot be reached.
            anthropic.APIError: What the API answered; the hold was released or settled.
        """
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
            message, receipt = self._drive(govern(self._in_force.house_for(request), request))
        return with_receipt(message, receipt)

    def decide(
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
        """What `call` with the same arguments would decide now; nothing is held, sent or journalled.

        Raises:
            PolicyViolation, UnknownModel, LedgerUnavailable: As `call` does. A budget that would refuse
                is no error here: see `Decision.outcome`.
        """
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
        decision: Decision = self._drive(decide(self._in_force.house_for(request), request))
        return decision

    @property
    def batches(self) -> Batches:
        """The Batches API: every item is held when a batch is made, and settled when its result is read."""
        return Batches(self._drive, self._whole_sdk, self._in_force.house_for)

    def close(self) -> None:
        """Say what the ledger has not heard yet; close it, and the client if the governor made it."""
        self._engine.drops.close()
        self._in_force.close()
        self._drive(catch_up(self._in_force.house))
        setup.let_go(self._house)
        self.ledger.close()
        if self._own_client and self._client is not None:
            self._client.close()
            self._client = self._made = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _drive(self, story: Story) -> Any:
        sending: list[Generator[Running | Ended, None, None]] = []
        return Drive(story, lambda effect: self._perform(effect, sending)).run()

    def _perform(  # noqa: PLR0911 - one for each effect
        self, effect: Any, sending: list[Generator[Running | Ended, None, None]]
    ) -> Any:
        match effect:
            case Send() | Resume():
                if isinstance(effect, Send):
                    sending[:] = [self._send(effect)]
                return next(sending[0])
            case Abandon():
                return sending[0].throw(effect.error)
            case SendBatch():
                return send(self._sdk().sender, effect)
            case CountTokens():
                return self._count(effect)
            case Score() | Inspect():
                return (self._scorer if isinstance(effect, Score) else self._inspector).score(effect)
            case Sleep():
                time.sleep(effect.seconds)
            case Notify() | Tell():
                setup.pass_on(effect, self._on_event, self._teller)
            case Owe() | Heard() | Adopt():
                return setup.keep(self._house, effect)
            case _:
                return self.ledger.execute(effect)
        return None

    def _send(self, effect: Send) -> Generator[Running | Ended, None, None]:
        """Read one answer; yields `Running` now and then, and at last how it ended."""
        meter, answer = Meter(self._teller.departing(effect)), Answer()
        SENDING.set(meter)
        report_at = time.monotonic() + effect.report_after_s
        try:
            client = self._sdk().sender
            body, wait = effect.body, silence(effect.silence_s)
            with client.messages.create(**body, timeout=wait, stream=True) as stream:
                meter.opened(stream.response.headers)
                for event in stream:
                    meter.saw(event)
                    answer.take(event)
                    if time.monotonic() >= report_at:
                        yield Running()
                        report_at = time.monotonic() + effect.report_after_s
                ended = meter.finished(answer.whole())
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - an interrupted call must still be settled
            ended = meter.failed(error)
        yield ended

    def _count(self, effect: CountTokens) -> int | CountLater | None:
        counter = self._sdk().counter
        try:
            count = counter.messages.count_tokens(**effect.body, timeout=COUNT_TIMEOUT_S)
        except UNCOUNTED as error:
            return uncounted(error)
        except TypeError as error:
            raise explained(error) from None
        return counted(count)

    def _renew(self) -> None:
        """Begin anew, as a forked child does: its lock may be held by a thread that is not there.

        A client of the governor's own is made anew, for its connections are its parent's, whose answers would
        come here; it is kept, since its end would close them. A client that was given is the caller's.
        """
        self._lock = threading.Lock()
        self._engine.drops.renew()
        if self._own_client and self._made is not None:
            self._parents = self._made
            self._client = self._made = None

    def _streamer(self) -> anthropic.Anthropic:
        return self._sdk().streamer

    def _whole_sdk(self) -> anthropic.Anthropic:
        """The client as it was given: what only asks may be retried by itself."""
        self._sdk()
        assert self._client is not None  # noqa: S101 - it was made just now
        return without_doors(self._client)

    def _sdk(self) -> _Clients:
        """The clients to send, count and stream with; their own retries are off: the flow retries."""
        with self._lock:
            if self._made is None:
                self._client = self._client or anthropic.Anthropic()
                plain = without_doors(self._client.with_options(max_retries=0))
                door = GovernorMiddleware(self._engine)
                self._made = _Clients(plain.with_middleware(Departure()), plain, plain.with_middleware(door))
            return self._made


class _Clients(NamedTuple):
    """What a governor sends, counts and streams with."""

    sender: anthropic.Anthropic
    counter: anthropic.Anthropic
    streamer: anthropic.Anthropic

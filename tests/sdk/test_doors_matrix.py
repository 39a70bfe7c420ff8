"""However a request comes in by the SDK and ends, its hold is closed at the bill or by the rule."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import pytest
from support.doors import DOORS, Doorway, Interrupted, Kind, Leave, Visit, endings
from support.endings import BUDGETS, CONCURRENT, REQUESTS, USD
from support.governed import department, until
from support.lines import agree
from support.stages import on_redis, on_sqlite

from governor.testing import (
    Fault,
    Reply,
    clean_end_without_stop,
    cut_before_head,
    cut_mid_stream,
    error_mid_stream,
    hang_before_head,
    rate_limited,
    stall_mid_stream,
    status_error,
)

if TYPE_CHECKING:
    from support.doors import SdkDoor

POLICY = department(*BUDGETS)
TEXT = Reply(text="It is what it is. " * 20)
SLOW = Reply(text="It is what it is. " * 20, event_delay_ms=25)
SHORT_SILENCE = httpx2.Timeout(10, read=0.25)

BILLED, WHOLE, PART = "at the bill", "the whole hold", "between the bill and the hold"
MAYBE = "the whole hold, or less where the client has begun to read"
STREAM, UNREAD, PLAIN = Kind.STREAM, Kind.UNREAD, Kind.PLAIN
EVERY = frozenset(Kind)


@dataclass(frozen=True)
class End:
    """One way for a request to end.

    Attributes:
        name: For the test's id.
        charged: What is posted for the last attempt, by the kind of the door's answers.
        faults: What goes wrong at the API, in turn.
        raises: What the caller gets, by kind; nothing: the door returns.
        visit: How the caller behaves.
        attempts: HTTP requests that the SDK makes.
        reply: What the API answers.
        impossible: Why there is no such end, by kind.
        cancel: How the caller's task or thread is ended while it waits.
    """

    name: str
    charged: dict[Kind, str]
    faults: tuple[Fault, ...] = ()
    raises: dict[Kind, type[BaseException]] | None = None
    visit: Visit = field(default_factory=Visit)
    attempts: int = 1
    reply: Reply = TEXT
    impossible: dict[Kind, str] | None = None
    cancel: bool = False


def _all(what: Any) -> dict[Kind, Any]:
    return dict.fromkeys(Kind, what)


_READ_FIRST = "the SDK has read the whole answer before the caller has any of it"
_ONE_PIECE = "one JSON document comes in one piece: it is read whole, or not at all"
_NO_EVENTS = "one JSON document has no events; the API answers an error status instead"
_HAS_LENGTH = "one JSON document has a length: one that ends early is one that is cut"

ENDS = [
    End("success", _all(BILLED)),
    End("429-then-success", _all(BILLED), (rate_limited(retry_after=0.001),), attempts=2),
    End("529-then-success", _all(BILLED), (status_error(529, retry_after=0.001),), attempts=2),
    End("time-out", _all(WHOLE), (hang_before_head(),), _all(anthropic.APITimeoutError)),
    End("time-out-billed", _all(WHOLE), (hang_before_head(billed=True),), _all(anthropic.APITimeoutError)),
    End("cut-before-head", _all(WHOLE), (cut_before_head(),), _all(anthropic.APIConnectionError)),
    End(
        "cut-mid-stream",
        {PLAIN: WHOLE, UNREAD: WHOLE, STREAM: PART},
        (cut_mid_stream(6, reply=TEXT),),
        {PLAIN: anthropic.APIConnectionError, UNREAD: httpx2.TransportError, STREAM: httpx2.TransportError},
    ),
    End(
        "stall-mid-stream",
        {PLAIN: WHOLE, UNREAD: WHOLE, STREAM: PART},
        (stall_mid_stream(6, reply=TEXT),),
        {PLAIN: anthropic.APITimeoutError, UNREAD: httpx2.ReadTimeout, STREAM: httpx2.ReadTimeout},
    ),
    End(
        "in-stream-error",
        {STREAM: PART},
        (error_mid_stream(after_events=6, reply=TEXT),),
        {STREAM: anthropic.APIStatusError},
        impossible={PLAIN: _NO_EVENTS, UNREAD: _NO_EVENTS},
    ),
    End(
        "abandoned",
        {STREAM: PART},
        visit=Visit(Leave.CLOSE),
        reply=SLOW,
        impossible={PLAIN: _READ_FIRST, UNREAD: _ONE_PIECE},
    ),
    End(
        "abandoned-unread",
        {UNREAD: WHOLE, STREAM: WHOLE},
        visit=Visit(Leave.CLOSE, items=0),
        reply=SLOW,
        impossible={PLAIN: _READ_FIRST},
    ),
    End(
        "dropped",
        {STREAM: PART},
        visit=Visit(Leave.DROP),
        reply=SLOW,
        impossible={PLAIN: _READ_FIRST, UNREAD: _ONE_PIECE},
    ),
    End(
        "dropped-unread",
        {UNREAD: WHOLE, STREAM: WHOLE},
        visit=Visit(Leave.DROP, items=0),
        reply=SLOW,
        impossible={PLAIN: _READ_FIRST},
    ),
    End(
        "interrupted",
        {STREAM: PART},
        raises={STREAM: Interrupted},
        visit=Visit(Leave.INTERRUPT),
        reply=SLOW,
        impossible={PLAIN: _READ_FIRST, UNREAD: _ONE_PIECE},
    ),
    End("cancelled-before-head", _all(WHOLE), (hang_before_head(),), cancel=True),
    End(
        "cancelled-mid-stream",
        {PLAIN: WHOLE, UNREAD: WHOLE, STREAM: MAYBE},
        (stall_mid_stream(6, reply=TEXT),),
        cancel=True,
    ),
    End(
        "clean-end-without-last-event",
        {STREAM: PART},
        (clean_end_without_stop(reply=TEXT),),
        impossible={PLAIN: _HAS_LENGTH, UNREAD: _HAS_LENGTH},
    ),
]

NOT_BY_THIS_DOOR = {
    ("streaming-response-stream", "in-stream-error"): "raises nothing: the caller reads the lines themselves",
}
"""What a door does otherwise than its kind; see `_raises`."""


QUICK_DOORS = {"create", "streaming-response", "raw-stream", "tool-runner-stream"}
QUICK_ENDS = {"success", "cut-mid-stream", "abandoned"}
"""These doors to all ends, and all doors to these ends; the others are of the deep profile."""


LEFT_TO_THE_SDK = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""An async runner that is dropped has generators within generators, which asyncio closes all at once: of the
bare SDK, too, it says then that one was running already."""


def _marks(door: SdkDoor, end: End) -> list[pytest.MarkDecorator]:
    is_quick = door.name in QUICK_DOORS or end.name in QUICK_ENDS
    forgets = door.name == "tool-runner-stream" and end.visit.leave is Leave.DROP
    return [pytest.mark.deep] * (not is_quick) + [LEFT_TO_THE_SDK] * forgets


def _raises(door: SdkDoor, end: End) -> type[BaseException] | None:
    if (door.name, end.name) in NOT_BY_THIS_DOOR:
        return None
    return (end.raises or {}).get(door.kind)


def _cells(*, possible: bool) -> list[Any]:
    return [
        pytest.param(door, end, id=f"{door.name}-{end.name}", marks=_marks(door, end) if possible else ())
        for door in DOORS
        for end in ENDS
        if (door.kind not in (end.impossible or {})) is possible
    ]


def go(stage, door, end) -> Doorway:
    """Go through *door*, and see the end that is meant."""
    stage.api.replies(end.reply)
    stage.api.next(*door.before)
    stage.api.inject(*end.faults)
    times_out = any(fault.kind.value in ("hang_before_head", "stall_mid_stream") for fault in end.faults)
    options = {"timeout": SHORT_SILENCE} if times_out and not end.cancel else {}
    if end.attempts > 1:
        stage.clock.run()  # what the API asks to wait is waited in the queue for its turns, too
    told = {"user": "u", "department": "team", "pin": end.attempts > 1}  # else a 529 moves on by itself
    doorway = Doorway(stage, stage.governor(POLICY), door=told, max_retries=end.attempts - 1, **options)
    raises = _raises(door, end)
    if end.cancel:
        _cancel(stage, doorway, door)
    elif raises is None:
        doorway.go(door, end.visit)
    else:
        with pytest.raises(raises):
            doorway.go(door, end.visit)
    return doorway


def _cancel(stage, doorway, door) -> None:
    """Cancel the caller's task once the API has its request; of a thread there is no such thing."""
    task = doorway.start(lambda client: door.go(client, Visit()))
    until(lambda: len(stage.sent()) > len(door.before))
    task.cancel()
    with suppress(BaseException):
        task.result()
    assert task.cancelled()


def check(stage, doorway, door, end) -> None:
    """Nothing is left open, every attempt is counted, and what is posted is right."""
    attempts = len(door.before) + end.attempts
    ended = endings(stage, doorway, attempts)
    assert len(stage.sent()) == len(ended) == attempts
    assert not any(name.startswith("governor-") for one in stage.api.requests for name in one.headers)
    balances = stage.balances()
    assert {name: balance.held for name, balance in balances.items()} == dict.fromkeys(balances, 0)
    assert (balances[CONCURRENT].posted, balances[REQUESTS].posted) == (0, attempts)
    posted = balances[USD].posted
    assert posted == sum(one["cost_nanos"] for one in ended)
    assert [receipt.cost.nanos for receipt in doorway.receipts] == [one["cost_nanos"] for one in ended]
    *earlier, last = ended
    assert not any(one["uncertain"] for one in earlier)
    _check_last(stage, end.charged[door.kind], last, posted - last["cost_nanos"])


def _check_last(stage, charged, last, before) -> None:
    billed = stage.api.billed_nanos - before
    cost, ceiling = last["cost_nanos"], last["ceiling_nanos"]
    if charged is BILLED:
        assert (last["ended"], last["uncertain"], cost) == ("answered", False, billed)
        assert billed > 0
        return
    assert last["uncertain"]
    assert last["ended"] in ("cut", "silent")
    if charged is WHOLE:
        assert billed <= cost == ceiling
    elif charged is MAYBE:
        assert 0 < billed <= cost <= ceiling
    else:
        assert 0 < billed <= cost < ceiling


@pytest.mark.parametrize(("door", "end"), _cells(possible=True))
@on_sqlite
def test_every_door_and_every_end(stage, door, end, lines):
    """After each cell the ledger has the bill, or the rule's; no hold is left, and the log says the same."""
    if end.cancel and not stage.is_async:
        pytest.skip("a thread cannot be cancelled; its interruption is the end `interrupted`")
    check(stage, go(stage, door, end), door, end)
    agree(stage, lines)


@pytest.mark.parametrize(("door", "end"), _cells(possible=False))
def test_cells_that_cannot_be(door, end):
    """Each cell that is left out has its reason."""
    assert end.impossible[door.kind]
    assert door.kind not in end.charged


@pytest.mark.parametrize("end", [end for end in ENDS if not end.cancel], ids=lambda end: end.name)
@pytest.mark.parametrize("door", [door for door in DOORS if door.name == "raw-stream"], ids=["raw-stream"])
@on_redis
def test_a_door_on_redis(stage, door, end, lines):
    """The same by one door on Redis."""
    check(stage, go(stage, door, end), door, end)
    agree(stage, lines)

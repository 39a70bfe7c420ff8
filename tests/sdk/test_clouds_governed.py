"""The same middleware in each cloud's client: held before, settled after, whatever the wire looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import pytest
from support.cloud_doors import BEDROCK, BEDROCK_HAIKU, VERTEX, Door, each_door
from support.governed import HAIKU, HELLO, department, usd
from support.stages import on_sqlite

from governor import BudgetExceeded
from governor.testing import FakeClaude, Reply, cut_mid_stream, error_mid_stream, overloaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.governed import Stage

TEAM = {"per": "department", "usd": "1", "window": "life"}
TEAM_USD = "department=team/usd/life"

pytestmark = on_sqlite


def team(door: Door, *budgets: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A department whose lines are named as the door's cloud names them."""
    lines = {"haiku": door.model, "sonnet": door.sonnet}
    workspace = {"workspace": {"endpoint": "global"}} if door is VERTEX else {}
    return department(*(budgets or (TEAM,)), routing={"lines": lines}, **{**workspace, **more})


def governed(
    door: Door, stage: Stage, use: Callable[[Any], Any], policy: dict[str, Any] | None = None, **options: Any
) -> Any:
    """What *use*, an async function where the stage is, makes of a governed client of the door."""
    caller = stage.governor(policy or team(door))
    middleware = caller.governor.middleware(user="u", department="team")
    client = door.client(stage.api, is_async=stage.is_async, middleware=[middleware], **options)
    if not stage.is_async:
        return use(client)

    async def run() -> Any:
        async with client:
            return await use(client)

    return caller.on_loop(run()).result()


def create(door: Door, stage: Stage, *args: Any, **options: Any) -> Any:
    """The message of a governed `messages.create`."""
    body = {"model": door.model, "max_tokens": 100, "messages": HELLO, **options.pop("body", {})}
    return governed(door, stage, lambda client: client.messages.create(**body), *args, **options)


def stream(door: Door, stage: Stage, *args: Any, **options: Any) -> Any:
    """The final message of a governed `messages.stream`."""
    body = {"model": door.model, "max_tokens": 100, "messages": HELLO}

    def blocking(client: Any) -> Any:
        with client.messages.stream(**body) as events:
            return events.get_final_message()

    async def waiting(client: Any) -> Any:
        async with client.messages.stream(**body) as events:
            return await events.get_final_message()

    return governed(door, stage, waiting if stage.is_async else blocking, *args, **options)


def raw_stream(door: Door, stage: Stage) -> list[Any]:
    """Every event of a governed `messages.create(stream=True)`."""
    body = {"model": door.model, "max_tokens": 100, "messages": HELLO, "stream": True}

    async def waiting(client: Any) -> list[Any]:
        return [event async for event in await client.messages.create(**body)]

    return governed(
        door, stage, waiting if stage.is_async else lambda client: list(client.messages.create(**body))
    )


@each_door
@pytest.mark.parametrize("way", [create, stream, raw_stream])
def test_the_ledger_is_the_bill(door: Door, way: Callable[..., Any], stage: Stage) -> None:
    """What the cloud bills is posted, to the nano-dollar, and no hold is left."""
    stage.api.next(Reply(output_tokens=64))
    assert way(door, stage)
    assert stage.posted(TEAM_USD) == stage.api.billed_nanos > 0
    assert stage.holds() == ()
    assert len(stage.sent()) == 1
    assert stage.last_ending()["uncertain"] is False


@each_door
@pytest.mark.parametrize("way", [create, stream])
def test_a_refusal_reaches_the_caller(door: Door, way: Callable[..., Any], stage: Stage) -> None:
    """A budget that cannot bear the call raises BudgetExceeded out of the client, and nothing is sent."""
    with pytest.raises(BudgetExceeded):
        way(door, stage, team(door, {**TEAM, "usd": usd(1000)}), max_retries=2)
    assert stage.sent() == []
    assert stage.balances() == {}


@each_door
def test_a_downgrade_goes_by_the_clouds_names(door: Door, stage: Stage) -> None:
    """Past the mark the next line serves, under the name that the cloud knows it by."""
    steps = {"50%": {"downgrade": "haiku"}, "100%": "block"}
    policy = team(door, thresholds=steps)
    stage.spend(TEAM_USD, 600_000_000, 1_000_000_000)
    create(door, stage, policy, body={"model": door.sonnet})
    [line] = stage.api.bill
    assert line.model in (HAIKU, door.model)
    assert stage.posted(TEAM_USD) == 600_000_000 + stage.api.billed_nanos


@each_door
def test_every_attempt_is_counted(door: Door, stage: Stage) -> None:
    """A refused attempt costs nothing, the SDK tries again, and only what was answered is posted."""
    stage.api.inject(overloaded())
    create(door, stage, max_retries=2)
    assert len(stage.sent()) == 2
    assert stage.posted(TEAM_USD) == stage.api.billed_nanos > 0
    assert stage.holds() == ()
    assert [entry.kind for entry in stage.journal()].count("release") == 1


@each_door
@pytest.mark.parametrize("fault", [error_mid_stream, cut_mid_stream])
def test_a_stream_that_breaks(door: Door, fault: Callable[..., Any], stage: Stage) -> None:
    """It is settled at what is known, which covers the bill, marked uncertain; the caller gets the error."""
    stage.api.inject(fault(after_events=6, reply=Reply(output_tokens=64)))
    with pytest.raises((anthropic.APIError, httpx2.HTTPError)):
        stream(door, stage)
    stage.api.wait_idle()
    assert stage.posted(TEAM_USD) >= stage.api.billed_nanos > 0
    assert stage.holds() == ()
    assert stage.last_ending()["uncertain"]


def test_regional_places_cost_what_they_bill(stage: Stage) -> None:
    """A regional prefix at Bedrock tells itself; Vertex AI's comes from the policy's endpoint."""
    europe = Door("bedrock", f"eu.anthropic.{HAIKU}", "")
    create(europe, stage)
    first = stage.api.billed_nanos
    assert stage.posted(TEAM_USD) == first
    create(VERTEX, stage, team(VERTEX, workspace={"endpoint": "regional"}), region="europe-west1")
    assert stage.posted(TEAM_USD) == stage.api.billed_nanos == 2 * first


def test_bedrocks_arns_are_known(stage: Stage) -> None:
    """A model asked for by its inference profile's ARN is priced and settled as the model it stands for."""
    arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{BEDROCK_HAIKU}"
    create(BEDROCK, stage, body={"model": arn})
    assert stage.posted(TEAM_USD) == stage.api.billed_nanos > 0


@each_door
def test_the_governors_own_doors(door: Door, stage: Stage) -> None:
    """`call()` and `stream()` go through a cloud's client too, when the governor is given one."""
    client = door.client(stage.api, is_async=stage.is_async)
    caller = stage.governor(team(door), client=client)
    body = {"user": "u", "department": "team", "model": door.model, "max_tokens": 100, "messages": HELLO}

    def blocking() -> Any:
        with caller.governor.stream(**body) as streamed:
            streamed.get_final_message()
        return streamed.receipt

    async def waiting() -> Any:
        async with client, caller.governor.stream(**body) as streamed:
            await streamed.get_final_message()
        return streamed.receipt

    called = caller.call(**body).receipt
    streamed = caller.on_loop(waiting()).result() if stage.is_async else blocking()
    assert called.cost.nanos + streamed.cost.nanos == stage.posted(TEAM_USD) == stage.api.billed_nanos
    assert stage.holds() == ()


def test_bedrocks_frames_pass_unchanged(stage: Stage) -> None:
    """Two servers answer alike: a governed client's caller gets the bytes that a bare one's gets."""
    body = {"model": BEDROCK_HAIKU, "max_tokens": 100, "messages": HELLO, "stream": True}

    def blocking(client: Any) -> bytes:
        with client.messages.with_streaming_response.create(**body) as response:
            return b"".join(response.iter_bytes())

    async def waiting(client: Any) -> bytes:
        async with client.messages.with_streaming_response.create(**body) as response:
            return b"".join([part async for part in response.iter_bytes()])

    stage.meet().replies(output_tokens=64)
    passed = governed(BEDROCK, stage, waiting if stage.is_async else blocking)
    with FakeClaude(now_ms=stage.clock) as other:
        other.replies(output_tokens=64)
        assert passed == blocking(other.bedrock_client())
    assert stage.posted(TEAM_USD) == stage.api.billed_nanos > 0

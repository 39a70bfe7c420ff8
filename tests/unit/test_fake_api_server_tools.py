"""The fake Claude API runs server tools in a loop as the real one does, and reports and bills every pass."""

from __future__ import annotations

import anthropic
import httpx2
import pytest
from support.fixed_api import CODE, FETCH, FIND, SEARCH

from governor.testing import Reply, count_tokens, cut_mid_stream

HAIKU, SONNET, OLD_HAIKU = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-haiku-4-5"
HELLO = [{"role": "user", "content": "What is new in Cologne?"}]
ALL_TOOLS = [SEARCH, FETCH, CODE, FIND]


def ask(client, *tools, **overrides):
    return client.messages.create(
        **{"model": SONNET, "max_tokens": 1000, "messages": HELLO, "tools": list(tools), **overrides}
    )


def passes(message):
    """Prompt and output tokens of every pass."""
    return [(part["input_tokens"], part["output_tokens"]) for part in message.usage.iterations]


def test_every_pass_reads_all_that_was_before_it(api, client):
    """A pass's prompt is the request, the results and the output so far; the totals are the sums."""
    api.next(Reply("It rains.", searches=2, tool_result_tokens=5000))
    message = ask(client, SEARCH)
    prompt = count_tokens({"messages": HELLO, "tools": [SEARCH]}, 2026)
    assert passes(message) == [(prompt, 30), (prompt + 5030, 30), (prompt + 10_060, 3)]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (3 * prompt + 15_090, 63)
    assert message.usage.server_tool_use.web_search_requests == 2
    assert {part["type"] for part in message.usage.iterations} == {"message"}
    assert message.stop_reason == "end_turn"
    assert api.bill[0].nanos == message.usage.input_tokens * 2000 + 63 * 10_000 + 2 * 10_000_000


def test_each_pass_has_its_own_long_prompt_step(api, client):
    """Of a loop on Haiku only the passes above 100,000 tokens of prompt cost more."""
    api.next(Reply(searches=1, tool_result_tokens=100_000))
    (first, said), (second, answered) = passes(ask(client, SEARCH, model=HAIKU))
    assert first < 100_000 < second
    assert api.bill[0].nanos == first * 100 + said * 500 + second * 500 + answered * 2500 + 10_000_000


def test_every_server_tool_is_answered_in_blocks_the_sdk_knows(api, client):
    """Calls and results of all four tools come in pairs before the text, plain and streamed alike."""
    api.replies(Reply("Done.", searches=1, fetches=1, code_runs=1, tool_searches=1, tool_result_tokens=50))
    plain = ask(client, *ALL_TOOLS)
    with client.messages.stream(model=SONNET, max_tokens=1000, messages=HELLO, tools=ALL_TOOLS) as stream:
        streamed = stream.get_final_message()
    for message in (streamed, plain):
        calls, results, (text,) = message.content[:-1:2], message.content[1:-1:2], message.content[-1:]
        assert [type(block) for block in calls] == [anthropic.types.ServerToolUseBlock] * 4
        assert [block.name for block in calls] == [tool["name"] for tool in ALL_TOOLS]
        assert all(block.input for block in calls)
        assert [type(block) for block in results] == [
            anthropic.types.WebSearchToolResultBlock,
            anthropic.types.WebFetchToolResultBlock,
            anthropic.types.CodeExecutionToolResultBlock,
            anthropic.types.ToolSearchToolResultBlock,
        ]
        assert [block.tool_use_id for block in results] == [block.id for block in calls]
        assert isinstance(results[0].content[0], anthropic.types.WebSearchResultBlock)
        assert isinstance(results[1].content, anthropic.types.WebFetchBlock)
        assert text.text == "Done."
        told = message.usage.server_tool_use
        assert (told.web_search_requests, told.web_fetch_requests) == (1, 1)
    assert len(passes(plain)) == 5
    assert [block.content for block in streamed.content[1:-1:2]] == [block.content for block in results]
    first, second = api.bill
    assert (first.nanos, first.usage) == (second.nanos, second.usage)


def test_the_beta_endpoint_parses_the_passes(api, client):
    """The beta client reads the passes as its own types, at the same endpoint."""
    api.next(Reply(searches=1))
    message = client.beta.messages.create(model=SONNET, max_tokens=100, messages=HELLO, tools=[SEARCH])
    assert [type(part) for part in message.usage.iterations] == [
        anthropic.types.beta.BetaMessageIterationUsage
    ] * 2
    assert message.content[1].type == "web_search_tool_result"


def test_a_conversation_that_sends_results_back_is_counted_with_them(api, client):
    """The answer's blocks are accepted in the next request, and weigh what the results had."""
    api.next(Reply("It rains.", fetches=1, tool_result_tokens=4000))
    first = ask(client, FETCH, model=OLD_HAIKU)
    again = [*HELLO, first.to_param(), {"role": "user", "content": "And now?"}]
    grown = ask(client, FETCH, model=OLD_HAIKU, messages=again).usage.input_tokens
    assert 4000 <= grown - passes(first)[0][0] < 4300


def test_uses_beyond_the_limit_fail_once_and_are_not_billed(api, client):
    """Beyond max_uses one use fails with an error block and one more pass, and is no counted search."""
    api.next(Reply(searches=9, tool_result_tokens=1000))
    message = ask(client, {**SEARCH, "max_uses": 2})
    assert len(passes(message)) == 4
    assert passes(message)[3][0] - passes(message)[2][0] == 30 + 20
    assert message.usage.server_tool_use.web_search_requests == 2
    assert message.content[5].content.error_code == "max_uses_exceeded"
    assert api.bill[0].nanos == (
        message.usage.input_tokens * 2000 + message.usage.output_tokens * 10_000 + 2 * 10_000_000
    )


def test_a_fetch_brings_no_more_than_its_tool_takes(api, client):
    """The tool's max_content_tokens bounds what a fetch adds to the prompt; a failed fetch says so."""
    api.next(Reply(fetches=2, tool_result_tokens=9000))
    message = ask(client, {**FETCH, "max_content_tokens": 700, "max_uses": 1})
    assert passes(message)[1][0] - passes(message)[0][0] == 730
    assert message.content[3].content.error_code == "max_uses_exceeded"


def test_the_loop_ends_at_the_context_window(api, client):
    """Where the results no longer fit, the answer ends after the use that ran, without a text."""
    api.next(Reply(searches=5, tool_result_tokens=90_000))
    message = ask(client, SEARCH, model=OLD_HAIKU)
    assert message.stop_reason == "model_context_window_exceeded"
    assert [block.type for block in message.content] == ["server_tool_use", "web_search_tool_result"] * 3
    assert max(prompt for prompt, _ in passes(message)) < 200_000
    assert message.usage.server_tool_use.web_search_requests == 3


def test_max_tokens_bounds_all_passes_together(api, client):
    """The output of all passes is at most max_tokens, and each pass says at least one token."""
    api.replies(Reply(searches=5))
    cut, tiny, none = (ask(client, SEARCH, max_tokens=tokens) for tokens in (12, 3, 0))
    assert [said for _, said in passes(cut)] == [2, 2, 2, 2, 2, 2]
    assert [said for _, said in passes(tiny)] == [1, 1, 1]
    assert {message.stop_reason for message in (cut, tiny, none)} == {"max_tokens"}
    assert (none.content, none.usage.output_tokens, api.bill[2].nanos) == (
        [],
        0,
        none.usage.input_tokens * 2000,
    )


def test_cache_and_geography_of_a_loop_can_be_scripted(api, client):
    """Cache tokens that a reply reports beside a loop are billed once, and so is its geography."""
    usage = {"cache_read_input_tokens": 1000, "inference_geo": "us"}
    api.next(Reply(searches=1, usage=usage))
    used = ask(client, SEARCH).usage
    assert used.cache_read_input_tokens == 1000
    tokens = used.input_tokens * 2000 + 1000 * 100 + used.output_tokens * 10_000
    assert api.bill[0].nanos == tokens * 11 // 10 + 10_000_000


def test_a_stream_opens_with_the_first_prompt_and_ends_with_the_sum(api, client):
    """message_start tells the first pass's prompt; message_delta the sum, the searches and the passes."""
    api.next(Reply(searches=1, output_tokens=95))
    events = list(ask(client, SEARCH, stream=True))
    prompt = count_tokens({"messages": HELLO, "tools": [SEARCH]}, 2026)
    start, final = events[0].message.usage, events[-2].usage
    assert (start.input_tokens, final.input_tokens) == (prompt, 2 * prompt + 3030)
    assert (final.output_tokens, final.server_tool_use.web_search_requests) == (95, 1)
    assert [part["output_tokens"] for part in final.iterations] == [30, 65]


@pytest.mark.parametrize(
    ("seen", "begun", "searches"),
    [("message_start", 1, 0), ("server_tool_use", 1, 0), ("web_search_tool_result", 2, 1), ("text", 2, 1)],
)
def test_a_stream_cut_in_a_loop_is_billed_the_passes_begun(api, client, seen, begun, searches):
    """A stream that breaks is billed every pass begun and every search that had run."""
    api.replies(Reply(searches=1, output_tokens=95))
    whole = list(ask(client, SEARCH, stream=True))
    names = [
        event.content_block.type if event.type == "content_block_start" else event.type for event in whole
    ]
    # The server also sends a ping, which the client does not show.
    api.inject(cut_mid_stream(after_events=names.index(seen) + 1 + (seen != "message_start")))
    with pytest.raises(httpx2.RemoteProtocolError):
        list(ask(client, SEARCH, stream=True))
    full, part = api.bill
    iterations = part.usage["iterations"]
    assert [one["input_tokens"] for one in iterations] == [
        one["input_tokens"] for one in full.usage["iterations"][:begun]
    ]
    assert part.usage["server_tool_use"]["web_search_requests"] == searches
    assert part.usage["input_tokens"] == sum(one["input_tokens"] for one in iterations)
    assert part.complete is False
    assert part.nanos == (
        part.usage["input_tokens"] * 2000 + part.usage["output_tokens"] * 10_000 + searches * 10_000_000
    )


def test_a_tool_that_the_request_does_not_have_is_a_mistake_of_the_test(api, client):
    """A reply that searches where there is nothing to search with is answered 500 with the reason."""
    api.next(Reply(searches=1))
    with pytest.raises(anthropic.InternalServerError, match=r"searches=1.*no tool of type web_search_"):
        ask(client, FETCH)
    assert api.bill == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"searches": -1}, "at least 0"),
        ({"fetches": 1, "tool_result_tokens": -1}, "at least 0"),
        ({"fetches": 1, "usage": {"input_tokens": 5}}, "usage sets input_tokens"),
        ({"code_runs": 1, "usage": {"iterations": []}}, "usage sets iterations"),
    ],
)
def test_a_reply_that_contradicts_itself_is_refused(arguments, said):
    """A negative number, or a usage that the uses determine, is refused where it is written."""
    with pytest.raises(ValueError, match=said):
        Reply(**arguments)

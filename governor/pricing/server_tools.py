"""Tools that run at the API: how often they may run, and what each run adds to a request.

The API runs them in a loop: the model asks for a use, the API adds its result to the prompt, and the whole
prompt goes through the model again. So what bounds their cost is `max_uses`: from the request, from the
policy (which puts it into the request), or there is no bound and the request is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.errors import PolicyViolation
from governor.pricing.bound import as_items, as_mapping, is_server_tool
from governor.pricing.tariff import ANTHROPIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TOLD = ("web_search_", "web_fetch_", "advisor_")
"""Tools that take `max_uses` (SDK, `types/*_tool_*_param.py`)."""
_NOT_TOLD = ("tool_search_tool_", "code_execution_", "mcp_toolset")
"""Tools that do not: the policy's number is counted, and what goes beyond it is a recorded overrun."""
_FREE_BESIDE = 20260209
"""Code execution costs nothing beside web search or web fetch of this version or a later one (facts of the
pricing documentation); alone its container is billed by the hour, which no usage reports."""


class Unbounded(PolicyViolation):
    """A request whose cost has no upper bound, so that no hold can cover it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a policy adds to the bounds that a request has of its own.

    Attributes:
        geo: The workspace's `default_inference_geo`: where a request without one is served and billed.
        endpoint: The endpoint of a cloud that serves: `global`, `regional`, `us-gov`; `""`: none.
        tool_result_tokens: Tokens that one use of a server tool is taken to bring into the prompt at most.
        tool_uses: How often a server tool may run in one request at most; `None`: as the request says.
        strict: Take the whole context window for every pass of a server tool's loop, and all of
            `max_tokens`.
    """

    geo: str | None = None
    endpoint: str = ANTHROPIC
    tool_result_tokens: int = 25_000
    tool_uses: int | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Advisor:
    """An advisor tool: another model that is asked during the request.

    Attributes:
        model: Its model.
        max_uses: How often it may be asked.
        max_tokens: The most output of one answer; `None`: what the model can put out.
        caching: Its cache breakpoint, as the request gives it, or `None`.
    """

    model: str
    max_uses: int
    max_tokens: int | None
    caching: Any


@dataclass(frozen=True, slots=True)
class Loop:
    """How often the tools of a request may run.

    Attributes:
        uses: All of them together.
        tools: How many tools there are: each may be asked once beyond its `max_uses`, and answers an error.
        searches: The web searches among them, which have a fee.
        advisors: The advisors among them.
    """

    uses: int = 0
    tools: int = 0
    searches: int = 0
    advisors: tuple[Advisor, ...] = ()


def bounded(body: Mapping[str, Any], bounds: Bounds) -> dict[str, Any]:
    """*body* with the policy's bound put into every server tool that takes one.

    Args:
        body: The request as sent to `/v1/messages`.
        bounds: What the policy says.

    Returns:
        A new dictionary. `max_uses` is the smaller of the request's and the policy's; tools that take none,
        and bodies without server tools, are left as they are.

    Raises:
        Unbounded: As from `loop`.
    """
    tools = as_items(body.get("tools"))
    found = dict(body)
    if bounds.tool_uses is not None and any(_takes_uses(tool) for tool in tools):
        found["tools"] = [_with_uses(tool, bounds.tool_uses) for tool in tools]
    loop(found, bounds)
    return found


def loop(body: Mapping[str, Any], bounds: Bounds) -> Loop:
    """How often the server tools of a request may run.

    Args:
        body: The request, as `bounded` returned it.
        bounds: What the policy says.

    Raises:
        Unbounded: A tool may run as often as the model likes, is of no known kind, or costs what no usage
            reports.
    """
    uses = tools = searches = 0
    advisors = []
    for definition in _server_tools(body):
        kind = str(definition.get("type"))
        most = _max_uses(definition, bounds)
        uses, tools = uses + most, tools + 1
        if kind.startswith("web_search_"):
            searches += most
        elif kind.startswith("advisor_"):
            advisors.append(_advisor(definition, most))
        elif kind.startswith("code_execution_") and not _beside_web_tools(body):
            raise Unbounded(
                f"the tool of type {kind!r} alone is billed by the hour of its container, which no usage "
                f"reports: use it beside web_search or web_fetch of version {_FREE_BESIDE} or later"
            )
    return Loop(uses, tools, searches, tuple(advisors))


def _server_tools(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    tools = [_definition(tool) for tool in as_items(body.get("tools"))]
    yield from filter(is_server_tool, tools)
    if body.get("mcp_servers") and not any(tool.get("type") == "mcp_toolset" for tool in tools):
        yield {"type": "mcp_toolset"}


def _definition(tool: Any) -> Mapping[str, Any]:
    known = as_mapping(tool)
    return {"type": type(tool).__name__} if known is None else known


def _takes_uses(tool: Any) -> bool:
    kind = str((as_mapping(tool) or {}).get("type"))
    return kind.startswith(_TOLD)


def _with_uses(tool: Any, most: int) -> Any:
    definition = as_mapping(tool)
    if definition is None or not _takes_uses(definition):
        return tool
    own: Any = definition.get("max_uses")
    if own is not None and not _is_count(own):
        return tool
    return {**definition, "max_uses": most if own is None else min(own, most)}


def _max_uses(definition: Mapping[str, Any], bounds: Bounds) -> int:
    kind = str(definition.get("type"))
    if kind.startswith(_NOT_TOLD):
        if bounds.tool_uses is None:
            raise Unbounded(
                f"the tool of type {kind!r} runs at the API as often as the model likes: write a number for "
                "it into the policy file, `limits: {tool_uses: 5}`, or leave it out"
            )
        return bounds.tool_uses
    if not kind.startswith(_TOLD):
        raise Unbounded(
            f"the tool of type {kind!r} runs at the API, and what it costs is not known here; "
            "use a tool of your own instead"
        )
    own: Any = definition.get("max_uses")
    if not _is_count(own):
        told = "no `max_uses`" if own is None else f"a `max_uses` of {repr(own)[:40]}"
        raise Unbounded(
            f"the tool of type {kind!r} runs at the API as often as the model likes, with {told}: give it a "
            "whole number above 0, or write one into the policy file, `limits: {tool_uses: 5}`"
        )
    return int(own)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _advisor(definition: Mapping[str, Any], uses: int) -> Advisor:
    model, most = definition.get("model"), definition.get("max_tokens")
    if not isinstance(model, str):
        raise Unbounded(f"the advisor's `model` is {repr(model)[:40]}: name a model, so that it has a price")
    if most is not None and not _is_count(most):
        raise Unbounded(f"the advisor's `max_tokens` is {repr(most)[:40]}: give a whole number, or none")
    return Advisor(model, uses, most, definition.get("caching"))


def _beside_web_tools(body: Mapping[str, Any]) -> bool:
    kinds = [str((as_mapping(tool) or {}).get("type")) for tool in as_items(body.get("tools"))]
    web = [kind.rpartition("_")[2] for kind in kinds if kind.startswith(("web_search_", "web_fetch_"))]
    return any(version.isdecimal() and int(version) >= _FREE_BESIDE for version in web)

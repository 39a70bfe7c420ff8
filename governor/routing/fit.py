"""A request written for one model, changed so that another one accepts it: pure, and told.

What a model accepts is data (`governor.accepts`, from the price file). The rules are those of the API's own
fallback to another model (SDK, `types/beta/beta_fallback_param.py`) and of the SDK's middleware for it
(`lib/middleware/_fallbacks.py`): what the other model does not take is left to its default. What the caller
relies on is never dropped: it makes the model unfit.

Earlier turns are sent as they are, with their `thinking` and `redacted_thinking` blocks. Such a block belongs
to the model that made it. The API leaves out, without an error, those that the model now asked cannot read;
taking one away by hand changes what stands before the later ones, and that is refused with a 400 (Anthropic
documentation, preserved thinking). The SDK's middleware sends them unchanged as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.accepts import EFFORTS, NEVER, OFF, WITHOUT_THINKING

if TYPE_CHECKING:
    from governor.accepts import Accepts

MIN_BUDGET_TOKENS = 1024
"""The least `thinking.budget_tokens`, which must be less than `max_tokens` (SDK types)."""

_INSTEAD = {"enabled": "adaptive", "between_tools": "disabled", "disabled": "between_tools"}
"""What stands in for a type of thinking. For `adaptive` nothing does: `enabled` would need a budget.

`between_tools` becomes `disabled` in the SDK's middleware and at the API. Where a model takes only the
former, the API's error message names it in place of `disabled`.
"""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A request that the model accepts, as far as is known.

    Attributes:
        body: The body to send. What did not change is the caller's own: read it, change nothing.
        changes: What was changed beside `model`, in short phrases for the decision; empty if nothing was.
    """

    body: Mapping[str, Any]
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unfit:
    """The model cannot serve the request.

    Attributes:
        why: A short phrase for the decision.
    """

    why: str


def fit(
    body: Mapping[str, Any],
    accepts: Accepts,
    *,
    model: str,
    context: int,
    max_output: int,
    prompt_tokens: int,
    fast: bool,
) -> Fitted | Unfit:
    """Make a request that *model* accepts of one that another model was to serve.

    It is for candidates that the caller did not name itself: a request to the model it names goes as it is.

    Args:
        body: The request's body, as sent to `/v1/messages`. It is not changed, and not copied in depth.
        accepts: What the model accepts.
        model: The id to send.
        context: The model's context window, in tokens.
        max_output: Its largest `max_tokens`.
        prompt_tokens: The prompt as counted or bounded for this model, in tokens.
        fast: Whether it has fast mode, that is a price for it.
    """
    why = _unfit(body, accepts, context, prompt_tokens)
    if why:
        return Unfit(why)
    fitted: dict[str, Any] = {**body, "model": model}
    changes = [
        _fit_max_tokens(fitted, max_output, context - prompt_tokens),
        _fit_thinking(fitted, accepts),
        _fit_budget(fitted),
        _fit_effort(fitted, accepts),
        _fit_speed(fitted, fast=fast),
        _fit_geography(fitted, accepts),
    ]
    return Fitted(fitted, tuple(change for change in changes if change))


def _unfit(body: Mapping[str, Any], accepts: Accepts, context: int, prompt_tokens: int) -> str | None:
    """Why no change would do."""
    least = min(_whole(body.get("max_tokens")), 1)
    if prompt_tokens + least > context:
        return f"the prompt of {prompt_tokens} tokens does not fit its context window of {context}"
    if accepts.forced_tool_choice == NEVER and _forces_a_tool(body):
        return "it does not take a tool_choice that forces a tool"
    if accepts.prefill is False and _is_prefilled(body.get("messages")):
        return "it does not take a last message from the assistant"
    geo = body.get("inference_geo")
    if accepts.inference_geo is False and geo not in (None, "global"):
        return f"it does not take inference_geo, and the request must stay in {geo!r}"
    return None


def _forces_a_tool(body: Mapping[str, Any]) -> bool:
    return _kind(body.get("tool_choice")) in ("any", "tool")


def _is_prefilled(messages: object) -> bool:
    last = messages[-1] if isinstance(messages, (list, tuple)) and messages else None
    return isinstance(last, Mapping) and last.get("role") == "assistant"


def _fit_max_tokens(fitted: dict[str, Any], max_output: int, room: int) -> str | None:
    asked = _whole(fitted.get("max_tokens"))
    most = min(max_output, room)
    if asked <= most:
        return None
    fitted["max_tokens"] = most
    return f"max_tokens {asked} → {most}"


def _fit_thinking(fitted: dict[str, Any], accepts: Accepts) -> str | None:
    thinking = fitted.get("thinking")
    kind = _kind(thinking)
    if thinking is None or kind is None:
        return None
    if accepts.forced_tool_choice == WITHOUT_THINKING and kind not in OFF and _forces_a_tool(fitted):
        del fitted["thinking"]
        return "thinking left out: tool_choice forces a tool"
    if accepts.takes_thinking(kind):
        return None
    instead = _INSTEAD.get(kind)
    if instead is None or not accepts.takes_thinking(instead):
        del fitted["thinking"]
        return f"thinking {kind} left out"
    kept = {} if instead in OFF else {key: thinking[key] for key in thinking if key != "budget_tokens"}
    fitted["thinking"] = {**kept, "type": instead}
    return f"thinking {kind} → {instead}"


def _fit_budget(fitted: dict[str, Any]) -> str | None:
    """Keep `budget_tokens` below `max_tokens`, which may have become less."""
    thinking = fitted.get("thinking")
    if thinking is None or _kind(thinking) != "enabled":
        return None
    asked, most = _whole(thinking.get("budget_tokens")), _whole(fitted.get("max_tokens")) - 1
    if asked <= most:
        return None
    if most < MIN_BUDGET_TOKENS:
        del fitted["thinking"]
        return "thinking left out: max_tokens leaves no room for its budget"
    fitted["thinking"] = {**thinking, "budget_tokens": most}
    return f"budget_tokens {asked} → {most}"


def _fit_effort(fitted: dict[str, Any], accepts: Accepts) -> str | None:
    """The highest effort not above the one asked for; with thinking off, one at which it may be off.

    Thinking stays off and the effort gives way, as in the API's own fallback: thinking that the caller turned
    off would take the answer's `max_tokens`.
    """
    config = fitted.get("output_config")
    effort = config.get("effort") if isinstance(config, Mapping) else None
    efforts = accepts.efforts_for(_kind(fitted.get("thinking")))
    if not isinstance(config, Mapping) or effort is None or efforts is None or effort in efforts:
        return None
    rank = EFFORTS.index(effort) if effort in EFFORTS else -1
    lower = [one for one in efforts if EFFORTS.index(one) < rank]
    kept = {key: value for key, value in config.items() if key != "effort"}
    if lower:
        kept["effort"] = lower[-1]
    if kept:
        fitted["output_config"] = kept
    else:
        del fitted["output_config"]
    return f"effort {effort} → {lower[-1]}" if lower else f"effort {effort} left out"


def _fit_speed(fitted: dict[str, Any], *, fast: bool) -> str | None:
    """Without fast mode even `standard` is refused, says the SDK (`lib/middleware/_fallbacks.py`)."""
    if fast or fitted.get("speed") is None:
        return None
    return f"speed {fitted.pop('speed')} left out"


def _fit_geography(fitted: dict[str, Any], accepts: Accepts) -> str | None:
    if accepts.inference_geo is not False or fitted.get("inference_geo") is None:
        return None
    return f"inference_geo {fitted.pop('inference_geo')} left out"


def _kind(value: object) -> str | None:
    """The `type` of a part of a request, where it has one."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    return kind if isinstance(kind, str) else None


def _whole(value: object) -> int:
    """A number of tokens; 0 for what is none, which the API refuses by itself."""
    return value if isinstance(value, int) else 0

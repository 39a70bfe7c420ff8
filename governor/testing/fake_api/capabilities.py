"""What each model refuses of a request, in the API's words.

This shares no data with the governor's price file, so that a request changed for another model is checked
against what was written down twice.

Sources, stored copies of November 2026: Anthropic's documentation (troubleshooting thinking: "any value not
listed as rejected is accepted"; effort; what's new in Haiku, Sonnet and Opus 5.5 and in Fable 5.1 and 5.2;
extended thinking; what's new in 4.6), SDK 2.11.0. What they do not say is accepted here. Messages marked
(assumed) are in other words than the API's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.testing.fake_api.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS = ("low", "medium", "high", "xhigh", "max")
KINDS = ("enabled", "adaptive", "disabled", "between_tools")
LEAST_BUDGET = 1024

_NOT_SUPPORTED = '"thinking.type.{}" is not supported for this model.'
_ADAPTIVE = ' Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
_BETWEEN = (
    ' Use "thinking.type.between_tools" for the lowest thinking setting, or "thinking.type.adaptive" and '
    '"output_config.effort" to control thinking behavior.'
)


@dataclass(frozen=True, slots=True)
class Refuses:
    """What a model does not take.

    Attributes:
        thinking: Values of `thinking.type`.
        off_with: Efforts that it takes, but not with thinking off.
        efforts: Values of `output_config.effort`; all of them where there is no `effort`.
        forced: Whether a `tool_choice` of `any` or `tool` is refused.
        forced_thinking: Whether it is refused beside thinking that is asked for.
        prefill: Whether a conversation that ends with the assistant's text is refused.
    """

    thinking: tuple[str, ...] = ()
    off_with: tuple[str, ...] = ()
    efforts: tuple[str, ...] = ()
    forced: bool = False
    forced_thinking: bool = False
    prefill: bool = True


_OLD = ("adaptive", "between_tools")
_NO_BUDGET = ("enabled", "between_tools")
_ALWAYS_ON = ("enabled", "disabled", "between_tools")
_HARD = ("xhigh", "max")
_FORCED = Refuses(_ALWAYS_ON, forced=True)

REFUSES = {
    "claude-haiku-4-5": Refuses(_OLD, efforts=LEVELS, forced_thinking=True, prefill=False),
    "claude-sonnet-4-5": Refuses(_OLD, efforts=LEVELS, forced_thinking=True, prefill=False),
    "claude-opus-4-5": Refuses(_OLD, efforts=_HARD, forced_thinking=True, prefill=False),
    "claude-opus-4-6": Refuses(("between_tools",), efforts=("xhigh",), forced_thinking=True),
    "claude-sonnet-4-6": Refuses(("between_tools",), efforts=("xhigh",), forced_thinking=True),
    "claude-opus-4-7": Refuses(_NO_BUDGET),
    "claude-opus-4-8": Refuses(_NO_BUDGET),
    "claude-sonnet-5": Refuses(_NO_BUDGET),
    "claude-opus-5": Refuses(_NO_BUDGET, off_with=_HARD),
    "claude-haiku-5-5": Refuses(_NO_BUDGET, off_with=_HARD),
    "claude-sonnet-5-5": Refuses(("enabled", "disabled"), off_with=_HARD, forced=True),
    "claude-opus-5-5": _FORCED,
    "claude-fable-5": Refuses(_ALWAYS_ON),
    "claude-fable-5-1": _FORCED,
    "claude-fable-5-2": _FORCED,
    "claude-mythos-preview": Refuses(("disabled", "between_tools"), efforts=("xhigh",)),
    "claude-mythos-5": Refuses(_ALWAYS_ON),
    "claude-mythos-5-1": _FORCED,
    "claude-mythos-5-2": _FORCED,
}
"""By id; a model that is not here takes everything."""


def check_capabilities(body: Mapping[str, Any], model_id: str) -> None:
    """Refuse what the model of that id does not take.

    Raises:
        ApiError: 400.
    """
    refuses = REFUSES.get(model_id, Refuses(prefill=False))
    kind = _check_thinking(body, refuses)
    _check_effort(body, refuses, kind)
    _check_tool_choice(body, refuses, kind)
    if refuses.prefill and _ends_with_assistants_text(body["messages"]):
        message = "This model does not support assistant message prefill."
        raise ApiError(400, f"{message} The conversation must end with a user message.")


def _check_thinking(body: Mapping[str, Any], refuses: Refuses) -> str | None:
    thinking = body.get("thinking")
    if thinking is None:
        return None
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ApiError(400, f"thinking.type: Input should be one of {', '.join(KINDS)}")
    if kind in refuses.thinking:
        raise ApiError(400, _refusal(kind, refuses))
    if kind == "enabled":
        _check_budget(thinking, body["max_tokens"])
    return kind


def _refusal(kind: str, refuses: Refuses) -> str:
    if kind == "adaptive":
        return "adaptive thinking is not supported on this model"
    between = kind == "disabled" and "between_tools" not in refuses.thinking
    return _NOT_SUPPORTED.format(kind) + (_BETWEEN if between else _ADAPTIVE)


def _check_budget(thinking: Mapping[str, Any], max_tokens: int) -> None:
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or isinstance(budget, bool):
        raise ApiError(400, "thinking.enabled.budget_tokens: Input should be a valid integer")
    if budget < LEAST_BUDGET:
        raise ApiError(
            400, f"thinking.enabled.budget_tokens: Input should be greater than or equal to {LEAST_BUDGET}"
        )
    if budget >= max_tokens:
        raise ApiError(400, "`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_effort(body: Mapping[str, Any], refuses: Refuses, kind: str | None) -> None:
    config = body.get("output_config")
    effort = config.get("effort") if isinstance(config, dict) else None
    if effort is None:
        return
    if effort not in LEVELS:
        raise ApiError(400, f"output_config.effort: Input should be one of {', '.join(LEVELS)}")
    if refuses.efforts == LEVELS:
        raise ApiError(400, "This model does not support the effort parameter.")
    if effort in refuses.efforts:
        raise ApiError(400, f"output_config.effort: '{effort}' is not supported for this model")  # (assumed)
    if kind in ("disabled", "between_tools") and effort in refuses.off_with:
        with_effort = f'is not supported with effort "{effort}" for this model'
        raise ApiError(400, f'"thinking.type.{kind}" {with_effort}')  # (assumed)


def _check_tool_choice(body: Mapping[str, Any], refuses: Refuses, kind: str | None) -> None:
    choice = body.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") not in ("any", "tool"):
        return
    if refuses.forced:
        raise ApiError(400, 'tool_choice: type "tool" and "any" are not supported for this model.')
    if refuses.forced_thinking and kind in ("enabled", "adaptive"):
        raise ApiError(400, "Thinking may not be enabled when tool_choice forces tool use.")


def _ends_with_assistants_text(messages: list[dict[str, Any]]) -> bool:
    """Whether the assistant's last turn is to go on; one that ends with a tool's block was paused."""
    last = messages[-1]
    if last["role"] != "assistant":
        return False
    content = last["content"]
    return isinstance(content, str) or bool(content and content[-1]["type"] == "text")

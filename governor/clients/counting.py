"""How a count is asked for, and what an answer without one means."""

from __future__ import annotations

import anthropic

from governor.clients.streaming import retry_after_s
from governor.story.effects import CountLater

COUNT_TIMEOUT_S = 2.0
"""A count that takes longer is given up for the local bound."""

LATER_S = 5.0
"""How long the API is not asked again when it does not say."""


UNCOUNTED = (anthropic.AnthropicError, ValueError)
"""What may be raised instead of a count; the second by an answer that is no JSON."""


def uncounted(error: Exception) -> CountLater | None:
    """`CountLater` where the API is asked too often (HTTP 429) or is silent; `None` where it cannot count.

    A time-out is not paid again by the next call, either: the API is left alone for a while.
    """
    if isinstance(error, anthropic.RateLimitError):
        asked_s = retry_after_s(error.response.headers)
        return CountLater(LATER_S if asked_s is None else asked_s)
    return CountLater(LATER_S) if isinstance(error, anthropic.APITimeoutError) else None


def counted(answer: object) -> int | None:
    """The tokens in an answer of count_tokens; `None` if it is none, as a gateway's page of HTML is not."""
    tokens = getattr(answer, "input_tokens", None)
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0 else None

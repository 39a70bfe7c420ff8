"""Which model each conversation is on, so that it stays there.

A conversation is a `run`, or, without one, what begins with the same system prompt and first message of the
same user. It goes down a line when it must (a budget, a limit, an overload), and does not come back up by
itself, unless it would be refused. Its second move goes to the cheapest line, so that it changes model twice
at most. What is known is this process's own, and is forgotten an hour after the conversation's last call.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from governor.routing import rank
from governor.story.digests import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.policy import Attribution
    from governor.routing import Candidate

MOST_CONVERSATIONS = 10_000
FORGOTTEN_MS = 3_600_000
"""An hour: no prompt cache of the API lives longer, so that nothing is lost by another model then."""

CACHE_MS = 300_000
CACHE_HOUR_MS = 3_600_000
"""How long the API keeps a prompt after it was last used, by the kind of its cache."""

MULTI_TURN = 3
"""Messages from which on a prompt without a `run` is taken for one that goes on."""

_LAST = "its conversation comes up only where no other model may serve"

Key = tuple[str, str, str | None, str]
"""Department, user, feature, and the run or a digest of how the conversation begins."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a conversation stands.

    Attributes:
        asked: What its caller asked for: model and tier. Another asking begins anew.
        model: The model that served last, as its id is priced.
        line: That model's line.
        moves: How often it has changed model.
        at_ms: When, Unix milliseconds.
        cached_tokens: Tokens of its prompt that the API keeps for that model.
        cached_until_ms: Until when.
        output_tokens: How long the last answer was.
    """

    asked: tuple[str, str | None]
    model: str
    line: str
    moves: int
    at_ms: int
    cached_tokens: int = 0
    cached_until_ms: int = 0
    output_tokens: int = 0

    def warm_tokens(self, now_ms: int) -> int:
        """Tokens of its prompt that the API still keeps."""
        return self.cached_tokens if now_ms < self.cached_until_ms else 0


class Conversations:
    """What this process knows of conversations that go on."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, Standing] = OrderedDict()

    def find(
        self, who: Attribution, body: Mapping[str, Any], asked: tuple[str, str | None], now_ms: int
    ) -> Standing | None:
        """Where the conversation of a request stands; `None` if it begins, or asks for something else now.

        Args:
            who: Who asks.
            body: Of the request.
            asked: The model and the tier that are asked for.
            now_ms: Unix milliseconds.
        """
        if _begins(who, body):
            return None
        key = _key(who, body)
        found = None if key is None else self._known.get(key)
        if found is None or found.asked != asked:
            return None
        return found if 0 <= now_ms - found.at_ms <= FORGOTTEN_MS else None

    def note(
        self,
        who: Attribution,
        body: Mapping[str, Any],
        asked: tuple[str, str | None],
        served: Candidate,
        usage: Mapping[str, Any],
        now_ms: int,
        *,
        swapped: bool = False,
        planned_ms: int | None = None,
    ) -> None:
        """A request was answered by *served*, whose usage is as the API reports it; else as in `find`.

        *swapped*: whether that is not the model that was preferred. A conversation that begins so has moved.
        *planned_ms* is when it was planned: an answer on a dearer model does not bring a conversation back up
        that went down meanwhile, in a call beside it.
        """
        key = _key(who, body)
        if key is None:
            return
        before = self._known.pop(key, None)
        if before is not None and (before.asked != asked or now_ms - before.at_ms > FORGOTTEN_MS):
            before = None
        if _begins(who, body):  # another one began with the same words
            before = None
        late = before is not None and planned_ms is not None and planned_ms < before.at_ms
        if before is not None and late and rank(served.line) > rank(before.line):
            self._known[key] = before
            return
        moved = swapped if before is None else before.model != served.priced_as
        moves = moved + (0 if before is None else before.moves)
        self._known[key] = _standing(asked, served, moves, usage, now_ms)
        if len(self._known) > MOST_CONVERSATIONS:
            self._known.popitem(last=False)


def stay(
    standing: Standing,
    candidates: Sequence[Candidate],
    current: Candidate | None,
    *,
    follow: bool,
    rise: bool,
) -> tuple[Candidate, ...]:
    """The candidates of a conversation that goes on.

    Args:
        standing: Where it stands.
        candidates: As for a new one, best first.
        current: The candidate for the model that it is on; `None` if that may not serve any more.
        follow: Whether a cheaper preference is followed: the budget, or the caller, asks for it.
        rise: Whether a dearer one may be: the request is that much harder. It is once.
    """
    if current is None or (rise and not standing.moves):
        return tuple(candidates)
    cheaper = [one for one in candidates if rank(one.line) < rank(current.line)]
    if follow and candidates and rank(candidates[0].line) < rank(current.line):
        stays: list[Candidate] = []
    else:
        stays = [replace(current, why=f"its conversation is on {current.model}")]
    steps = cheaper[-1:] if standing.moves else cheaper
    dearer = (one for one in candidates if one not in cheaper and one.priced_as != current.priced_as)
    rest = [replace(one, last_resort=True, why=_LAST) for one in dearer if stays]
    return tuple([*stays, *steps, *rest] or candidates)


def _begins(who: Attribution, body: Mapping[str, Any]) -> bool:
    """Whether a request without a `run` is the first of its conversation."""
    return who.run is None and len(_messages(body)) < MULTI_TURN


def _standing(
    asked: tuple[str, str | None], served: Candidate, moves: int, usage: Mapping[str, Any], now_ms: int
) -> Standing:
    written, read = _count(usage, "cache_creation_input_tokens"), _count(usage, "cache_read_input_tokens")
    by_time = usage.get("cache_creation")
    hour = isinstance(by_time, dict) and _count(by_time, "ephemeral_1h_input_tokens") > 0
    return Standing(
        asked,
        served.priced_as,
        served.line,
        moves,
        now_ms,
        cached_tokens=written + read,
        cached_until_ms=now_ms + (CACHE_HOUR_MS if hour else CACHE_MS),
        output_tokens=_count(usage, "output_tokens"),
    )


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _key(who: Attribution, body: Mapping[str, Any]) -> Key | None:
    beginning = f"run {who.run}" if who.run is not None else _opening(body)
    return None if beginning is None else (who.department, who.user, who.feature, beginning)


def _opening(body: Mapping[str, Any]) -> str | None:
    """A digest of the system prompt and the first message; `None` for what JSON cannot write."""
    found = digest([body.get("system"), *_messages(body)[:1]])
    return None if found is None else found.hex()


def _messages(body: Mapping[str, Any]) -> Sequence[Any]:
    messages = body.get("messages")
    return messages if isinstance(messages, list) else ()

"""How many tokens a prompt has: counted by the API, remembered, or bounded without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import UnknownModel
from governor.pricing import apart, countable, earlier_thinking, local_bound
from governor.story.digests import digest
from governor.story.effects import CountLater, CountTokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.pricing import Model
    from governor.routing import Candidate
    from governor.story.books import Story
    from governor.story.request import House, Request

Counts = dict[str, tuple[int, bool]]
"""For each tokenizer (or each model, where models of one tokenizer differ): tokens of the prompt, and whether
the API counted them."""


def bounds(house: House, body: Mapping[str, Any], candidates: Sequence[Candidate]) -> Counts:
    """A bound on the prompt for each tokenizer among the candidates, without the network."""
    models = _models(house, candidates)
    most = local_bound(body, max(model.context_tokens for model in models))
    found: Counts = {}
    for model in models:
        before, _ = found.get(str(model.tokenizer), (0, False))
        found[str(model.tokenizer)] = (max(before, min(most, model.context_tokens)), False)
    return found


def continued(
    house: House, body: Mapping[str, Any], candidates: Sequence[Candidate], request: Request
) -> Counts:
    """A bound on a prompt of which the API holds `held_tokens` and the body shows the rest.

    A newer tokenizer than the one that counted makes more of them, and newer models more of an image. How
    many the body does not show, so then the bound is the whole window.
    """
    shown = bounds(house, {name: value for name, value in body.items() if name != "thread"}, candidates)
    counted_by = _tokenizer(house, request.held_by)
    found: Counts = {}
    for model in _models(house, candidates):
        name, most = str(model.tokenizer), model.context_tokens
        tokens = shown[name][0] + (request.held_tokens or 0)
        before, _ = found.get(name, (0, False))
        found[name] = (max(before, most if model.tokenizer > counted_by else min(tokens, most)), False)
    return found


def _tokenizer(house: House, model: str) -> int:
    """The tokenizer of *model*; 0, older than any, where the table does not know it."""
    try:
        return house.prices.model(model).tokenizer
    except UnknownModel:
        return 0


def known(house: House, tokens: int, candidates: Sequence[Candidate]) -> Counts:
    """A count of *tokens* that was made before, for each tokenizer among the candidates."""
    return {str(house.prices.model(candidate.model).tokenizer): (tokens, True) for candidate in candidates}


def counts(house: House, body: Mapping[str, Any], candidates: Sequence[Candidate]) -> Story:
    """Tokens of the prompt for each tokenizer among the candidates: `Counts`.

    One count serves every model of a tokenizer, unless the conversation has thinking of earlier turns, which
    some models drop. What the API does not count, or not now, is bounded; of tools that it does not count,
    only the definitions are.
    """
    found: Counts = {}
    key: bytes | None = None
    rest, extra = apart(body)
    apart_by_model = earlier_thinking(body)
    for candidate in candidates:
        model = house.prices.model(candidate.model)
        group = model.id if apart_by_model else str(model.tokenizer)
        if group in found:
            continue
        question = countable({**rest, "model": candidate.model})
        if question is None:
            return bounds(house, body, candidates)
        key = key or digest({name: value for name, value in question.items() if name != "model"})
        tokens = house.counter.find(group, key)
        if tokens is None and not house.counter.paused(house.clock.now_ms()):
            tokens = yield from _ask(house, question)
        if tokens is None:
            return {**bounds(house, body, candidates), **found}
        house.counter.keep(group, key, tokens)
        found[group] = (tokens + extra, True)
    return found


def _models(house: House, candidates: Sequence[Candidate]) -> list[Model]:
    return [house.prices.model(candidate.model) for candidate in candidates]


def _ask(house: House, question: dict[str, Any]) -> Story:
    answer = yield CountTokens(question)
    if isinstance(answer, CountLater):
        house.counter.pause(house.clock.now_ms(), answer.seconds)
        return None
    return answer

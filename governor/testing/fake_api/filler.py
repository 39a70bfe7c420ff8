"""Texts of a given number of tokens."""

from __future__ import annotations

from functools import lru_cache

CHARACTERS_PER_TOKEN = 4
_WORDS = (
    "the red fox ran out for one new day and saw the big old oak sit low but not too far off its own way "
)


def tokens_of(text: str) -> int:
    """Output tokens of a text: four characters each, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


@lru_cache(maxsize=64)
def filler(tokens: int) -> str:
    """A text of exactly that many output tokens; always the same for the same number."""
    characters = tokens * CHARACTERS_PER_TOKEN
    return (_WORDS * (characters // len(_WORDS) + 1))[:characters].rstrip()

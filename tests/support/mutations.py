"""Good YAML files made bad: what a fuzz test mutates, whichever language the file is of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORD = re.compile(r"[\w.%*@/-]+|[{}\[\],:]")


def mutate(draw: st.DrawFn, text: str, *, words: Sequence[str], odd: Sequence[str], most: int) -> str:
    """*text* with up to *most* words or lines deleted, doubled, or replaced by *words* or *odd* ones."""
    for _ in range(draw(st.integers(1, most))):
        if draw(st.booleans()):
            lines = text.split("\n")
            at = draw(st.integers(0, len(lines) - 1))
            lines[at : at + 1] = draw(st.sampled_from([[], [lines[at]] * 2, ["  " + lines[at]]]))
            text = "\n".join(lines)
            continue
        found = [match.span() for match in _WORD.finditer(text)]
        if found:
            start, end = draw(st.sampled_from(found))
            new = draw(st.sampled_from(odd) | st.sampled_from(words) | st.text(max_size=8))
            text = text[:start] + new + text[end:]
    return text

"""An API of a few numbers: how each call ends, drawn at random, and what it bills for that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from governor.story.effects import Ended
from governor.testing.fake_api.catalogue import shipped_catalogue

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

INPUT_TOKENS = 19
"""Of every prompt here; the API counts it so, if it counts."""


class BrokenError(Exception):
    """What the API's client raises here."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One sending: how it ends, and what the API bills.

    Attributes:
        ended: What the story is told.
        reports: How often the stream is reported as running before that.
        seconds: How long the end takes after the last report.
        nanos: On the bill.
        tokens: On the bill.
    """

    ended: Ended
    reports: int
    seconds: float
    nanos: int
    tokens: int


@dataclass(slots=True)
class Bill:
    """What the API charged for one request, and whether its end said so exactly.

    Attributes:
        nanos: In nano-dollars.
        tokens: Input and output.
        known: The last sending was answered, or never served: its charge must be the bill.
    """

    nanos: int = 0
    tokens: int = 0
    known: bool = True

    def add(self, turn: Turn) -> None:
        """Charge one sending."""
        self.nanos += turn.nanos
        self.tokens += turn.tokens
        self.known = turn.ended.kind in {"answered", "refused"}


KINDS = ("answered", "longer", "refused", "later", "cut", "hidden", "silent")
ODDS = (12, 1, 1, 2, 1, 1, 1)


def send(chance: random.Random, body: Mapping[str, Any], silence_s: float) -> Turn:
    """Draw how one sending of *body* goes."""
    model, most = body["model"], body["max_tokens"]
    kind = chance.choices(KINDS, ODDS)[0]
    reports = chance.choice((0, 0, 0, 0, 1, 2, 5)) if kind in {"answered", "cut"} else 0
    seconds = chance.choice((0.0, 0.2, 1.0, 3.0))
    output = chance.randint(0, most)
    match kind:
        case "refused":
            return Turn(Ended("refused", error=BrokenError("400")), 0, seconds, 0, 0)
        case "later":
            ended = Ended(
                "refused", error=BrokenError("429"), retriable=True, retry_after_s=chance.choice((1.0, None))
            )
            return Turn(ended, 0, seconds, 0, 0)
        case "cut":
            usage = {"input_tokens": INPUT_TOKENS, "output_tokens": 1}
            ended = Ended("cut", usage=usage, delivered_bytes=4 * output, error=BrokenError("cut"))
        case "hidden":
            ended = Ended(
                "cut", usage={"input_tokens": INPUT_TOKENS}, hidden_output=True, error=BrokenError("cut")
            )
        case "silent":
            ended, seconds = Ended("silent", error=BrokenError("time-out")), silence_s
        case _:
            # Beyond every bound now and then, as the API may: an overrun.
            output = most + 50 if kind == "longer" else output
            ended = Ended(
                "answered", usage={"input_tokens": INPUT_TOKENS, "output_tokens": output}, model=model
            )
    return Turn(ended, reports, seconds, price(model, output), INPUT_TOKENS + output)


@lru_cache(maxsize=4096)
def price(model: str, output_tokens: int) -> int:
    """The bill of one answer, by the fake API's own reading of the price file; prices do not change here."""
    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": output_tokens}
    return math.ceil(shipped_catalogue().charge(model, usage, 1_795_176_000_000))

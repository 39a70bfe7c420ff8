"""What the holds of a batch are called, and what they say to whoever ends them.

A batch has one hold for each item, whose ids begin alike; the API's own id of the batch is not known yet when
they are opened. So two more holds, which touch no budget, bear notes: `batch.new.…` from just before the
batch is sent, and `batch.of.ID` once it is made, until every item has ended.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from governor.errors import PolicyViolation
from governor.ids import new_id
from governor.ledger.values import BATCH, BATCH_HOLD_KEPT_MS
from governor.policy import Attribution
from governor.pricing import Ceiling, Way
from governor.routing import Candidate
from governor.story.effects import Ended
from governor.story.matrix import Offer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.story.matrix import Matrix
    from governor.story.request import Admitted, Plan, Request

NEW, SENT = f"{BATCH}new.", f"{BATCH}of."
"""How the ids of a batch's own two holds begin."""

LIVES_S = 48 * 3600.0
"""How long an item's hold lives: a batch ends within 24 hours (documentation of Message Batches), and a job
that drains once a day comes before it expires."""

NOTED_MS = BATCH_HOLD_KEPT_MS
"""How long a batch's own holds live: results are kept for 29 days (documentation of Message Batches)."""

SKEW_MS = 5 * 60_000
LONGEST_SENDING_MS = 60 * 60_000
"""How much earlier than its note, as clocks differ, and how much later, after retries, a batch is made."""

MOST_ITEMS = 100_000
"""As many requests a batch may have (documentation of Message Batches)."""

CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
"""What the API takes for a `custom_id` (documentation of Message Batches)."""


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a batch: what its caller calls it, and the request whose id is that of its hold."""

    custom_id: str
    request: Request


@dataclass(frozen=True, slots=True)
class HeldItem:
    """An item that is held: how it was planned, and let through."""

    custom_id: str
    planned: Plan
    admitted: Admitted

    @property
    def offer(self) -> Offer:
        """The offer that was held."""
        return self.admitted.table.offers[self.admitted.held.candidate]

    def sent(self) -> dict[str, Any]:
        """The item as the API takes it."""
        return {"custom_id": self.custom_id, "params": self.planned.body(self.offer)}


@dataclass(frozen=True, slots=True)
class Note:
    """What an item's hold says to whoever ends it.

    Attributes:
        who: Who asked, and for what; `None` where nobody knows.
        asked: `auto`, a line or a model id; '' where nobody knows.
        offers: The candidates that were asked for, with their ceilings.
        endpoint: Where it is served: '' for Anthropic's own API.
        at_ms: When it was priced, Unix milliseconds.
        policy: The hash of the policies it went by.
    """

    who: Attribution | None
    asked: str
    offers: tuple[Offer, ...]
    endpoint: str
    at_ms: int
    policy: str


@dataclass(frozen=True, slots=True)
class BatchNote:
    """What a batch's own hold says.

    Attributes:
        hold: How the ids of its items' holds begin.
        items: How many there are.
        noted_ms: When it was about to be sent, Unix milliseconds by the ledger's clock.
        batch_id: The API's id; '' while it has none.
    """

    hold: str
    items: int
    noted_ms: int
    batch_id: str = ""

    def text(self) -> str:
        """As it is noted."""
        return _dump([self.hold, self.items, self.noted_ms, self.batch_id])

    def may_be(self, made_ms: int | None, items: int | None) -> bool:
        """Whether a batch made at an instant, with so many items, may be this one; `None`: unknown, so no."""
        if made_ms is None or items != self.items:
            return False
        return -SKEW_MS <= made_ms - self.noted_ms <= LONGEST_SENDING_MS


@dataclass(frozen=True, slots=True)
class Result:
    """A line of a batch's results.

    Attributes:
        custom_id: Whose it is.
        kind: `succeeded`, `errored`, `canceled` or `expired`.
        ended: How it ended, for the ledger.
        error: The type of the error, of one that errored; else ''.
    """

    custom_id: str
    kind: str
    ended: Ended
    error: str = ""


def new_hold() -> str:
    """How the ids of a new batch's holds begin."""
    return f"{BATCH}{new_id()}"


def item_id(hold: str, custom_id: str) -> str:
    """The id of an item's hold."""
    return f"{hold}.{custom_id}"


def new_of(hold: str) -> str:
    """The id of the hold that notes that a batch is about to be sent."""
    return NEW + hold.removeprefix(BATCH)


def sent_of(batch_id: str, custom_id: str = "") -> str:
    """The id of the hold that notes a batch which the API has made; or of an item of one it does not know.

    The API's ids may get longer, and other characters (SDK, `MessageBatch.id`): then a digest stands for it.
    """
    name = batch_id if re.fullmatch(r"[A-Za-z0-9_-]{1,50}", batch_id) else _digest(batch_id)
    if custom_id and not CUSTOM_ID.match(custom_id):
        custom_id = _digest(custom_id)
    return f"{SENT}{name}.{custom_id}" if custom_id else SENT + name


def check(items: Sequence[str]) -> None:
    """Refuse the ids of a batch's items that the API, or the ledger, could not tell apart.

    Raises:
        PolicyViolation: There are none, or too many, or one is no `custom_id` or stands twice.
    """
    if not 0 < len(items) <= MOST_ITEMS:
        raise PolicyViolation(f"a batch has 1 to {MOST_ITEMS:,} requests, this one has {len(items):,}")
    seen: set[str] = set()
    for index, custom_id in enumerate(items):
        if not isinstance(custom_id, str) or not CUSTOM_ID.match(custom_id):
            told = f"requests[{index}]: {repr(custom_id)[:80]} is no custom_id"
            raise PolicyViolation(f"{told}: use 1 to 64 of a-z A-Z 0-9 _ -, another one for each request")
        if custom_id in seen:
            raise PolicyViolation(
                f"requests[{index}]: the custom_id {custom_id!r} is taken by an earlier request"
            )
        seen.add(custom_id)


def note(planned: Plan, table: Matrix) -> str:
    """What the hold of a planned item notes."""
    who = planned.request.who
    return _dump(
        {
            "who": [who.department, who.user, who.feature, who.run, dict(who.tags), who.priority],
            "asked": planned.request.named,
            "offers": [_noted(offer) for offer in table.offers],
            "endpoint": planned.rules.endpoint,
            "at": planned.at_ms,
            "policy": planned.rules.policy_hash,
        }
    )


def read_note(text: str) -> Note | None:
    """The inverse of `note`; `None` where there is none."""
    try:
        told = json.loads(text)
        department, user, feature, run, tags, priority = told["who"]
        who = Attribution(department, user, feature, run, tuple(sorted(tags.items())), priority)
        offers = tuple(_offer(*one) for one in told["offers"])
        return Note(who, told["asked"], offers, told["endpoint"], told["at"], told["policy"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def of_candidate(text: str, chosen: int) -> str:
    """A note that speaks of one candidate only, as if that had been the first."""
    told = json.loads(text)
    if isinstance(told, dict):
        told["offers"] = [told["offers"][chosen]]
    return _dump(told)


def read_batch_note(text: str) -> BatchNote | None:
    """The inverse of `BatchNote.text`; `None` where there is none."""
    try:
        return BatchNote(*json.loads(text))
    except (ValueError, TypeError):
        return None


def read_result(line: Mapping[str, Any]) -> Result:
    """A line of a batch's results, as the API sends it.

    Raises:
        ValueError: It is none; the message says what is missing.
    """
    try:
        custom_id, result = str(line["custom_id"]), line["result"]
        kind = str(result["type"])
        if kind == "succeeded":
            message = result["message"]
            told = SimpleNamespace(stop_reason=message.get("stop_reason"))
            usage, model = message["usage"], str(message["model"])
            return Result(custom_id, kind, Ended("answered", told, usage, model, status=200))
        error = (result.get("error") or {}).get("error") or {}
        if kind in ("errored", "canceled", "expired"):
            return Result(custom_id, kind, Ended("refused"), str(error.get("type") or ""))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a line of results is not as documented: {error!r}") from None
    raise ValueError(f"the result of {custom_id!r} is of the unknown type {kind!r}")


def unnoted(model: str, line: str = "") -> Offer:
    """The offer of an item that nobody noted: its ceiling is not known."""
    return _offer(model, line, 0, 0, 0, hour=False, geo=None)


def _noted(offer: Offer) -> list[Any]:
    bound = offer.ceiling
    model, line = offer.candidate.model, offer.candidate.line
    return [model, line, bound.nanos, bound.tokens, bound.max_tokens, bound.hour_writes, bound.way.geo]


def _offer(
    model: str, line: str, nanos: int, tokens: int, max_tokens: int, hour: bool, geo: str | None
) -> Offer:
    way = Way(batch=True, geo=geo)
    return Offer(
        Candidate(line, model, "", model), Ceiling(nanos, tokens, 0, max_tokens, way=way, hour_writes=hour)
    )


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


_dump = json.JSONEncoder(separators=(",", ":")).encode

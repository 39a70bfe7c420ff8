"""What is left of a model's rate limits now, by the last headers and what was sent since."""

from __future__ import annotations

from dataclasses import dataclass

from governor.routing.limits import RateLimit, RateLimits
from governor.routing.load import WHOLE_BP

BELIEVED_S = 60.0
"""What headers said is believed for a minute."""

DRAINED_IN_S = 2.0
"""What is left above the refill is sent within about so many seconds."""

OVERDRIVE = 1.03
"""A little more is sent than refills: the few 429s are the price of leaving nothing unused."""

LEAST = 0.1
"""Of the refill, at least a tenth is sent, whatever is thought to be left."""

SUPPOSED_TOKENS = 1_000.0
"""Of a request, as long as no answer told how many it takes."""

REFUSED_WITH_ROOM = 0.05
"""A 429 whose own headers say that more than 5 % is left of every limit gives the lie to them."""


SLOWLY = 50
"""A larger bucket is believed in by and by."""

EXPECTED_ROOM = 0.25
"""So does one that comes when, by the headers before it, more than 25 % should be left."""


@dataclass(slots=True)
class _Bucket:
    """One limit: *level* of *capacity* is left at *at_s*; read off a request that left at *left_s*."""

    limit: int
    capacity: float
    level: float | None
    at_s: float
    left_s: float
    heard_s: float


class Buckets:
    """The token buckets of one model; times are seconds by a clock that never goes back."""

    def __init__(self) -> None:
        self._known: dict[str, _Bucket] = {}
        self._per_request: dict[str, float] = {"requests": 1.0}
        self._distrusted_until_s = 0.0

    def learn(
        self,
        limits: RateLimits,
        now_s: float,
        *,
        left_s: float,
        read_s: float,
        read_ms: int,
        heard_s: float,
        sent: float,
    ) -> None:
        """Take the word of headers, unless those of a later request were heard already.

        Args:
            limits: What they say.
            now_s: Now.
            left_s: When the request left that they answer: of two readings, the later one holds.
            read_s: As of when they say it.
            read_ms: The same moment by the clock of the resets, Unix milliseconds.
            heard_s: When they were heard; they are believed for `BELIEVED_S` from then.
            sent: Requests of all processes that left after *read_s*.
        """
        for kind, told in limits.told().items():
            before = self._known.get(kind)
            if before is not None and before.left_s > left_s:
                continue
            level = None
            if told.remaining is not None:
                refilled = told.limit / 60 * max(0.0, now_s - read_s)
                level = told.remaining + refilled - sent * self._each(kind)
            capacity = _capacity(told, read_ms, before)
            bucket = self._known[kind] = _Bucket(told.limit, capacity, level, now_s, left_s, heard_s)
            _bound(bucket)

    def use(self, input_tokens: float, output_tokens: float) -> None:
        """How many tokens a request takes on average."""
        self._per_request.update(
            input_tokens=max(1.0, input_tokens),
            output_tokens=max(1.0, output_tokens),
            tokens=max(1.0, input_tokens + output_tokens),
        )

    def departed(self) -> None:
        """A request leaves here."""
        for kind, bucket in self._known.items():
            if bucket.level is not None:
                bucket.level -= self._each(kind)

    def advance(self, now_s: float, others_per_s: float) -> None:
        """Let time pass: buckets refill, and the other processes send at *others_per_s*."""
        for kind in [kind for kind, one in self._known.items() if now_s - one.heard_s > BELIEVED_S]:
            del self._known[kind]
        for kind, bucket in self._known.items():
            if bucket.level is not None:
                gain = bucket.limit / 60 - others_per_s * self._each(kind)
                bucket.level += gain * (now_s - bucket.at_s)
                _bound(bucket)
            bucket.at_s = now_s

    def contradicted(self, limits: RateLimits | None, now_s: float) -> None:
        """A 429 came with *limits*: if they or the earlier ones spoke of room, none are believed for a while.

        Processes that begin together cannot know of each other yet, so somewhat too much is no lie.
        """
        told = limits.told() if limits is not None else {}
        sizes = {
            kind: self._known[kind].capacity if kind in self._known else told[kind].limit for kind in told
        }
        shares = [one.remaining / sizes[kind] for kind, one in told.items() if one.remaining is not None]
        known = any(one.level is not None for one in self._known.values())
        expected = 1 - self.used_bp() / WHOLE_BP if known else 0.0
        if min(shares, default=0.0) > REFUSED_WITH_ROOM or expected > EXPECTED_ROOM:
            self._distrusted_until_s = now_s + BELIEVED_S

    def outdone(self, served: int, now_s: float) -> None:
        """*served* were answered within a minute: more than a full bucket and its refill is a lie."""
        requests = self._known.get("requests")
        if requests is not None and served > 2 * requests.limit + 5:
            self._distrusted_until_s = now_s + BELIEVED_S

    def trusted(self, now_s: float) -> bool:
        """Whether the headers were not given the lie in the last minute."""
        return now_s >= self._distrusted_until_s

    def newest_s(self) -> float | None:
        """When the request left whose headers are the newest; `None` if none are known."""
        return max((one.left_s for one in self._known.values()), default=None)

    def used_bp(self) -> int:
        """The used share of the fullest limit, 0 to 10,000."""
        shares = [1 - one.level / one.capacity for one in self._known.values() if one.level is not None]
        return min(WHOLE_BP, max(0, round(WHOLE_BP * max(shares, default=0.0))))

    def requests_limit(self) -> int | None:
        """Requests per minute; `None` if that is not known."""
        requests = self._known.get("requests")
        return requests.limit if requests is not None else None

    def per_s(self) -> float | None:
        """Requests per second that all processes may send now; `None` if no level is known."""
        rates = [_per_s(one, one.level or 0.0) / self._each(kind) for kind, one in self._pacing()]
        return min(rates, default=None)

    def refill_per_s(self) -> float:
        """Requests per second that refill, all processes; 0.0 if that is not known."""
        rates = [one.limit / 60 / self._each(kind) for kind, one in self._pacing()]
        return min(rates, default=0.0)

    def room(self) -> float | None:
        """How many requests are left; `None` if that is not known."""
        return min(((one.level or 0.0) / self._each(kind) for kind, one in self._pacing()), default=None)

    def levels(self) -> RateLimits | None:
        """Of each that is known, what is left now, and the milliseconds from now until it is full."""
        left = {
            kind: RateLimit(one.limit, max(0, int(one.level)), _full_in_ms(one, one.level))
            for kind, one in self._known.items()
            if one.level is not None
        }
        return RateLimits(**left) if left else None

    def _pacing(self) -> list[tuple[str, _Bucket]]:
        """The buckets that say how fast to send."""
        split = self._split()
        known = [(kind, one) for kind, one in self._known.items() if one.level is not None]
        return [(kind, one) for kind, one in known if not (kind == "tokens" and split)]

    def _split(self) -> bool:
        """Whether input and output are told apart; else the combined limit stands for both."""
        return "input_tokens" in self._known or "output_tokens" in self._known

    def _each(self, kind: str) -> float:
        return self._per_request.get(kind, SUPPOSED_TOKENS)


def _per_s(bucket: _Bucket, level: float) -> float:
    refill = bucket.limit / 60
    return max(OVERDRIVE * refill + level / DRAINED_IN_S, LEAST * refill)


def _capacity(told: RateLimit, read_ms: int, before: _Bucket | None) -> float:
    """What the bucket holds: what is left, and what refills until its reset.

    It may be far less than the limit per minute ("short bursts can 429"). Resets are rounded up to seconds,
    so the smallest of the last readings holds.
    """
    least = float(max(1, told.remaining or 0))
    known = before.capacity if before is not None and before.limit == told.limit else None
    if told.remaining is None or told.reset_ms is None or told.reset_ms < read_ms:
        return float(told.limit) if known is None else max(known, least)
    refilled = told.limit / 60_000 * (told.reset_ms - read_ms)
    seen = min(float(told.limit), max(least, told.remaining + refilled))
    return seen if known is None or seen < known else max(least, known + (seen - known) / SLOWLY)


def _full_in_ms(bucket: _Bucket, level: float) -> int:
    return int((bucket.capacity - max(0.0, level)) * 60_000 / bucket.limit)


def _bound(bucket: _Bucket) -> None:
    if bucket.level is not None:
        bucket.level = min(max(bucket.level, -bucket.limit / 12), bucket.capacity)

"""What the flow asks of its driver, and what it is told: the only contact between story and world.

Ledger commands (`governor.ledger.commands`) are effects too; the driver hands them to its ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.findings import Findings
    from governor.ledger.commands import Release, Settle
    from governor.policy import Attribution
    from governor.routing.limits import RateLimits
    from governor.story.decision import Event, Receipt
    from governor.story.matrix import Offer


@dataclass(frozen=True, slots=True)
class CountTokens:
    """Count a prompt with the API.

    The answer is an `int`; `None` where the API cannot or does not; `CountLater` where it is asked too often.
    """

    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CountLater:
    """The API is asked for counts too often, or does not answer; it may be asked again after *seconds*."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Score:
    """Ask the application's scorer how hard a request is; the answer is `Scored`."""

    body: Mapping[str, Any]
    who: Attribution


@dataclass(frozen=True, slots=True)
class Scored:
    """What the application's scorer said.

    Attributes:
        value: 0 to 10, an `int` or a `float`; `None`: there is no answer that can be used.
        why: Why there is none; else ''.
    """

    value: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Inspect:
    """Ask the application's inspector what is in a request; the answer is `Inspected`."""

    body: Mapping[str, Any]
    who: Attribution


@dataclass(frozen=True, slots=True)
class Inspected:
    """What the application's inspector found.

    Attributes:
        value: The findings; `None`: there is no answer that can be used.
        why: Why there is none; else ''.
    """

    value: Findings | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request and read its answer as a stream; the answer is `Running` or `Ended`.

    Attributes:
        body: Of `/v1/messages`, without `stream`.
        silence_s: Seconds of silence after which the request is given up.
        report_after_s: Seconds after which a stream still running is reported, so that its hold is extended.
        offer: What is held for it; `None` in a story that holds nothing.
        hold: The id of its hold; '' likewise.
    """

    body: Mapping[str, Any]
    silence_s: float
    report_after_s: float
    offer: Offer | None = None
    hold: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on reading the stream that is running; the answer is again `Running` or `Ended`."""

    report_after_s: float


@dataclass(frozen=True, slots=True)
class Abandon:
    """Break off the stream that is running, because of *error*; the answer is `Ended`."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class SendBatch:
    """Have the API make a batch; the answer is `BatchMade`, or `Ended`: `refused`, or `silent`.

    Attributes:
        requests: Its items, as `/v1/messages/batches` takes them: `custom_id` and `params`.
    """

    requests: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class BatchMade:
    """The API has made the batch called *id*; *batch* is what it answered."""

    id: str
    batch: Any


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for *seconds*."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell whoever listens that a threshold was crossed, or that a model is gone."""

    event: Event


@dataclass(frozen=True, slots=True)
class Account:
    """Tell whoever reads the answer what the call cost: its receipt, however it ended.

    Not of `call()`, which returns it.
    """

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Owe:
    """Write down where it outlives this process what the ledger has still to be told.

    Done when it is on the disk. Of one id, the last one counts.
    """

    command: Settle | Release


@dataclass(frozen=True, slots=True)
class Heard:
    """Strike out what was owed under *id*: the ledger has heard it, or nothing came of it."""

    id: str


@dataclass(frozen=True, slots=True)
class Adopt:
    """Take over what processes that have ended left owed; the answer is a list of `Settle` and `Release`."""


@dataclass(frozen=True, slots=True)
class Running:
    """The stream is still coming.

    Attributes:
        so_far: How it would end if it broke off now; `None` where nobody asks.
    """

    so_far: Ended | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A request has ended, one way or another.

    Attributes:
        kind: `answered` (final usage seen), `refused` (never processed: 4xx, 429, 529, no connection),
            `cut` (a stream began and broke), `silent` (sent, and no answer came).
        message: The SDK's message, if one was read to its end.
        usage: The usage as reported so far; empty if none was.
        model: The model that served, as the API named it; '' if it did not.
        delivered_bytes: UTF-8 bytes of content that came.
        hidden_output: Output was being made that does not show in the bytes (thinking).
        error: What to raise to the caller; `None` only if answered.
        status: HTTP status, or 0.
        retry_after_s: What the API asked to wait, or `None`.
        retriable: Sending the same again may help, and cannot bill twice.
        overloaded: The API is overloaded: a 529, or an error in the stream that says so.
        limited: The caller's rate limit is reached (a 429); never a spend cap.
        not_found: What a 404 says that it does not know; '' for every other end.
        headers: The answer's `anthropic-ratelimit-*` headers, their names in lower case.
        latency_ms: From sending to the end.
        first_token_ms: From sending to the first event, or `None`.
        api_request_id: The API's own id, or `None`.
        handed: Its events went to the caller as they came, so nothing is sent in its place.
    """

    kind: str
    message: Any = None
    usage: Mapping[str, Any] | None = None
    model: str = ""
    delivered_bytes: int = 0
    hidden_output: bool = False
    error: BaseException | None = None
    status: int = 0
    retry_after_s: float | None = None
    retriable: bool = False
    overloaded: bool = False
    limited: bool = False
    not_found: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    latency_ms: int = 0
    first_token_ms: int | None = None
    api_request_id: str | None = None
    handed: bool = False

    def because(self, cause: BaseException) -> Ended:
        """The same, its error caused by *cause*: why nothing else was tried."""
        if self.error is not None:
            self.error.__cause__ = cause
        return self

    @property
    def api_failed(self) -> bool:
        """Whether it is the API that failed: it pushed back, broke off or did not answer."""
        pushed_back = self.retriable or self.overloaded or self.limited or self.status >= 500
        return isinstance(self.error, Exception) and (pushed_back or self.kind in {"cut", "silent"})


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of sending on one hold.

    Attributes:
        attempts: How often it was sent.
        pushed: The statuses by which the API pushed back (429, 529), in order; a stream that ended with
            `overloaded_error` is a 529.
        limit_bp: How much of its fullest rate limit was used, as the last answer's headers say, basis points;
            `None` where none said it.
    """

    attempts: int = 0
    pushed: tuple[int, ...] = ()
    limit_bp: int | None = None

    def with_end(self, ended: Ended, limits: RateLimits | None) -> Sent:
        """The same after one more sending, which ended so and told those limits."""
        pushed = 529 if ended.overloaded else 429 if ended.limited else 0
        used = None if limits is None else limits.used_bp()
        return Sent(
            self.attempts + 1,
            (*self.pushed, pushed) if pushed else self.pushed,
            self.limit_bp if used is None else used,
        )

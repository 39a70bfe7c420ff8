"""A fake Claude API: a real HTTP server on loopback with a script, faults and a bill."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Literal

from governor.testing.fake_api.limits import RateLimits
from governor.testing.fake_api.loop import ServerThread, unix_ms
from governor.testing.fake_api.script import Reply
from governor.testing.fake_api.service import COUNT_PATH, ReceivedRequest, Service, Settings
from governor.testing.fake_api.tokens import count_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import TracebackType
    from typing import Self

    import anthropic

    from governor.testing.fake_api.batch_script import BatchDoor, Outcome
    from governor.testing.fake_api.bill import BillLine
    from governor.testing.fake_api.faults import Fault
    from governor.testing.fake_api.script import ReplyMaker
    from governor.testing.fake_api.traffic import Traffic

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The API's limit of a request's body."""


def _transport() -> dict[str, Any]:
    # Reading the certificate store costs more than a call; a context without one suits plain HTTP and trusts
    # nobody, should a redirect ever lead elsewhere.
    return {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}


class FakeClaude:
    """Serves `/v1/messages`, its token counts, threads and batches on `127.0.0.1`.

    Use it as a context manager, or with `start` and `stop`. It runs in a thread of its own, so blocking and
    async clients, other threads and other processes may all talk to it.

        with FakeClaude() as api:
            client = api.client()
            api.next(Reply("Good morning."), Reply(output_tokens=5))
            client.messages.create(...)
            assert api.billed_nanos == ...

    Args:
        api_key: The only key it accepts.
        port: Port to listen on; 0 for a free one.
        seed: Goes into request ids and the drift, so that two runs with one seed are alike.
        latency_ms: Silence before every answer, in milliseconds.
        count_drift: The billed input exceeds the counted one by up to this share (0.01 is 1 %), a fixed
            amount for each request body.
        tokens_per_delta: Tokens of text in one event of a stream.
        rate_limits: Limits per minute of `/v1/messages`, shared by all models without limits of their own.
        model_rate_limits: Limits of single models, by any of their names, counted apart from those and from
            each other, as the API does for each model class (documented).
        overload_share_bp: Share of the requests of `/v1/messages`, in basis points, that is answered 529
            before any processing; which ones follows from *seed* and the order of arrival. They carry no
            rate-limit headers and use none of the limits up; whether the API's do is unknown, and so those
            who retry fast lose nothing by it.
        count_requests_per_minute: Limit per clock minute of `/v1/messages/count_tokens`, which has its own
            (documented); `None`: none.
        workspace_geo: Where a request without `inference_geo` is served, `global` or `us`: the workspace's
            `default_inference_geo` (documented). Models without a choice go on as they are.
        vertex_endpoint: The endpoint at which models named as Vertex names them are served and billed:
            `global` or `regional`. Bedrock's names tell theirs.
        retired: Ids of models that are answered 404 under every name of theirs, before their day already.
        batches: When a batch ends: `at_once`, when it is first retrieved or listed, or `when_told`, by
            `end_batches` or 24 hours after its creation.
        compress: `gzip` for answers that are compressed where the client takes it, each event of a stream
            flushed by itself; `None`: none is.
        max_body_bytes: Longer request bodies are answered 413.
        now_ms: The clock, in Unix milliseconds; default: the system's. It decides prices and minutes.

    Raises:
        ValueError: An argument is out of range, or `model_rate_limits` names a model that is not served.
    """

    def __init__(
        self,
        *,
        api_key: str = "fake-key",
        port: int = 0,
        seed: int = 0,
        latency_ms: int = 0,
        count_drift: float = 0.0,
        tokens_per_delta: int = 10,
        rate_limits: RateLimits | None = None,
        model_rate_limits: Mapping[str, RateLimits] | None = None,
        overload_share_bp: int = 0,
        count_requests_per_minute: int | None = None,
        workspace_geo: Literal["global", "us"] = "global",
        vertex_endpoint: Literal["global", "regional"] = "global",
        retired: Collection[str] = (),
        batches: Literal["at_once", "when_told"] = "at_once",
        compress: Literal["gzip"] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        now_ms: Callable[[], int] = unix_ms,
    ) -> None:
        if not 0 <= count_drift <= 1:
            raise ValueError(f"count_drift is {count_drift}; give a share between 0 and 1")
        if tokens_per_delta < 1:
            raise ValueError(f"tokens_per_delta is {tokens_per_delta}; give at least 1")
        if count_requests_per_minute is not None and count_requests_per_minute < 0:
            raise ValueError(f"count_requests_per_minute is {count_requests_per_minute}; give at least 0")
        if not 0 <= overload_share_bp <= 10_000:
            raise ValueError(f"overload_share_bp is {overload_share_bp}; give 0 to 10,000 basis points")
        if workspace_geo not in ("global", "us"):
            raise ValueError(f"workspace_geo is {workspace_geo!r}; give 'global' or 'us'")
        if vertex_endpoint not in ("global", "regional"):
            raise ValueError(f"vertex_endpoint is {vertex_endpoint!r}; give 'global' or 'regional'")
        if batches not in ("at_once", "when_told"):
            raise ValueError(f"batches is {batches!r}; give 'at_once' or 'when_told'")
        if compress not in (None, "gzip"):
            raise ValueError(f"compress is {compress!r}; give 'gzip' or None")
        self.api_key = api_key
        self._port = port
        self._service = Service(
            Settings(
                api_key=api_key,
                seed=seed,
                latency_ms=latency_ms,
                count_drift=count_drift,
                tokens_per_delta=tokens_per_delta,
                rate_limits=rate_limits or RateLimits(),
                model_rate_limits=dict(model_rate_limits or {}),
                overload_share_bp=overload_share_bp,
                count_requests_per_minute=count_requests_per_minute,
                workspace_geo=workspace_geo,
                vertex_endpoint=vertex_endpoint,
                retired=frozenset(retired),
                batches=batches,
                compress=compress,
                now_ms=now_ms,
            )
        )
        self._server = ServerThread(self._service.handle, max_body_bytes=max_body_bytes)
        self._url: str | None = None
        self._clients: list[anthropic.Anthropic] = []

    def start(self) -> Self:
        """Listen; a running server goes on.

        Raises:
            OSError: The port cannot be bound.
        """
        if self._url is None:
            self._url = f"http://127.0.0.1:{self._server.listen(self._port)}"
        return self

    def stop(self) -> None:
        """Close every connection and end the thread; the bill and the requests stay readable.

        Answers still under way are billed for what was sent. The clients that `client` made are closed.
        """
        for client in self._clients:
            client.close()
        self._clients.clear()
        self._server.close()
        self._url = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL for clients, for example `http://127.0.0.1:40123`.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._url is None:
            raise RuntimeError("the fake API is not running; use `with FakeClaude() as api:` or call start()")
        return self._url

    def client(self, **options: Any) -> anthropic.Anthropic:
        """An unmodified blocking client of this server, closed by `stop`.

        Args:
            options: Arguments of `anthropic.Anthropic`, for example `max_retries=0` or `timeout=1`. Unless
                an `http_client` is given, proxies of the environment are not used.
        """
        import anthropic  # noqa: PLC0415 - the pytest plugin must load without the SDK

        if "http_client" not in options:
            options["http_client"] = anthropic.DefaultHttpxClient(**_transport())
        client = anthropic.Anthropic(**{"base_url": self.url, "api_key": self.api_key, **options})
        self._clients.append(client)
        return client

    def async_client(self, **options: Any) -> anthropic.AsyncAnthropic:
        """An unmodified async client of this server; its user closes it.

        Args:
            options: Arguments of `anthropic.AsyncAnthropic`; see `client`.
        """
        import anthropic  # noqa: PLC0415 - the pytest plugin must load without the SDK

        if "http_client" not in options:
            options["http_client"] = anthropic.DefaultAsyncHttpxClient(**_transport())
        return anthropic.AsyncAnthropic(**{"base_url": self.url, "api_key": self.api_key, **options})

    def replies(self, default: Reply | ReplyMaker | None = None, *, output_tokens: int | None = None) -> None:
        """Set the answer of every following call for which nothing is queued.

        Args:
            default: A reply, or a callable that makes one from the request's body.
            output_tokens: In place of *default*: a text of that many tokens.

        Raises:
            ValueError: Both or neither are given.
        """
        if (default is None) == (output_tokens is None):
            raise ValueError("give replies() either a reply or output_tokens")
        self._service.script.set_default(Reply(output_tokens=output_tokens) if default is None else default)

    def next(self, *replies: Reply) -> None:
        """Queue answers for the next calls of `/v1/messages` that are valid, in order of arrival."""
        self._service.script.push(replies)

    def inject(self, *faults: Fault) -> None:
        """Queue faults in the same queue as `next`."""
        self._service.script.push(faults)

    def count_fault(self, fault: Fault | None, *, times: int | None = None) -> None:
        """Let `/v1/messages/count_tokens` fail.

        Args:
            fault: A status error, `hang_before_head` or `cut_before_head`; `None`: count again.
            times: How many counts fail; `None`: every one.
        """
        self._service.script.set_count_fault(fault, times)

    def batch_outcomes(self, outcomes: Mapping[str, Outcome]) -> None:
        """Say how items of batches end, by their `custom_id`, in every batch from now on.

        Any other item succeeds with the reply that `replies` set; queued answers are for calls only. What
        the cancellation or the expiry of a batch finds undecided becomes `canceled` or `expired`; items named
        here end as is said here, like those that were under way already.

        Args:
            outcomes: `errored`, `canceled` or `expired`, a `Reply`, or a `status_error`: the error to show.

        Raises:
            ValueError: An outcome is something else.
        """
        self._service.batch_script.set_outcomes(outcomes)

    def batch_fault(self, fault: Fault, *, at: BatchDoor = "create", times: int = 1) -> None:
        """Let requests about batches fail.

        Args:
            fault: A status error, `hang_before_head` or `cut_before_head`: with `billed`, the batch is
                created although its creator never hears of it. At `results` also `cut_mid_stream` and
                `stall_mid_stream`, after so many lines.
            at: The request: `create`, `retrieve`, `list`, `cancel`, `delete` or `results`.
            times: How many of them fail.

        Raises:
            ValueError: There is no such request, or the fault has no meaning at it.
        """
        self._service.batch_script.add_fault(fault, at, times)

    def end_batches(self, *batch_ids: str) -> None:
        """End batches: every item is answered and billed, or ends as `batch_outcomes` says.

        Args:
            batch_ids: Which; default: all that are there.

        Raises:
            ValueError: There is no batch of that id.
        """
        self._service.batches.end(batch_ids)

    def forget_threads(self) -> None:
        """Lose every conversation that is held: the next turn of each is answered 404 `thread_not_found`."""
        self._service.threads.clear()

    def count_tokens(self, body: Mapping[str, Any]) -> int:
        """What the server would count for *body*.

        Raises:
            KeyError: The model is unknown.
        """
        model = self._service.catalogue.find(body["model"])
        if model is None:
            raise KeyError(body["model"])
        return count_tokens(body, model.tokenizer)

    @property
    def bill(self) -> list[BillLine]:
        """A copy of every charge so far, in the order of charging."""
        return self._service.bill.lines()

    @property
    def billed_nanos(self) -> int:
        """The sum of the bill in nano-dollars; each line was rounded up once."""
        return self._service.bill.nanos()

    @property
    def requests(self) -> list[ReceivedRequest]:
        """A copy of every request received so far, in the order of arrival."""
        return self._service.requests()

    @property
    def counts(self) -> list[ReceivedRequest]:
        """The requests to count tokens among `requests`, refused and failed ones too."""
        return [request for request in self.requests if request.path == COUNT_PATH]

    @property
    def traffic(self) -> Traffic:
        """Counts of every request so far and of its answer, at no cost that grows with them."""
        return self._service.tally.so_far()

    def wait_idle(self, timeout_s: float = 5.0) -> bool:
        """Wait until no request is being answered, as after a client went away in the middle of a stream.

        Returns:
            Whether that came true within *timeout_s* seconds.
        """
        return self._server.wait_idle(timeout_s)

    def reset(self) -> None:
        """Forget script, faults, bill, requests, batches, threads and used limits; the server goes on."""
        self._service.reset()

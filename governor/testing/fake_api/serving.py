"""How a request is served and charged, whichever endpoint it came by."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.testing.fake_api.answers import Answer, compose
from governor.testing.fake_api.bill import Account, Bill
from governor.testing.fake_api.rates import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from governor.testing.fake_api.catalogue import Catalogue
    from governor.testing.fake_api.script import Reply


@dataclass(frozen=True, slots=True)
class Order:
    """A request that is to be served.

    Attributes:
        body: What is served: a body of `/v1/messages`, checked, with the whole conversation of a thread.
        sent: The bytes that were sent; the drift follows from them.
        request_id: The `request-id` of its answer.
        at_ms: When it arrived, Unix milliseconds; it decides the prices.
        tag: What tells its bill line, if anything.
        batch_id: The batch it is in, if any.
        on_whole: Told when the answer is charged whole, before its client can know.
    """

    body: Mapping[str, Any]
    sent: bytes
    request_id: str
    at_ms: int
    tag: str | None = None
    batch_id: str | None = None
    on_whole: Callable[[Answer], None] | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """The models, where they serve, and whom they charge.

    Attributes:
        catalogue: Models and prices.
        bill: Where answers are charged.
        seed: Goes into the drift.
        count_drift: See `FakeClaude`; likewise `workspace_geo`.
    """

    catalogue: Catalogue
    bill: Bill
    seed: int
    count_drift: float
    workspace_geo: str

    def serve(self, order: Order, reply: Reply, input_tokens: int, context_tokens: int) -> Answer:
        """The answer that *reply* means for *order*.

        Args:
            order: The request.
            reply: What to answer.
            input_tokens: The counted input; the drift comes on top.
            context_tokens: The context window of the model asked for.

        Raises:
            ValueError: The reply does not fit the request; see `compose`.
        """
        return compose(
            reply,
            order.body,
            f"msg_{order.request_id[4:]}",
            input_tokens=input_tokens + self._drift(order.sent, input_tokens),
            context_tokens=context_tokens,
            inference_geo=self._geography(reply.model or order.body["model"], order.body, order.at_ms),
            service_tier="standard" if order.batch_id is None else "batch",
        )

    def account(self, order: Order, answer: Answer) -> Account:
        """Where *answer* is to be charged."""
        on_whole = order.on_whole
        return Account(
            bill=self.bill,
            catalogue=self.catalogue,
            request_id=order.request_id,
            model=answer.model,
            streamed=bool(order.body.get("stream")),
            at_ms=order.at_ms,
            tag=order.tag,
            endpoint=self.catalogue.endpoint(order.body["model"]),
            batch_id=order.batch_id,
            on_whole=None if on_whole is None else lambda: on_whole(answer),
        )

    def _geography(self, name: str, body: Mapping[str, Any], at_ms: int) -> str:
        """Where the model of that name serves a request.

        The workspace's default stands in for an `inference_geo` that the request does not give (documented).
        `not_available` where there is no choice: of models before 4.6 (documented), on a cloud (assumed).
        """
        model = self.catalogue.find(name)
        if model is None or self.catalogue.endpoint(name) is not None:
            return "not_available"
        if self.catalogue.endpoint(body["model"]) is not None or not model.prices(Mode(us=True), at_ms):
            return "not_available"
        return body.get("inference_geo") or self.workspace_geo

    def _drift(self, sent: bytes, counted: int) -> int:
        """Input tokens billed beyond the count: the same request always drifts by the same share."""
        ceiling = int(counted * self.count_drift)
        if not ceiling:
            return 0
        return zlib.crc32(sent, self.seed) % (ceiling + 1)

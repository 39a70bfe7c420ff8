"""The endpoints of Message Batches, and the work on their items."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from governor.testing.fake_api import validate
from governor.testing.fake_api.batch_rules import check_batch, check_item, page_of
from governor.testing.fake_api.call import Call, break_before_head, status_of
from governor.testing.fake_api.errors import ApiError
from governor.testing.fake_api.faults import Fault, FaultKind
from governor.testing.fake_api.script import Reply
from governor.testing.fake_api.serving import Order, Serving
from governor.testing.fake_api.tokens import count_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from governor.testing.fake_api.batch_script import BatchDoor, BatchScript
    from governor.testing.fake_api.batches import Batch, Batches, Item

_PATH = re.compile("/v1/messages/batches(?:/([^/]+)(?:/(cancel|results))?)?")
_SERVER_ERROR = ApiError(500, "Internal server error")


def tallied(path: str) -> str:
    """*path* without the id of a batch, so that counts of paths do not grow with the batches."""
    found = _PATH.fullmatch(path)
    return path if found is None or found[1] is None else path.replace(found[1], "ID")


class BatchWorker:
    """Answers items of batches.

    Args:
        serving: How they are served and charged.
        script: How they end where that was said.
        default: The reply to the params of any other.
    """

    def __init__(
        self, serving: Serving, script: BatchScript, default: Callable[[dict[str, Any]], Reply]
    ) -> None:
        self._serving = serving
        self._script = script
        self._default = default

    def work(self, batch: Batch, item: Item) -> dict[str, Any]:
        """The result of *item*, charged if it succeeded: nothing else is (documented)."""
        request_id = f"{batch.request_id}_{item.number}"
        try:
            return {"type": "succeeded", "message": self._answer(batch, item, request_id)}
        except ApiError as error:
            cause = {"type": error.type, "message": error.message}
            return {
                "type": "errored",
                "error": {"type": "error", "error": cause, "request_id": request_id},
            }

    def _answer(self, batch: Batch, item: Item, request_id: str) -> dict[str, Any]:
        outcome = self._script.outcome(item.custom_id)
        if outcome == "errored":
            raise _SERVER_ERROR
        if isinstance(outcome, Fault):
            raise status_of(outcome, {})
        params, catalogue = item.params, self._serving.catalogue
        model = check_item(params, catalogue, batch.created_ms)
        counted = count_tokens(params, model.tokenizer)
        validate.check_context(counted, model)
        reply = outcome if isinstance(outcome, Reply) else self._default(params)
        order = Order(
            body=params,
            sent=json.dumps(params).encode(),
            request_id=request_id,
            at_ms=batch.created_ms,
            tag=item.custom_id,
            batch_id=batch.id,
        )
        answer = self._serving.serve(order, reply, counted, model.context_tokens)
        account = self._serving.account(order, answer)
        account.charge(answer.usage, complete=True, stop_reason=answer.stop_reason)
        return answer.message()


class BatchEndpoints:
    """Answers the requests about batches, of the plain and the beta client alike: their paths are the same.

    Args:
        batches: The batches.
        script: What goes wrong with a request.
    """

    def __init__(self, batches: Batches, script: BatchScript) -> None:
        self._batches = batches
        self._script = script

    def find(self, method: str, path: str) -> Callable[[Call], Coroutine[Any, Any, None]] | None:
        """What answers *method* at *path*, if that is about batches."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        batch_id, verb = found.groups()
        if batch_id is None:
            return {"POST": self._create, "GET": self._list}.get(method)
        by_id = {
            ("GET", None): self._retrieve,
            ("DELETE", None): self._delete,
            ("POST", "cancel"): self._cancel,
            ("GET", "results"): self._results,
        }.get((method, verb))
        return None if by_id is None else partial(by_id, batch_id)

    async def _create(self, call: Call) -> None:
        requests = check_batch(call.json())
        fault = self._script.take_fault("create")
        if fault is None:
            self._show(call, self._batches.create(requests, call.request_id, call.at_ms))
            return
        if fault.billed:
            self._batches.create(requests, call.request_id, call.at_ms)
        await break_before_head(call, fault)

    async def _list(self, call: Call) -> None:
        if await self._broken("list", call):
            return
        query = call.request.query
        limit = page_of(query)
        found, more = self._batches.page(limit, query.get("after_id"), query.get("before_id"))
        data = [batch.view(call.at_ms, _base_url(call)) for batch in found]
        ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        _answer(call, {"data": data, "has_more": more, "first_id": ends[0], "last_id": ends[1]})

    async def _retrieve(self, batch_id: str, call: Call) -> None:
        if not await self._broken("retrieve", call):
            self._show(call, self._batches.get(batch_id))

    async def _cancel(self, batch_id: str, call: Call) -> None:
        if not await self._broken("cancel", call):
            self._show(call, self._batches.cancel(batch_id))

    async def _delete(self, batch_id: str, call: Call) -> None:
        if not await self._broken("delete", call):
            self._batches.delete(batch_id)
            _answer(call, {"id": batch_id, "type": "message_batch_deleted"})

    async def _results(self, batch_id: str, call: Call) -> None:
        """JSON lines; a fault of streams breaks them after as many lines as it has events."""
        fault = self._script.take_fault("results")
        if fault is not None and fault.kind not in (FaultKind.CUT_STREAM, FaultKind.STALL_STREAM):
            await break_before_head(call, fault)
            return
        lines = self._batches.results(batch_id)
        call.connection.head(200, {"content-type": "application/x-jsonl", "request-id": call.request_id})
        call.connection.pieces(lines if fault is None else lines[: fault.after_events])
        if fault is None:
            call.connection.end()
            return
        if fault.kind is FaultKind.STALL_STREAM:
            await call.connection.pause(None)
        call.connection.cut()

    def _show(self, call: Call, batch: Batch) -> None:
        _answer(call, batch.view(call.at_ms, _base_url(call)))

    async def _broken(self, door: BatchDoor, call: Call) -> bool:
        fault = self._script.take_fault(door)
        if fault is not None:
            await break_before_head(call, fault)
        return fault is not None


def _base_url(call: Call) -> str:
    return f"http://{call.request.headers.get('host', '127.0.0.1')}"


def _answer(call: Call, body: Mapping[str, Any]) -> None:
    headers = {"content-type": "application/json", "request-id": call.request_id}
    call.connection.respond(200, headers, json.dumps(body).encode())

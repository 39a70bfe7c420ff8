"""`governor batches`: settle what batches cost, though nobody read their results."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from governor.cli.context import JSON, LEDGER, POLICIES, PRICES
from governor.cli.output import Failure, console, print_json
from governor.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.clients.batch_items import Drained


def drain(
    policies: str = POLICIES,
    ledger: str = LEDGER,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Settle the items of every batch that has ended. Run it once a day; it asks the API, so it needs a key.

    What errored, expired or was cancelled is given back. It may be run twice, and by several at once.
    """
    from governor.clients.governor import Governor  # noqa: PLC0415 - it brings the SDK, which `--help` need not

    again = "what was read is settled; run it again for the rest"
    with (
        _told(),
        Governor.load(policies, ledger=ledger, prices=prices, reload=False) as gov,
        progress("items read", again) as tell,
    ):
        done = gov.batches.drain(lambda so_far: tell(so_far.items, None))
    if as_json:
        print_json(_as_json(done))
        return
    console().print("\n".join(_lines(done)), soft_wrap=True)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the SDK raises into one message.

    Raises:
        Failure: It has no key, or the API refused.
    """
    import anthropic  # noqa: PLC0415 - as above

    from governor.clients.streaming import explained  # noqa: PLC0415 - as above

    try:
        yield
    except anthropic.AnthropicError as error:
        raise Failure(f"the API does not tell of its batches: {error}; what was read is settled") from error
    except TypeError as error:
        told = explained(error)
        if told is error:
            raise
        raise Failure(str(told)) from error


def _lines(done: Drained) -> Iterator[str]:
    yield f"{done.batches} {_batches(done.batches)} read, {done.waiting} still at work: {done.cost} posted"
    counts = ("settled", "released", "known", "unknown", "open")
    told = [f"{getattr(done, name):,} {name}" for name in counts if getattr(done, name)]
    yield f"  items    {', '.join(told) or 'none'}"
    if done.gone:
        yield f"  gone     {', '.join(done.gone)}: no results; their holds are charged when they expire"


def _batches(count: int) -> str:
    return "batch" if count == 1 else "batches"


def _as_json(done: Drained) -> dict[str, object]:
    counts = ("batches", "waiting", "settled", "released", "known", "unknown", "open")
    return {
        **{name: getattr(done, name) for name in counts},
        "gone": list(done.gone),
        "cost_nanos": done.cost.nanos,
    }

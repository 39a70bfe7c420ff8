"""A stream with a live meter that ends when its run is frozen. No key, no server, no cost.

python examples/streaming.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import governor
from governor.testing import FakeClaude, Reply

POLICIES = Path(__file__).resolve().parent.parent / "policies"


def main() -> None:
    """Show the text as it comes, and what it has come to after every tenth piece."""
    with FakeClaude() as api, tempfile.TemporaryDirectory() as folder:
        api.replies(Reply("The diff is fine but for line 12. " * 20, event_delay_ms=2))
        gov = governor.Governor.load(POLICIES, ledger=f"sqlite:///{folder}/governor.db", client=api.client())
        with (
            gov,
            gov.stream(
                user="ada@example.com",
                department="engineering",
                run="pr-1423",
                max_tokens=1024,
                messages=[{"role": "user", "content": "Review this diff …"}],
                stop_when_spent=True,
            ) as stream,
        ):
            for number, text in enumerate(stream.text_stream):
                print(text, end="", flush=True)
                if number % 10 == 9:
                    print(f"  [{stream.meter.cost} of {stream.meter.ceiling}]", end="", flush=True)
        print(f"\n{stream.receipt.model} cost {stream.receipt.cost}; {stream.stopped or 'read to its end'}")


if __name__ == "__main__":
    main()

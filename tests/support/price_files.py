"""A small price table, how a test loads one, and instants to price at."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from governor.pricing import PriceTable

if TYPE_CHECKING:
    from pathlib import Path

TODAY = dt.date(2026, 11, 21)
SOURCE = "genai-prices 9.9.9"
TABLE = """\
version: 1
currency: USD per million tokens
fees:
  - {from: 2026-01-01, source: "a test", checked: 2026-01-02, web_search_per_thousand: "10"}
bedrock_prefixes: {}
models:
  # The cheap one.
  - id: claude-test-1
    line: haiku
    aliases: []
    bedrock: []
    vertex: []
    context: 300000
    max_output: 100
    tokenizer: 2026
    lifecycle: active
    retires: null
    retires_not_before: null
    prices:
      - from: 2026-01-01   # its first day
        source: 'a test'
        checked: 2026-01-02
        input: "1"
        output: "5"
        cache_write_5m: "1.25"
        cache_write_1h: "2"
        cache_read: "0.10"
        fast: {input: "2", output: "10"}
        batch_percent: 50
        us_percent: 110

  - id: claude-test-2   # nobody else lists it
    line: opus
    aliases: []
    bedrock: []
    vertex: []
    context: 1000
    max_output: 100
    tokenizer: 2026
    lifecycle: active
    retires: null
    retires_not_before: null
    prices:
      - {from: 2026-01-01, source: "a test", checked: 2026-01-02, input: "1", output: "5",
         cache_write_5m: "1.25", cache_write_1h: "2", cache_read: "0.10"}
# the end
"""


def load(tmp_path: Path, text: str = TABLE) -> PriceTable:
    """The price file of this text, read."""
    path = tmp_path / "prices.yaml"
    path.write_text(text, encoding="utf-8")
    return PriceTable.load(path)


def ms(day: str, time: str = "00:00:00.000") -> int:
    """An instant in UTC, Unix milliseconds."""
    moment = dt.datetime.fromisoformat(f"{day}T{time}+00:00")
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)

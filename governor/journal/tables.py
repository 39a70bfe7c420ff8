"""The tables of an archive in a database (SQLAlchemy Core); `governor/journal/migrations` makes them.

`governor_journal` has the records, each with the hash that chains it to the one before. All others but those
of alerts are made from it and can be made anew.
"""

from __future__ import annotations

import sqlalchemy as sa

META = sa.MetaData()


def _text(name: str, length: int = 256, **more: object) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False, server_default="", **more)  # type: ignore[arg-type]


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _maybe(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())


journal = sa.Table(
    "governor_journal",
    META,
    sa.Column("organization", sa.String(64), primary_key=True),
    sa.Column("epoch", sa.String(64), primary_key=True),
    # A place in two numbers, so that it sorts: of `1795262430000-7` the parts, of `42` that and 0.
    sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("place_minor", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.String(64), nullable=False),
    sa.Column("after", sa.String(64)),  # the seq of the record before it, so that a missing row is seen
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("id", sa.String(128), nullable=False, index=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
    # What was found in the content, cut out of the record: it is kept for less long. The chain has its hash.
    sa.Column("findings", sa.Text),
    sa.Column("findings_hash", sa.String(64)),
    sa.Column("hash", sa.String(64), nullable=False, server_default=""),
)

calls = sa.Table(
    "governor_calls",
    META,
    sa.Column("organization", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("turn", sa.Integer, primary_key=True, autoincrement=False),
    _text("call_id", 128),
    sa.Column("leg", sa.Integer, nullable=False, server_default="1"),
    sa.Column("final", sa.Boolean, nullable=False, server_default=sa.true()),
    _number("began_ms"),
    _maybe("ended_ms"),
    _text("state", 16),
    _text("reason", 32),
    _number("refusals"),
    _text("user"),
    _text("department"),
    _text("feature"),
    _text("run"),
    _text("priority"),
    sa.Column("tags", sa.Text, nullable=False, server_default="{}"),  # a JSON object
    _text("door", 16),
    _text("asked"),
    _text("model"),
    _text("line", 64),
    _text("tier", 64),
    _text("preferred"),
    _text("decision", 16),
    sa.Column("complexity", sa.Float),
    _number("load_bp"),
    _maybe("limit_bp"),
    _number("max_tokens"),
    _number("input_tokens"),
    _number("output_tokens"),
    _number("cache_write_tokens"),
    _number("cache_read_tokens"),
    _number("estimated_tokens"),
    _number("window_tokens"),
    _number("cost_nanos"),
    _number("ceiling_nanos"),
    _maybe("expected_nanos"),
    _maybe("latency_ms"),
    _maybe("first_token_ms"),
    _text("stop_reason", 64),
    _number("status"),
    _text("error", 128),
    _number("attempts"),
    _number("pushed_429"),
    _number("pushed_529"),
    _flag("uncertain"),
    _flag("overrun"),
    _flag("late"),
    _flag("unknown"),
    _text("admitted", 16),
    _text("endpoint", 64),
    _text("policy", 64),
    _text("prices", 64),
    _text("api_request_id", 128),
    _text("classification", 64),
    _text("region", 64),
    sa.Column("pii", sa.Text, nullable=False, server_default=""),
    _text("content_hash", 64),
    sa.Index("governor_calls_began", "organization", "began_ms"),
)

results = sa.Table(
    "governor_results",
    META,
    sa.Column("organization", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    _text("name", 128),
    sa.Column("value", sa.String(64)),  # a decimal number, exact
    _text("unit", 32),
    _text("run"),
    _text("call_id", 128),
    _text("department"),
    _text("user"),
    _text("feature"),
    sa.Index("governor_results_at", "organization", "at_ms"),
)

heads = sa.Table(
    "governor_heads",
    META,
    sa.Column("organization", sa.String(64), primary_key=True),
    sa.Column("epoch", sa.String(64), primary_key=True),
    sa.Column("first_seq", sa.String(64), nullable=False),  # the oldest record that is kept
    sa.Column(
        "before_hash", sa.String(64), nullable=False
    ),  # of the record before it: pruned, or '' if none was
    sa.Column("seq", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("records", sa.BigInteger, nullable=False),  # kept
)

workers = sa.Table(
    "governor_workers",
    META,
    sa.Column("organization", sa.String(64), primary_key=True),
    sa.Column("task", sa.String(32), primary_key=True),  # `archive` or `alerts`
    sa.Column("worker", sa.String(64), nullable=False),
    sa.Column("until_ms", sa.BigInteger, nullable=False),  # by the database's clock
    sa.Column("state", sa.Text, nullable=False, server_default=""),  # where it is, for the next one
)

alerts = sa.Table(
    "governor_alerts",
    META,
    sa.Column("organization", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(256), primary_key=True),  # one incident has one, however often it is evaluated
    sa.Column("rule", sa.String(128), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("cause", sa.String(256), nullable=False),
    sa.Column("began_ms", sa.BigInteger, nullable=False),
    sa.Column("seen_ms", sa.BigInteger, nullable=False),
    sa.Column("ended_ms", sa.BigInteger),
    sa.Column("told", sa.Text, nullable=False),  # the alert as it is told, a JSON object
    sa.Index("governor_alerts_began", "organization", "began_ms"),
)

deliveries = sa.Table(
    "governor_deliveries",
    META,
    sa.Column("organization", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(256), primary_key=True),
    sa.Column("event", sa.String(16), primary_key=True),  # `raised` or `ended`
    sa.Column("channel", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),  # `waiting`, `sent` or `dead`
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_ms", sa.BigInteger, nullable=False),
    sa.Column("error", sa.Text, nullable=False, server_default=""),
    sa.Column("body", sa.Text, nullable=False),
)

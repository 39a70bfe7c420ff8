"""Schema 0002: the chain of hashes, what the records tell, and the books of workers, alerts and channels."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _text(name: str, length: int = 256) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False, server_default="")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _maybe(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())


def upgrade() -> None:
    """Add the chain's columns, empty, and make the other tables. `governor.journal.schema` fills them."""
    op.add_column("governor_journal", sa.Column("findings", sa.Text))
    op.add_column("governor_journal", sa.Column("findings_hash", sa.String(64)))
    op.add_column("governor_journal", sa.Column("hash", sa.String(64), nullable=False, server_default=""))
    op.create_table(
        "governor_calls",
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
    )
    op.create_table(
        "governor_results",
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
    )
    op.create_table(
        "governor_heads",
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
    op.create_table(
        "governor_workers",
        sa.Column("organization", sa.String(64), primary_key=True),
        sa.Column("task", sa.String(32), primary_key=True),  # `archive` or `alerts`
        sa.Column("worker", sa.String(64), nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),  # by the database's clock
        sa.Column("state", sa.Text, nullable=False, server_default=""),  # where it is, for the next one
    )
    op.create_table(
        "governor_alerts",
        sa.Column("organization", sa.String(64), primary_key=True),
        sa.Column(
            "key", sa.String(256), primary_key=True
        ),  # one incident has one, however often it is evaluated
        sa.Column("rule", sa.String(128), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("cause", sa.String(256), nullable=False),
        sa.Column("began_ms", sa.BigInteger, nullable=False),
        sa.Column("seen_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("told", sa.Text, nullable=False),  # the alert as it is told, a JSON object
    )
    op.create_table(
        "governor_deliveries",
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
    op.create_index("governor_calls_began", "governor_calls", ["organization", "began_ms"])
    op.create_index("governor_results_at", "governor_results", ["organization", "at_ms"])
    op.create_index("governor_alerts_began", "governor_alerts", ["organization", "began_ms"])

"""Schema 0001: the records alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table of the records."""
    op.create_table(
        "governor_journal",
        sa.Column("organization", sa.String(64), primary_key=True),
        sa.Column("epoch", sa.String(64), primary_key=True),
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("place_minor", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.String(64), nullable=False),
        sa.Column("after", sa.String(64)),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
    )
    op.create_index("ix_governor_journal_id", "governor_journal", ["id"])

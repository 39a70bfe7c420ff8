"""The steps from each schema of an archive to the next, for Alembic; see `governor.journal.schema`."""

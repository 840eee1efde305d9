"""Run by Alembic; `dicomrelay.ledger.migrate` holds the connection, the transaction and the lock."""

from __future__ import annotations

from alembic import context

from dicomrelay.ledger.schema import METADATA

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    version_table=context.config.attributes["version_table"],
    render_as_batch=True,
)
context.run_migrations()

"""What waits for somebody: the advice of a transfer, and an index of the deliveries that failed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BLOCKED = sa.text("advice <> '' AND due_at IS NOT NULL")
_FAILED = sa.text("state = 'failed'")


def upgrade() -> None:
    op.add_column("transfers", sa.Column("advice", sa.Text(), nullable=False, server_default=""))
    op.create_index(
        "ix_transfers_blocked",
        "transfers",
        ["id"],
        unique=False,
        sqlite_where=_BLOCKED,
        postgresql_where=_BLOCKED,
    )
    op.create_index(
        "ix_deliveries_failed",
        "deliveries",
        ["instance_id"],
        unique=False,
        sqlite_where=_FAILED,
        postgresql_where=_FAILED,
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_failed", table_name="deliveries")
    op.drop_index("ix_transfers_blocked", table_name="transfers")
    op.drop_column("transfers", "advice")

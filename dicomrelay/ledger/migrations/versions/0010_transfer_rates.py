"""What moved in each minute, for charts."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "transfer_rates",
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("instances", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("direction", "name", "minute", name="pk_transfer_rates"),
    )
    op.create_index("ix_transfer_rates_minute", "transfer_rates", ["minute"])


def downgrade() -> None:
    op.drop_index("ix_transfer_rates_minute", table_name="transfer_rates")
    op.drop_table("transfer_rates")

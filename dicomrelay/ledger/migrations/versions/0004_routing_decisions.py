"""The rules that were in force, and what they decided."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_UNDECIDED = sa.text("undecided")
_OF_MANY = sa.text("level <> 'instance'")
_ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "rule_versions",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_rule_versions"),
    )
    op.create_table(
        "rule_activations",
        sa.Column("id", _ROW_NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("decisions", sa.Integer(), nullable=False),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rule_activations"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", _ROW_NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_subject", "decisions", ["subject"], unique=False)
    op.create_index(
        "ix_decisions_later",
        "decisions",
        ["study_instance_uid"],
        unique=False,
        sqlite_where=_OF_MANY,
        postgresql_where=_OF_MANY,
    )
    op.create_index("ix_decisions_at", "decisions", ["at"], unique=False)
    op.add_column("deliveries", sa.Column("edits", sa.Text(), nullable=False, server_default=""))
    op.add_column("deliveries", sa.Column("not_before", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column(
        "studies", sa.Column("undecided", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_index(
        "ix_studies_undecided",
        "studies",
        ["study_instance_uid"],
        unique=False,
        sqlite_where=_UNDECIDED,
        postgresql_where=_UNDECIDED,
    )


def downgrade() -> None:
    op.drop_index("ix_studies_undecided", table_name="studies")
    op.drop_column("studies", "undecided")
    op.drop_column("deliveries", "not_before")
    op.drop_column("deliveries", "edits")
    for table in ("decisions", "rule_activations", "rule_versions"):
        op.drop_table(table)

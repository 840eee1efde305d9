"""What is fetched from other nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_DUE = sa.text("due_at IS NOT NULL")
_RUNNING = sa.text("state = 'running'")
_OPEN = sa.text("finished_at IS NULL")
_ONLY_ONCE = sa.text("only_once <> ''")
# name, table, columns, unique, condition
_INDEXES = (
    ("ix_pulls_open", "pulls", ["id"], False, _OPEN),
    ("ix_pulls_finished_at", "pulls", ["finished_at"], False, None),
    ("uq_pulls_only_once", "pulls", ["only_once"], True, _ONLY_ONCE),
    ("ix_pull_steps_due", "pull_steps", ["source", "rank", "due_at", "id"], False, _DUE),
    ("ix_pull_steps_open", "pull_steps", ["pull_id"], False, _DUE),
    ("ix_pull_steps_running", "pull_steps", ["source"], False, _RUNNING),
)


def upgrade() -> None:
    _create_pulls()
    _create_pull_steps()
    op.create_table(
        "pull_missing",
        sa.Column("step_id", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("step_id", "sop_instance_uid", name="pk_pull_missing"),
        sa.ForeignKeyConstraint(["step_id"], ["pull_steps.id"], name="fk_pull_missing_step_id"),
    )
    op.create_table(
        "pull_polls",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("known_until", sa.BigInteger()),
        sa.Column("pull_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_pull_polls"),
    )
    for name, table, columns, unique, where in _INDEXES:
        op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _create_pulls() -> None:
    op.create_table(
        "pulls",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("asked_for", sa.Text(), nullable=False),
        sa.Column("of_study", sa.Text(), nullable=False),
        sa.Column("only_once", sa.Text(), nullable=False),
        sa.Column("truncated", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.BigInteger()),
        sa.Column("finished_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_pulls"),
        sa.ForeignKeyConstraint(["source"], ["destinations.name"], name="fk_pulls_source"),
    )


def _create_pull_steps() -> None:
    op.create_table(
        "pull_steps",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("pull_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("announced", sa.Integer()),
        sa.Column("here", sa.Integer(), nullable=False),
        sa.Column("here_before", sa.Integer(), nullable=False),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("finished_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_pull_steps"),
        sa.ForeignKeyConstraint(["pull_id"], ["pulls.id"], name="fk_pull_steps_pull_id"),
        sa.ForeignKeyConstraint(["source"], ["destinations.name"], name="fk_pull_steps_source"),
        sa.UniqueConstraint("pull_id", "number", name="uq_pull_steps_pull_id"),
    )


def downgrade() -> None:
    for table in ("pull_polls", "pull_missing", "pull_steps", "pulls"):
        op.drop_table(table)

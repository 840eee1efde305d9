"""What delivery under control wants: breakers, holds, evidence, verification, and when a study is complete."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_DUE = sa.text("due_at IS NOT NULL")
_WITH_TRANSACTION = sa.text("transaction_uid <> ''")
_NEEDS_ATTENTION = sa.text("state = 'needs_attention'")
_RELEASABLE = sa.text(
    "state = 'kept' AND released_at IS NULL AND open_deliveries = 0 "
    "AND (archive_path <> '' OR (all_deliveries > 0 AND NOT archive_wanted))"
)
_WITH_WARNING = sa.text("state = 'warning'")
_WITH_EVIDENCE = sa.text("evidence_count > evidence_pruned")
_OF_TRANSFERS = (
    ("ix_transfers_over", "finished_at", sa.text("state IN ('done', 'cancelled')")),
    ("ix_transfers_held", "id", sa.text("state = 'held'")),
    ("ix_transfers_cancelled", "id", sa.text("state = 'cancelled'")),
    ("ix_transfers_job", "job_id", sa.text("job_id <> ''")),
)


def _added() -> dict[str, list[sa.Column[Any]]]:
    return {
        "studies": [
            sa.Column("quiet_ms", sa.BigInteger()),
            sa.Column("expected_instances", sa.Integer()),
            sa.Column("association_ended_at", sa.BigInteger()),
            sa.Column("evidence_count", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("evidence_hash", sa.Text(), nullable=False, server_default=""),
            sa.Column("evidence_pruned", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("evidence_pruned_hash", sa.Text(), nullable=False, server_default=""),
            sa.Column("senders", sa.Text(), nullable=False, server_default=""),
            sa.Column("count_at", sa.Text(), nullable=False, server_default=""),
            sa.Column("ask_at", sa.BigInteger()),
        ],
        "destinations": [
            sa.Column("verification", sa.Text(), nullable=False, server_default="none"),
            sa.Column("breaker", sa.Text(), nullable=False, server_default="closed"),
            sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("opened_at", sa.BigInteger()),
            sa.Column("probe_at", sa.BigInteger()),
            sa.Column("probes", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("allowed", sa.Integer()),
            sa.Column("allowed_at", sa.BigInteger()),
            sa.Column("paced_until", sa.BigInteger()),
            sa.Column("held_at", sa.BigInteger()),
            sa.Column("last_error", sa.Text(), nullable=False, server_default=""),
            sa.Column("last_delivered_at", sa.BigInteger()),
        ],
        "deliveries": [
            sa.Column("sent_digest", sa.Text(), nullable=False, server_default=""),
            sa.Column("sent_transfer_syntax_uid", sa.Text(), nullable=False, server_default=""),
            sa.Column("verification", sa.Text(), nullable=False, server_default=""),
            sa.Column("verified_at", sa.BigInteger()),
        ],
        "jobs": [
            sa.Column("detail", sa.Text(), nullable=False, server_default=""),
        ],
    }


def upgrade() -> None:
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    op.create_index("ix_events_at", "events", ["at"], unique=False)
    op.create_index("ix_jobs_created_at", "jobs", ["created_at"], unique=False)
    op.create_index("ix_series_series_instance_uid", "series", ["series_instance_uid"], unique=False)
    op.create_index(
        "ix_studies_with_evidence",
        "studies",
        ["last_received_at"],
        unique=False,
        sqlite_where=_WITH_EVIDENCE,
        postgresql_where=_WITH_EVIDENCE,
    )
    op.create_index(
        "ix_deliveries_warning",
        "deliveries",
        ["study_instance_uid"],
        unique=False,
        sqlite_where=_WITH_WARNING,
        postgresql_where=_WITH_WARNING,
    )
    for name, indexed, only in _OF_TRANSFERS:
        op.create_index(
            name, "transfers", [indexed], unique=False, sqlite_where=only, postgresql_where=only
        )
    _index_releasable_by("registered_at")
    op.create_table(
        "ended_associations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ended_associations"),
    )
    op.create_table(
        "standing_orders",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "destination", name="pk_standing_orders"),
    )
    op.create_table(
        "evidence",
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", "number", name="pk_evidence"),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"], ["studies.study_instance_uid"], name="fk_evidence_study_instance_uid"
        ),
    )
    op.create_table(
        "verifications",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("transfer_id", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("doubts", sa.Integer(), nullable=False),
        sa.Column("resends", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.BigInteger()),
        sa.Column("finished_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_verifications"),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name="fk_verifications_transfer_id"),
        sa.ForeignKeyConstraint(["destination"], ["destinations.name"], name="fk_verifications_destination"),
    )
    for name, indexed, where, unique in (
        ("ix_verifications_due", "due_at", _DUE, False),
        ("ix_verifications_transfer", "transfer_id", None, False),
        ("uq_verifications_transaction_uid", "transaction_uid", _WITH_TRANSACTION, True),
        ("ix_verifications_needs_attention", "id", _NEEDS_ATTENTION, False),
    ):
        op.create_index(
            name, "verifications", [indexed], unique=unique, sqlite_where=where, postgresql_where=where
        )


def _index_releasable_by(column: str) -> None:
    op.drop_index("ix_instances_releasable", table_name="instances")
    op.create_index(
        "ix_instances_releasable",
        "instances",
        ["host", column],
        unique=False,
        sqlite_where=_RELEASABLE,
        postgresql_where=_RELEASABLE,
    )


def downgrade() -> None:
    op.drop_table("verifications")
    op.drop_table("evidence")
    op.drop_table("standing_orders")
    op.drop_table("ended_associations")
    _index_releasable_by("id")
    for name, _indexed, _where in _OF_TRANSFERS:
        op.drop_index(name, table_name="transfers")
    op.drop_index("ix_deliveries_warning", table_name="deliveries")
    op.drop_index("ix_studies_with_evidence", table_name="studies")
    op.drop_index("ix_series_series_instance_uid", table_name="series")
    op.drop_index("ix_jobs_created_at", table_name="jobs")
    op.drop_index("ix_events_at", table_name="events")
    for table, columns in _added().items():
        for each in reversed(columns):
            op.drop_column(table, each.name)

"""The ledger's first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "destinations",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ae_title", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("associations", sa.Integer(), nullable=False),
        sa.Column("calling_ae_title", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_destinations")),
    )
    op.create_table(
        "events",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("transfer_id", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_study", "events", ["study_instance_uid"], unique=False)
    op.create_index("ix_events_transfer", "events", ["transfer_id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("expected", sa.Integer(), nullable=False),
        sa.Column("registered", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_table(
        "studies",
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("first_received_at", sa.BigInteger(), nullable=False),
        sa.Column("last_received_at", sa.BigInteger(), nullable=False),
        sa.Column("ungrouped_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("study_instance_uid", name=op.f("pk_studies")),
    )
    op.create_index("ix_studies_last_received_at", "studies", ["last_received_at"], unique=False)
    op.create_index("ix_studies_ungrouped_at", "studies", ["ungrouped_at"], unique=False)
    op.create_table(
        "series",
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"], ["studies.study_instance_uid"], name=op.f("fk_series_study_instance_uid")
        ),
        sa.PrimaryKeyConstraint("study_instance_uid", "series_instance_uid", name=op.f("pk_series")),
    )
    op.create_table(
        "transfers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["destination"], ["destinations.name"], name=op.f("fk_transfers_destination")
        ),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"],
            ["studies.study_instance_uid"],
            name=op.f("fk_transfers_study_instance_uid"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfers")),
    )
    op.create_index(
        "ix_transfers_due",
        "transfers",
        ["destination", "priority", "due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_transfers_needs_attention",
        "transfers",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'needs_attention'"),
        postgresql_where=sa.text("state = 'needs_attention'"),
    )
    op.create_index(
        "ix_transfers_running",
        "transfers",
        ["destination", "due_at"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index("ix_transfers_study", "transfers", ["study_instance_uid"], unique=False)
    op.create_table(
        "instances",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("spool_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("transfer_syntax_uid", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.Column("data_set_offset", sa.BigInteger(), nullable=False),
        sa.Column("data_set_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("calling_ae_title", sa.Text(), nullable=False),
        sa.Column("called_ae_title", sa.Text(), nullable=False),
        sa.Column("peer_address", sa.Text(), nullable=False),
        sa.Column("association_id", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("source_path", sa.LargeBinary(), nullable=False),
        sa.Column("archive_wanted", sa.Boolean(), nullable=False),
        sa.Column("archive_path", sa.Text(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=True),
        sa.Column("all_deliveries", sa.Integer(), nullable=False),
        sa.Column("open_deliveries", sa.Integer(), nullable=False),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_instance_uid", "series_instance_uid"],
            ["series.study_instance_uid", "series.series_instance_uid"],
            name=op.f("fk_instances_study_instance_uid"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
        sa.UniqueConstraint("spool_id", name=op.f("uq_instances_spool_id")),
    )
    op.create_index(
        "ix_instances_releasable",
        "instances",
        ["host", "id"],
        unique=False,
        sqlite_where=sa.text(
            "state = 'kept' AND released_at IS NULL AND open_deliveries = 0 AND (archive_path <> '' OR (all_deliveries > 0 AND NOT archive_wanted))"
        ),
        postgresql_where=sa.text(
            "state = 'kept' AND released_at IS NULL AND open_deliveries = 0 AND (archive_path <> '' OR (all_deliveries > 0 AND NOT archive_wanted))"
        ),
    )
    op.create_index(
        "ix_instances_set_aside",
        "instances",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'set_aside'"),
        postgresql_where=sa.text("state = 'set_aside'"),
    )
    op.create_index("ix_instances_sop_instance_uid", "instances", ["sop_instance_uid"], unique=False)
    op.create_index(
        "ix_instances_study", "instances", ["study_instance_uid", "series_instance_uid"], unique=False
    )
    op.create_index(
        "ix_instances_unrouted",
        "instances",
        ["id"],
        unique=False,
        sqlite_where=sa.text(
            "state = 'kept' AND released_at IS NULL AND all_deliveries = 0 AND archive_path = '' AND NOT archive_wanted"
        ),
        postgresql_where=sa.text(
            "state = 'kept' AND released_at IS NULL AND all_deliveries = 0 AND archive_path = '' AND NOT archive_wanted"
        ),
    )
    op.create_index(
        "uq_instances_kept",
        "instances",
        ["sop_instance_uid"],
        unique=True,
        sqlite_where=sa.text("state = 'kept'"),
        postgresql_where=sa.text("state = 'kept'"),
    )
    op.create_table(
        "deliveries",
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("transfer_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("association_id", sa.Text(), nullable=False),
        sa.Column("sent_bytes", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["destination"], ["destinations.name"], name=op.f("fk_deliveries_destination")
        ),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_deliveries_instance_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name=op.f("fk_deliveries_transfer_id")),
        sa.PrimaryKeyConstraint("instance_id", "destination", "job_id", name=op.f("pk_deliveries")),
    )
    op.create_index(
        "ix_deliveries_job",
        "deliveries",
        ["job_id"],
        unique=False,
        sqlite_where=sa.text("job_id <> ''"),
        postgresql_where=sa.text("job_id <> ''"),
    )
    op.create_index(
        "ix_deliveries_refused",
        "deliveries",
        ["instance_id"],
        unique=False,
        sqlite_where=sa.text("state = 'refused'"),
        postgresql_where=sa.text("state = 'refused'"),
    )
    op.create_index("ix_deliveries_study", "deliveries", ["study_instance_uid"], unique=False)
    op.create_index("ix_deliveries_transfer", "deliveries", ["transfer_id"], unique=False)
    op.create_index(
        "ix_deliveries_ungrouped",
        "deliveries",
        ["study_instance_uid"],
        unique=False,
        sqlite_where=sa.text("transfer_id IS NULL"),
        postgresql_where=sa.text("transfer_id IS NULL"),
    )
    op.create_table(
        "job_items",
        sa.Column("spool_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_job_items_instance_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_items_job_id")),
        sa.PrimaryKeyConstraint("spool_id", name=op.f("pk_job_items")),
    )
    op.create_index("ix_job_items_job", "job_items", ["job_id"], unique=False)
    op.create_table(
        "stages",
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("claim", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_stages_instance_id")),
        sa.PrimaryKeyConstraint("instance_id", "stage", name=op.f("pk_stages")),
    )
    op.create_index(
        "ix_stages_due",
        "stages",
        ["stage", "host", "due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_stages_needs_attention",
        "stages",
        ["instance_id"],
        unique=False,
        sqlite_where=sa.text("state = 'needs_attention'"),
        postgresql_where=sa.text("state = 'needs_attention'"),
    )

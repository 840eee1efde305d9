"""Patients, studies, series, instances."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "archive_patients",
        sa.Column("id", KEY, primary_key=True, autoincrement=True),
        sa.Column("patient_key", TEXT, nullable=False, unique=True),
        sa.Column("patient_id", TEXT),
        sa.Column("issuer_of_patient_id", TEXT),
        sa.Column("patient_name", TEXT),
    )
    op.create_table(
        "archive_studies",
        sa.Column("id", KEY, primary_key=True, autoincrement=True),
        sa.Column("patient", KEY, sa.ForeignKey("archive_patients.id"), nullable=False),
        sa.Column("study_instance_uid", TEXT, nullable=False, unique=True),
        sa.Column("patient_name", TEXT),
        sa.Column("patient_name_key", TEXT),
        sa.Column("patient_id", TEXT),
        sa.Column("issuer_of_patient_id", TEXT),
        sa.Column("patient_birth_date", TEXT),
        sa.Column("patient_sex", TEXT),
        sa.Column("study_date", TEXT),
        sa.Column("study_time", TEXT),
        sa.Column("accession_number", TEXT),
        sa.Column("referring_physician_name", TEXT),
        sa.Column("referring_physician_name_key", TEXT),
        sa.Column("study_description", TEXT),
        sa.Column("study_id", TEXT),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_archive_studies_accession_number", "archive_studies", ["accession_number"])
    op.create_index("ix_archive_studies_created_ms", "archive_studies", ["created_ms"])
    op.create_index("ix_archive_studies_patient", "archive_studies", ["patient"])
    op.create_index("ix_archive_studies_patient_id", "archive_studies", ["patient_id"])
    op.create_index("ix_archive_studies_patient_name_key", "archive_studies", ["patient_name_key"])
    op.create_index("ix_archive_studies_study_date", "archive_studies", ["study_date"])
    op.create_table(
        "archive_series",
        sa.Column("id", KEY, primary_key=True, autoincrement=True),
        sa.Column("study", KEY, sa.ForeignKey("archive_studies.id"), nullable=False),
        sa.Column("series_instance_uid", TEXT, nullable=False),
        sa.Column("modality", TEXT),
        sa.Column("series_date", TEXT),
        sa.Column("series_time", TEXT),
        sa.Column("manufacturer", TEXT),
        sa.Column("station_name", TEXT),
        sa.Column("series_description", TEXT),
        sa.Column("body_part_examined", TEXT),
        sa.Column("series_number", sa.Integer()),
        sa.Column("laterality", TEXT),
        sa.Column("performed_procedure_step_start_date", TEXT),
        sa.Column("performed_procedure_step_start_time", TEXT),
        sa.UniqueConstraint("study", "series_instance_uid", name="uq_archive_series_study"),
    )
    op.create_index("ix_archive_series_modality", "archive_series", ["modality"])
    op.create_index("ix_archive_series_series_instance_uid", "archive_series", ["series_instance_uid"])
    op.create_table(
        "archive_instances",
        sa.Column("id", KEY, primary_key=True, autoincrement=True),
        sa.Column("series", KEY, sa.ForeignKey("archive_series.id"), nullable=False),
        sa.Column("sop_instance_uid", TEXT, nullable=False, unique=True),
        sa.Column("sop_class_uid", TEXT),
        sa.Column("content_date", TEXT),
        sa.Column("content_time", TEXT),
        sa.Column("transfer_syntax_uid", TEXT),
        sa.Column("instance_number", sa.Integer()),
        sa.Column("number_of_frames", sa.Integer()),
        sa.Column("rows", sa.Integer()),
        sa.Column("columns", sa.Integer()),
        sa.Column("bits_allocated", sa.Integer()),
        sa.Column("relative_path", TEXT, nullable=False, unique=True),
        sa.Column("file_bytes", sa.BigInteger(), nullable=False),
        sa.Column("data_set_offset", sa.BigInteger(), nullable=False),
        sa.Column("data_set_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("stored_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_archive_instances_series", "archive_instances", ["series"])
    op.create_index("ix_archive_instances_sop_class_uid", "archive_instances", ["sop_class_uid"])

"""Scheduled procedure steps, and what performed ones say of them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_INDEXES = {
    "worklist_items": {
        "ix_worklist_items_start": ["start_date", "start_time", "id"],
        "ix_worklist_items_patient_id": ["patient_id"],
        "ix_worklist_items_accession_number": ["accession_number"],
        "ix_worklist_items_ended_at": ["ended_at"],
    },
    "worklist_performed": {
        "ix_worklist_performed_study_instance_uid": ["study_instance_uid"],
        "ix_worklist_performed_accession_number": ["accession_number"],
    },
}


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "worklist_items",
        _text("id"),
        _text("study_instance_uid"),
        _text("requested_procedure_id"),
        _text("step_id"),
        _text("status"),
        _text("patient_id"),
        _text("accession_number"),
        _text("placer_order_number"),
        _text("filler_order_number"),
        _text("stations"),
        _text("modality"),
        _text("start_date"),
        _text("start_time"),
        _text("data_set"),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_worklist_items"),
        sa.UniqueConstraint(
            "study_instance_uid",
            "requested_procedure_id",
            "step_id",
            name="uq_worklist_items_study_instance_uid",
        ),
    )
    op.create_table(
        "worklist_performed",
        _text("sop_instance_uid"),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        _text("study_instance_uid"),
        _text("accession_number"),
        _text("requested_procedure_id"),
        _text("step_id"),
        _text("state"),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sop_instance_uid", "number", name="pk_worklist_performed"),
    )
    for table, indexes in _INDEXES.items():
        for name, columns in indexes.items():
            op.create_index(name, table, columns)


def downgrade() -> None:
    for table in reversed(_INDEXES):
        for name in _INDEXES[table]:
            op.drop_index(name, table_name=table)
        op.drop_table(table)

"""Modality performed procedure steps."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_DUE = sa.text("due_at IS NOT NULL")
_NEEDS_ATTENTION = sa.text("state = 'needs_attention'")
_INDEXES = (
    ("ix_performed_steps_changed_at", "performed_steps", ["changed_at"], None),
    ("ix_performed_step_studies_study", "performed_step_studies", ["study_instance_uid"], None),
    ("ix_performed_forwards_due", "performed_forwards", ["destination", "due_at"], _DUE),
    ("ix_performed_forwards_needs_attention", "performed_forwards", ["destination"], _NEEDS_ATTENTION),
)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str, *, key: bool = False) -> sa.Column[Any]:
    if key:
        return sa.Column(name, sa.Integer(), nullable=False, autoincrement=False)
    return sa.Column(name, sa.Integer(), nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _of_a_step(table: str, *columns: sa.Column[Any], key: tuple[str, ...]) -> None:
    op.create_table(
        table,
        _text("sop_instance_uid"),
        *columns,
        sa.PrimaryKeyConstraint("sop_instance_uid", *key, name=f"pk_{table}"),
        sa.ForeignKeyConstraint(
            ["sop_instance_uid"],
            ["performed_steps.sop_instance_uid"],
            name=f"fk_{table}_sop_instance_uid",
            ondelete="CASCADE",
        ),
    )


def upgrade() -> None:
    op.create_table(
        "performed_steps",
        *(
            _text(name)
            for name in (
                "sop_instance_uid",
                "state",
                "calling_ae_title",
                "modality",
                "station_ae_title",
                "step_id",
                "started",
                "ended",
            )
        ),
        _number("series"),
        _number("instances"),
        _text("attributes"),
        _number("messages"),
        _time("created_at"),
        _time("changed_at"),
        sa.PrimaryKeyConstraint("sop_instance_uid", name="pk_performed_steps"),
    )
    _of_a_step(
        "performed_step_studies",
        _number("number", key=True),
        _text("study_instance_uid"),
        _text("accession_number"),
        _text("requested_procedure_id"),
        _text("scheduled_procedure_step_id"),
        key=("number",),
    )
    _of_a_step(
        "performed_references",
        _text("referenced_sop_instance_uid"),
        _text("referenced_sop_class_uid"),
        _text("series_instance_uid"),
        key=("referenced_sop_instance_uid",),
    )
    _of_a_step(
        "performed_messages",
        _number("number", key=True),
        _text("kind"),
        _text("calling_ae_title"),
        _text("transfer_syntax_uid"),
        sa.Column("data_set", sa.LargeBinary(), nullable=False),
        _text("state"),
        _time("at"),
        key=("number",),
    )
    _of_a_step(
        "performed_forwards",
        _number("number", key=True),
        _text("destination"),
        _text("state"),
        _time("due_at", nullable=True),
        _time("fence"),
        _text("owner"),
        _number("attempts"),
        sa.Column("is_uncertain", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Integer()),
        _text("reason"),
        _time("created_at"),
        _time("ended_at", nullable=True),
        key=("number", "destination"),
    )
    for name, table, columns, where in _INDEXES:
        op.create_index(
            name, table, columns, unique=False, sqlite_where=where, postgresql_where=where
        )


def downgrade() -> None:
    for table in (
        "performed_forwards",
        "performed_messages",
        "performed_references",
        "performed_step_studies",
        "performed_steps",
    ):
        op.drop_table(table)

"""Tables of performed procedure steps, in the ledger's database. A change wants a revision there; a test compares the two."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text

from dicomrelay.ledger.schema import DUE, METADATA, NEEDS_ATTENTION

performed_steps: Final = Table(
    "performed_steps",
    METADATA,
    Column("sop_instance_uid", Text, primary_key=True),
    Column("state", Text, nullable=False),
    # Who made it.
    Column("calling_ae_title", Text, nullable=False),
    Column("modality", Text, nullable=False),
    Column("station_ae_title", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    # As they came: YYYYMMDD HHMMSS.
    Column("started", Text, nullable=False),
    Column("ended", Text, nullable=False),
    Column("series", Integer, nullable=False),
    Column("instances", Integer, nullable=False),
    # DICOM JSON (PS3.18 Annex F). The only column here, with the data sets of its messages, that tells of a patient.
    Column("attributes", Text, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)
Index("ix_performed_steps_changed_at", performed_steps.c.changed_at)

# An item of its Scheduled Step Attributes Sequence each; several may be of one study.
performed_step_studies: Final = Table(
    "performed_step_studies",
    METADATA,
    Column(
        "sop_instance_uid",
        Text,
        ForeignKey("performed_steps.sop_instance_uid", ondelete="CASCADE"),
        primary_key=True,
        nullable=False,
    ),
    Column("number", Integer, primary_key=True, nullable=False, autoincrement=False),
    Column("study_instance_uid", Text, nullable=False),
    Column("accession_number", Text, nullable=False),
    Column("requested_procedure_id", Text, nullable=False),
    Column("scheduled_procedure_step_id", Text, nullable=False),
)
Index("ix_performed_step_studies_study", performed_step_studies.c.study_instance_uid)

performed_references: Final = Table(
    "performed_references",
    METADATA,
    Column(
        "sop_instance_uid",
        Text,
        ForeignKey("performed_steps.sop_instance_uid", ondelete="CASCADE"),
        primary_key=True,
        nullable=False,
    ),
    Column("referenced_sop_instance_uid", Text, primary_key=True, nullable=False),
    Column("referenced_sop_class_uid", Text, nullable=False),
    Column("series_instance_uid", Text, nullable=False),
)

# Each as it came, byte for byte: what is forwarded.
performed_messages: Final = Table(
    "performed_messages",
    METADATA,
    Column(
        "sop_instance_uid",
        Text,
        ForeignKey("performed_steps.sop_instance_uid", ondelete="CASCADE"),
        primary_key=True,
        nullable=False,
    ),
    Column("number", Integer, primary_key=True, nullable=False, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("calling_ae_title", Text, nullable=False),
    Column("transfer_syntax_uid", Text, nullable=False),
    Column("data_set", LargeBinary, nullable=False),
    # The step's after it.
    Column("state", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

performed_forwards: Final = Table(
    "performed_forwards",
    METADATA,
    Column(
        "sop_instance_uid",
        Text,
        ForeignKey("performed_steps.sop_instance_uid", ondelete="CASCADE"),
        primary_key=True,
        nullable=False,
    ),
    Column("number", Integer, primary_key=True, nullable=False, autoincrement=False),
    Column("destination", Text, primary_key=True, nullable=False),
    Column("state", Text, nullable=False),
    # Set for the first that is not sent, of a step and a destination: so they go in order.
    Column("due_at", BigInteger),
    Column("fence", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Begun, and nobody has said what came of it: the peer may have had it.
    Column("is_uncertain", Boolean, nullable=False),
    Column("status", Integer),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
)
Index(
    "ix_performed_forwards_due",
    performed_forwards.c.destination,
    performed_forwards.c.due_at,
    sqlite_where=DUE,
    postgresql_where=DUE,
)
Index(
    "ix_performed_forwards_needs_attention",
    performed_forwards.c.destination,
    sqlite_where=NEEDS_ATTENTION,
    postgresql_where=NEEDS_ATTENTION,
)

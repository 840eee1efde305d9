"""The tables of the worklist, on the ledger's metadata (docs/design/worklist.md). Revision 0005 makes them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text, UniqueConstraint

from dicomrelay.ledger.schema import METADATA

worklist_items: Final = Table(
    "worklist_items",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("study_instance_uid", Text, nullable=False),
    Column("requested_procedure_id", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("patient_id", Text, nullable=False),
    Column("accession_number", Text, nullable=False),
    Column("placer_order_number", Text, nullable=False),
    Column("filler_order_number", Text, nullable=False),
    # AE titles, each between two line breaks, which none of them can have.
    Column("stations", Text, nullable=False),
    Column("modality", Text, nullable=False),
    Column("start_date", Text, nullable=False),
    Column("start_time", Text, nullable=False),
    Column("data_set", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    # Since when it is over; NULL while it is not.
    Column("ended_at", BigInteger),
    UniqueConstraint("study_instance_uid", "requested_procedure_id", "step_id"),
)
Index(
    "ix_worklist_items_start", worklist_items.c.start_date, worklist_items.c.start_time, worklist_items.c.id
)
Index("ix_worklist_items_patient_id", worklist_items.c.patient_id)
Index("ix_worklist_items_accession_number", worklist_items.c.accession_number)
Index("ix_worklist_items_ended_at", worklist_items.c.ended_at)

# What performed procedure steps say of the step they were scheduled as: by its names, since it may come later than they.
worklist_performed: Final = Table(
    "worklist_performed",
    METADATA,
    Column("sop_instance_uid", Text, primary_key=True, nullable=False),
    Column("number", Integer, primary_key=True, nullable=False, autoincrement=False),
    Column("study_instance_uid", Text, nullable=False),
    Column("accession_number", Text, nullable=False),
    Column("requested_procedure_id", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)
Index("ix_worklist_performed_study_instance_uid", worklist_performed.c.study_instance_uid)
Index("ix_worklist_performed_accession_number", worklist_performed.c.accession_number)

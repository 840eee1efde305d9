"""The tables of the index (docs/design/archive.md has the picture).

The names begin with `archive_`, since the ledger may live in the same database. A patient without an id is one per
study: nobody's images meet under an empty id. Text is compared byte by byte on every database (collation C), so that a
prefix is a range of the column's index.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

from archive.attributes import ATTRIBUTES, Level

metadata: Final = MetaData()
VERSION_TABLE: Final = "archive_version"


def text() -> TypeEngine[str]:
    """The type of every text column."""
    return String().with_variant(String(collation="C"), "postgresql")


def identity() -> TypeEngine[int]:
    """The type of every key: 64 bits, and SQLite's own row id there."""
    return BigInteger().with_variant(Integer(), "sqlite")


def _attribute_columns(level: Level, *, without: frozenset[str] = frozenset()) -> list[Column[object]]:
    columns: list[Column[object]] = []
    for attribute in ATTRIBUTES:
        if attribute.level is not level or attribute.column in without:
            continue
        columns.append(Column(attribute.column, Integer() if attribute.is_number else text()))
        if attribute.vr == "PN":
            columns.append(Column(f"{attribute.column}_key", text()))
    return columns


patients = Table(
    "archive_patients",
    metadata,
    Column("id", identity(), primary_key=True, autoincrement=True),
    Column("patient_key", text(), nullable=False, unique=True),
    Column("patient_id", text()),
    Column("issuer_of_patient_id", text()),
    Column("patient_name", text()),
)

studies = Table(
    "archive_studies",
    metadata,
    Column("id", identity(), primary_key=True, autoincrement=True),
    Column("patient", identity(), ForeignKey("archive_patients.id"), nullable=False),
    Column("study_instance_uid", text(), nullable=False, unique=True),
    *_attribute_columns(Level.STUDY, without=frozenset({"study_instance_uid"})),
    Column("created_ms", BigInteger(), nullable=False),
    Index("ix_archive_studies_patient", "patient"),
    Index("ix_archive_studies_patient_name_key", "patient_name_key"),
    Index("ix_archive_studies_patient_id", "patient_id"),
    Index("ix_archive_studies_study_date", "study_date"),
    Index("ix_archive_studies_accession_number", "accession_number"),
    Index("ix_archive_studies_created_ms", "created_ms"),
)

series = Table(
    "archive_series",
    metadata,
    Column("id", identity(), primary_key=True, autoincrement=True),
    Column("study", identity(), ForeignKey("archive_studies.id"), nullable=False),
    Column("series_instance_uid", text(), nullable=False),
    *_attribute_columns(Level.SERIES, without=frozenset({"series_instance_uid"})),
    # Some equipment uses one Series Instance UID in two studies: it is unique within its study only.
    UniqueConstraint("study", "series_instance_uid", name="uq_archive_series_study"),
    Index("ix_archive_series_series_instance_uid", "series_instance_uid"),
    Index("ix_archive_series_modality", "modality"),
)

instances = Table(
    "archive_instances",
    metadata,
    Column("id", identity(), primary_key=True, autoincrement=True),
    Column("series", identity(), ForeignKey("archive_series.id"), nullable=False),
    Column("sop_instance_uid", text(), nullable=False, unique=True),
    *_attribute_columns(Level.INSTANCE, without=frozenset({"sop_instance_uid"})),
    Column("relative_path", text(), nullable=False, unique=True),
    Column("file_bytes", BigInteger(), nullable=False),
    Column("data_set_offset", BigInteger(), nullable=False),
    Column("data_set_bytes", BigInteger(), nullable=False),
    Column("digest", text(), nullable=False),
    Column("stored_ms", BigInteger(), nullable=False),
    Index("ix_archive_instances_series", "series"),
    Index("ix_archive_instances_sop_class_uid", "sop_class_uid"),
)

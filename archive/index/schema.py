"""The tables of the index (docs/design/archive-index.md has the picture).

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
from sqlalchemy import text as sql
from sqlalchemy.types import TypeEngine

from archive.attributes import ATTRIBUTES, PATIENT_COLUMNS, Level

metadata: Final = MetaData()
VERSION_TABLE: Final = "archive_version"
_IS_DAMAGED: Final = sql("damage IS NOT NULL")


def text() -> TypeEngine[str]:
    """The type of every text column."""
    return String().with_variant(String(collation="C"), "postgresql")


def identity() -> TypeEngine[int]:
    """The type of every key: 64 bits, and SQLite's own row id there."""
    return BigInteger().with_variant(Integer(), "sqlite")


def _identity() -> Column[int]:
    return Column("id", identity(), primary_key=True, autoincrement=True)


def _counter(name: str) -> Column[int]:
    return Column(name, BigInteger(), nullable=False, server_default="0")


def _attribute_columns(
    level: Level, *, without: frozenset[str] = frozenset(), only: frozenset[str] | None = None
) -> list[Column[object]]:
    """Columns of the attributes, each with those that are made from it (`archive.index.keys`)."""
    columns: list[Column[object]] = []
    for attribute in ATTRIBUTES:
        name = attribute.column
        if attribute.level is not level or name in without or (only is not None and name not in only):
            continue
        columns.append(Column(name, Integer() if attribute.is_number else text()))
        columns.extend(Column(derived, text()) for derived in attribute.derived_columns)
    return columns


def _grouped_names(table: str, name: str) -> Index:
    """An index of the names that have more than one component group, such as one in Japanese (`archive.index.names`)."""
    key = f"{name}_key"
    is_grouped = sql(f"replace({key}, '=', '') <> {key}")
    return Index(f"ix_{table}_{name}_groups", key, sqlite_where=is_grouped, postgresql_where=is_grouped)


patients = Table(
    "archive_patients",
    metadata,
    _identity(),
    Column("patient_key", text(), nullable=False, unique=True),
    *_attribute_columns(Level.STUDY, only=PATIENT_COLUMNS),
    Index("ix_archive_patients_patient_name_key", "patient_name_key"),
    _grouped_names("archive_patients", "patient_name"),
    Index("ix_archive_patients_patient_id_key", "patient_id_key"),
)

studies = Table(
    "archive_studies",
    metadata,
    _identity(),
    Column("patient", identity(), ForeignKey("archive_patients.id"), nullable=False),
    Column("study_instance_uid", text(), nullable=False, unique=True),
    *_attribute_columns(Level.STUDY, without=frozenset({"study_instance_uid"})),
    Column("created_ms", BigInteger(), nullable=False),
    _counter("series_count"),
    _counter("instance_count"),
    _counter("byte_count"),
    # Those of its series, sorted, a backslash between them; empty when no series has one.
    Column("modalities", text(), nullable=False, server_default=""),
    Index("ix_archive_studies_patient", "patient"),
    Index("ix_archive_studies_patient_name_key", "patient_name_key"),
    _grouped_names("archive_studies", "patient_name"),
    Index("ix_archive_studies_patient_id", "patient_id"),
    Index("ix_archive_studies_patient_id_key", "patient_id_key"),
    Index("ix_archive_studies_study_date", "study_date"),
    Index("ix_archive_studies_accession_number", "accession_number"),
    Index("ix_archive_studies_accession_number_key", "accession_number_key"),
    Index("ix_archive_studies_referring_physician_name_key", "referring_physician_name_key"),
    _grouped_names("archive_studies", "referring_physician_name"),
    Index("ix_archive_studies_study_description_key", "study_description_key"),
    Index("ix_archive_studies_study_id_key", "study_id_key"),
    Index("ix_archive_studies_created_ms", "created_ms"),
)

series = Table(
    "archive_series",
    metadata,
    _identity(),
    Column("study", identity(), ForeignKey("archive_studies.id"), nullable=False),
    Column("series_instance_uid", text(), nullable=False),
    *_attribute_columns(Level.SERIES, without=frozenset({"series_instance_uid"})),
    _counter("instance_count"),
    _counter("byte_count"),
    # Some equipment uses one Series Instance UID in two studies: it is unique within its study only.
    UniqueConstraint("study", "series_instance_uid", name="uq_archive_series_study"),
    Index("ix_archive_series_series_instance_uid", "series_instance_uid"),
    Index("ix_archive_series_modality", "modality"),
    Index("ix_archive_series_series_date", "series_date"),
    Index("ix_archive_series_series_description_key", "series_description_key"),
    Index("ix_archive_series_body_part_examined_key", "body_part_examined_key"),
    Index("ix_archive_series_station_name_key", "station_name_key"),
    Index("ix_archive_series_manufacturer_key", "manufacturer_key"),
)

instances = Table(
    "archive_instances",
    metadata,
    _identity(),
    Column("series", identity(), ForeignKey("archive_series.id"), nullable=False),
    Column("sop_instance_uid", text(), nullable=False, unique=True),
    *_attribute_columns(Level.INSTANCE, without=frozenset({"sop_instance_uid"})),
    Column("relative_path", text(), nullable=False, unique=True),
    Column("file_bytes", BigInteger(), nullable=False),
    Column("data_set_offset", BigInteger(), nullable=False),
    Column("data_set_bytes", BigInteger(), nullable=False),
    Column("digest", text(), nullable=False),
    Column("stored_ms", BigInteger(), nullable=False),
    Column("checked_ms", BigInteger()),  # when the scrub looked at it last; NULL: never
    Column("damage", text()),  # NULL: none known; else gone, size, digest or unreadable
    Column(
        "head_digest", text()
    ),  # SHA-256 of what is in front of the data set; NULL: the scrub will write it down
    Index("ix_archive_instances_series", "series"),
    Index("ix_archive_instances_sop_class_uid", "sop_class_uid"),
    Index("ix_archive_instances_damage", "damage", sqlite_where=_IS_DAMAGED, postgresql_where=_IS_DAMAGED),
)

conflicts = Table(
    "archive_conflicts",
    metadata,
    _identity(),
    Column("sop_instance_uid", text(), nullable=False),
    Column("digest", text(), nullable=False),
    Column("kept_digest", text(), nullable=False),
    # What was set aside, under conflicts/ in the root; empty when it was refused.
    Column("relative_path", text(), nullable=False),
    Column("file_bytes", BigInteger(), nullable=False),
    Column("found_ms", BigInteger(), nullable=False),
    Column("reason", text(), nullable=False),
    Index("ix_archive_conflicts_sop_instance_uid", "sop_instance_uid"),
)

disagreements = Table(
    "archive_disagreements",
    metadata,
    _identity(),
    Column("level", text(), nullable=False),  # patient, study or series
    Column("uid", text(), nullable=False),  # Patient ID, Study or Series Instance UID
    Column("column", text(), nullable=False),
    Column("kept", text(), nullable=False),
    Column("other", text(), nullable=False),
    Column("sop_instance_uid", text(), nullable=False),  # the first that says so
    Column("found_ms", BigInteger(), nullable=False),
    UniqueConstraint("level", "uid", "column", "other", name="uq_archive_disagreements_other"),
)

tombstones = Table(
    "archive_tombstones",
    metadata,
    _identity(),
    Column("sop_instance_uid", text(), nullable=False),
    Column("study_instance_uid", text(), nullable=False),
    Column("series_instance_uid", text(), nullable=False),
    Column("digest", text(), nullable=False),
    Column("file_bytes", BigInteger(), nullable=False),
    Column("removed_ms", BigInteger(), nullable=False),
    Column("reason", text(), nullable=False),
    Column("removed_by", text(), nullable=False),
    Index("ix_archive_tombstones_sop_instance_uid", "sop_instance_uid"),
    Index("ix_archive_tombstones_study_instance_uid", "study_instance_uid"),
)

meta = Table(
    "archive_meta",
    metadata,
    Column("name", text(), primary_key=True),
    Column("value", text(), nullable=False),
)

commitments = Table(
    "archive_commitments",
    metadata,
    _identity(),
    Column("transaction_uid", text(), nullable=False),
    Column("peer_ae_title", text(), nullable=False),
    Column("requested_ms", BigInteger(), nullable=False),
    Column("state", text(), nullable=False),  # pending, answered or failed
    Column("attempts", Integer(), nullable=False, server_default="0"),
    Column("due_ms", BigInteger()),
    Column("request", text(), nullable=False),  # JSON
    Column("result", text()),  # JSON
    UniqueConstraint("peer_ae_title", "transaction_uid", name="uq_archive_commitments_transaction"),
    Index("ix_archive_commitments_due", "state", "due_ms"),
)

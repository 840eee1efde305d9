"""Counters, folded text, what disagrees, conflicts, tombstones, scrub, commitments."""

import re
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_IS_DAMAGED = sa.text("damage IS NOT NULL")
_PAGE = 1000

# Text columns that get a folded one beside them; person names had it, and get their words.
_KEYED = {
    "archive_patients": ("patient_name", "patient_id", "issuer_of_patient_id", "patient_sex"),
    "archive_studies": (
        "patient_id", "issuer_of_patient_id", "patient_sex", "accession_number", "study_description", "study_id",
    ),
    "archive_series": (
        "modality", "manufacturer", "station_name", "series_description", "body_part_examined", "laterality",
    ),
}
_NAMES = {
    "archive_patients": ("patient_name",),
    "archive_studies": ("patient_name", "referring_physician_name"),
    "archive_series": (),
}
_INDEXED = {
    "archive_patients": ("patient_name_key", "patient_id_key"),
    "archive_studies": (
        "patient_id_key", "accession_number_key", "referring_physician_name_key", "study_description_key", "study_id_key",
    ),
    "archive_series": (
        "series_date", "series_description_key", "body_part_examined_key", "station_name_key", "manufacturer_key",
    ),
}
_COUNTERS = {
    "archive_series": ("instance_count", "byte_count"),
    "archive_studies": ("series_count", "instance_count", "byte_count"),
}


def upgrade() -> None:
    for column in ("patient_birth_date", "patient_sex"):
        op.add_column("archive_patients", sa.Column(column, TEXT))
    for table in _KEYED:
        for column in _KEYED[table]:
            op.add_column(table, sa.Column(f"{column}_key", TEXT))
        for column in _NAMES[table]:
            op.add_column(table, sa.Column(f"{column}_words", TEXT))
    for table, counters in _COUNTERS.items():
        for column in counters:
            op.add_column(table, sa.Column(column, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("archive_studies", sa.Column("modalities", TEXT, nullable=False, server_default=""))
    op.add_column("archive_instances", sa.Column("checked_ms", sa.BigInteger()))
    op.add_column("archive_instances", sa.Column("damage", TEXT))
    _new_tables()
    _fill()
    for table, columns in _INDEXED.items():
        for column in columns:
            op.create_index(f"ix_{table}_{column}", table, [column])
    op.create_index(
        "ix_archive_instances_damage",
        "archive_instances",
        ["damage"],
        sqlite_where=_IS_DAMAGED,
        postgresql_where=_IS_DAMAGED,
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, TEXT, nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _identity() -> sa.Column[int]:
    return sa.Column("id", KEY, primary_key=True, autoincrement=True)


def _new_tables() -> None:
    op.create_table(
        "archive_conflicts",
        _identity(),
        _text("sop_instance_uid"),
        _text("digest"),
        _text("kept_digest"),
        _text("relative_path"),
        _number("file_bytes"),
        _number("found_ms"),
        _text("reason"),
    )
    op.create_index("ix_archive_conflicts_sop_instance_uid", "archive_conflicts", ["sop_instance_uid"])
    op.create_table(
        "archive_disagreements",
        _identity(),
        _text("level"),
        _text("uid"),
        _text("column"),
        _text("kept"),
        _text("other"),
        _text("sop_instance_uid"),
        _number("found_ms"),
        sa.UniqueConstraint("level", "uid", "column", "other", name="uq_archive_disagreements_other"),
    )
    op.create_table(
        "archive_tombstones",
        _identity(),
        _text("sop_instance_uid"),
        _text("study_instance_uid"),
        _text("series_instance_uid"),
        _text("digest"),
        _number("file_bytes"),
        _number("removed_ms"),
        _text("reason"),
        _text("removed_by"),
    )
    op.create_index("ix_archive_tombstones_sop_instance_uid", "archive_tombstones", ["sop_instance_uid"])
    op.create_index("ix_archive_tombstones_study_instance_uid", "archive_tombstones", ["study_instance_uid"])
    op.create_table("archive_meta", sa.Column("name", TEXT, primary_key=True), _text("value"))
    op.create_table(
        "archive_commitments",
        _identity(),
        _text("transaction_uid"),
        _text("peer_ae_title"),
        _number("requested_ms"),
        _text("state"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("due_ms", sa.BigInteger()),
        _text("request"),
        sa.Column("result", TEXT),
        sa.UniqueConstraint("peer_ae_title", "transaction_uid", name="uq_archive_commitments_transaction"),
    )
    op.create_index("ix_archive_commitments_due", "archive_commitments", ["state", "due_ms"])


def _fill() -> None:
    """What the new columns would hold if they had been there from the beginning."""
    execute = op.get_bind().exec_driver_sql
    first = (
        "(SELECT s.{0} FROM archive_studies s WHERE s.patient = archive_patients.id AND s.{0} IS NOT NULL"
        " ORDER BY s.id LIMIT 1)"
    )
    for column in ("patient_birth_date", "patient_sex"):
        execute(f"UPDATE archive_patients SET {column} = {first.format(column)}")
    execute(
        "UPDATE archive_series SET"
        " instance_count = (SELECT count(*) FROM archive_instances i WHERE i.series = archive_series.id),"
        " byte_count = (SELECT coalesce(sum(i.file_bytes), 0) FROM archive_instances i WHERE i.series = archive_series.id)"
    )
    execute(
        "UPDATE archive_studies SET"
        " series_count = (SELECT count(*) FROM archive_series s WHERE s.study = archive_studies.id),"
        " instance_count = (SELECT coalesce(sum(s.instance_count), 0) FROM archive_series s WHERE s.study = archive_studies.id),"
        " byte_count = (SELECT coalesce(sum(s.byte_count), 0) FROM archive_series s WHERE s.study = archive_studies.id)"
    )
    for table in _KEYED:
        _fill_keys(table)
    _fill_modalities()


def _fill_keys(table: str) -> None:
    names = _NAMES[table]
    read = sorted({*_KEYED[table], *names})
    rows = sa.table(table, sa.column("id"), *(sa.column(name) for name in read))
    made = [f"{name}_key" for name in _KEYED[table]] + [f"{name}_words" for name in names]
    target = sa.table(table, sa.column("id"), *(sa.column(name) for name in made))
    update = (
        sa.update(target)
        .where(target.c.id == sa.bindparam("of"))
        .values({name: sa.bindparam(f"new_{name}") for name in made})
    )
    last = 0
    while page := op.get_bind().execute(
        sa.select(rows).where(rows.c.id > last).order_by(rows.c.id).limit(_PAGE)
    ).mappings().all():
        op.get_bind().execute(
            update,
            [
                {
                    "of": row["id"],
                    **{f"new_{name}_key": _key(row[name], name in names) for name in _KEYED[table]},
                    **{f"new_{name}_words": _words(row[name]) for name in names},
                }
                for row in page
            ],
        )
        last = page[-1]["id"]


def _fill_modalities() -> None:
    series = sa.table("archive_series", sa.column("study"), sa.column("modality"))
    studies = sa.table("archive_studies", sa.column("id"), sa.column("modalities"))
    last = 0
    while studied := op.get_bind().execute(
        sa.select(studies.c.id).where(studies.c.id > last).order_by(studies.c.id).limit(_PAGE)
    ).scalars().all():
        found: dict[int, set[str]] = {}
        for study, modality in op.get_bind().execute(
            sa.select(series.c.study, series.c.modality).where(
                series.c.study.between(studied[0], studied[-1]), series.c.modality.is_not(None)
            )
        ):
            found.setdefault(study, set()).add(modality)
        if found:
            op.get_bind().execute(
                sa.update(studies).where(studies.c.id == sa.bindparam("of")).values(modalities=sa.bindparam("new")),
                [{"of": study, "new": "\\".join(sorted(names))} for study, names in found.items()],
            )
        last = studied[-1]


# As archive/index/keys.py made them when this revision was written: a revision never changes.
_CODES = {c: d for d, cs in (("1", "bfpv"), ("2", "cgjkqsxz"), ("3", "dt"), ("4", "l"), ("5", "mn"), ("6", "r")) for c in cs}
_FIRST = {"c": "k", "q": "k", "v": "f", "w": "f", "z": "s", "j": "i", "y": "i"}


def _key(value: str | None, is_name: bool) -> str | None:
    if value is None:
        return None
    return value.casefold().rstrip("^= ") if is_name else value.casefold().rstrip(" ")


def _words(name: str | None) -> str | None:
    if name is None:
        return None
    plain = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    words = sorted(set(re.findall(r"[^\W_]+", plain)))
    sounds = sorted({f"~{sound}" for word in words if (sound := _sound(word))})
    return " ".join(("", *words, *sounds, "")) if words else None


def _sound(word: str) -> str:
    if not (word.isascii() and word.isalpha()):
        return ""
    word = word.replace("ph", "f")
    code, before = _FIRST.get(word[0], word[0]), _CODES.get(word[0], "")
    for character in word[1:]:
        digit = _CODES.get(character, "")
        if digit and digit != before:
            code += digit
        if character not in "hw":
            before = digit
    return code[:4].ljust(4, "0")


def downgrade() -> None:
    op.drop_index("ix_archive_instances_damage", table_name="archive_instances")
    for table, columns in _INDEXED.items():
        for column in columns:
            op.drop_index(f"ix_{table}_{column}", table_name=table)
    for table in ("commitments", "meta", "tombstones", "disagreements", "conflicts"):
        op.drop_table(f"archive_{table}")
    op.drop_column("archive_instances", "damage")
    op.drop_column("archive_instances", "checked_ms")
    op.drop_column("archive_studies", "modalities")
    for table, counters in _COUNTERS.items():
        for column in counters:
            op.drop_column(table, column)
    for table in _KEYED:
        for column in _NAMES[table]:
            op.drop_column(table, f"{column}_words")
        for column in _KEYED[table]:
            op.drop_column(table, f"{column}_key")
    for column in ("patient_birth_date", "patient_sex"):
        op.drop_column("archive_patients", column)

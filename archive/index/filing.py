"""Patients, studies and series that instances are filed under: found, made, filled in; what disagrees is written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, Table, select, update

from archive.attributes import PATIENT_COLUMNS, Level, Value
from archive.index.counters import remove_empty_patients
from archive.index.disagreeing import PATIENT, SERIES, STUDY, write_disagreements
from archive.index.entries import NewInstance
from archive.index.merging import Difference, Merged, Saying, merge, richest, with_derived
from archive.index.schema import patients, series, studies
from dicomrelay.ledger.database_errors import Undone
from dicomrelay.ledger.engine import Work, chunks

_ATTEMPTS: Final = 5
_NO_ID: Final = "\x1f\x1f"

Row = dict[str, Any]


def lock_studies(work: Work, uids: Iterable[str]) -> dict[str, Row]:
    """Those of the studies that are there, by UID, held until the transaction ends; always in the same order."""
    found: dict[str, Row] = {}
    for some in chunks(sorted(set(uids))):
        query = select(studies).where(studies.c.study_instance_uid.in_(some))
        held = query.order_by(studies.c.study_instance_uid).with_for_update(key_share=True)
        found.update(
            {row["study_instance_uid"]: dict(row) for row in work.connection.execute(held).mappings()}
        )
    return found


def file_studies(work: Work, new: Sequence[NewInstance]) -> dict[str, Row]:
    """The studies of instances, by UID: made where they are not there, held, filled in."""
    sayings: dict[str, list[Saying]] = {}
    for item in new:
        _say(sayings.setdefault(item.request.study_instance_uid, []), item, Level.STUDY)
    rows = lock_studies(work, sayings)
    made: dict[str, int] = {}
    for _ in range(_ATTEMPTS):
        missing = sorted(set(sayings) - set(rows))
        if not missing:
            break
        made |= _make_studies(work, {uid: richest(sayings[uid]).values for uid in missing})
        rows.update(lock_studies(work, missing))
    _all_there(sayings, rows)
    merged = {uid: merge(rows[uid], sayings[uid]) for uid in sorted(sayings)}
    _fill(work, studies, {rows[uid]["id"]: each for uid, each in merged.items()})
    write_disagreements(work, STUDY, {uid: each.differences for uid, each in merged.items()})
    changed = {uid for uid, each in merged.items() if PATIENT_COLUMNS & each.fill.keys()} | {*made}
    for uid in changed:
        rows[uid].update(merged[uid].fill)
    _settle_patients(work, {uid: rows[uid] for uid in sorted(changed)}, sayings)
    # Somebody else was first with the study, and has it under another patient.
    if unused := {patient for uid, patient in made.items() if rows[uid]["patient"] != patient}:
        remove_empty_patients(work.connection, unused)
    return rows


def file_series(work: Work, new: Sequence[NewInstance], of: Mapping[str, Row]) -> dict[tuple[str, str], int]:
    """The keys of the series of instances, by the UIDs of study and series; the same for them."""
    sayings: dict[tuple[str, str], list[Saying]] = {}
    for item in new:
        _say(sayings.setdefault(item.series_key, []), item, Level.SERIES)
    rows = _series(work, sayings, of)
    missing = sorted(set(sayings) - set(rows))
    if missing:
        made = [
            {
                **with_derived(richest(sayings[key]).values),
                "study": of[key[0]]["id"],
                "series_instance_uid": key[1],
            }
            for key in missing
        ]
        work.insert_missing(series, made)
        rows |= _series(work, missing, of)
    merged = {key: merge(rows[key], sayings[key]) for key in sorted(sayings)}
    _fill(work, series, {rows[key]["id"]: each for key, each in merged.items()})
    differing: dict[str, list[Difference]] = {}
    for (_, uid), each in merged.items():
        differing.setdefault(uid, []).extend(each.differences)
    write_disagreements(work, SERIES, differing)
    return {key: rows[key]["id"] for key in sayings}


def _say(sayings: list[Saying], item: NewInstance, level: Level) -> None:
    """Add what an instance says, unless the one before it said just that, as most do."""
    values = item.level_values(level)
    if not sayings or sayings[-1].values != values:
        sayings.append(Saying(item.request.sop_instance_uid, values))


def _series(work: Work, keys: Iterable[tuple[str, str]], of: Mapping[str, Row]) -> dict[tuple[str, str], Row]:
    wanted = set(keys)
    uid_of = {of[study]["id"]: study for study, _ in wanted}
    found: dict[tuple[str, str], Row] = {}
    for some in chunks(sorted({uid for _, uid in wanted})):
        query = select(series).where(series.c.study.in_(uid_of), series.c.series_instance_uid.in_(some))
        for row in work.connection.execute(query).mappings():
            key = uid_of[row["study"]], row["series_instance_uid"]
            if key in wanted:
                found[key] = dict(row)
    return found


def _make_studies(work: Work, values: Mapping[str, Mapping[str, Value]]) -> dict[str, int]:
    """Make those that are still not there; the patients that they were to be under, by Study Instance UID."""
    keys = {uid: _patient_key(uid, row) for uid, row in values.items()}
    held = _patients(work, {keys[uid]: row for uid, row in values.items()})
    work.insert_missing(
        studies,
        [
            {
                **with_derived(row),
                "study_instance_uid": uid,
                "patient": held[keys[uid]]["id"],
                "created_ms": work.now,
            }
            for uid, row in values.items()
        ],
    )
    return {uid: held[keys[uid]]["id"] for uid in values}


def _settle_patients(work: Work, changed: Mapping[str, Row], sayings: Mapping[str, Sequence[Saying]]) -> None:
    """Put studies that are new, or that learned who their patient is, under the right one, and hold the two together."""
    keys = {uid: _patient_key(uid, row) for uid, row in changed.items()}
    held = _patients(work, {keys[uid]: row for uid, row in changed.items()})
    left = set()
    said: dict[str, list[Saying]] = {}
    for uid, row in changed.items():
        patient = held[keys[uid]]
        if row["patient"] != patient["id"]:
            left.add(row["patient"])
            work.connection.execute(
                update(studies).where(studies.c.id == row["id"]).values(patient=patient["id"])
            )
        values = {column: row[column] for column in sorted(PATIENT_COLUMNS)}
        said.setdefault(keys[uid], []).append(Saying(sayings[uid][0].sop_instance_uid, values))
    merged = {key: merge(held[key], each) for key, each in sorted(said.items())}
    _fill(work, patients, {held[key]["id"]: each for key, each in merged.items()})
    differing: dict[str, list[Difference]] = {}
    for key, each in merged.items():
        differing.setdefault(str(held[key]["patient_id"]), []).extend(each.differences)
    write_disagreements(work, PATIENT, differing)
    if left:
        remove_empty_patients(work.connection, left)


def _patients(work: Work, wanted: Mapping[str, Mapping[str, Value]]) -> dict[str, Row]:
    """Patients by their keys, made where they are not there; nobody removes them before the transaction ends."""
    found: dict[str, Row] = {}
    for _ in range(_ATTEMPTS):
        for some in chunks(sorted(set(wanted) - set(found))):
            query: Select[Any] = select(patients).where(patients.c.patient_key.in_(some))
            held = query.order_by(patients.c.patient_key).with_for_update(read=True, key_share=True)
            found.update({row["patient_key"]: dict(row) for row in work.connection.execute(held).mappings()})
        missing = sorted(set(wanted) - set(found))
        if not missing:
            break
        rows = [
            {
                "patient_key": key,
                **with_derived({column: wanted[key][column] for column in sorted(PATIENT_COLUMNS)}),
            }
            for key in missing
        ]
        work.insert_missing(patients, rows)
    _all_there(wanted, found)
    return found


def _all_there(wanted: Iterable[str], found: Mapping[str, Row]) -> None:
    """What others remove as often as it is made is for another transaction."""
    if set(wanted) - set(found):
        raise Undone("The index of the archive: rows were removed while they were being filled")


def _patient_key(study_uid: str, row: Mapping[str, Value]) -> str:
    """Id and issuer; a patient without an id is one per study."""
    if not row["patient_id"]:
        return f"{_NO_ID}{study_uid}"
    return "\x1f".join((str(row["patient_id"]), str(row["issuer_of_patient_id"] or "")))


def _fill(work: Work, table: Table, merged: Mapping[int, Merged]) -> None:
    for key, each in sorted(merged.items()):
        if each.fill:
            values = with_derived(each.fill)
            work.connection.execute(update(table).where(table.c.id == key).values(values))

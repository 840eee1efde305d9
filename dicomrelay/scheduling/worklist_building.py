"""Data sets of items from names and texts, as CSV, JSON with keywords, HL7 and people give them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from dicomrelay.dicom.uids import derived_uid
from dicomrelay.dimse.query_keys import Key, build_identifier, parse_key
from dicomrelay.errors import ConfigurationError
from dicomrelay.scheduling.worklist_attributes import OF_THE_STEP, STEPS
from dicomrelay.scheduling.worklist_change import Record
from dicomrelay.scheduling.worklist_item import MOST_ELEMENTS, MOST_FAULTS, Fault, InvalidItem, items_of

# Modality to Scheduled Station AE Title.
Stations = Mapping[str, str]
_STEP: Final = f"{STEPS}[0]."
_PROCEDURE: Final = "RequestedProcedureID"
_NO_STATION: Final = Fault(f"{_STEP}ScheduledStationAETitle", "missing")
_STEP_ID: Final = f"{_STEP}ScheduledProcedureStepID"
_WORDS: Final = "RequestedProcedureDescription"
_STEP_WORDS: Final = f"{_STEP}ScheduledProcedureStepDescription"
_CODES: Final = "RequestedProcedureCodeSequence"
_STEP_CODES: Final = f"{_STEP}ScheduledProtocolCodeSequence"


@lru_cache(maxsize=4096)  # a table names few, and often
def path_of(name: str) -> str:
    """The whole path of an attribute that is named: one of the step stands in its sequence.

    Raises
    ------
    ConfigurationError
        The dictionary has no such attribute.
    """
    key = parse_key(name.strip())
    is_of_step = keyword_for_tag(key.path[0].tag) in OF_THE_STEP
    return f"{_STEP}{key.name}" if is_of_step else key.name


def record_of(where: str, pairs: Iterable[tuple[str, str]], stations: Stations) -> Record:
    """The record that names and values are. Names without a value say nothing."""
    given: dict[str, str] = {}
    faults: list[Fault] = []
    for number, (name, value) in enumerate(pairs):
        if number >= MOST_ELEMENTS or len(faults) >= MOST_FAULTS:
            faults.append(Fault("", f"more than {MOST_ELEMENTS} attributes, or too many that are none"))
            break
        try:
            if value.strip():
                given[path_of(name)] = value.strip()
        except ConfigurationError:
            faults.append(Fault(name[:80], "no keyword of the data dictionary, and no tag"))
    if faults:
        return Record(where, faults=tuple(faults))
    try:
        keys = [Key(parse_key(path).path, value) for path, value in completed(given, stations).items()]
        return _advised(of_data_set(where, build_identifier(keys)))
    except ConfigurationError as error:
        return Record(where, faults=(Fault("", str(error)),))


def _advised(record: Record) -> Record:
    """What may be set, beside what is missing."""
    return replace(
        record,
        faults=tuple(
            replace(fault, words="missing: name it, or set worklist.station_ae_titles for its modality")
            if fault == _NO_STATION
            else fault
            for fault in record.faults
        ),
    )


def of_data_set(where: str, data_set: Dataset) -> Record:
    """The record that a data set is, as it stands."""
    try:
        return Record(where, tuple(items_of(data_set)))
    except InvalidItem as error:
        return Record(where, faults=error.faults)


def completed(given: Mapping[str, str], stations: Stations) -> dict[str, str]:
    """The same with what follows from the rest: what orders leave out that are not DICOM.

    The station by the modality, each of the two IDs by the other or the accession number, a description by the other, and
    a Study Instance UID that is made of patient and order, the same each time.
    """
    found = dict(given)

    def fill(path: str, value: str | None) -> None:
        if value and path not in found:
            found[path] = value

    fill(f"{_STEP}ScheduledStationAETitle", stations.get(found.get(f"{_STEP}Modality", "")))
    fill(_PROCEDURE, found.get("AccessionNumber") or found.get(_STEP_ID))
    fill(_STEP_ID, found.get(_PROCEDURE))
    if _CODES not in {path.partition("[")[0] for path in found}:
        fill(_WORDS, found.get(_STEP_WORDS))
    if not any(path.startswith(_STEP_CODES) for path in found):
        fill(_STEP_WORDS, found.get(_WORDS))
    order = found.get("AccessionNumber") or found.get(_PROCEDURE)
    if order and "PatientID" in found:
        fill("StudyInstanceUID", study_of(found["PatientID"], order))
    return found


def study_of(patient_id: str, order: str) -> str:
    """The Study Instance UID of an order that has none: the same each time, another for another patient."""
    return derived_uid("worklist", patient_id, order)

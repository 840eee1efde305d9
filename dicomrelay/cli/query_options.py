"""What `find`, `move` and `get` share: options that become keys, the model, the level, and what is said at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import (
    MODALITY_WORKLIST,
    PATIENT_ROOT,
    RETRIEVE_MODELS,
    STUDY_ROOT,
    UNIQUE_KEYS,
    Level,
    QueryModel,
)
from dicomrelay.dicom.query_status import query_status_name
from dicomrelay.dimse.query_keys import Key, build_identifier, parse_key, tag_name
from dicomrelay.errors import ConfigurationError
from dicomrelay.net.query_retrieve import Conclusion
from dicomrelay.text import shown

# Option to attribute; those with a UID take several (list of UID matching, PS3.4 Section C.2.2.2.2).
_SHORTHANDS: Final = {
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "study_date": "StudyDate",
    "accession_number": "AccessionNumber",
    "modality": "Modality",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}
_STEP: Final = "ScheduledProcedureStepSequence[0]."
# Where a modality or a date stands when it is not that of the level asked.
_ELSEWHERE: Final = {
    (Level.STUDY, "Modality"): "ModalitiesInStudy",
    (None, "Modality"): f"{_STEP}Modality",
    (None, "StudyDate"): f"{_STEP}ScheduledProcedureStepStartDate",
}


@dataclass(frozen=True, slots=True)
class Query:
    """What to ask: a model, a level (none for a worklist), and the keys in order."""

    model: QueryModel
    level: Level | None
    keys: tuple[Key, ...]

    def identifier(self) -> Dataset:
        """The data set of the request."""
        return build_identifier(self.keys)


def key_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--key` and its shorthands, `--level` and `--model`."""
    for name, text in (
        ("--instance", "SOP Instance UID."),
        ("--series", "Series Instance UID."),
        ("--study", "Study Instance UID."),
    ):
        function = click.option(name, multiple=True, metavar="UID", help=f"{text} Repeatable.")(function)
    for name, metavar, text in (
        ("--modality", "MODALITY", "Modality, such as CT; of a study, one of its modalities."),
        ("--accession-number", "NUMBER", "Accession number."),
        ("--study-date", "DATE", "Date of the study, YYYYMMDD or a range: 20260101-20261231, 20260101-."),
        ("--patient-name", "NAME", "Patient's name, FAMILY^GIVEN; * and ? are wildcards."),
        ("--patient-id", "ID", "Patient ID."),
    ):
        function = click.option(name, metavar=metavar, help=text)(function)
    function = click.option(
        "-k",
        "--key",
        "keys",
        multiple=True,
        metavar="KEY[=VALUE]",
        help="An attribute to match, or to ask for when it has no value; keyword or tag, in a sequence as "
        "Sequence[0].Attribute. Repeatable.",
    )(function)
    function = click.option(
        "--level",
        type=click.Choice([level.value for level in Level], case_sensitive=False),
        help="Query/Retrieve Level.  [default: that of the most particular UID; STUDY]",
    )(function)
    return click.option(
        "--model",
        type=click.Choice(list(RETRIEVE_MODELS)),
        help="Information model.  [default: study; patient when the level is PATIENT]",
    )(function)


def find_query(
    *, worklist: bool, level: str | None, model: str | None, keys: Sequence[str], options: Mapping[str, Any]
) -> Query:
    """What `find` asks: what was given, and what one wants to see of that level.

    Raises
    ------
    ConfigurationError
        A key, or a combination, that cannot be.
    """
    given = [*_shorthands(options), *(parse_key(text) for text in keys)]
    if worklist:
        if level or model:
            raise ConfigurationError("a worklist has neither --level nor --model")
        wanted = [parse_key(name) for name in _WORKLIST_COLUMNS]
        return Query(MODALITY_WORKLIST, None, tuple(_unique([*wanted, *_moved(given, None)])))
    chosen, at = _model_and_level(model, level, _default_level(options, Level.STUDY))
    above = [UNIQUE_KEYS[each] for each in chosen.levels_down_to(at)[:-1]]
    wanted = [parse_key(name) for name in (*_columns(chosen, at), *above)]
    first = parse_key(f"QueryRetrieveLevel={at}")
    return Query(chosen, at, tuple(_unique([first, *wanted, *_moved(given, at)])))


def retrieve_query(
    *, level: str | None, model: str | None, keys: Sequence[str], options: Mapping[str, Any]
) -> Query:
    """What `move` and `get` ask for: unique keys of the level and those above it, with values (PS3.4 Section C.4.2.2.1).

    Raises
    ------
    ConfigurationError
        A key that cannot be, or no value for the unique key of the level: that would ask for all there is.
    """
    given = [*_shorthands(options), *(parse_key(text) for text in keys)]
    chosen, at = _model_and_level(model, level, _default_level(options, Level.PATIENT))
    if not any(key.value and key.name == UNIQUE_KEYS[at] for key in given):
        raise ConfigurationError(
            f"name what to retrieve: at level {at} that is {UNIQUE_KEYS[at]} (`dicomrelay find` shows it)"
        )
    return Query(chosen, at, tuple(_unique([parse_key(f"QueryRetrieveLevel={at}"), *given])))


def conclusion_words(conclusion: Conclusion) -> str:
    """What the peer said at the end, for people."""
    words = query_status_name(conclusion.status)
    if conclusion.offending:
        words += f"; offending: {', '.join(tag_name(tag) for tag in conclusion.offending)}"
    return f'{words}; it says "{shown(conclusion.comment)}"' if conclusion.comment else words


def _shorthands(options: Mapping[str, Any]) -> Iterator[Key]:
    for option, keyword in _SHORTHANDS.items():
        value = options.get(option)
        if value:
            text = "\\".join(value) if isinstance(value, tuple) else value
            yield parse_key(f"{keyword}={text}")


def _moved(keys: Sequence[Key], level: Level | None) -> Iterator[Key]:
    for key in keys:
        name = _ELSEWHERE.get((level, key.name))
        yield parse_key(f"{name}={key.value}") if name else key


def _unique(keys: Sequence[Key]) -> list[Key]:
    """Each attribute once: a later key, such as a given one, wins over an earlier, such as one asked for by default."""
    return list({key.path: key for key in keys}.values())


def _default_level(options: Mapping[str, Any], otherwise: Level) -> Level:
    for option, level in (("instance", Level.IMAGE), ("series", Level.SERIES), ("study", Level.STUDY)):
        if options.get(option):
            return level
    return otherwise


def _model_and_level(model: str | None, level: str | None, otherwise: Level) -> tuple[QueryModel, Level]:
    at = Level(level.upper()) if level else otherwise
    chosen = RETRIEVE_MODELS[model] if model else PATIENT_ROOT if at is Level.PATIENT else STUDY_ROOT
    if at not in chosen.levels:
        levels = ", ".join(chosen.levels)
        raise ConfigurationError(f"the model {chosen.name} has no level {at}; it has {levels}")
    return chosen, at


_PATIENT_COLUMNS: Final = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
_COLUMNS: Final = {
    Level.PATIENT: _PATIENT_COLUMNS,
    Level.STUDY: (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ModalitiesInStudy",
        "StudyDescription",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
        "StudyInstanceUID",
    ),
    Level.SERIES: ("SeriesNumber", "Modality", "SeriesDescription", "NumberOfSeriesRelatedInstances", "SeriesInstanceUID"),
    Level.IMAGE: ("InstanceNumber", "SOPClassUID", "SOPInstanceUID"),
}  # fmt: skip
_WORKLIST_COLUMNS: Final = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "StudyInstanceUID",
    f"{_STEP}ScheduledProcedureStepStartDate",
    f"{_STEP}ScheduledProcedureStepStartTime",
    f"{_STEP}Modality",
    f"{_STEP}ScheduledStationAETitle",
    f"{_STEP}ScheduledPerformingPhysicianName",
    f"{_STEP}ScheduledProcedureStepDescription",
    f"{_STEP}ScheduledProcedureStepID",
)


def _columns(model: QueryModel, level: Level) -> tuple[str, ...]:
    # In Study Root the attributes of the patient are the study's (PS3.4 Section C.6.2.1.2).
    is_top = level is Level.STUDY and Level.PATIENT not in model.levels
    return (*_PATIENT_COLUMNS[:2], *_COLUMNS[level]) if is_top else _COLUMNS[level]

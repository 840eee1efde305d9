"""Options to queries: models, levels and keys."""

from __future__ import annotations

from typing import Any

import pytest

from dicomrelay.cli.query_options import conclusion_words, find_query, retrieve_query
from dicomrelay.dicom.query_models import (
    MODALITY_WORKLIST,
    PATIENT_ROOT,
    PATIENT_STUDY_ONLY,
    STUDY_ROOT,
    Level,
)
from dicomrelay.errors import ConfigurationError
from dicomrelay.net.query_retrieve import Conclusion


def _find(
    *keys: str, level: str | None = None, model: str | None = None, worklist: bool = False, **options: Any
) -> Any:
    return find_query(worklist=worklist, level=level, model=model, keys=keys, options=options)


def test_a_find_asks_for_studies_unless_told() -> None:
    """With what one wants to see of a study, its patient included (PS3.4 Section C.6.2.1.2)."""
    query = _find(patient_name="A*", modality="CT")
    found = query.identifier()
    assert (query.model, query.level) == (STUDY_ROOT, Level.STUDY)
    assert found.QueryRetrieveLevel == "STUDY"
    assert found.PatientName == "A*"
    assert found.ModalitiesInStudy == "CT"
    assert "Modality" not in found
    assert found["StudyInstanceUID"].is_empty


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ({"study": ("1.2",)}, "STUDY"),
        ({"study": ("1.2",), "series": ("1.3",)}, "SERIES"),
        ({"study": ("1.2",), "series": ("1.3",), "instance": ("1.4", "1.5")}, "IMAGE"),
    ],
)
def test_the_most_particular_uid_says_the_level(options: dict[str, Any], level: str) -> None:
    """Several UIDs are a list to match."""
    found = _find(**options).identifier()
    assert found.QueryRetrieveLevel == level
    assert found.StudyInstanceUID == "1.2"
    if level == "IMAGE":
        assert list(found.SOPInstanceUID) == ["1.4", "1.5"]
    retrieved = retrieve_query(level=None, model=None, keys=(), options=options).identifier()
    assert retrieved.QueryRetrieveLevel == level
    assert len(retrieved) == len(options) + 1


def test_below_its_level_a_query_has_no_key_and_above_it_the_unique_ones() -> None:
    """A strict peer refuses anything else (PS3.4 Section C.4.1.2.1)."""
    found = _find(level="series", study=("1.2",), modality="CT").identifier()
    assert found.Modality == "CT"
    assert found.StudyInstanceUID == "1.2"
    assert not {"PatientName", "StudyDate", "SOPInstanceUID"} & set(found.dir())
    top = _find(level="patient")
    assert top.model is PATIENT_ROOT
    assert "StudyInstanceUID" not in top.identifier()
    assert "PatientID" in _find(level="STUDY", model="patient-study-only").identifier()


def test_a_worklist_has_its_keys_in_the_scheduled_step() -> None:
    """Modality and date are the step's, and there is no level."""
    query = _find(worklist=True, modality="CT", study_date="20261121", patient_id="7")
    found = query.identifier()
    assert (query.model, query.level) == (MODALITY_WORKLIST, None)
    assert "QueryRetrieveLevel" not in found
    step = found.ScheduledProcedureStepSequence[0]
    assert (step.Modality, step.ScheduledProcedureStepStartDate, found.PatientID) == ("CT", "20261121", "7")
    assert "ScheduledStationAETitle" in step


def test_a_key_that_is_given_wins_over_one_asked_for() -> None:
    """Each attribute is in the identifier once."""
    found = _find("StudyDate=20260101", "PatientID", patient_id="7").identifier()
    assert found.StudyDate == "20260101"
    assert found["PatientID"].is_empty


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"level": "PATIENT", "model": "study"}, "no level PATIENT"),
        ({"level": "SERIES", "model": "patient-study-only"}, "no level SERIES"),
        ({"level": "STUDY", "worklist": True}, "neither"),
        ({"model": "study", "worklist": True}, "neither"),
    ],
)
def test_what_cannot_be_asked_is_refused(how: dict[str, Any], words: str) -> None:
    """Before any association."""
    with pytest.raises(ConfigurationError, match=words):
        _find(**how)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"patient_name": "A"},
        {"level": "STUDY", "patient_id": "7"},
        {"level": "SERIES", "study": ("1.2",)},
        {"series": ("",)},
    ],
)
def test_a_retrieval_names_what_it_wants(how: dict[str, Any]) -> None:
    """Without a value for the unique key of its level it would ask for all there is."""
    level = how.pop("level", None)
    with pytest.raises(ConfigurationError, match="name what to retrieve"):
        retrieve_query(level=level, model=None, keys=(), options=how)


def test_a_patient_is_retrieved_in_patient_root() -> None:
    """Study Root has no such level."""
    query = retrieve_query(level=None, model=None, keys=(), options={"patient_id": "7"})
    assert (query.model, query.level) == (PATIENT_ROOT, Level.PATIENT)
    with_model = retrieve_query(level=None, model="patient-study-only", keys=("PatientID=7",), options={})
    assert with_model.model is PATIENT_STUDY_ONLY


def test_what_a_peer_says_drives_no_terminal() -> None:
    """Escape sequences of a comment are shown as what they are: nothing."""
    words = conclusion_words(Conclusion(0xA900, "bad \x1b[2Jkey\n", (0x00100020, 0x00091001)))
    assert "identifier does not match" in words
    assert "PatientID, 0009,1001" in words
    assert words.isprintable()
    assert "\x1b" not in words


@pytest.mark.parametrize(
    "date", ["2018-09-25", "2018.09.25", "20181301", "20180932", "2018", "-", "20180101-2018", "2018*"]
)
def test_a_date_that_no_peer_matches_is_refused_with_the_form(date: str) -> None:
    """A peer would answer nothing, as if there were nothing."""
    with pytest.raises(ConfigurationError, match="YYYYMMDD"):
        _find(study_date=date).identifier()


@pytest.mark.parametrize(
    "date", ["20180925", "20180925-", "-20180925", "20180101-20181231", "20180101\\20180102"]
)
def test_dates_and_ranges_go_as_they_are(date: str) -> None:
    """PS3.4 Section C.2.2.2.5."""
    found = _find(study_date=date).identifier()["StudyDate"].value
    assert (found if isinstance(found, str) else "\\".join(found)) == date


@pytest.mark.parametrize(
    ("time", "is_time"), [("10:00", False), ("1000-12", True), ("07", True), ("2400", False)]
)
def test_times_too(time: str, is_time: bool) -> None:
    """HH, HHMM, HHMMSS, with a fraction, and ranges of them."""
    query = _find(f"StudyTime={time}")
    if is_time:
        assert query.identifier().StudyTime == time
    else:
        with pytest.raises(ConfigurationError, match="HHMMSS"):
            query.identifier()

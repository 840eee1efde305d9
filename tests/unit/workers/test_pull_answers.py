"""What is taken of a source's answers: what was asked for, no longer than it may be, and no UID that is none."""

from __future__ import annotations

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import Level
from dicomrelay.dimse.query_keys import parse_key
from dicomrelay.ledger.values_pulls import Listed
from workers.pull_ask import _fits, _listed, _number, _one_study_each, _told


def test_of_an_answer_only_what_was_asked_for_is_kept() -> None:
    """As text, without what is empty or longer than any such attribute."""
    answer = Dataset()
    answer.StudyInstanceUID, answer.PatientID, answer.PatientName = "1.2", " 4711 ", "DOE^JOHN"
    answer.ModalitiesInStudy, answer.StudyDescription = ["CT", "SR"], "X" * 100_000
    answer.NumberOfStudyRelatedInstances, answer.StudyDate = 12, ""
    keep = ("StudyInstanceUID", "PatientID", "ModalitiesInStudy", "StudyDescription", "StudyDate")

    told = _told(answer, (*keep, "NumberOfStudyRelatedInstances", "0009,0010", "Nothing"))

    assert told == {
        "StudyInstanceUID": ("1.2",),
        "PatientID": ("4711",),
        "ModalitiesInStudy": ("CT", "SR"),
        "NumberOfStudyRelatedInstances": ("12",),
    }


def test_a_number_that_is_none_is_not_known() -> None:
    """Nor one beyond the largest Integer String (PS3.5 Table 6.2-1)."""
    texts = {"12": 12, "+3": 3, "0": 0, "-1": None, "1e3": None, "": None, "2147483648": None, "9" * 40: None}
    assert {text: _number({"N": (text,)}, "N") for text in texts} == texts
    assert _number({}, "N") is None


def test_what_is_no_uid_is_not_listed_and_what_comes_twice_is_listed_once() -> None:
    """A UID becomes a key of rows and of requests to the source."""
    uids = ["1.2", "../../etc/passwd", "1.2", "1" * 65, "", "1.3"]
    answers = [{"StudyInstanceUID": (uid,), "NumberOfStudyRelatedInstances": ("5",)} for uid in uids]
    assert _listed(Level.STUDY, answers, ["PatientID=1"]) == (Listed("1.2", "", 5), Listed("1.3", "", 5))
    series = [{"StudyInstanceUID": ("1.2",), "SeriesInstanceUID": (uid,)} for uid in ("1.2.1", "x")]
    assert _listed(Level.SERIES, series, ["StudyInstanceUID=1.2"]) == (Listed("1.2", "1.2.1"),)


def test_a_study_that_was_named_and_is_in_no_answer_is_listed_unless_something_else_was_asked() -> None:
    """Who names a study wants to know; a modality may have left it out."""
    answers = [{"StudyInstanceUID": ("1.2",)}]
    assert _listed(Level.STUDY, answers, ["StudyInstanceUID=1.2\\1.3"]) == (Listed("1.2"), Listed("1.3"))
    named = ["StudyInstanceUID=1.2\\1.3", "ModalitiesInStudy=CT"]
    assert _listed(Level.STUDY, answers, named) == (Listed("1.2"),)


def test_an_answer_that_was_not_asked_for_is_left_out() -> None:
    """Another patient, study or modality; wildcards and what the source does not tell are its own matter."""
    given = [
        parse_key("PatientID=4711"),
        parse_key("ModalitiesInStudy=CT"),
        parse_key("StudyDescription=HEAD*"),
    ]
    assert _fits({"PatientID": ("4711",), "ModalitiesInStudy": ("SR", "CT")}, given)
    assert _fits({}, given)
    assert not _fits({"PatientID": ("4712",)}, given)
    assert not _fits({"ModalitiesInStudy": ("MR",)}, given)
    assert _fits({"PatientID": ("4712",)}, [parse_key("PatientID=47*")])
    assert not _fits({"StudyInstanceUID": ("1.4",)}, [parse_key("StudyInstanceUID=1.2\\1.3")])


def test_several_studies_are_asked_for_one_by_one() -> None:
    """Not every source matches a list of UIDs; the other keys go with each."""
    given = [parse_key("StudyInstanceUID=1.2\\1.3"), parse_key("PatientID=1")]
    assert [[f"{key.name}={key.value}" for key in keys] for keys in _one_study_each(given)] == [
        ["PatientID=1", "StudyInstanceUID=1.2"],
        ["PatientID=1", "StudyInstanceUID=1.3"],
    ]
    assert _one_study_each(given[1:]) == [given[1:]]

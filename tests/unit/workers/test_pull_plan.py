"""What a pull asks for, what it takes as proof, and which priors are relevant."""

from __future__ import annotations

import pytest

from dicomrelay.dicom.query_models import Level
from dicomrelay.ledger.values_pulls import Fetched, Listed, Missing, PriorsRule, Proof
from dicomrelay.net.query_retrieve import Conclusion, Counts
from workers.pull_ask import listed_unasked, studies_named
from workers.pull_plan import (
    Announced,
    Request,
    Retrieved,
    Told,
    choose_priors,
    fetched,
    needs_series,
    requests,
    text_of,
)

_STUDY = {"1.1": "1", "1.2": "1", "2.1": "2", "2.2": "2", "2.3": "2"}


def asked(here: set[str], *, attempt: int = 1, series: str = "") -> list[Request]:
    return list(requests("9", series, _STUDY, here, attempt=attempt))


def test_nothing_is_asked_for_that_is_here() -> None:
    """A study, the series of which nothing is here, the instances that are missing of the others; or nothing."""
    assert asked(set()) == [Request(Level.STUDY, "9")]
    assert asked({"1.1", "1.2"}) == [Request(Level.SERIES, "9", "2")]
    assert asked({"2.1"}) == [Request(Level.SERIES, "9", "1"), Request(Level.IMAGE, "9", "2", ("2.2", "2.3"))]
    assert asked(set(_STUDY)) == []


def test_a_source_that_takes_no_lists_is_asked_for_whole_series() -> None:
    """From the third round on."""
    assert asked({"2.1"}, attempt=3) == [Request(Level.SERIES, "9", "1"), Request(Level.SERIES, "9", "2")]


def test_of_a_series_that_is_wanted_alone_the_study_is_not_asked_for() -> None:
    """Although all that is announced is missing."""
    only = {uid: series for uid, series in _STUDY.items() if series == "2"}
    assert list(requests("9", "2", only, set(), attempt=1)) == [Request(Level.SERIES, "9", "2")]


def test_lists_of_uids_are_bounded() -> None:
    """A hundred in one request (an identifier has its bounds), as one value or many."""
    many = {f"1.{number}": "1" for number in range(251)}
    made = list(requests("9", "", many, {"1.0"}, attempt=1))
    assert [len(each.instances) for each in made] == [100, 100, 50]
    identifier = made[0].identifier()
    assert identifier.QueryRetrieveLevel == "IMAGE"
    assert (identifier.StudyInstanceUID, identifier.SeriesInstanceUID) == ("9", "1")
    assert len(identifier.SOPInstanceUID) == 100
    assert Request(Level.IMAGE, "9", "1", ("1.1",)).identifier().SOPInstanceUID == "1.1"


def test_every_uid_that_was_announced_is_the_best_proof() -> None:
    """And one that is missing is named."""
    announced = Announced(_STUDY, count=5)
    assert fetched(announced, set(_STUDY), None) == Fetched(5, 5, (), Proof.UIDS)
    assert fetched(announced, set(_STUDY) - {"2.3"}, None) == Fetched(5, 4, (Missing("2", "2.3"),))
    assert fetched(Announced({}, count=0), set(), None).proof is None


def test_a_number_is_proof_where_nothing_else_is_known() -> None:
    """More may be here than the source has; fewer is no proof, whatever it says."""
    well = Retrieved(completed=3)
    assert fetched(Announced(None, count=3), 4, None) == Fetched(3, 3, (), Proof.COUNTS)
    assert fetched(Announced(None, count=3), 2, well) == Fetched(3, 2)


@pytest.mark.parametrize(
    ("retrieved", "proof"),
    [
        (None, None),
        (Retrieved(), None),
        (Retrieved(completed=3), Proof.WORD),
        (Retrieved(completed=3, failed=1), None),
        (Retrieved(completed=3, failures=[0xB000]), None),
        (Retrieved(completed=3, refused=1), None),
        # Success without counters, before and after what came has settled.
        (Retrieved(uncounted=1), None),
        (Retrieved(uncounted=1, settled=True), Proof.WORD),
        (Retrieved(uncounted=1, settled=True, failed=1), None),
    ],
)
def test_the_word_of_the_source_is_proof_only_without_any_failure(
    retrieved: Retrieved | None, proof: Proof | None
) -> None:
    """Nothing that came is none either."""
    assert fetched(Announced(None), 3, retrieved).proof is proof


def test_what_several_retrievals_came_to_adds_up() -> None:
    """The list of failed UIDs counts where the counter is missing."""
    retrieved = Retrieved()
    retrieved.add(Conclusion(0, counts=Counts(0, 3, 0, 1)))
    retrieved.add(Conclusion(0xB000, counts=Counts(0, 2, None, None), failed_uids=("1.1", "1.2")))
    assert (retrieved.completed, retrieved.failed, retrieved.failures) == (6, 2, [0xB000])
    assert not retrieved.is_well


@pytest.mark.parametrize(
    ("status", "counts", "here", "proof"),
    [
        (0x0000, Counts(), 3, Proof.WORD),
        (0x0000, Counts(), 0, None),
        (0x0000, Counts(completed=0), 3, None),
        (0xB000, Counts(completed=2, failed=0, warning=1), 3, Proof.WORD),
        (0xB000, Counts(completed=2, failed=1, warning=1), 3, None),
        (0xB000, Counts(), 3, None),
        (0xA702, Counts(completed=2, failed=0), 3, None),
    ],
)
def test_a_source_that_says_no_more_than_it_must_can_give_its_word(
    status: int, counts: Counts, here: int, proof: Proof | None
) -> None:
    """Counters may be missing (PS3.4 Section C.4.2.1.6), and B000 has warnings too (Table C.4-3)."""
    retrieved = Retrieved(settled=True)
    retrieved.add(Conclusion(status, counts=counts))
    assert fetched(Announced(None), here, retrieved).proof is proof


def study(uid: str, date: str = "20260101", **more: str | list[str]) -> Told:
    """An answer at level STUDY of patient 4711."""
    values = {"StudyInstanceUID": uid, "StudyDate": date, "PatientID": "4711", **more}
    told = {name: [each] if isinstance(each, str) else each for name, each in values.items()}
    return {name: each for name, each in told.items() if any(each)}


def series(modality: str, body_part: str = "") -> Told:
    return {"Modality": (modality,), "BodyPartExamined": (body_part,)}


def chosen(rule: PriorsRule, *studies: Told, **by_study: list[Told]) -> list[str]:
    of = {name.replace("_", "."): each for name, each in by_study.items()}
    return [text_of(each, "StudyInstanceUID") for each in choose_priors(rule, studies, of)]


def test_the_newest_priors_come_first_and_no_more_than_are_wanted() -> None:
    """The study itself is none; of one without a date nobody knows that it is new."""
    studies = [
        study("1.1", "20240101"),
        study("1.2", "20260101"),
        study("1.3", "20250101"),
        study("1.9", "20260202"),
    ]
    assert chosen(PriorsRule("1.9", "4711", newest=2), *studies) == ["1.2", "1.3"]
    assert chosen(PriorsRule("1.9", "4711", newest=9), study("1.4", ""), *studies)[-1] == "1.4"


def test_priors_are_of_that_very_patient() -> None:
    """Whatever a source takes for a match; two issuers that differ are two patients."""
    rule = PriorsRule("1.9", "4711", issuer="CLINIC")
    others = [
        study("1.1", PatientID="4711X"),
        study("1.2", PatientID=""),
        study("1.3", IssuerOfPatientID="OTHER"),
    ]
    assert chosen(rule, *others) == []
    assert chosen(rule, study("1.4", IssuerOfPatientID="CLINIC"), study("1.5")) == ["1.4", "1.5"]


def test_priors_share_modality_and_body_part_where_that_is_asked() -> None:
    """By what the source says of the study, or of its series; a word of the description counts, a part of a word does not."""
    rule = PriorsRule("1.9", "4711", modality="CT", body_part="HEAD")
    described = study("1.1", ModalitiesInStudy=["SR", "CT"], StudyDescription="CT Head native")
    other = study("1.2", ModalitiesInStudy="MR", StudyDescription="HEAD")
    part = study("1.3", ModalitiesInStudy="CT", StudyDescription="FOREHEAD")
    assert chosen(rule, described, other, part) == ["1.1"]
    assert chosen(rule, part, _1_3=[]) == []
    assert chosen(rule, part, **{"1_3": [series("CT", "Head")]}) == ["1.3"]
    assert chosen(rule, study("1.4"), **{"1_4": [series("CT", "HEAD"), series("SR")]}) == ["1.4"]


def test_only_what_is_not_clear_is_asked_for_at_level_series() -> None:
    """A question a study costs time."""
    rule = PriorsRule("1.9", "4711", modality="CT", body_part="HEAD")
    assert not needs_series(rule, study("1.1", ModalitiesInStudy="CT", StudyDescription="HEAD"))
    assert needs_series(rule, study("1.1", ModalitiesInStudy="CT", StudyDescription="THORAX"))
    assert needs_series(rule, study("1.1", StudyDescription="HEAD"))
    assert not needs_series(rule, study("1.9"))
    assert not needs_series(PriorsRule("1.9", "4711"), study("1.1"))


def test_priors_are_no_older_than_asked_for() -> None:
    """A source may take the date for no key."""
    rule = PriorsRule("1.9", "4711", since="20250101")
    assert chosen(rule, study("1.1", "20241231"), study("1.2", "20250101")) == ["1.2"]


def test_what_a_question_names_can_be_fetched_from_a_source_that_answers_none() -> None:
    """UIDs only; a patient's studies nobody can guess."""
    assert listed_unasked(("StudyInstanceUID=1.2\\1.3",), "STUDY") == (Listed("1.2"), Listed("1.3"))
    assert listed_unasked(("StudyInstanceUID=1.2", "SeriesInstanceUID=1.2.1"), "SERIES") == (
        Listed("1.2", "1.2.1"),
    )
    assert listed_unasked(("PatientID=4711",), "STUDY") == ()
    assert studies_named(("0020,000D=1.2",)) == ("1.2",)

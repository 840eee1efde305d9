"""What instances say that is not what is kept: written down, bounded, and nothing is written over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from archive.index.adding import add_instances
from archive.index.database import open_database
from archive.index.disagreeing import MOST_OTHERS, listed_disagreements
from archive.index.entries import NewInstance
from archive.index.schema import patients, series, studies
from dicomrelay.ledger.engine import Database
from tests.support.archive_index import new_instance


@pytest.fixture
def index(empty_url: str) -> Iterator[Database]:
    opened = open_database(empty_url)
    yield opened
    opened.dispose()


def add(index: Database, *new: NewInstance) -> None:
    index.transact(lambda work: add_instances(work, new))


def listed(index: Database, uid: str = "") -> list[tuple[str, str, str, str, str, str]]:
    return [
        (each.level, each.uid, each.column, each.kept, each.other, each.sop_instance_uid)
        for each in listed_disagreements(index, uid)
    ]


def test_a_second_instance_does_not_change_what_the_first_said(index: Database) -> None:
    """In the same batch or a later one; what was missing is filled in."""
    add(index, new_instance("1.1", patient_id="P1", patient_name="Doe^John", modality="CT"))
    add(
        index,
        new_instance("1.2", patient_id="P1", patient_name="Roe^Jane", study_date="20240101", modality="MR"),
        new_instance("1.3", patient_id="P2", patient_name="DOE^JOHN^^", modality="MR"),
    )
    add(index, new_instance("1.4", patient_name="Roe^Jane", study_date="20240101"))

    with index.read() as work:
        [study] = work.connection.execute(select(studies)).mappings().all()
        [one] = work.connection.execute(select(series)).mappings().all()
    assert (study["patient_name"], study["patient_name_key"]) == ("Doe^John", "doe^john")
    assert (study["patient_id"], study["study_date"], one["modality"]) == ("P1", "20240101", "CT")
    assert set(listed(index)) == {
        ("study", "1.2", "patient_name", "Doe^John", "Roe^Jane", "1.2"),
        ("study", "1.2", "patient_id", "P1", "P2", "1.3"),
        ("study", "1.2", "patient_name", "Doe^John", "DOE^JOHN^^", "1.3"),
        ("series", "1.2.1", "modality", "CT", "MR", "1.2"),
    }


def test_studies_of_one_patient_may_disagree_about_the_patient(index: Database) -> None:
    """Each study keeps what it says; the patient keeps what came first."""
    add(index, new_instance("1.1", patient_id="P1", patient_name="Maiden^Ann", patient_sex="F"))
    add(index, new_instance("2.1", study="1.3", patient_id="P1", patient_name="Married^Ann"))
    add(index, new_instance("3.1", study="1.4", patient_id="P1", patient_birth_date="19700101"))

    with index.read() as work:
        [patient] = work.connection.execute(select(patients)).mappings().all()
    assert (patient["patient_name"], patient["patient_sex"]) == ("Maiden^Ann", "F")
    assert (patient["patient_birth_date"], patient["patient_name_words"]) == (
        "19700101",
        " ann maiden ~a500 ~m350 ",
    )
    assert listed(index, "P1") == [("patient", "P1", "patient_name", "Maiden^Ann", "Married^Ann", "2.1")]
    assert listed(index, "1.3") == []


def test_a_study_that_learns_who_its_patient_is_is_put_under_that_patient(index: Database) -> None:
    """And the one without a name goes."""
    add(index, new_instance("1.1", patient_id="P1"), new_instance("2.1", study="1.3"))
    add(index, new_instance("2.2", study="1.3", patient_id="P1"))

    with index.read() as work:
        held = work.connection.execute(select(patients.c.patient_id)).scalars().all()
        of = work.connection.execute(select(studies.c.patient)).scalars().all()
    assert held == ["P1"]
    assert len(set(of)) == 1


def test_there_are_no_more_than_a_hundred_others_of_one_attribute(index: Database) -> None:
    """Equipment that writes another time into each instance does not fill the index."""
    add(index, new_instance("0", series_time="000000", series_description="kept"))
    for start in range(0, 3 * MOST_OTHERS, MOST_OTHERS // 2):
        add(
            index,
            *(
                new_instance(f"1.{number}", series_time=f"1{number:05d}")
                for number in range(start, start + MOST_OTHERS // 2)
            ),
        )
    add(index, new_instance("2", series_description="other"))

    columns = [each[2] for each in listed(index)]
    assert columns.count("series_time") == MOST_OTHERS
    assert columns.count("series_description") == 1

"""Counters of the index: right after whatever is written, by how many at once it may be."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, text, update

from archive.index.adding import add_instances, remove_instances, replace_instances, resize_instances
from archive.index.changes import FILES
from archive.index.counters import verify_counters
from archive.index.database import open_database
from archive.index.entries import NewInstance
from archive.index.schema import disagreements, instances, patients, series, studies, tombstones
from dicomrelay.ledger.engine import Database, Work
from tests.support.archive_index import new_instance


@pytest.fixture
def index(empty_url: str) -> Iterator[Database]:
    opened = open_database(empty_url)
    yield opened
    opened.dispose()


def add(index: Database, *new: NewInstance) -> None:
    index.transact(lambda work: add_instances(work, new))


def wrong(index: Database) -> list[str]:
    with index.read() as work:
        return verify_counters(work)


def rows(index: Database, table: Any) -> list[dict[str, Any]]:
    with index.read() as work:
        return [dict(row) for row in work.connection.execute(select(table).order_by(table.c.id)).mappings()]


def test_what_is_added_is_counted(index: Database) -> None:
    """Instances and bytes of a series and a study, series of a study, the modalities of all."""
    add(
        index,
        new_instance("1.1", file_bytes=1000, modality="CT"),
        new_instance("1.2", file_bytes=500, modality="CT"),
        new_instance("1.3", series="1.2.2", file_bytes=200, modality="SR"),
        new_instance("1.4", series="1.2.3", file_bytes=200),
    )

    [study] = rows(index, studies)
    assert (study["series_count"], study["instance_count"], study["byte_count"]) == (3, 4, 1900)
    assert study["modalities"] == "CT\\SR"
    assert [(row["instance_count"], row["byte_count"]) for row in rows(index, series)] == [
        (2, 1500), (1, 200), (1, 200),
    ]  # fmt: skip
    assert wrong(index) == []


def test_what_is_there_already_is_not_counted_again(index: Database) -> None:
    """Nor does it leave an empty series or study behind, where it says that it belongs elsewhere."""
    add(index, new_instance("1.1", digest="a"))
    known = index.transact(
        lambda work: add_instances(
            work, [new_instance("1.1", study="1.9", digest="b", patient_id="P9"), new_instance("1.2")]
        )
    )

    assert known["1.1"].digest == "a"
    assert [row["study_instance_uid"] for row in rows(index, studies)] == ["1.2"]
    assert [row["patient_id"] for row in rows(index, patients)] == [None]
    assert rows(index, studies)[0]["instance_count"] == 2
    assert wrong(index) == []


def test_what_is_removed_is_taken_off_and_leaves_a_tombstone(index: Database) -> None:
    """Series, studies and patients go with the last that was in them, and what was written down about them."""
    add(
        index,
        new_instance("1.1", patient_id="P1", patient_name="Doe"),
        new_instance("1.2", patient_id="P1", patient_name="Roe", series="1.2.2"),
        new_instance("2.1", study="1.3", patient_id="P2"),
    )
    assert len(rows(index, disagreements)) == 1

    gone = index.transact(
        lambda work: remove_instances(work, ["1.2", "2.1", "9.9"], reason="asked", removed_by="tester")
    )

    assert sorted(each.sop_instance_uid for each in gone) == ["1.2", "2.1"]
    assert [row["series_instance_uid"] for row in rows(index, series)] == ["1.2.1"]
    assert [row["patient_id"] for row in rows(index, patients)] == ["P1"]
    assert {(row["sop_instance_uid"], row["reason"], row["removed_by"]) for row in rows(index, tombstones)} == {
        ("1.2", "asked", "tester"), ("2.1", "asked", "tester"),
    }  # fmt: skip
    assert wrong(index) == []

    index.transact(lambda work: remove_instances(work, ["1.1"], reason="", removed_by=""))
    for table in (patients, studies, series, instances, disagreements):
        assert rows(index, table) == []


def test_what_is_put_in_anothers_place_is_counted_in_its_own(index: Database) -> None:
    """Also when it says that it belongs into another study."""
    add(index, new_instance("1.1", file_bytes=1000, modality="CT"), new_instance("1.2", file_bytes=10_000))
    index.transact(
        lambda work: replace_instances(
            work, [new_instance("1.1", study="1.7", digest="new", file_bytes=300, modality="MR")]
        )
    )

    assert {
        row["study_instance_uid"]: (row["instance_count"], row["byte_count"], row["modalities"])
        for row in rows(index, studies)
    } == {"1.2": (1, 10_000, "CT"), "1.7": (1, 300, "MR")}
    assert rows(index, tombstones) == []
    assert wrong(index) == []


def test_a_file_of_another_size_is_counted_as_it_is(index: Database) -> None:
    """Put back behind another file meta."""
    add(index, new_instance("1.1", file_bytes=1000), new_instance("1.2", file_bytes=1000))
    index.transact(lambda work: resize_instances(work, {"1.1": (1200, 300)}))

    assert rows(index, instances)[0]["file_bytes"] == 1200
    assert rows(index, studies)[0]["byte_count"] == 2200
    assert wrong(index) == []


def test_a_counter_that_is_wrong_is_named(index: Database) -> None:
    """The check of the other tests can fail."""
    add(index, new_instance("1.1", modality="CT"), new_instance("2.1", study="1.3"))
    with index.write() as work:
        work.connection.execute(
            update(series).where(series.c.series_instance_uid == "1.2.1").values(byte_count=1)
        )
        work.connection.execute(
            update(studies).where(studies.c.study_instance_uid == "1.3").values(modalities="MR")
        )

    assert wrong(index) == ["series 1.2.1", "study 1.3"]


def _deeds(seed: int) -> list[tuple[str, Sequence[NewInstance]]]:
    """Adding, replacing and removing among few studies, patients and series, so that they meet."""
    choose = random.Random(seed)
    deeds = []
    for _ in range(25):
        batch = {}
        for _ in range(choose.randint(1, 8)):
            uid = f"1.{choose.randrange(60)}"
            study = f"1.2.{choose.randrange(4)}"
            batch[uid] = new_instance(
                uid,
                study=study,
                series=f"{study}.{choose.randrange(3)}",
                digest=str(choose.random()),
                file_bytes=choose.randint(200, 5000),
                modality=choose.choice(("CT", "MR", None)),
                patient_id=choose.choice(("P1", "P2", None)),
                patient_name=choose.choice(("Doe", "Roe", None)),
                series_description=choose.choice(("a", "b", None)),
            )
        deeds.append((choose.choice(("add", "add", "replace", "remove")), [*batch.values()]))
    return deeds


def _do(index: Database, deed: str, batch: Sequence[NewInstance]) -> None:
    uids = [item.request.sop_instance_uid for item in batch]

    def write(work: Work) -> object:
        if deed == "add":
            work.shared(FILES)
            return add_instances(work, batch)
        work.exclusive(FILES)
        if deed == "replace":
            return replace_instances(work, batch)
        return remove_instances(work, uids, reason="", removed_by="")

    index.transact(write)


@pytest.mark.parametrize("seed", range(3))
def test_counters_are_right_whatever_many_do_at_once(index: Database, seed: int) -> None:
    """Six writers in the same studies: no deadlock that reaches a caller, nothing counted twice, nothing empty left."""

    def write(number: int) -> None:
        for deed, batch in _deeds(seed * 100 + number):
            _do(index, deed, batch)

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(write, number) for number in range(6)]:
            done.result()

    assert wrong(index) == []
    with index.read() as work:
        for parent, child in (("patients", "studies"), ("studies", "series"), ("series", "instances")):
            column = {"patients": "patient", "studies": "study", "series": "series"}[parent]
            empty = text(
                f"SELECT count(*) FROM archive_{parent} p WHERE NOT EXISTS"
                f" (SELECT 1 FROM archive_{child} c WHERE c.{column} = p.id)"
            )
            assert work.connection.execute(empty).scalar_one() == 0
        held = work.connection.execute(select(instances.c.digest)).scalars().all()
    assert held

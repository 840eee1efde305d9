"""diff against another archive, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from archive import Archive
from archive.attributes import Level
from archive.differing import DifferenceKind, diff
from archive.values import Selection
from tests.support.exports import instance, stored

HERE, THERE, DIFFERING = DifferenceKind.ONLY_HERE, DifferenceKind.ONLY_THERE, DifferenceKind.DIFFERING


@pytest.fixture
def archives(empty_url: str, tmp_path: Path) -> Iterator[tuple[Archive, Archive]]:
    """One on the database of the test, and one of its own."""
    here = Archive.open(tmp_path / "here", database_url=empty_url)
    there = Archive.open(tmp_path / "there")
    yield here, there
    here.close()
    there.close()


def found(here: Archive, there: Archive, **options: Selection) -> list[tuple[DifferenceKind, str]]:
    differences = [*diff(here, there, **options)]
    assert all(each.level is Level.INSTANCE for each in differences)
    return [(each.kind, each.sop_instance_uid) for each in differences]


def test_the_same_has_no_difference(archives: tuple[Archive, Archive], tmp_path: Path) -> None:
    """Empty ones, and those with the same bytes in another order."""
    here, there = archives
    assert found(here, there) == []
    paths = [instance(tmp_path / "in", study, 1, number) for study in (1, 2) for number in (1, 2)]
    stored(here, paths)
    stored(there, reversed(paths))
    assert found(here, there) == []


def test_every_difference_is_told_once(archives: tuple[Archive, Archive], tmp_path: Path) -> None:
    """At the beginning, in the middle and at the end of either; other bytes; another series."""
    here, there = archives
    source = tmp_path / "in"
    both = [instance(source, study, 1, 1) for study in (2, 5)]
    stored(here, [*both, instance(source, 1, 1, 1), instance(source, 4, 1, 1), instance(source, 9, 1, 1)])
    stored(there, [*both, instance(source, 10, 1, 1), instance(source, 3, 1, 1), instance(source, 8, 1, 1)])
    stored(here, [instance(source, 6, 1, 1)])
    stored(there, [instance(source, 6, 1, 1, StudyDescription="other")])

    assert found(here, there) == [
        (HERE, "1.2.1.1.1"),
        (THERE, "1.2.10.1.1"),
        (THERE, "1.2.3.1.1"),
        (HERE, "1.2.4.1.1"),
        (DIFFERING, "1.2.6.1.1"),
        (THERE, "1.2.8.1.1"),
        (HERE, "1.2.9.1.1"),
    ]
    [differing] = [each for each in diff(here, there) if each.kind is DIFFERING]
    assert differing.reason == "other bytes"
    assert {len(differing.here), len(differing.there)} == {64}
    assert differing.here != differing.there
    back = [*diff(there, here)]
    assert [each.sop_instance_uid for each in back] == [uid for _, uid in found(here, there)]


def test_more_than_a_page(
    archives: tuple[Archive, Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of two, and differences at their borders."""
    monkeypatch.setattr("archive.index.pages.PAGE", 2)
    here, there = archives
    paths = [instance(tmp_path / "in", 1, 1, number) for number in range(1, 10)]
    stored(here, paths[:7])
    stored(there, paths[2:])
    told: list[int] = []

    differences = [*diff(here, there, on_progress=told.append)]
    assert [each.kind for each in differences] == [HERE, HERE, THERE, THERE]
    assert told == [9]


def test_of_a_selection(archives: tuple[Archive, Archive], tmp_path: Path) -> None:
    """What was not asked for is not told."""
    here, there = archives
    source = tmp_path / "in"
    stored(here, [instance(source, study, 1, 1) for study in (1, 2, 3)])
    stored(there, [instance(source, 4, 1, 1)])

    assert found(here, there, selection=Selection(study_uids=("1.2.2", "1.2.4"))) == [
        (HERE, "1.2.2.1.1"),
        (THERE, "1.2.4.1.1"),
    ]
    assert found(here, there, selection=Selection(patient_id="P3")) == [(HERE, "1.2.3.1.1")]

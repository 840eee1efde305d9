"""What the archive lets go of, on both databases: old enough, delivered everywhere, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from pydicom import dcmread

from archive import Archive, StoredInstance, StoreOutcome
from archive.removal import remove
from archive.retention import BY, Candidate, Stays, candidates, run
from archive.values import Selection
from dicomrelay.settings.storage import ArchiveRetentionRule, ArchiveRetentionSettings
from tests.support.archive import pydicom_file, request_for

DAY_MS = 86_400_000
# Study, days since it was stored, modalities of its instances.
STUDIES = (
    ("1.2.1", 400, ("CT", "CT", "CT")),
    ("1.2.2", 300, ("MR",)),
    ("1.2.3", 200, ("CT", "SR")),
    ("1.2.4", 100, ("US", "US")),
    ("1.2.5", 0, ("CT",)),
)


@pytest.fixture
def archive(empty_url: str, tmp_path: Path) -> Iterator[Archive]:
    opened = Archive.open(tmp_path / "archive", database_url=empty_url)
    ds = dcmread(pydicom_file("CT_small.dcm"))
    for study, days, modalities in STUDIES:
        requests = []
        for number, modality in enumerate(modalities):
            ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = study, f"{study}.{modality}", modality
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{study}.9.{number}"
            path = tmp_path / f"{ds.SOPInstanceUID}.dcm"
            ds.save_as(path)
            requests.append(request_for(path))
        assert {result.outcome for result in opened.store(requests)} == {StoreOutcome.STORED}
        make_older(opened, study, days)
    yield opened
    opened.close()


def make_older(archive: Archive, study: str, days: float) -> None:
    """As if it had been stored so many days ago."""
    ago = round(days * DAY_MS)
    with archive._database.write() as work:
        work.connection.exec_driver_sql(
            f"UPDATE archive_studies SET created_ms = created_ms - {ago} WHERE study_instance_uid = '{study}'"
        )
        work.connection.exec_driver_sql(
            f"UPDATE archive_instances SET stored_ms = stored_ms - {ago} WHERE sop_instance_uid LIKE '{study}.%%'"
        )


class Known:
    """A ledger that knows these reasons, by SOP Instance UID."""

    def __init__(self, **reasons: Stays) -> None:
        self.reasons = {uid.replace("_", "."): why for uid, why in reasons.items()}
        self.asked: list[str] = []

    def needed(self, stored: Sequence[StoredInstance]) -> Mapping[str, Stays]:
        self.asked += [each.sop_instance_uid for each in stored]
        return {
            each.sop_instance_uid: self.reasons[each.sop_instance_uid]
            for each in stored
            if each.sop_instance_uid in self.reasons
        }


def settings(**values: object) -> ArchiveRetentionSettings:
    return ArchiveRetentionSettings(**values)  # type: ignore[arg-type]


def rule(days: float, *modality: str) -> ArchiveRetentionRule:
    return ArchiveRetentionRule(days=days, modality=list(modality))


def deleting(archive: Archive, selection: Selection, reason: str) -> int:
    return remove(archive, selection, reason=reason, by=BY)


def let_go(archive: Archive, which: ArchiveRetentionSettings, known: Known | None = None) -> list[Candidate]:
    return list(run(archive, which, known or Known(), remove=deleting))


def left(archive: Archive) -> list[str]:
    return [study for study, *_ in STUDIES if next(archive.instances(study), None) is not None]


def test_nothing_goes_unless_somebody_says_so(archive: Archive) -> None:
    """The default is to keep everything."""
    assert let_go(archive, settings()) == []
    assert len(left(archive)) == len(STUDIES)


@pytest.mark.parametrize(
    ("rules", "stay"),
    [
        ([rule(250)], ["1.2.3", "1.2.4", "1.2.5"]),
        ([rule(250, "CT")], ["1.2.2", "1.2.3", "1.2.4", "1.2.5"]),
        # Its structured report is not of that modality, and the study goes as a whole or not at all.
        ([rule(1.5, "CT", "MR")], ["1.2.3", "1.2.4", "1.2.5"]),
        ([rule(1.5, "C?", "S*")], ["1.2.2", "1.2.4", "1.2.5"]),
        # The first that fits decides.
        ([rule(1000, "CT"), rule(50)], ["1.2.1", "1.2.5"]),
    ],
)
def test_age_goes_by_modality(archive: Archive, rules: list[ArchiveRetentionRule], stay: list[str]) -> None:
    """Files, rows and counters are gone; a tombstone says why and who."""
    gone = let_go(archive, settings(rules=rules))

    assert left(archive) == stay
    assert sorted(each.study_instance_uid for each in gone) == sorted(
        {study for study, *_ in STUDIES} - set(stay)
    )
    files = list((archive.layout.root / "data").rglob("*.dcm"))
    assert len(files) == archive.health.totals()[0] == archive.inventory().count()
    with archive._database.read() as work:
        stones = work.connection.exec_driver_sql(
            "SELECT study_instance_uid, reason, removed_by FROM archive_tombstones"
        ).all()
    assert {stone[0] for stone in stones} == {each.study_instance_uid for each in gone}
    assert {stone[2] for stone in stones} == {"retention"}
    assert all("days are over" in stone[1] for stone in stones)


def test_the_oldest_go_until_the_rest_fits(archive: Archive) -> None:
    """By size; what came lately stays even when the archive is too large."""
    size = {
        each.study_instance_uid: each.bytes for each in archive.ages.oldest_first(created_before_ms=2**62)
    }
    room = size["1.2.3"] + size["1.2.4"] + size["1.2.5"]

    gone = let_go(archive, settings(max_bytes=room))

    assert [each.study_instance_uid for each in gone] == ["1.2.1", "1.2.2"]
    assert [each.study_instance_uid for each in let_go(archive, settings(max_bytes=1))] == ["1.2.3", "1.2.4"]
    assert left(archive) == ["1.2.5"]


@pytest.mark.parametrize("why", [Stays.UNDELIVERED, Stays.IN_WORK, Stays.OTHER_BYTES])
def test_what_somebody_still_has_to_get_stays(archive: Archive, why: Stays) -> None:
    """One instance of it is enough, whichever bound would let the study go; it is told, and the others go."""
    known = Known(**{"1_2_1_9_2": why})

    found = let_go(archive, settings(rules=[rule(50)], max_bytes=1, undocumented=True), known)

    assert left(archive) == ["1.2.1", "1.2.5"]
    assert [(each.study_instance_uid, each.stays) for each in found if each.stays] == [("1.2.1", why)]


def test_what_the_ledger_does_not_know_stays_unless_it_may_go(archive: Archive) -> None:
    """Imported files: nobody can say that anybody else has them."""
    known = Known(**{"1_2_1_9_0": Stays.UNDOCUMENTED})

    let_go(archive, settings(rules=[rule(350)]), known)
    assert left(archive)[0] == "1.2.1"

    let_go(archive, settings(rules=[rule(350)], undocumented=True), known)
    assert left(archive)[0] == "1.2.2"


def test_an_instance_that_cannot_go_is_worse_than_one_that_nobody_knows(archive: Archive) -> None:
    """Leave for the one is no leave for the other of the same study."""
    known = Known(**{"1_2_1_9_0": Stays.UNDOCUMENTED, "1_2_1_9_1": Stays.UNDELIVERED})

    let_go(archive, settings(rules=[rule(350)], undocumented=True), known)

    assert left(archive)[0] == "1.2.1"


def test_a_study_that_grows_is_as_young_as_its_last_instance(archive: Archive, tmp_path: Path) -> None:
    """A late one comes: the whole study stays."""
    ds = dcmread(pydicom_file("CT_small.dcm"))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.1", "1.2.1.CT"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.1.9.77"
    ds.save_as(tmp_path / "late.dcm")
    archive.store([request_for(tmp_path / "late.dcm")])

    assert let_go(archive, settings(rules=[rule(250)], max_bytes=1, min_days=350)) == []
    assert [each.study_instance_uid for each in let_go(archive, settings(rules=[rule(250)]))] == ["1.2.2"]


def test_an_instance_that_comes_while_its_study_goes_stays(archive: Archive, tmp_path: Path) -> None:
    """What goes is what was asked about."""
    ds = dcmread(pydicom_file("CT_small.dcm"))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.1", "1.2.1.CT"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.1.9.77"
    ds.save_as(tmp_path / "late.dcm")

    def coming(into: Archive, selection: Selection, reason: str) -> int:
        into.store([request_for(tmp_path / "late.dcm")])
        return deleting(into, selection, reason)

    list(run(archive, settings(rules=[rule(350)]), Known(), remove=coming))

    assert [each.sop_instance_uid for each in archive.instances("1.2.1")] == ["1.2.1.9.77"]


def test_what_is_damaged_stays(archive: Archive) -> None:
    """Somebody is to look at it first."""
    with archive._database.write() as work:
        work.connection.exec_driver_sql(
            "UPDATE archive_instances SET damage = 'digest' WHERE sop_instance_uid = '1.2.1.9.1'"
        )

    [found] = let_go(archive, settings(rules=[rule(350)]))

    assert found.stays is Stays.DAMAGED
    assert left(archive)[0] == "1.2.1"


def test_a_dry_run_says_the_same_and_does_nothing(archive: Archive) -> None:
    """The size that it would leave counts, too."""
    size = {
        each.study_instance_uid: each.bytes for each in archive.ages.oldest_first(created_before_ms=2**62)
    }
    which = settings(max_bytes=sum(size.values()) - 1, dry_run=True)

    told = let_go(archive, which)

    assert told == list(candidates(archive, which, Known()))
    assert [each.study_instance_uid for each in told] == ["1.2.1"]
    assert len(left(archive)) == len(STUDIES)


def test_who_stops_has_done_whole_studies(archive: Archive) -> None:
    """No further one is begun."""
    stops = iter([False, True])

    list(run(archive, settings(max_bytes=1), Known(), remove=deleting, stop=lambda: next(stops)))

    assert left(archive) == ["1.2.2", "1.2.3", "1.2.4", "1.2.5"]

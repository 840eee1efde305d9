"""`dicomrelay archive query, list, stats`: the real commands on real files, every option, well used and not."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.support.archive_command import ArchiveCommand, header_values, sample_folder
from tests.support.archives import write_study

INSTANCES = header_values(sample_folder())
STUDIES = {each["StudyInstanceUID"] for each in INSTANCES}
SERIES = {(each["StudyInstanceUID"], each["SeriesInstanceUID"]) for each in INSTANCES}


def uids(told_json: list[dict[str, str]], keyword: str) -> set[str]:
    return {row[keyword] for row in told_json}


def expected(keyword: str, **values: str) -> set[str]:
    """What pydicom says has these values."""
    return {each[keyword] for each in INSTANCES if all(each[name] == value for name, value in values.items())}


# query


@pytest.mark.parametrize(
    ("options", "keyword", "found"),
    [
        (("--patient-name", "doe^peter"), "StudyInstanceUID", expected("StudyInstanceUID", PatientName="Doe^Peter")),
        (("--patient-name", "DOE*"), "PatientID", {"77654033", "98890234"}),
        (("--patient-name", "d?e^ARCH*"), "PatientID", {"77654033"}),
        (("--patient-name", "nobody"), "PatientID", set()),
        (("--patient-id", "98890234"), "PatientName", {"Doe^Peter"}),
        (("--patient-id", "9889*"), "PatientID", {"98890234"}),
        (("--modality", "mr"), "StudyInstanceUID", expected("StudyInstanceUID", Modality="MR")),
        (("--modality", "C?"), "StudyInstanceUID",
         expected("StudyInstanceUID", Modality="CT") | expected("StudyInstanceUID", Modality="CR")),
        (("--study-date", "20030505"), "StudyInstanceUID", expected("StudyInstanceUID", StudyDate="20030505")),
        (("--study-date", "2003-05-05"), "StudyInstanceUID", expected("StudyInstanceUID", StudyDate="20030505")),
        (("--study-date", "-19991231"), "StudyDate",
         {each["StudyDate"] for each in INSTANCES if "" < each["StudyDate"] <= "19991231"}),
        (("--study-date", "20010101-20030505"), "StudyDate",
         {each["StudyDate"] for each in INSTANCES if "20010101" <= each["StudyDate"] <= "20030505"}),
        (("--description", "*brain*"), "StudyInstanceUID",
         {each["StudyInstanceUID"] for each in INSTANCES if "brain" in each["StudyDescription"].lower()}),
        (("--study-description", "Carotids"), "StudyInstanceUID",
         expected("StudyInstanceUID", StudyDescription="Carotids")),
        (("--patient-name", "Doe*", "--modality", "CR"), "PatientID", {"77654033"}),
    ],
)  # fmt: skip
def test_query_finds_what_pydicom_says_is_there(
    relay: ArchiveCommand, filled: Path, options: tuple[str, ...], keyword: str, found: set[str]
) -> None:
    """Wildcards in any case, dates and ranges, and all filters together (PS3.4 Section C.2.2.2)."""
    told = relay.good("query", "-a", filled, *options, "--json")

    assert uids(told.json, keyword) == found
    assert f"{len(told.json)} stud" in told.err


def test_query_at_every_level(relay: ArchiveCommand, filled: Path) -> None:
    """As many rows as there are, with what they count below them."""
    counts = {
        level: relay.good("query", "-a", filled, "--level", level, "--json").json
        for level in ("patient", "study", "series", "instance")
    }

    assert len(counts["study"]) == len(STUDIES)
    assert len(counts["series"]) == len(SERIES)
    assert uids(counts["instance"], "SOPInstanceUID") == {each["SOPInstanceUID"] for each in INSTANCES}
    assert sum(row["NumberOfStudyRelatedInstances"] for row in counts["study"]) == len(counts["instance"])
    assert sum(row["NumberOfSeriesRelatedInstances"] for row in counts["series"]) == len(counts["instance"])
    assert sum(row["NumberOfPatientRelatedStudies"] for row in counts["patient"]) == len(STUDIES)
    assert relay("query", "-a", filled, "--level", "image").code == 2


def test_query_by_uids_goes_to_their_level(relay: ArchiveCommand, filled: Path) -> None:
    """Several of one kind are a list."""
    one, other = INSTANCES[0], INSTANCES[-1]
    studies = relay.good(
        "query", "-a", filled, "--study-uid", one["StudyInstanceUID"], "--study-uid", other["StudyInstanceUID"], "--json"
    ).json  # fmt: skip
    series = relay.good("query", "-a", filled, "--series-uid", one["SeriesInstanceUID"], "--json").json
    instance = relay.good("query", "-a", filled, "--sop-uid", one["SOPInstanceUID"], "--json").json

    assert uids(studies, "StudyInstanceUID") == {one["StudyInstanceUID"], other["StudyInstanceUID"]}
    assert uids(series, "SeriesInstanceUID") == {one["SeriesInstanceUID"]}
    assert [row["SOPInstanceUID"] for row in instance] == [one["SOPInstanceUID"]]
    assert relay.good("query", "-a", filled, "--study-uid", "1.2.3", "--json").json == []


def test_query_by_series_attributes_class_and_key(relay: ArchiveCommand, filled: Path) -> None:
    """At the level where they are, or any below."""
    by_class = relay.good("query", "-a", filled, "--sop-class", "MRImageStorage", "--json").json
    by_key = relay.good("query", "-a", filled, "--key", "PatientSex=M", "--json").json
    by_description = relay.good("query", "-a", filled, "--series-description", "*", "--json")

    assert uids(by_class, "SOPInstanceUID") == expected(
        "SOPInstanceUID", SOPClassUID="1.2.840.10008.5.1.4.1.1.4"
    )
    assert all(row["PatientSex"] == "M" for row in by_key)
    assert "series" in by_description.err


def test_query_accession_number(relay: ArchiveCommand, tmp_path: Path) -> None:
    """As a pattern; and a birth date."""
    relay.good("init", "-p", tmp_path / "a")
    write_study(tmp_path / "study")
    relay.good("import", "-a", tmp_path / "a", tmp_path / "study")

    for options in (
        ("--accession-number", "a?"),
        ("--accession-number", "A1"),
        ("--birth-date", "1970-01-01"),
    ):
        (row,) = relay.good("query", "-a", tmp_path / "a", *options, "--json").json
        assert row["AccessionNumber"] == "A1"
        assert row["PatientName"] == "MÜLLER^JÖRG"
    assert relay.good("query", "-a", tmp_path / "a", "--accession-number", "B*", "--json").json == []


def test_query_in_order(relay: ArchiveCommand, filled: Path) -> None:
    """--sort, --reverse, -KEYWORD and --limit, which says that there are more."""
    falling = relay.good("query", "-a", filled, "--sort", "studydate", "--reverse", "--json").json
    same = relay.good("query", "-a", filled, "--sort", "-StudyDate", "--json").json
    first = relay.good("query", "-a", filled, "--sort", "StudyDate", "--limit", "2", "--json")
    exactly = relay.good("query", "-a", filled, "--limit", str(len(STUDIES)))

    dates = [row.get("StudyDate", "") for row in falling]
    assert dates == sorted(dates, reverse=True)
    assert falling == same
    assert len(first.json) == 2
    assert "--limit is reached" in first.err
    assert "--limit" not in exactly.err


def test_query_names_that_sound_alike(relay: ArchiveCommand, filled: Path) -> None:
    """Only with --fuzzy."""
    assert relay.good("query", "-a", filled, "--patient-name", "Petar", "--json").json == []
    assert uids(
        relay.good("query", "-a", filled, "--patient-name", "Petar", "--fuzzy", "--json").json, "PatientName"
    ) == {"Doe^Peter"}


def test_query_formats(relay: ArchiveCommand, filled: Path) -> None:
    """A table by default, text, CSV and JSON; each has every study."""
    table = relay.good("query", "-a", filled)
    text = relay.good("query", "-a", filled, "-f", "text")
    sheet = list(csv.DictReader(io.StringIO(relay.good("query", "-a", filled, "--format", "csv").out)))
    plain, short = (
        relay.good("query", "-a", filled, "-f", "json"),
        relay.good("query", "-a", filled, "--json"),
    )

    assert len(table.lines) == 1 + len(STUDIES)
    assert table.lines[0].startswith("PATIENT")
    assert all(any(line.endswith(uid) for line in table.lines) for uid in STUDIES)
    assert {line.split()[-1] for line in text.lines if line.startswith("Study UID:")} == STUDIES
    assert {row["StudyInstanceUID"] for row in sheet} == STUDIES
    assert plain.out == short.out


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--study-date", "20240230"), "there is no day 20240230"),
        (("--study-date", "May"), "--study-date 'May'"),
        (("--study-uid", "1.2*"), "takes no wildcards"),
        (("--sort", "Shoesize"), "--sort Shoesize"),
        (("--reverse",), "--reverse"),
        (("--limit", "0"), "--limit"),
        (("--format", "xml"), "--format"),
        (("--format", "csv", "--json"), "--json and --format csv"),
        (
            ("--level", "patient", "--series-uid", "1.2"),
            "--series-uid: patients cannot be searched by it",
        ),
        (("--level", "study", "--sort", "SeriesNumber"), "SeriesNumber"),
        (("--key", "Nonsense=1"), "Nonsense"),
        (("--sop-class", "Nonsense"), "--sop-class"),
    ],
)
def test_query_refuses_what_makes_no_sense(
    relay: ArchiveCommand, filled: Path, options: tuple[str, ...], why: str
) -> None:
    """Exit code 2, and the words name the option."""
    told = relay("query", "-a", filled, *options)

    assert told.code == 2
    assert why in told.err


# list


def test_list_shows_the_tree(relay: ArchiveCommand, filled: Path) -> None:
    """Patients, studies and series, each once; instances when they are asked for."""
    told = relay.good("list", "-a", filled)
    deep = relay.good("list", "-a", filled, "--show-instances")

    assert all(sum(line.endswith(f"  {uid}") for line in told.lines) == 1 for uid in STUDIES)
    assert all(any(line.endswith(series) for line in told.lines) for _, series in SERIES)
    assert "Doe^Archibald  77654033" in told.lines
    assert f"{len(STUDIES)} studies, {len(SERIES)} series" in told.err
    assert {line.split()[-1] for line in deep.lines} >= {each["SOPInstanceUID"] for each in INSTANCES}
    assert len(deep.lines) == len(told.lines) + len({each["SOPInstanceUID"] for each in INSTANCES})


def test_list_as_json_has_the_names_of_the_old_index(relay: ArchiveCommand, filled: Path) -> None:
    """Patients of studies of series, of instances when they are asked for; counts agree with pydicom's."""
    found = relay.good("list", "-a", filled, "--format", "json", "--show-instances").json
    short = relay.good("list", "-a", filled, "--json").json
    series = [
        (study["studyInstanceUID"], series)
        for patient in found["patients"]
        for study in patient["studies"]
        for series in study["series"]
    ]
    counts = Counter((each["StudyInstanceUID"], each["SeriesInstanceUID"]) for each in INSTANCES)

    assert {(study, each["seriesInstanceUID"]): each["instanceCount"] for study, each in series} == counts
    assert all(len(each["instances"]) == each["instanceCount"] for _, each in series)
    assert found["fileCount"] == short["fileCount"] == len(INSTANCES)
    assert "instances" not in short["patients"][0]["studies"][0]["series"][0]


def test_list_as_a_table_with_filters_and_limit(relay: ArchiveCommand, filled: Path) -> None:
    """A row a series, or an instance."""
    series = relay.good("list", "-a", filled, "--format", "table")
    few = relay.good("list", "-a", filled, "-f", "table", "--show-instances", "--limit", "3")
    one = relay.good("list", "-a", filled, "--patient-id", "77654033")
    first = relay.good("list", "-a", filled, "--limit", "1")

    assert len(series.lines) == 1 + len(SERIES)
    assert len(few.lines) == 4
    assert "--limit is reached" in few.err
    assert "Doe^Peter" not in one.out
    assert "1 patient, 1 study" in first.err
    assert relay("list", "-a", filled, "--format", "text").code == 2


def test_list_of_nothing(relay: ArchiveCommand, tmp_path: Path) -> None:
    """No error, and JSON all the same."""
    relay.good("init", "-p", tmp_path / "a")

    assert relay.good("list", "-a", tmp_path / "a").out == ""
    assert relay.good("list", "-a", tmp_path / "a", "--json").json["patients"] == []
    assert relay.good("list", "-a", tmp_path / "a", "-f", "table").out == ""


# stats


def test_stats_count_what_pydicom_counts(relay: ArchiveCommand, filled: Path) -> None:
    """In text and JSON."""
    numbers = relay.good("stats", "-a", filled, "--format", "json").json
    text = relay.good("stats", "-a", filled)
    modalities = Counter(each["Modality"] for each in INSTANCES)

    assert (numbers["studies"], numbers["series"], numbers["instances"]) == (
        len(STUDIES),
        len(SERIES),
        len(INSTANCES),
    )
    assert {name: each["instances"] for name, each in numbers["by_modality"].items()} == modalities
    assert numbers["oldest_study_date"] == min(each["StudyDate"] for each in INSTANCES if each["StudyDate"])
    assert "MODALITY" in text.out
    assert all(any(line.split()[:1] == [name] for line in text.lines) for name in modalities)
    assert relay("stats", "-a", filled, "--format", "csv").code == 2


def test_an_archive_may_be_carried_elsewhere(relay: ArchiveCommand, filled: Path, tmp_path: Path) -> None:
    """A copy of the folder is the same archive."""
    shutil.copytree(filled, tmp_path / "copy")

    assert "no difference" in relay.good("diff", filled, "-a", tmp_path / "copy").err
    assert json.dumps(relay.good("query", "-a", filled, "--json").json) == json.dumps(
        relay.good("query", "-a", tmp_path / "copy", "--json").json
    )

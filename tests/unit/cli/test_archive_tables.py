"""Rows of the archive's index for people and machines."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from rich.cells import cell_len

from archive.attributes import Level
from dicomrelay.cli.archiving.columns import shown_columns
from dicomrelay.cli.archiving.table import TableWriter
from dicomrelay.cli.archiving.writers import CsvWriter, JsonWriter, TextWriter

UID = "1.2.840.113619.2.55.3.604688119.868.1249343483.504"


def _study(**more: Any) -> dict[str, Any]:
    return {
        "patient_name": "DOE^JOHN", "patient_id": "12345", "study_date": "20240131",
        "study_description": "CT BRAIN WITHOUT CONTRAST AND MORE WORDS", "accession_number": "A17",
        "ModalitiesInStudy": ["CT", "SR"], "NumberOfStudyRelatedSeries": 3, "NumberOfStudyRelatedInstances": 120,
        "study_instance_uid": UID, **more,
    }  # fmt: skip


def _table(rows: list[dict[str, Any]], width: int | None) -> None:
    table = TableWriter(shown_columns(Level.STUDY, above=False), width=width)
    for row in rows:
        table.write(row)
    table.close()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_table_fits_its_terminal_and_shows_every_uid_whole(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Narrow terminals have it on a line of its own; wide ones in the row."""
    _table([_study(), _study(patient_name="山田^太郎=ヤマダ^タロウ", patient_id="X" * 60)], width)
    lines = capsys.readouterr().out.splitlines()

    assert all(cell_len(line) <= width for line in lines)
    assert sum(UID in line for line in lines) == 2
    assert len(lines) == (3 if width == 160 else 6)
    assert "2024-01-31" in lines[2 if width < 160 else 1]
    assert any("…" in line for line in lines)


def test_in_a_pipe_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """A line a row, for grep."""
    _table([_study(), _study(patient_id="X" * 60)], None)
    head, first, second = capsys.readouterr().out.splitlines()

    assert head.split()[:3] == ["PATIENT", "ID", "DATE"]
    assert first.endswith(UID)
    assert "CT BRAIN WITHOUT CONTRAST AND MORE WORDS" in first
    assert "X" * 60 in second


@pytest.mark.parametrize("before", [0, 600])
def test_one_endless_name_does_not_pad_every_row(capsys: pytest.CaptureFixture[str], before: int) -> None:
    """It is cut at 64, in a pipe too, wherever it comes; a UID never is."""
    rows = [_study()] * before + [_study(patient_name="N" * 3000)]
    _table([*rows, _study()], None)
    written = capsys.readouterr().out.splitlines()
    assert max(map(len, written)) < 260
    assert "N" * 63 + "…" in written[-2]
    assert all(line.endswith(UID) for line in written[1:])


def test_a_column_in_which_nothing_stands_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Not so when rows were written before the last one came: then it is not known yet."""
    _table([_study(accession_number=None)], None)
    assert "ACCESSION" not in capsys.readouterr().out
    _table([_study(accession_number=None)] * 600, None)
    written = capsys.readouterr().out
    assert "ACCESSION" in written
    assert len(written.splitlines()) == 601


def test_a_table_of_nothing_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """No head without a row."""
    _table([], 80)
    assert capsys.readouterr().out == ""


def test_rows_are_written_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    """Behind the first page nothing is kept: memory does not grow with the answer."""
    table = TableWriter(shown_columns(Level.STUDY, above=False), width=80)
    for _ in range(499):
        table.write(_study())
    assert capsys.readouterr().out == ""
    table.write(_study())
    assert len(capsys.readouterr().out.splitlines()) == 2 + 2 * 500
    table.write(_study(patient_name="A" * 90))
    late = capsys.readouterr().out.splitlines()
    assert len(late) == 2
    assert cell_len(late[0]) <= 80


def test_nothing_of_a_data_set_drives_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Controls are replaced in a table and in text, escaped in JSON and CSV; a formula is text."""
    row = _study(patient_name="EVIL\x1b[2J\x07", study_description="=1+1")
    _table([row], 160)
    text, js, sheet = TextWriter(Level.STUDY), JsonWriter(Level.STUDY), CsvWriter(Level.STUDY)
    for writer in (text, js, sheet):
        writer.write(row)
        writer.close()
    written = capsys.readouterr().out

    assert "\x1b" not in written
    assert "\x07" not in written
    assert "'=1+1" in written


def test_text_is_a_paragraph_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    """Only what there is, with the UIDs of the levels above."""
    writer = TextWriter(Level.SERIES)
    for number in (1, 2):
        writer.write(
            {
                "series_number": number,
                "series_instance_uid": "1.2.3",
                "study_instance_uid": "1.2",
                "modality": "CT",
            }
        )
    writer.close()
    first, second = capsys.readouterr().out.split("\n\n")

    assert first.splitlines() == [
        "Series number: 1",
        "Modality:      CT",
        "Study UID:     1.2",
        "Series UID:    1.2.3",
    ]
    assert second.startswith("Series number: 2")


def test_json_has_the_names_of_the_standard(capsys: pytest.CaptureFixture[str]) -> None:
    """An array, also of nothing; what is missing is left out, lists are lists."""
    writer = JsonWriter(Level.STUDY)
    writer.write(_study(accession_number=None))
    writer.write(_study(patient_name="MÜLLER^JÖRG"))
    writer.close()
    first, second = json.loads(capsys.readouterr().out)
    JsonWriter(Level.STUDY).close()

    assert json.loads(capsys.readouterr().out) == []
    assert "AccessionNumber" not in first
    assert first["ModalitiesInStudy"] == ["CT", "SR"]
    assert first["NumberOfStudyRelatedInstances"] == 120
    assert second["PatientName"] == "MÜLLER^JÖRG"


def test_csv_is_a_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    """With every column of the level; several values are parted by a backslash."""
    writer = CsvWriter(Level.STUDY)
    writer.write(_study(study_description='two\nlines, "quoted"'))
    writer.close()
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))

    assert row["ModalitiesInStudy"] == "CT\\SR"
    assert row["StudyInstanceUID"] == UID
    assert row["StudyDescription"] == 'two\\u000alines, "quoted"'
    assert row["ReferringPhysicianName"] == ""


@pytest.mark.parametrize("level", list(Level))
def test_every_level_has_its_columns_once(level: Level, capsys: pytest.CaptureFixture[str]) -> None:
    """For machines: all that the index has at the level and above it."""
    CsvWriter(level)
    names = capsys.readouterr().out.strip().split(",")

    assert len(names) == len(set(names))
    assert {"PatientName", "PatientID"} <= set(names)
    assert ("SOPInstanceUID" in names) is (level is Level.INSTANCE)

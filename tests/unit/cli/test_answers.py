"""Answers as a table, as DICOM JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicomrelay.cli.answers import CsvWriter, JsonWriter, TableWriter, as_json, value
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dimse.identifier import decode_identifier, encode_identifier
from dicomrelay.dimse.query_keys import build_identifier, parse_key

KEYS = [
    parse_key(name)
    for name in ("QueryRetrieveLevel", "PatientName", "ModalitiesInStudy", "StudyDate", "StudyID")
]


def _answer(*keys: str) -> Dataset:
    sent = build_identifier(parse_key(key) for key in keys)
    return decode_identifier(encode_identifier(sent, EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN)


def test_a_table_has_the_columns_that_say_something(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of a peer drives the terminal, and nothing is taken for markup."""
    table = TableWriter(KEYS)
    table.write(_answer("PatientName=Müller^Jörg", "ModalitiesInStudy=CT\\SR", "StudyID"))
    evil = _answer("PatientName=EVIL\x1b[2J^[red]X[/red]\x07\r")
    evil.add_new("StudyDate", "LO", "9" * 200)  # no date, and in no VR of one
    table.write(evil)
    table.close()
    shown = capsys.readouterr().out
    head, first, second = shown.splitlines()
    assert head.split() == ["PatientName", "ModalitiesInStudy", "StudyDate"]
    assert first.split() == ["Müller^Jörg", "CT\\SR"]
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]X[/red]" in second
    assert "…" in second
    assert "9" * 65 not in second


def test_a_table_of_nothing_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """No head without a row."""
    TableWriter(KEYS).close()
    assert capsys.readouterr().out == ""


def test_json_is_an_array_of_the_dicom_json_model(capsys: pytest.CaptureFixture[str]) -> None:
    """Unicode all of it, and (0008,0005) says so; an empty answer is an empty array."""
    writer = JsonWriter()
    writer.write(_answer("SpecificCharacterSet=ISO_IR 100", "PatientName=Müller^Jörg", "Rows=5"))
    writer.write(_answer("ScheduledProcedureStepSequence[0].Modality=MR"))
    writer.close()
    first, second = json.loads(capsys.readouterr().out)
    assert first["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg"}]}
    assert first["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert first["00280010"] == {"vr": "US", "Value": [5]}
    assert second["00400100"]["Value"] == [{"00080060": {"vr": "CS", "Value": ["MR"]}}]
    JsonWriter().close()
    assert json.loads(capsys.readouterr().out) == []


def test_one_odd_value_costs_the_others_nothing() -> None:
    """A number that is none is without value in JSON."""
    raw = (
        encode_identifier(_answer("PatientID=7"), IMPLICIT_VR_LITTLE_ENDIAN)
        + b"\x28\0\x11\0\x04\0\0\0ABCD"
        + (b"\x10\0\x30\x10\x04\0\0\0much")
    )
    ordered = raw[-12:] + raw[-24:-12]
    answer = decode_identifier(raw[:-24] + ordered, IMPLICIT_VR_LITTLE_ENDIAN)
    found = as_json(answer)
    assert found["00100020"]["Value"] == ["7"]
    assert json.dumps(found)


def test_csv_quotes_what_it_must(capsys: pytest.CaptureFixture[str]) -> None:
    """One column a key, the path of a nested one as its head."""
    keys = [*KEYS, parse_key("ScheduledProcedureStepSequence[0].Modality")]
    writer = CsvWriter(keys)
    writer.write(
        _answer(
            'PatientName=A, "B"', "ModalitiesInStudy=CT\\SR", "ScheduledProcedureStepSequence[0].Modality=CT"
        )
    )
    writer.write(_answer("StudyID=3"))
    writer.close()
    head, first, second = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == [
        "PatientName",
        "ModalitiesInStudy",
        "StudyDate",
        "StudyID",
        "ScheduledProcedureStepSequence[0].Modality",
    ]
    assert first == ['A, "B"', "CT\\SR", "", "", "CT"]
    assert second == ["", "", "", "3", ""]


def _hostile() -> Dataset:
    answer = Dataset()
    answer.PatientName = "=cmd|'/C calc'!A0"
    answer.StudyDescription = "A\x1b]0;B\x07\x9b31mC\x7f\u202eD\r\n\u2028"
    answer.PatientComments = "\t=1+1"
    answer.StudyID = "-5"
    answer.AccessionNumber = "5-5"
    answer.PatientID = "山田　太郎"
    return answer


def test_what_a_peer_says_drives_no_terminal_and_no_spreadsheet(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Control characters are escaped, formulas are text; the same bytes whether a terminal reads or not."""
    names = ("PatientName", "StudyDescription", "PatientComments", "StudyID", "AccessionNumber", "PatientID")
    writer = CsvWriter([parse_key(name) for name in names])
    writer.write(_hostile())
    out = capfdbinary.readouterr().out.decode()
    assert [character for character in out if not character.isprintable()] == ["\n", "\u3000", "\n"]
    _, cells = csv.reader(io.StringIO(out))
    assert cells == [
        "'=cmd|'/C calc'!A0",
        r"A\u001b]0;B\u0007\u009b31mC\u007f\u202eD\u000d\u000a\u2028",
        r"'\u0009=1+1",
        "'-5",
        "5-5",
        "山田　太郎",
    ]


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """A parser gives back what the peer said; a terminal that shows it meets no control character."""
    writer = JsonWriter()
    writer.write(_hostile())
    writer.close()
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.replace("\n", "").isprintable()
    assert "\u202e" in json.loads(out)[0]["00081030"]["Value"][0]


def test_a_value_that_is_not_where_it_was_asked_for_is_empty() -> None:
    """A peer may answer a sequence with no item, or another VR than the dictionary's."""
    key = parse_key("ScheduledProcedureStepSequence[0].Modality")
    assert value(Dataset(), key) == ""
    empty = Dataset()
    empty.ScheduledProcedureStepSequence = Sequence()
    assert value(empty, key) == ""
    assert value(empty, parse_key("ScheduledProcedureStepSequence")) == ""

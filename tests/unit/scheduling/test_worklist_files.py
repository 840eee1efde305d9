"""Files of orders: .wl, JSON, CSV; what is at fault is told with its place, and the rest is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomrelay.scheduling.worklist_change import Record, UnreadableFile
from dicomrelay.scheduling.worklist_files import Kind, kind_of, read_bytes, read_file
from dicomrelay.scheduling.worklist_item import Item
from tests.support.worklist import item, step, write

STATIONS = {"CT": "CT_1"}
ROW = {
    "PatientID": "P1",
    "PatientName": "MÜLLER^HANS",
    "AccessionNumber": "A1",
    "Modality": "CT",
    "ScheduledProcedureStepStartDate": "20261123",
    "ScheduledProcedureStepStartTime": "0830",
    "RequestedProcedureDescription": "CT HEAD",
}


def faults(record: Record) -> list[str]:
    assert not record.items
    return [str(each) for each in record.faults]


def only(records: object) -> Item:
    (record,) = records  # type: ignore[misc]
    assert record.faults == ()
    (found,) = record.items
    assert isinstance(found, Item)
    return found


def test_a_file_as_wlmscpfs_reads_it(tmp_path: Path) -> None:
    """With file meta information, and without."""
    path = write(tmp_path / "1.wl", step(PatientName="MÜLLER^HANS"))
    found = only(read_file(path, {}))
    assert found == item(PatientName="MÜLLER^HANS")
    raw = path.read_bytes()
    without = raw[raw.index(b"\x08\x00\x05\x00") :]
    (tmp_path / "2.wl").write_bytes(without)
    assert only(read_file(tmp_path / "2.wl", {})) == found


def test_a_file_with_faults_says_which(tmp_path: Path) -> None:
    """Each attribute."""
    (record,) = read_file(write(tmp_path / "1.wl", step(PatientID=None, step_Modality=None)), {})
    assert faults(record) == ["PatientID: missing", "ScheduledProcedureStepSequence[0].Modality: missing"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.wl", b"hello", "no DICOM file"),
        ("a.wl", b"", "no DICOM file"),
        ("a.json", b"{", "line 1 column 2"),
        ("a.json", b"3", "an object, or an array"),
        ("a.json", b"[" * 100_000, "nested too deep"),
        ("a.csv", b"", "no names of attributes"),
        ("a.csv", b"PatientID,Foo\n1,2\n", "column 2 is no keyword"),
        ("a.csv", b"PatientID,PatientID\n1,2\n", "stands twice"),
        ("a.csv", b'PatientID,"PatientName\n1,2\n', "no CSV"),
        ("a.json", b'{"PatientID": ' + b"1" * 5000 + b"}", "too many digits"),
        ("a.json", b"[" + b"{}," * 5000 + b"{}]", "more than 5000 items"),
        ("a.csv", b"PatientID\n\xff\n", "no UTF-8"),
        ("a.hl7", b"PID|1\r", "no HL7 message"),
        ("a.txt", b"hello", "say which with --format"),
    ],
)
def test_what_is_none_of_its_kind_says_why(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    """One error of the file."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFile, match=words):
        read_file(tmp_path / name, {})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """In the words of the system."""
    with pytest.raises(UnreadableFile, match="No such file"):
        read_file(tmp_path / "none.wl", {})


@pytest.mark.parametrize(
    ("raw", "suffix", "kind"),
    [
        (b"\0" * 128 + b"DICM", ".json", Kind.DICOM),
        (b"\x0bMSH|^~\\&|", "", Kind.HL7),
        (b"\xef\xbb\xbfFHS|", ".txt", Kind.HL7),
        (b" [", "", Kind.JSON),
        (b"PatientID", ".CSV", Kind.CSV),
    ],
)
def test_a_kind_is_known_by_its_contents_then_by_its_name(raw: bytes, suffix: str, kind: Kind) -> None:
    """An extension may be anything."""
    assert kind_of(raw, suffix) is kind


def test_json_in_both_forms() -> None:
    """The DICOM JSON model, and keywords; what orders leave out follows from the rest."""
    model = json.dumps(item().data_set).encode()
    assert only(read_bytes(model, Kind.JSON, {})) == item()
    found = only(read_bytes(json.dumps([ROW]).encode(), Kind.JSON, STATIONS))
    assert found.text("PatientName") == "MÜLLER^HANS"
    assert found.of_step("ScheduledStationAETitle") == "CT_1"
    assert found.text("RequestedProcedureID") == found.of_step("ScheduledProcedureStepID") == "A1"
    assert found.of_step("ScheduledProcedureStepDescription") == "CT HEAD"
    assert found.text("StudyInstanceUID").startswith("2.25.")
    again = only(read_bytes(json.dumps(ROW).encode(), Kind.JSON, STATIONS))
    assert again == found


def test_json_with_sequences_and_numbers() -> None:
    """As deep as they are."""
    code = {"CodeValue": "CTH", "CodingSchemeDesignator": "99X", "CodeMeaning": "CT HEAD"}
    given_row = {
        **ROW,
        "PatientWeight": 70.5,
        "PregnancyStatus": 4,
        "ScheduledProtocolCodeSequence": [code, code],
        "PatientName": {"Alphabetic": "A^B", "Ideographic": "山^田"},
    }
    found = only(read_bytes(json.dumps(given_row).encode(), Kind.JSON, STATIONS))
    assert found.text("PatientName") == "A^B=山^田"
    assert found.text("PatientWeight") == "70.5"
    assert found.data_set["001021C0"]["Value"] == [4]
    assert len(found.data_set["00400100"]["Value"][0]["00400008"]["Value"]) == 2


def test_of_many_the_sound_ones_are_taken() -> None:
    """Each record by itself; no value is quoted."""
    records = read_bytes(
        json.dumps([ROW, {**ROW, "Modality": ""}, 3, {**ROW, "Foo": "SECRET"}]).encode(), Kind.JSON, STATIONS
    )
    assert [each.where for each in records] == ["item 1", "item 2", "item 3", "item 4"]
    assert [bool(each.items) for each in records] == [True, False, False, False]
    assert "ScheduledProcedureStepSequence[0].Modality: missing" in faults(records[1])
    assert faults(records[2]) == ["no object"]
    assert faults(records[3]) == ["Foo: no keyword of the data dictionary, and no tag"]


def test_a_missing_station_says_what_may_be_set() -> None:
    """Orders name none, and a setting can."""
    (record,) = read_bytes(json.dumps(ROW).encode(), Kind.JSON, {"MR": "MR_1"})
    (told,) = faults(record)
    assert told.startswith("ScheduledProcedureStepSequence[0].ScheduledStationAETitle: missing: ")
    assert "worklist.station_ae_titles" in told


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv(delimiter: str) -> None:
    """A spreadsheet's, with its mark of UTF-8; empty lines are none."""
    lines = [
        delimiter.join(ROW),
        delimiter.join(ROW.values()),
        "",
        delimiter.join(["", *[*ROW.values()][1:]]),
    ]
    records = read_bytes("\r\n".join(lines).encode("utf-8-sig"), Kind.CSV, STATIONS)
    assert [each.where for each in records] == ["line 2", "line 4"]
    assert records[0].items[0].text("PatientName") == "MÜLLER^HANS"
    assert faults(records[1])[0] == "PatientID: missing"


def test_a_quote_that_is_not_closed_costs_what_is_behind_it() -> None:
    """What stands before it is taken, and the line where it begins is told."""
    lines = [",".join(ROW), ",".join(ROW.values()), '"P2,' + ",".join([*ROW.values()][1:]), "P3"]
    records = read_bytes("\n".join(lines).encode(), Kind.CSV, STATIONS)
    assert [(each.where, bool(each.items)) for each in records] == [("line 2", True), ("line 3", False)]
    assert "nothing behind it was read" in faults(records[1])[0]


@pytest.mark.parametrize("kind", [Kind.CSV, Kind.JSON])
def test_two_steps_of_one_order_do_not_replace_each_other(kind: Kind) -> None:
    """One accession number, no Scheduled Procedure Step ID: the second is at fault and says with which."""
    rows = [ROW, {**ROW, "Modality": "MR"}, ROW, {**ROW, "AccessionNumber": "A2"}]
    if kind is Kind.CSV:
        raw = "\n".join([",".join(ROW), *(",".join(row.values()) for row in rows)]).encode()
    else:
        raw = json.dumps(rows).encode()
    records = read_bytes(raw, kind, {**STATIONS, "MR": "MR_1"})
    assert [bool(each.items) for each in records] == [True, False, True, True]
    (told,) = faults(records[1])
    assert told.startswith("ScheduledProcedureStepSequence[0].ScheduledProcedureStepID: ")
    assert records[0].where in told


def test_a_file_of_two_steps_with_one_id(tmp_path: Path) -> None:
    """In DICOM too."""
    both = step()
    both.ScheduledProcedureStepSequence = [
        both.ScheduledProcedureStepSequence[0],
        step(step_Modality="MR").ScheduledProcedureStepSequence[0],
    ]
    (record,) = read_file(write(tmp_path / "1.wl", both), {})
    assert "give each step an ID" in faults(record)[0]


def test_after_a_hundred_that_are_at_fault_no_more_is_read() -> None:
    """Each takes its time, and the answer would be far longer than the question."""
    for raw, kind in (
        (b"[" + b",".join([b"{}"] * 3000) + b"]", Kind.JSON),
        (b"Modality\n" + b"CT\n" * 300, Kind.CSV),
    ):
        records = read_bytes(raw, kind, STATIONS)
        assert len(records) == 101
        assert faults(records[-1]) == ["100 are at fault: what comes after them was not looked at"]


@pytest.mark.parametrize(
    "given",
    [
        {"00400100": {"vr": "US", "Value": [1]}},
        {"00400100": {"vr": "LO", "Value": ["x"]}},
        {"00400100": {"vr": "OB", "InlineBinary": "AAAA"}},
    ],
)
def test_steps_are_a_sequence(given: dict[str, object]) -> None:
    """And nothing else."""
    (record,) = read_bytes(json.dumps(given).encode(), Kind.JSON, {})
    assert "ScheduledProcedureStepSequence: not its VR" in faults(record)


def test_an_object_with_too_much_in_it_is_not_taken_apart() -> None:
    """Counted first: each of its parts takes its time."""
    many: list[dict[str, object]] = [
        {f"{0x00110000 + number:08X}": {"vr": "LO", "Value": ["x"]} for number in range(30_000)},
        {"00100020": {"vr": "LO", "Value": ["x"] * 30_000}},
        {f"PatientID{number}": "x" for number in range(30_000)},
        {"OtherPatientIDsSequence": [{"PatientID": "x"}] * 3000},
    ]
    for each in read_bytes(json.dumps(many).encode(), Kind.JSON, {}):
        assert any("more than 1000" in words for words in faults(each))
        assert len(each.faults) <= 21


def test_a_line_with_too_many_values() -> None:
    """Told with its number."""
    (record,) = read_bytes(b"PatientID,PatientName\n1,2,3\n", Kind.CSV, {})
    assert (record.where, faults(record)) == ("line 2", ["3 values for 2 columns"])


@given(st.binary(max_size=400), st.sampled_from(Kind))
def test_any_bytes_are_records_or_an_error_of_ours(raw: bytes, kind: Kind) -> None:
    """Whatever somebody calls .wl, .json, .csv or .hl7."""
    prefix = {Kind.HL7: b"MSH|^~\\&|", Kind.DICOM: b"\x08\x00\x05\x00CS"}.get(kind, b"")
    for content in (raw, prefix + raw):
        try:
            records = read_bytes(content, kind, {})
        except UnreadableFile:
            continue
        assert all(each.items or each.faults or each.key for each in records)

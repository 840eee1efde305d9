"""A report proves itself: whatever is done to its file is found (docs/design/evidence.md)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dicomrelay.cli.reporting.csv_file import COLUMNS, CsvFile
from dicomrelay.cli.reporting.json_file import JsonFile
from dicomrelay.cli.reporting.making import records
from dicomrelay.cli.reporting.records import Format, Record, RecordKind
from dicomrelay.ledger.evidence import ReportSubject
from tests.support.evidence import (
    OTHER,
    STUDY,
    Chains,
    about,
    chain,
    checked,
    received,
    report_of,
    sent,
    two_studies,
    written,
)

CHAINS = two_studies()
FORMATS: list[Format] = [CsvFile(), JsonFile()]
_SUBJECT = ReportSubject("study", STUDY, (STUDY,))


@pytest.fixture(params=FORMATS, ids=["csv", "json"])
def form(request: pytest.FixtureRequest) -> Format:
    found: Format = request.param
    return found


def lines(form: Format) -> list[str]:
    return report_of(CHAINS, form).splitlines(keepends=True)


def all_records() -> list[Record]:
    source = Chains(CHAINS)
    return list(records(source, _SUBJECT, source.heads(), []))


def test_a_report_as_it_was_written_is_whole(form: Format) -> None:
    """It says how much there is of it."""
    verdict = checked(report_of(CHAINS, form), form)
    assert verdict.findings == []
    assert (verdict.rows, verdict.deliveries) == (13, 7)
    assert [(each["study_instance_uid"], each["count"]) for each in verdict.chains] == [
        (STUDY, 12),
        (OTHER, 1),
    ]


def test_a_report_of_nothing_is_whole(form: Format) -> None:
    """A job whose instances did not arrive yet."""
    text = written(records(Chains([]), _SUBJECT, [], []), form)
    assert checked(text, form).findings == []


def test_line_ends_of_another_system_change_nothing(form: Format) -> None:
    """A file that went through a mail is the same report."""
    assert checked(report_of(CHAINS, form).replace("\n", "\r\n"), form).is_whole


def test_any_line_that_was_dropped_doubled_or_swapped_is_found(form: Format) -> None:
    """Whichever it is: head, summary, delivery, evidence, end."""
    whole = lines(form)
    for place in range(len(whole)):
        assert not checked("".join(whole[:place] + whole[place + 1 :]), form).is_whole, whole[place]
        assert not checked("".join([*whole[: place + 1], *whole[place:]]), form).is_whole, whole[place]
        if place + 1 < len(whole):
            swapped = [*whole[:place], whole[place + 1], whole[place], *whole[place + 2 :]]
            assert not checked("".join(swapped), form).is_whole, whole[place]


def test_a_file_that_was_cut_off_anywhere_is_found(form: Format) -> None:
    """After each line, and in the middle of each. Only the line feed behind the last of it says nothing."""
    text = report_of(CHAINS, form)
    end = 0
    for line in text.splitlines(keepends=True):
        for at in (end, end + len(line) // 2):
            assert not checked(text[:at], form).is_whole or text[at:] == "\n", (at, line)
        end += len(line)


def test_a_cell_that_was_changed_is_found_in_every_line_and_column() -> None:
    """What people read is as safe as what is hashed."""
    rows = list(csv.reader(io.StringIO(report_of(CHAINS, CsvFile()))))
    for line, row in enumerate(rows):
        for column in range(len(COLUMNS)):
            changed = [list(each) for each in rows]
            changed[line][column] = f"{row[column]}1"
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(changed)
            assert not checked(text.getvalue(), CsvFile()).is_whole, (line, COLUMNS[column])


def test_a_value_that_was_changed_is_found_wherever_it_stands() -> None:
    """Every text, number and null of the JSON, each by itself; and a key that was taken away or put in."""
    document = json.loads(report_of(CHAINS, JsonFile()))
    for holder, key in _places(document):
        before = holder[key]
        holder[key] = f"{before}x" if isinstance(before, str) else 1 if before is None else before + 1
        assert not checked(json.dumps(document), JsonFile()).is_whole, (key, before)
        del holder[key]
        assert not checked(json.dumps(document), JsonFile()).is_whole, (key, "taken away")
        holder[key] = before
        holder["more"] = 1
        assert not checked(json.dumps(document), JsonFile()).is_whole, (key, "put in")
        del holder["more"]
    assert checked(json.dumps(document, indent=1), JsonFile()).is_whole


def _places(value: Any) -> list[tuple[dict[str, Any], str]]:
    found: list[tuple[dict[str, Any], str]] = []
    if isinstance(value, dict):
        for key, each in value.items():
            found += _places(each) if isinstance(each, (dict, list)) else [(value, key)]
    elif isinstance(value, list):
        for each in value:
            found += _places(each)
    return found


def _to_delivered(record: Record) -> Record:
    """Whom it would help: what was refused was delivered."""
    body = record.body
    if record.kind is RecordKind.DELIVERY and body["state"] == "refused":
        return Record(record.kind, {**body, "state": "delivered", "status": "0000"})
    if record.kind is RecordKind.EVIDENCE and body["body"].get("detail", {}).get("state") == "refused":
        detail = {**body["body"]["detail"], "state": "delivered", "status": 0}
        return Record(record.kind, {**body, "body": {**body["body"], "detail": detail}})
    return record


@pytest.mark.parametrize(
    "forge",
    [
        lambda found: [r if r.kind is RecordKind.EVIDENCE else _to_delivered(r) for r in found],
        lambda found: [_to_delivered(r) if r.kind is RecordKind.EVIDENCE else r for r in found],
        lambda found: [_to_delivered(r) for r in found],
        lambda found: [
            r for r in found if not (r.kind is RecordKind.DELIVERY and r.body["state"] == "refused")
        ],
        lambda found: [r for r in found if r.kind is not RecordKind.SUMMARY],
        lambda found: [r for r in found if r.kind is not RecordKind.CHAIN],
        lambda found: [r for r in found if r.kind is not RecordKind.EVIDENCE],
        lambda found: found[:-1],
        lambda found: [*found[:-2], found[-1]],
        lambda found: [*found, found[-1]],
    ],
)
def test_who_makes_the_hash_over_the_whole_anew_is_found_by_the_chains(
    form: Format, forge: Callable[[list[Record]], list[Record]]
) -> None:
    """The last line is a sum that anybody can make; the deliveries follow from the chains, and those from their heads."""
    assert checked(written(all_records(), form), form).is_whole
    assert not checked(written(forge(all_records()), form), form).is_whole


def test_a_whole_new_chain_shows_in_the_hash_that_was_noted_and_nowhere_else(form: Format) -> None:
    """The limit of what a file can prove of itself; the page says so."""
    forged = [chain([_forged(kind, body) for kind, body in _bodies()]), CHAINS[1]]
    verdict = checked(report_of(forged, form), form)
    assert verdict.is_whole
    assert verdict.hash != checked(report_of(CHAINS, form), form).hash
    assert verdict.chains[0]["hash"] != CHAINS[0][-1].hash


def test_rows_cut_off_with_a_head_that_fits_make_an_earlier_report(form: Format) -> None:
    """The other limit: nothing in the file speaks of what came later."""
    verdict = checked(report_of([CHAINS[0][:-3], CHAINS[1]], form), form)
    assert verdict.is_whole
    assert verdict.hash != checked(report_of(CHAINS, form), form).hash


def _bodies() -> list[tuple[str, dict[str, Any]]]:
    return [(row.kind, row.facts) for row in CHAINS[0]]


def _forged(kind: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if body["detail"].get("state") == "refused":
        return kind, {**body, "detail": {**body["detail"], "state": "delivered", "status": 0}}
    return kind, body


def test_rows_of_two_studies_may_not_be_mixed(form: Format) -> None:
    """Each chain stands by itself."""
    found = all_records()
    mixed = [*found[:-2], found[-1], found[-2]]
    assert not checked(written(mixed, form), form).is_whole


def test_findings_name_the_row(form: Format) -> None:
    """Whoever looks knows where."""
    found = all_records()
    without = [r for r in found if not (r.kind is RecordKind.EVIDENCE and r.body["number"] == 5)]
    (finding, *_) = checked(written(without, form), form).findings
    assert f"study {STUDY}: row 5 is missing before row 6" in finding
    findings = checked(written([_to_delivered(r) for r in found], form), form).findings
    assert f"study {STUDY}: row 8 was changed" in findings[0]


def test_rows_that_make_no_sense_are_a_finding_and_no_crash(form: Format) -> None:
    """A chain may be well linked and yet not ours."""
    odd: list[tuple[str, dict[str, Any]]] = [
        received(1, "pacs"),
        (
            "sent",
            {"instance_id": "i1", "destination": "pacs", "detail": {"state": "delivered", "status": "0000"}},
        ),
    ]
    rows = chain(odd)
    source = Chains([rows])
    plain = list(records(Chains([rows[:1]]), _SUBJECT, source.heads(), []))
    text = written([*plain, Record(RecordKind.EVIDENCE, rows[1].as_json())], form)
    assert any("says what no row of ours says" in finding for finding in checked(text, form).findings)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"report": NaN}', "a,b\n1,2\n", "record\n", "[" * 100_000, '"\n"x', "\0"]
)
def test_what_is_no_report_is_said_to_be_none(form: Format, text: str) -> None:
    """Whatever it is."""
    assert not checked(text, form).is_whole


def test_a_key_that_stands_twice_is_found() -> None:
    """Some readers take the first, some the last."""
    text = report_of(CHAINS, JsonFile()).replace('"number":5', '"number":6,"number":5', 1)
    assert checked(text, JsonFile()).findings[0] == "a key stands twice in an object"


def test_a_file_of_a_newer_version_is_not_judged(form: Format) -> None:
    """Its rules may be others."""
    head, *rest = all_records()
    newer = replace(head, body={**head.body, "version": 2})
    assert "of version 1" in checked(written([newer, *rest], form), form).findings[0]


def test_no_cell_is_a_formula() -> None:
    """An AE title may begin as one (PS3.5 Section 6.2 allows it); a spreadsheet must not compute it."""
    text = report_of(CHAINS, CsvFile())
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert "'=CT_1" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_a_report_of_a_job_has_its_deliveries_and_whole_chains(form: Format) -> None:
    """A part of a chain proves nothing; so the rows of others come along, and their deliveries do not."""
    first = chain(
        [received(1, "pacs"), received(1, "pacs", job_id="j1"), sent(1, "pacs", "delivered", job_id="j1")]
    )
    verdict = checked(report_of([first], form, kind="job"), form)
    assert (verdict.findings, verdict.rows, verdict.deliveries) == ([], 3, 1)
    assert "'i2'" not in str(verdict)


def test_deliveries_follow_from_the_rows() -> None:
    """Each state by its last word; what a peer has stays delivered whatever fails later."""
    rows = chain(
        [
            received(1, "pacs"),
            sent(1, "pacs", "failed", None),
            sent(1, "pacs", "delivered"),
            sent(1, "pacs", "failed", None),
            received(2, "pacs"),
            sent(2, "pacs", "refused", 0xC000),
            ("reopened", {"transfer_id": "t1", "destination": "pacs", "detail": {}}),
            received(3, "pacs"),
            sent(3, "pacs", "delivered"),
            about("missing", 3, "pacs"),
            received(4, "pacs"),
            about("closed", 4, "pacs", words="by hand"),
            received(5),
            about("set_aside", 6, digest="x"),
            received(7, "pacs"),
            about("cancelled", 7, "pacs"),
            sent(7, "pacs", "delivered"),
            ("sent_late", sent(2, "pacs", "delivered")[1]),
            received(8),
            ("replayed", {"instance_id": "i8", "destination": "pacs", "job_id": "j9"}),
        ]
    )
    document = json.loads(report_of([rows], JsonFile()))
    states = {
        row["instance_id"]: (row["state"], row["attempts"], row["evidence"]) for row in document["deliveries"]
    }
    assert states == {
        "i1": ("delivered", 3, 3),
        "i2": ("pending", 1, 7),
        "i3": ("missing", 1, 9),
        "i4": ("closed", 0, 12),
        "i5": ("", 0, 0),
        "i6": ("set_aside", 0, 0),
        "i7": ("delivered", 1, 17),
        "i8": ("pending", 0, 0),
    }
    assert [row["late_answers"] for row in document["deliveries"] if row["instance_id"] == "i2"] == [1]

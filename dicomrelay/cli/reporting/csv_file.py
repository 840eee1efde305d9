"""A report as one table: what people read in columns, and what is checked as JSON in the last one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TextIO

from dicomrelay.cli.csv_cells import cell
from dicomrelay.cli.reporting.records import Found, Line, Record, RecordKind
from dicomrelay.ledger.evidence_form import canonical

_TIMES: Final = ("at", "received_at", "archived_at", "started_at", "ended_at", "verified_at")
COLUMNS: Final = (
    "record",
    "destination",
    "state",
    "status",
    "sop_instance_uid",
    "started_at",
    "ended_at",
    "attempts",
    "association_id",
    "bytes",
    "digest",
    "transfer_syntax_uid",
    "calling_ae_title",
    "called_ae_title",
    "address",
    "verification",
    "verified_at",
    "words",
    "received_at",
    "received_digest",
    "source",
    "archived_at",
    "study_instance_uid",
    "instance_id",
    "job_id",
    "transfer_id",
    "late_answers",
    "evidence",
    "number",
    "at",
    "kind",
    "hash",
    "body",
)
# Made anew of the evidence and compared, so what people read is all that is kept of them.
_DERIVED: Final = (RecordKind.SUMMARY, RecordKind.DELIVERY)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CsvFile:
    """See `Format`."""

    def text(self, record: Record) -> str:
        """Its line."""
        return _line(cells(record))

    def write(self, lines: Iterable[Line], file: TextIO) -> None:
        """A line of names, then a line a record."""
        file.write(_line(COLUMNS))
        file.writelines(line.text for line in lines)

    def read(self, file: TextIO) -> Iterator[Found]:
        """See `Format.read`. Line by line: memory is that of one."""
        reader = csv.reader(file, strict=True)
        try:
            if tuple(next(reader, ())) != COLUMNS:
                raise ValueError("it is no report: its first line must name the columns of one")
            for row in reader:
                yield _found(row, f"line {reader.line_num}")
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num} cannot be read: {error}") from None


def cells(record: Record) -> list[str]:
    """A record as the cells of its line."""
    shown = dict(_shown(record))
    if record.kind not in _DERIVED:
        shown["body"] = canonical(record.body)
    return [cell(shown.get(name, "")) for name in COLUMNS]


def _shown(record: Record) -> Iterator[tuple[str, str]]:
    yield "record", record.kind.value
    if record.kind is RecordKind.SUMMARY:
        yield "destination", record.body["destination"] or "all"
        yield "words", _counts(record.body)
        return
    about: Mapping[str, Any] = record.body
    if record.kind is RecordKind.EVIDENCE:
        about = {**about["body"].get("detail", {}), **about["body"], **about}
    for name, value in about.items():
        if name in COLUMNS and name not in ("record", "body") and value is not None:
            yield name, _as_text(name, value)


def _as_text(name: str, value: Any) -> str:
    if name in _TIMES and isinstance(value, int):
        return _time(value)
    if name == "status" and isinstance(value, int):
        return f"{value:04X}"
    return value if isinstance(value, str) else canonical({"": value})[4:-1]


def _time(at: int) -> str:
    try:
        return f"{(_EPOCH + timedelta(milliseconds=at)).isoformat(timespec='milliseconds')[:-6]}Z"
    except OverflowError:  # no time of ours
        return str(at)


def _counts(summary: Mapping[str, Any]) -> str:
    parts = {
        **{name: value for name, value in summary.items() if isinstance(value, int)},
        **summary["states"],
    }
    return ", ".join(
        f"{name} {_time(value) if name.endswith('_at') else value}" for name, value in parts.items()
    )


def _line(row: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    return line.getvalue()


def _found(row: Sequence[str], place: str) -> Found:
    try:
        kind = RecordKind(row[0] if len(row) == len(COLUMNS) else "")
    except ValueError:
        raise ValueError(f"{place} is no line of a report, or is cut off") from None
    text = _line(row)
    if kind in _DERIVED:
        return Found(kind, place, text, None)
    try:
        body = json.loads(row[-1])
        whole = cells(Record(kind, body)) == list(row)
    except (ValueError, RecursionError, TypeError, AttributeError, KeyError):
        return Found(kind, place, text, None, "it was changed: its last column is not what was written there")
    wrong = "" if whole else "it was changed: what people read in it is not what its last column says"
    return Found(kind, place, text, body, wrong)

"""A report as one JSON object, a record a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final, NoReturn, TextIO

from dicomrelay.cli.reporting.records import Found, Line, Record, RecordKind
from dicomrelay.ledger.evidence_form import canonical

_KEYS: Final = {
    RecordKind.REPORT: "report",
    RecordKind.SUMMARY: "summary",
    RecordKind.CHAIN: "chains",
    RecordKind.DELIVERY: "deliveries",
    RecordKind.EVIDENCE: "evidence",
    RecordKind.END: "end",
}
_ALONE: Final = (RecordKind.REPORT, RecordKind.END)


class JsonFile:
    """See `Format`."""

    def text(self, record: Record) -> str:
        """Its canonical form."""
        return canonical(record.body)

    def write(self, lines: Iterable[Line], file: TextIO) -> None:
        """All of the six, also those that are empty."""
        order = list(RecordKind)
        written = 0
        for kind, group in groupby(lines, key=lambda line: line.kind):
            while order[written] is not kind:
                self._write(file, order[written], iter(()))
                written += 1
            self._write(file, kind, group)
            written += 1
        file.write("\n}\n")

    def _write(self, file: TextIO, kind: RecordKind, lines: Iterator[Line]) -> None:
        file.write("{" if kind is RecordKind.REPORT else ",")
        file.write(f'\n"{_KEYS[kind]}": ')
        if kind in _ALONE:
            file.write(next(lines).text)
            return
        file.write("[")
        for place, line in enumerate(lines):
            file.write(",\n" if place else "\n")
            file.write(line.text)
        file.write("\n]")

    def read(self, file: TextIO) -> Iterator[Found]:
        """See `Format.read`. The whole file is held in memory: some kB for each row."""
        try:
            document = json.load(file, object_pairs_hook=_once, parse_constant=_refuse)
        except RecursionError:
            raise ValueError("it is nested too deep to be a report") from None
        if not isinstance(document, dict) or document.keys() != set(_KEYS.values()):
            raise ValueError(f"it is no report: it must have {', '.join(_KEYS.values())}, and nothing else")
        for kind, key in _KEYS.items():
            records = [document[key]] if kind in _ALONE else document[key]
            if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
                raise ValueError(f"{key} is not what it must be")
            for number, body in enumerate(records, 1):
                place = key if kind in _ALONE else f"{key}, {number}"
                yield Found(kind, place, canonical(body), body)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of a report")

"""Whether a report is whole and unchanged, by nothing but itself. No I/O.

Every chain is followed from its first row to the head that the report states; its deliveries and its summary are made anew of
the evidence and compared; then the hash over all of it. docs/design/evidence.md says what that shows and what not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dicomrelay.cli.reporting.deliveries import Deliveries
from dicomrelay.cli.reporting.records import (
    NAME,
    VERSION,
    Format,
    Found,
    Record,
    RecordKind,
    ReportHash,
    derived,
)
from dicomrelay.ledger.evidence_check import ChainCheck, EvidenceRow

# A file that is someone else's altogether has a finding for every line.
_ENOUGH: Final = 100
_HEAD: Final = {"study_instance_uid": str, "count": int, "hash": str, "pruned": int, "pruned_hash": str}
_ORDER: Final = list(RecordKind)


@dataclass(slots=True)
class Verdict:
    """What came of it; whole and unchanged when there is no finding."""

    findings: list[str] = field(default_factory=list)
    chains: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0
    deliveries: int = 0
    hash: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def say(self, finding: str) -> None:
        """One more, unless there are enough."""
        if len(self.findings) < _ENOUGH:
            self.findings.append(finding)


def verify(found: Iterable[Found], form: Format) -> Verdict:
    """Check the records of a file."""
    check = _Check(form)
    try:
        for record in found:
            check.take(record)
    except ValueError as error:
        check.verdict.say(str(error))
    check.finish()
    return check.verdict


class _Check:
    def __init__(self, form: Format) -> None:
        self._form = form
        self.verdict = Verdict()
        self._total = ReportHash()
        self._at = RecordKind.REPORT
        self._subject: dict[str, Any] | None = None
        self._told: dict[RecordKind, list[Found]] = {RecordKind.SUMMARY: [], RecordKind.DELIVERY: []}
        self._chains: dict[str, ChainCheck] = {}
        self._current = ""
        self._seen: set[str] = set()
        self._deliveries = Deliveries()
        self._end: Found | None = None

    def take(self, found: Found) -> None:
        """One more record of the file."""
        if _ORDER.index(found.kind) < _ORDER.index(self._at) or self._end is not None:
            self.verdict.say(f"{found.place}: a {found.kind.value} stands out of its place")
        self._at = found.kind
        if found.kind is RecordKind.END:
            self._end = found
            return
        self._total.add(found.kind, found.text)
        if found.wrong:
            self.verdict.say(f"{found.place}: {found.wrong}")
        if found.kind is RecordKind.REPORT:
            self._take_report(found)
        elif found.kind is RecordKind.CHAIN:
            self._take_chain(found)
        elif found.kind is RecordKind.EVIDENCE:
            self._take_row(found)
        else:
            self._told[found.kind].append(found)

    def _take_report(self, found: Found) -> None:
        body = found.body or {}
        subject = body.get("subject")
        if body.get("report") != NAME or body.get("version") != VERSION or not isinstance(subject, dict):
            raise ValueError(f"{found.place}: it is no {NAME} of version {VERSION}")
        if self._subject is not None:
            self.verdict.say(f"{found.place}: the head of the report stands twice")
        self._subject = subject
        job_id, transfer_id = (
            subject["id"] if subject.get("kind") == kind else "" for kind in ("job", "transfer")
        )
        self._deliveries = Deliveries(job_id, transfer_id)

    def _take_chain(self, found: Found) -> None:
        body = found.body or {}
        if body.keys() != _HEAD.keys() or any(type(body[name]) is not kind for name, kind in _HEAD.items()):
            self.verdict.say(f"{found.place}: it is no head of a chain")
            return
        study = body["study_instance_uid"]
        if study in self._chains:
            self.verdict.say(f"{found.place}: the chain of study {study} stands twice")
            return
        self._chains[study] = ChainCheck(study, pruned=body["pruned"], pruned_hash=body["pruned_hash"])
        self.verdict.chains.append(body)

    def _take_row(self, found: Found) -> None:
        self.verdict.rows += 1
        try:
            row = EvidenceRow.from_json(found.body or {})
        except ValueError as error:
            self.verdict.say(f"{found.place}: {error}")
            return
        study = row.study_instance_uid
        chain = self._chains.get(study)
        if chain is None:
            self.verdict.say(
                f"{found.place}: row {row.number} is of study {study}, whose chain is not in the report"
            )
            return
        if study != self._current and study in self._seen:
            self.verdict.say(
                f"{found.place}: row {row.number} of study {study} stands among those of another"
            )
        self._current = study
        self._seen.add(study)
        if wrong := chain.take(row):
            self.verdict.say(f"{found.place}: study {study}: {wrong}")
            return
        try:
            self._deliveries.take(row)
        except (TypeError, ValueError, AttributeError, KeyError):
            self.verdict.say(f"{found.place}: study {study}: row {row.number} says what no row of ours says")

    def finish(self) -> None:
        """What can be told at the end only."""
        if self._subject is None:
            self.verdict.say("the head of the report is missing")
        for head in self.verdict.chains:
            study = head["study_instance_uid"]
            if wrong := self._chains[study].end(head["count"], head["hash"]):
                self.verdict.say(f"study {study}: {wrong}")
        self.verdict.deliveries = len(self._told[RecordKind.DELIVERY])
        if self.verdict.is_whole:
            summaries, deliveries = derived(self._deliveries)
            self._compare(RecordKind.SUMMARY, summaries)
            self._compare(RecordKind.DELIVERY, list(deliveries))
        self._compare_end()

    def _compare(self, kind: RecordKind, records: Sequence[Record]) -> None:
        """What stands in the report against what its evidence gives."""
        told = self._told[kind]
        texts = [self._form.text(record) for record in records]
        if [found.text for found in told] == texts:
            return
        expected = Counter(texts)
        for found in told:
            if expected[found.text] <= 0:
                self.verdict.say(
                    f"{found.place}: this {kind.value} is not what the evidence gives: changed, or put in"
                )
            expected[found.text] -= 1
        for record, text in zip(records, texts, strict=True):
            if expected[text] > 0:
                self.verdict.say(f"missing as the evidence gives it: {_named(record)}")
        if self.verdict.is_whole:
            self.verdict.say(f"the {kind.value} records are out of order")

    def _compare_end(self) -> None:
        if self._end is None:
            self.verdict.say("the end of the report is cut off: its last record is missing")
            return
        end = self._total.end()
        self.verdict.hash = end.body["hash"]
        if self._end.text != self._form.text(end):
            self.verdict.say(
                f"{self._end.place}: the hash over the whole report, or the number of its records, does not fit"
            )


def _named(record: Record) -> str:
    body = record.body
    if record.kind is RecordKind.SUMMARY:
        return f"the summary for {body['destination'] or 'all destinations'}"
    return f"the delivery of {body['sop_instance_uid'] or body['instance_id']} to {body['destination'] or 'nobody'}"

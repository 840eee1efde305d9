"""Mending the spool: what cannot be trusted is put away, what lies wrong is moved, what is unknown is registered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dicomrelay.errors import RelayError, SpoolCorrupt, SpoolError
from dicomrelay.ledger.values import Arrival, Verdict
from dicomrelay.spool import SpoolRecord
from dicomrelay.spool.items import move_items, read_item, verify_data_set
from dicomrelay.spool.layout import ITEM, REFERENCE, is_id
from dicomrelay.spool.reports import ReportBox
from dicomrelay.transcode import sweep as sweep_copies
from workers.asking import destinations_of
from workers.group import register
from workers.integrity.findings import Finding, Severity
from workers.integrity.ledger_check import lost, must_be_here
from workers.integrity.mend_ledger import bytes_gone
from workers.integrity.spool_remains import check_corrupt
from workers.integrity.tools import Mended, Tools, put_away, record_in


def leftovers(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """The spool's own recovery, which finishes what is whole, and the sweep of copies."""
    if tools.acts:
        tools.rooms.spool.recover()
        sweep_copies(tools.look.copies)
    for finding in findings:
        gone = not tools.acts or (finding.path is not None and not finding.path.exists())
        yield Mended(finding, "cleared away" if gone else "is still there: somebody else's?", done=gone)


def damaged(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """To corrupt/, from where nothing is read or sent. What becomes of the instance is the ledger's matter."""
    for finding in findings:
        if finding.path is None:
            yield Mended(finding, "left where it is: it cannot be read now, which may pass", done=False)
            continue
        if not tools.acts:
            yield Mended(finding, "moved to corrupt/")
            yield from _then(tools, finding)
            continue
        try:
            name = put_away(finding.path, tools.layout.corrupt)
        except FileNotFoundError:
            yield Mended(finding, "is gone")
        except OSError as error:
            yield Mended(finding, f"cannot be moved: {error.strerror}", done=False)
        else:
            yield Mended(finding, f"moved to corrupt/{name}")


def _then(tools: Tools, finding: Finding) -> Iterator[Mended]:
    """What the ledger's turn says of the instance of an item that is put away; in a rehearsal the item is still there."""
    entry = tools.rooms.ledger.inventory.by_spool_id([finding.spool_id]).get(finding.spool_id)
    if entry is not None and must_be_here(tools.look, entry):
        yield from bytes_gone(tools, [lost(tools.look, entry)])


def damaged_reports(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """As the workers do: to corrupt/, and the destination is asked again when its report does not come."""
    box = ReportBox(tools.layout.root / "reports")
    if tools.acts:
        box.sweep()
    for finding in findings:
        path = finding.path
        if tools.acts and path is not None and path.suffix == ".json":
            box.set_aside(path.name)
        gone = path is not None and (not tools.acts or not path.exists())
        yield Mended(finding, "put away" if gone else "is still there", done=gone)


def not_ours(_tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Nothing that we could do without losing something."""
    for finding in findings:
        yield Mended(finding, f"nothing was done: {finding.do}", done=False)


def corrupt(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """What is whole after all, under whatever name, is an item again and goes the way of one."""
    for finding in findings:
        path = finding.path
        record = None if path is None else _whole(path)
        if path is None or record is None:
            yield Mended(finding, f"stays in corrupt/: {finding.do}", done=False)
        elif _is_anywhere(tools, record.id):
            yield Mended(finding, f"stays in corrupt/: the spool has item {record.id} already", done=False)
        else:
            suffix = REFERENCE if path.suffix == REFERENCE else ITEM
            if tools.acts:
                renamed = path.rename(tools.layout.corrupt / f"{record.id}{suffix}")
                move_items([(renamed, tools.layout.new)])
            yield Mended(replace(finding, spool_id=record.id), f"is whole: back in new/ as {record.id}")


def stay_put_away(tools: Tools, before: Mapping[str, str]) -> Iterator[Mended]:
    """What was in corrupt/ before and stays there, judged when all the rest is mended: its instance may live on by now.

    Parameters
    ----------
    before : mapping of str to str
        By the name of the file why it stays.
    """
    for finding in check_corrupt(tools.look, tools.layout) if before else ():
        if finding.about in before:
            lives = finding.severity is Severity.NOTE
            words = "stays in corrupt/: nothing is lost; remove the file when you have seen it"
            yield Mended(finding, words if lives else before[finding.about], done=False)


def _whole(path: Path) -> SpoolRecord | None:
    """The record of a file that holds what its record says, whatever it is called."""
    try:
        # Of a reference the name must be right: nothing else says whose it is.
        record = read_item(path) if path.suffix == REFERENCE else record_in(path)
        if record is None or not is_id(record.id):
            return None
        if not record.source_path and path.stat().st_size != record.data_set_offset + record.data_set_bytes:
            return None
        verify_data_set(record, Path(record.source_path) if record.source_path else path)
    except (SpoolError, OSError):
        return None
    return record


def _is_anywhere(tools: Tools, spool_id: str) -> bool:
    try:
        tools.layout.find(spool_id)
    except SpoolCorrupt:
        return False
    return True


def misplaced(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Into the bucket of its id, or where its instance says; never over another file."""
    for finding in findings:
        path = finding.path
        if path is None or not path.exists():
            yield Mended(finding, "is gone")
            continue
        folder = tools.layout.bucket(finding.spool_id)
        if path.parent == folder:  # it lies where kept ones lie, and is set aside
            folder = tools.layout.aside
        there = folder / path.name
        if there.exists() and not there.samefile(path):
            name = put_away(path, tools.layout.corrupt) if tools.acts else path.name
            yield Mended(finding, f"there is another one where it belongs: moved to corrupt/{name}")
            continue
        if tools.acts:
            move_items([(path, folder)])
        yield Mended(finding, f"moved to {folder.relative_to(tools.layout.root)}/")


def unknown(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Registered as the rules decide, but for destinations that have it by somebody's word."""
    if not tools.acts:
        yield from (Mended(finding, "registered, and sent where the rules say") for finding in findings)
        return
    rooms, without = tools.rooms, tools.choices.mark_delivered
    records = [finding.record for finding in findings if finding.record is not None]
    results = register(rooms, records, without=without)
    by_id = {record.id: record for record in records}
    new = [result for result in results if result.verdict is not Verdict.KNOWN]
    rooms.ledger.mending.tell_rebuilt([result.instance_id for result in new])
    for name in without:
        closed = [
            result.instance_id
            for result in new
            # What is set aside goes nowhere anyway.
            if result.verdict is not Verdict.CONFLICT
            and name in destinations_of(rooms, by_id[result.spool_id])
        ]
        rooms.ledger.mending.tell_closed(name, closed, "repair --mark-delivered")
    verdicts = {result.spool_id: result.verdict for result in results}
    for finding in findings:
        verdict = verdicts.get(finding.spool_id)
        yield Mended(
            finding, f"registered: {verdict.value if verdict else 'nothing'}", done=verdict is not None
        )


def other_facts(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """The record has a CRC and the file its digest: where both are right the row is wrong."""
    for finding in findings:
        record = finding.record
        if record is None:
            continue
        try:
            verify_data_set(record, tools.rooms.spool.locate(record.id))
            places = [_place_of(record)]
            changed = not tools.acts or tools.rooms.ledger.mending.believe_records(places)
        except (RelayError, OSError) as error:
            yield Mended(finding, f"nothing was done: {error}", done=False)
            continue
        if changed and "UID" not in finding.words:
            yield Mended(finding, "the ledger says what the record says")
        else:
            words = (
                "its UIDs differ: the ledger as a whole is damaged. Stop the relay, move db/ away, and repair"
            )
            yield Mended(finding, words, done=False)


def _place_of(record: SpoolRecord) -> Arrival:
    return Arrival(
        spool_id=record.id,
        host="",
        sop_class_uid=record.sop_class_uid,
        sop_instance_uid=record.sop_instance_uid,
        study_instance_uid=record.study_instance_uid,
        series_instance_uid=record.series_instance_uid,
        transfer_syntax_uid=record.transfer_syntax_uid,
        modality=record.modality,
        data_set_offset=record.data_set_offset,
        data_set_bytes=record.data_set_bytes,
        digest=record.digest,
    )


def released(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Removed when the archive's copy was read just now and is the same; without that copy it is the only one, and needed."""
    archive = tools.look.archive
    known = archive.known([finding.sop_instance_uid for finding in findings]) if archive else {}
    for finding in findings:
        stored = known.get(finding.sop_instance_uid)
        same = archive is not None and stored is not None and finding.record is not None
        if same and archive is not None and stored is not None and finding.record is not None:
            try:
                same = stored.digest == finding.record.digest == archive.digest_of(stored)
            except OSError:
                same = False
        if same:
            if tools.acts:
                tools.rooms.spool.remove([finding.spool_id])
            yield Mended(finding, "removed: the archive's copy was read and is the same")
            continue
        entry = tools.rooms.ledger.inventory.instance(finding.instance_id)
        if entry is not None and not entry.archive_wanted and not entry.open_deliveries:
            yield Mended(finding, "left: it was delivered, and the next start of the relay removes it")
            continue
        if tools.acts:
            tools.rooms.ledger.mending.take_back([finding.instance_id])
        yield Mended(finding, "the archive has no such copy: its spool item is needed again")

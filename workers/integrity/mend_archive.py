"""Mending the archive: files put back, taken into the index, or put away; its frames made again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from archive import StoredInstance, StoreOutcome, StoreRequest
from archive.disk import digest_of
from archive.inventory import LOST_AND_FOUND, ArchiveInventory
from archive.storage import LocalStorage
from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.dicom.scan import HeaderScanner
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.errors import DataSetError, RelayError
from dicomrelay.ledger.mending import Archived
from dicomrelay.ledger.values import Arrival, Priority, Stage
from dicomrelay.spool import Provenance, SpoolRecord
from workers.integrity.findings import Finding
from workers.integrity.tools import Mended, Tools, put_away, record_in

_SCAN_STEP_BYTES = 65_536
# Files that are put into the index in one transaction.
_TOGETHER = 200


def file_gone(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """What lies there and is wrong is put away; then the file comes back from the spool, or from lost+found/."""
    archive = tools.look.archive
    known = archive.known([finding.sop_instance_uid for finding in findings]) if archive else {}
    for finding in findings:
        stored = known.get(finding.sop_instance_uid)
        if archive is None or stored is None:
            yield Mended(finding, "is no longer in the index")
            continue
        try:
            name = _taken_away(archive, stored, acts=tools.acts)
            moved = f"moved to {LOST_AND_FOUND}/{name}; " if name else ""
        except OSError as error:
            yield Mended(finding, f"cannot be moved: {error.strerror}", done=False)
            continue
        source = _from_spool(tools, stored)
        if source is not None and _stored(tools, source):
            yield Mended(finding, f"{moved}put back from the spool")
        else:
            yield Mended(finding, f"{moved}the spool does not have it", done=False)


def found_again(tools: Tools, missing: Sequence[Mended]) -> Iterator[Mended]:
    """Of files that could not be put back those that lie in lost+found/ under whatever name: two may have changed places."""
    archive = tools.look.archive
    if archive is None:
        return
    wanted = {mended.finding.sop_instance_uid: mended for mended in missing}
    folder = archive.layout.root / LOST_AND_FOUND
    paths = sorted(folder.iterdir()) if wanted and folder.is_dir() else []
    if not tools.acts:  # they would be there by now
        paths += [archive.layout.resolve(each.relative_path) for each in archive.known(list(wanted)).values()]
    for path in paths:
        try:
            with path.open("rb") as file:
                meta = parse_file_meta(file.read(HEAD_BYTES))
            stored = archive.known([meta.sop_instance_uid]).get(meta.sop_instance_uid)
            if stored is None or stored.sop_instance_uid not in wanted:
                continue
            if digest_of(path, offset=meta.data_set_offset) != stored.digest:
                continue
        except (OSError, DataSetError):
            continue
        if _stored(tools, _request(path, stored, meta.data_set_offset, may_link=True)):
            if tools.acts:
                path.unlink()  # a second name of what was read and put back just now
            found = wanted.pop(stored.sop_instance_uid)
            yield Mended(found.finding, f"put back from {LOST_AND_FOUND}/{path.name}")
    yield from wanted.values()


def _taken_away(archive: ArchiveInventory, stored: StoredInstance, *, acts: bool) -> str:
    """What lies under its name goes to lost+found/; the name that it gets there, "" where nothing lies. Raises OSError."""
    path, folder = archive.layout.resolve(stored.relative_path), _lost_and_found(archive)
    if isinstance(archive.storage, LocalStorage):
        if not path.exists():
            return ""
        return put_away(path, folder) if acts else path.name
    if archive.storage.stat(stored.relative_path) is None:
        return ""
    if not acts:
        return path.name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as here:
        copy = Path(here, path.name)
        with copy.open("xb") as file:
            for chunk in archive.storage.chunks(stored.relative_path):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        name = put_away(copy, folder)
    archive.storage.delete(stored.relative_path)
    return name


def _lost_and_found(archive: ArchiveInventory) -> Path:
    return archive.layout.root / LOST_AND_FOUND


def _from_spool(tools: Tools, stored: StoredInstance) -> StoreRequest | None:
    """Its spool item, where it is there and was read just now."""
    rooms = tools.rooms
    entry = rooms.ledger.inventory.kept([stored.sop_instance_uid]).get(stored.sop_instance_uid)
    if entry is None or entry.facts.digest != stored.digest:
        return None
    try:
        record = rooms.spool.verify(entry.facts.spool_id)
        path = rooms.spool.locate(record.id)
    except RelayError:
        return None
    may_link = not record.source_path
    return (
        _request(path, stored, record.data_set_offset, may_link=may_link)
        if record.digest == stored.digest
        else None
    )


def _request(path: Path, stored: StoredInstance, offset: int, *, may_link: bool) -> StoreRequest:
    return StoreRequest(
        source=path,
        data_set_offset=offset,
        data_set_bytes=stored.data_set_bytes,
        digest=stored.digest,
        sop_class_uid=stored.sop_class_uid,
        sop_instance_uid=stored.sop_instance_uid,
        study_instance_uid=stored.study_instance_uid,
        series_instance_uid=stored.series_instance_uid,
        transfer_syntax_uid=stored.transfer_syntax_uid,
        may_link=may_link,
    )


def _stored(tools: Tools, request: StoreRequest) -> bool:
    if not tools.acts:
        return True
    (result,) = tools.rooms.archive.store([request])
    return result.outcome in (StoreOutcome.STORED, StoreOutcome.ALREADY_THERE)


def not_in_the_index(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Into the index under the name that it has; what is no instance, or a second one, is put away."""
    for start in range(0, len(findings), _TOGETHER):
        yield from _taken_in(tools, findings[start : start + _TOGETHER])


def _taken_in(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Some files together: one transaction of the index for them all."""
    archive = tools.look.archive
    found: list[tuple[Finding, Path, StoreRequest]] = []
    for finding in findings:
        path = finding.path
        if archive is None or path is None or not path.exists():
            yield Mended(finding, "is gone")
            continue
        try:
            found.append((finding, path, _request_of_a_whole_one(path)))
        except DataSetError as error:
            yield _put_away(tools, finding, path, str(error))
        except OSError as error:
            yield Mended(finding, f"cannot be read: {error.strerror}", done=False)
    if archive is None or not found:
        return
    if not tools.acts:
        yield from _would_be_taken_in(tools, archive, found)
        return
    results = tools.rooms.archive.store([request for _, _, request in found])
    places = [path.relative_to(archive.layout.root).as_posix() for _, path, _ in found]
    known = archive.stored_at(places)
    for (finding, path, _), place, result in zip(found, places, results, strict=True):
        if place in known:
            yield Mended(finding, "is in the index now")
            continue
        if result.outcome is StoreOutcome.FAILED:
            yield Mended(finding, f"nothing was done: {result.reason}", done=False)
            continue
        yield _put_away(
            tools, finding, path, _second_one(is_conflict=result.outcome is StoreOutcome.CONFLICT)
        )


def _would_be_taken_in(
    tools: Tools, archive: ArchiveInventory, found: Sequence[tuple[Finding, Path, StoreRequest]]
) -> Iterator[Mended]:
    """The archive's own decision, from what its index has."""
    known = archive.known([request.sop_instance_uid for _, _, request in found])
    for finding, path, request in found:
        stored = known.get(request.sop_instance_uid)
        if stored is None:
            yield Mended(finding, "is in the index now")
        else:
            reason = _second_one(is_conflict=stored.digest != request.digest)
            yield _put_away(tools, finding, path, reason)


def _second_one(*, is_conflict: bool) -> str:
    return f"the archive has {'other bytes under its UID' if is_conflict else 'the same bytes elsewhere'}"


def _put_away(tools: Tools, finding: Finding, path: Path, reason: str) -> Mended:
    folder = tools.rooms.archive.layout.root / LOST_AND_FOUND
    try:
        name = put_away(path, folder) if tools.acts else path.name
        return Mended(finding, f"{reason}: moved to {LOST_AND_FOUND}/{name}")
    except OSError as error:
        return Mended(finding, f"{reason}, and it cannot be moved: {error.strerror}", done=False)


def _request_of_a_whole_one(path: Path) -> StoreRequest:
    """What a stored file says of itself. Raises OSError, and DataSetError where it is not an instance as it was received."""
    try:
        request = _request_for(path)
    except DataSetError:
        raise DataSetError("is no instance") from None
    record = record_in(path)
    if record is not None and record.digest != request.digest:
        raise DataSetError("holds other bytes than were received")
    return request


def _request_for(path: Path) -> StoreRequest:
    """What a stored file says of itself. Raises DataSetError, OSError."""
    with path.open("rb") as file:
        meta = parse_file_meta(file.read(HEAD_BYTES))
        file.seek(meta.data_set_offset)
        scanner = HeaderScanner(meta.transfer_syntax_uid)
        while (step := file.read(_SCAN_STEP_BYTES)) and not scanner.feed(memoryview(step)):
            pass
    record = record_in(path)
    header = scanner.header
    uid = header.sop_instance_uid or meta.sop_instance_uid
    return StoreRequest(
        source=path,
        data_set_offset=meta.data_set_offset,
        data_set_bytes=path.stat().st_size - meta.data_set_offset,
        digest=digest_of(path, offset=meta.data_set_offset),
        sop_class_uid=header.sop_class_uid or meta.sop_class_uid,
        sop_instance_uid=record.sop_instance_uid if record else uid,
        study_instance_uid=record.study_instance_uid
        if record
        else header.study_instance_uid or derived_uid("study", uid),
        series_instance_uid=record.series_instance_uid
        if record
        else header.series_instance_uid or derived_uid("series", uid),
        transfer_syntax_uid=meta.transfer_syntax_uid,
        modality=header.modality,
        may_link=True,
    )


def frames_gone(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Made again by the workers."""
    entries = tools.rooms.ledger.inventory.kept([finding.sop_instance_uid for finding in findings])
    ids = [entry.facts.instance_id for entry in entries.values()]
    if tools.acts:
        tools.rooms.ledger.mending.redo_stage(ids, Stage.FRAMES)
    for finding in findings:
        yield Mended(finding, "its frame index is made again")


def half_written(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Nobody was ever told that it is there."""
    for finding in findings:
        if finding.path is not None and tools.acts:
            finding.path.unlink(missing_ok=True)
        yield Mended(finding, "removed: nobody was ever told that it is there")


def unlisted(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Into the ledger, as archived; with deliveries only where a person asked for them."""
    archive = tools.look.archive
    if archive is None:
        return
    known = archive.known([finding.sop_instance_uid for finding in findings])
    found = [_archived(tools, archive, stored) for stored in known.values()]
    taken = tools.rooms.ledger.inventory.by_spool_id([each.arrival.spool_id for each in found])
    adopted = [each for each in found if each.arrival.spool_id not in taken]
    if tools.acts:
        tools.rooms.ledger.mending.adopt(adopted)
    there = {each.arrival.sop_instance_uid for each in adopted}
    to = f", to be sent to {', '.join(tools.choices.resend)}" if tools.choices.resend else ", not sent"
    for finding in findings:
        done = finding.sop_instance_uid in there
        yield Mended(
            finding,
            f"in the ledger as archived{to}" if done else "nothing was done: its spool item has another row",
            done=done,
        )


def _archived(tools: Tools, archive: ArchiveInventory, stored: StoredInstance) -> Archived:
    path = archive.layout.resolve(stored.relative_path)
    record: SpoolRecord | None = None
    received_at_ms = 0
    try:
        record = record_in(path)
        received_at_ms = round(path.stat().st_mtime * 1000)
    except OSError:
        pass  # its file is gone, which is a finding of its own
    origin = record.provenance if record else Provenance("", "", "", "", received_at_ms)
    index = archive.frame_index(stored)
    arrival = Arrival(
        spool_id=record.id if record else f"archive/{stored.sop_instance_uid}",
        host="",
        sop_class_uid=stored.sop_class_uid,
        sop_instance_uid=stored.sop_instance_uid,
        study_instance_uid=stored.study_instance_uid,
        series_instance_uid=stored.series_instance_uid,
        transfer_syntax_uid=stored.transfer_syntax_uid,
        modality=record.modality if record else "",
        data_set_offset=stored.data_set_offset,
        data_set_bytes=stored.data_set_bytes,
        digest=stored.digest,
        calling_ae_title=origin.calling_ae_title,
        called_ae_title=origin.called_ae_title,
        peer_address=origin.peer_address,
        association_id=origin.association_id,
        received_at_ms=origin.received_at_ms,
        destinations=tools.choices.resend,
        # There may be years of it; nothing of today waits for that.
        priority=Priority.BULK,
    )
    return Archived(arrival, stored.relative_path, index.frame_count if index else None)

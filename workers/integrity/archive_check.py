"""The archive's files against its index, both ways, and the index against the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from archive import StoredInstance
from archive.inventory import ArchiveInventory, FileThere
from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.errors import ArchiveError, DataSetError
from workers.integrity import one_file
from workers.integrity.aside_check import check_aside
from workers.integrity.findings import Finding, Severity
from workers.integrity.invariants import Invariant
from workers.integrity.looking import AGAIN_S, Look

# A batch of large instances takes ten minutes to copy at most.
_PART_S: Final = 3600.0
# A file whose instance the ledger does not know may be about to be put into the index.
_YOUNG_S: Final = 60.0
_EACH: Final = 50


def check_archive(look: Look) -> Iterator[Finding]:
    """See docs/design/integrity.md, `archive.*`."""
    if look.archive is None:
        return
    total, done, read = look.archive.count(), 0, 0
    for page in look.archive.instances():
        yield from _files(look, look.archive, page)
        if look.read_data:
            for start in range(0, len(page), _EACH):
                some = page[start : start + _EACH]
                yield from _data(look, look.archive, some)
                read += sum(stored.data_set_bytes for stored in some)
                look.tick("archive: instances", done + start + len(some), max(total, done), read)
        yield from _against_the_ledger(look, page)
        done += len(page)
        look.tick("archive: instances", done, max(total, done), read)
    yield from _unknown(look, look.archive)
    yield from check_aside(look)


def _about(
    invariant: Invariant, stored: StoredInstance, words: str, severity: Severity = Severity.FAULT
) -> Finding:
    return Finding(
        invariant,
        stored.sop_instance_uid,
        words,
        severity,
        sop_instance_uid=stored.sop_instance_uid,
        study_instance_uid=stored.study_instance_uid,
    )


def _files(look: Look, archive: ArchiveInventory, page: Sequence[StoredInstance]) -> Iterator[Finding]:
    wrong = [stored for stored in page if _size(archive, stored) != stored.file_bytes]
    if not wrong:
        return
    time.sleep(AGAIN_S)  # one that was damaged may just have been put back, before the index has its size
    again = archive.known([stored.sop_instance_uid for stored in wrong])
    for stored in again.values():
        size = _size(archive, stored)
        if size == stored.file_bytes:
            continue
        words = "its file is gone" if size is None else f"its file has {size} bytes, not {stored.file_bytes}"
        words += one_file.of_stored(look, stored) if size is not None else ""
        yield _about(Invariant.ARCHIVE_FILE, stored, words)


def _size(archive: ArchiveInventory, stored: StoredInstance) -> int | None:
    try:
        return archive.size_of(stored)
    except (OSError, ArchiveError):  # a link that leads out of it: nothing that could be served
        return None


def _data(look: Look, archive: ArchiveInventory, some: Sequence[StoredInstance]) -> Iterator[Finding]:
    for stored in some:
        if _size(archive, stored) != stored.file_bytes:
            continue  # told already
        try:
            if archive.digest_of(stored) == stored.digest:
                continue
            words = "its file holds other bytes than were archived"
        except (OSError, ArchiveError) as error:
            words = f"its file cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}"
        now = archive.known([stored.sop_instance_uid]).get(stored.sop_instance_uid)
        if now == stored:
            yield _about(Invariant.ARCHIVE_BYTES, stored, words + one_file.of_stored(look, stored))


def _against_the_ledger(look: Look, page: Sequence[StoredInstance]) -> Iterator[Finding]:
    if look.ledger is None or look.archive is None:
        return
    entries = look.ledger.kept([stored.sop_instance_uid for stored in page])
    for stored in page:
        entry = entries.get(stored.sop_instance_uid)
        if entry is None:
            words = "is in the archive only: the ledger does not know it"
            yield _about(Invariant.ARCHIVE_UNLISTED, stored, words, Severity.NOTE)
            continue
        framed = entry.framing is not None and entry.framing.state == "done"
        if framed and entry.facts.digest == stored.digest and look.archive.frame_index(stored) is None:
            finding = _about(
                Invariant.ARCHIVE_FRAMES, stored, "its frame index is gone or does not fit the stored file"
            )
            now = look.ledger.kept([stored.sop_instance_uid]).get(stored.sop_instance_uid)
            if now is not None and now.framing == entry.framing:
                yield finding


def _unknown(look: Look, archive: ArchiveInventory) -> Iterator[Finding]:
    """Files without a row, and those that nobody finished."""
    done = 0
    for page in archive.files():
        yield from _parts(page)
        files = [file for file in page if not file.is_part]
        known = archive.stored_at([file.relative_path for file in files])
        for file in files:
            if file.relative_path not in known:
                yield from _without_a_row(look, archive, file)
        done += len(page)
        look.tick("archive: files", done, 0, 0)
    for page in archive.frame_files():
        yield from _parts(page)


def _parts(page: Sequence[FileThere]) -> Iterator[Finding]:
    for file in page:
        if file.is_part and _age_s(file) > _PART_S:
            words = "nobody has written to it for an hour"
            yield Finding(Invariant.ARCHIVE_LEFTOVERS, file.path.name, words, Severity.NOTE, path=file.path)


def _without_a_row(look: Look, archive: ArchiveInventory, file: FileThere) -> Iterator[Finding]:
    """Files come before their row: one whose instance is still to be archived is found by the next try."""
    uid = sop_instance_uid_of(file)
    entry = look.ledger.kept([uid]).get(uid) if look.ledger is not None and uid else None
    if entry is not None and not entry.facts.archive_path:
        if entry.archiving is not None and entry.archiving.state == "pending":
            return
    elif entry is None and _age_s(file) < _YOUNG_S:
        return
    if file.path.exists() and not archive.stored_at([file.relative_path]):
        words = "is a stored file that the index does not know" if uid else "is no stored instance"
        yield Finding(Invariant.ARCHIVE_KNOWN, file.path.name, words, sop_instance_uid=uid, path=file.path)


def sop_instance_uid_of(file: FileThere) -> str:
    """What its file meta says, "" when it is no Part 10 file."""
    try:
        with file.path.open("rb") as opened:
            return parse_file_meta(opened.read(HEAD_BYTES)).sop_instance_uid
    except (OSError, DataSetError):
        return ""


def _age_s(file: FileThere) -> float:
    """Seconds since it was written or got its name, whichever was later; less than none when it is gone."""
    try:
        state = file.path.lstat()
    except FileNotFoundError:
        return -1.0
    # By the clock of the file system, which is that of this machine or of a file server.
    return time.time() - max(state.st_ctime, state.st_mtime)

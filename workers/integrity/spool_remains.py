"""What lies in the spool and is nobody's work any more: of dead processes, and in corrupt/."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from dicomrelay.dicom.part10 import HEAD_BYTES
from dicomrelay.errors import SpoolCorrupt, SpoolError
from dicomrelay.ledger.inventory import InstanceEntry
from dicomrelay.ledger.texts import storable
from dicomrelay.spool import SpoolRecord
from dicomrelay.spool.items import item_names
from dicomrelay.spool.layout import PART, Layout, writer_token
from dicomrelay.spool.records import decode_head
from dicomrelay.spool.reports import ReportBox
from workers.integrity.findings import Finding, Severity
from workers.integrity.invariants import Invariant
from workers.integrity.looking import Look

_BATCH: Final = 1000


def check_leftovers(layout: Layout, copies: Path) -> Iterator[Finding]:
    """What dead processes left behind."""
    alive: dict[str, bool] = {}
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(layout.new)):
            if not name.endswith(PART):
                continue
            token = writer_token(name)
            if token not in alive:
                alive[token] = is_locked(layout.writers / token)
            if not alive[token] and (layout.new / name).exists():
                yield _leftover(layout.new / name, "half-written, and its writer is dead")
    for folder, words in (
        (layout.writers, "lock file of a dead writer"),
        (copies, "copies of a dead process"),
    ):
        with suppress(FileNotFoundError):
            for name in sorted(os.listdir(folder)):
                path = folder / name
                if not is_locked(path) and path.exists():
                    yield _leftover(path, words)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file or folder. Changes nothing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _leftover(path: Path, words: str) -> Finding:
    return Finding(Invariant.SPOOL_LEFTOVERS, path.name, words, Severity.NOTE, path=path)


def check_reports(layout: Layout) -> Iterator[Finding]:
    """Reports of storage commitment that nobody has taken yet: each was answered for, and is read once."""
    box = ReportBox(layout.root / "reports")
    for name in box.waiting():
        try:
            box.read(name)
        except SpoolCorrupt:
            words = "is not as it was written: what it said is not known"
            yield Finding(Invariant.SPOOL_REPORTS, name, words, path=box.folder / name)
        except SpoolError as error:
            if (box.folder / name).exists():  # else a worker took it
                yield Finding(Invariant.SPOOL_REPORTS, name, str(error))
    for path in box.abandoned():
        words = "half-written, and nobody was told that it is kept"
        yield Finding(Invariant.SPOOL_REPORTS, path.name, words, Severity.NOTE, path=path)


def check_corrupt(look: Look, layout: Layout) -> Iterator[Finding]:
    """What was put away: a fault while it may be the only copy."""
    names = iter(sorted(item_names(layout.corrupt)))
    while some := list(islice(names, _BATCH)):
        records = {name: _record_of(layout.corrupt / name) for name in some}
        uids = [storable(record.sop_instance_uid) for record in records.values() if record]
        kept = look.ledger.kept(uids) if look.ledger else {}
        by_id = look.ledger.by_spool_id([_stem(name) for name in some]) if look.ledger else {}
        for name, record in records.items():
            entry = by_id.get(_stem(name)) or (
                kept.get(storable(record.sop_instance_uid)) if record else None
            )
            words, severity = "was put away: it is not what was acknowledged", Severity.FAULT
            if entry is not None and _is_elsewhere(entry, _stem(name)):
                words, severity = "was put away; its instance lives on elsewhere", Severity.NOTE
            uid = entry.facts.sop_instance_uid if entry else record.sop_instance_uid if record else ""
            yield Finding(
                Invariant.SPOOL_CORRUPT,
                name,
                words,
                severity,
                spool_id=_stem(name),
                sop_instance_uid=uid,
                path=layout.corrupt / name,
            )


def _stem(name: str) -> str:
    """The id in a name that may have got a number because it was taken."""
    return name.partition(".")[0].partition("~")[0]


def _is_elsewhere(entry: InstanceEntry, spool_id: str) -> bool:
    """Whether the ledger has the bytes of an instance in another place than that item."""
    if entry.released_ms_ago is not None:
        return bool(entry.facts.archive_path)
    return entry.facts.spool_id != spool_id


def _record_of(path: Path) -> SpoolRecord | None:
    try:
        with path.open("rb") as file:
            return decode_head(file.read(HEAD_BYTES), origin=path.name)
    except (SpoolError, OSError):
        return None

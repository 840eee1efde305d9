"""Spool and archive as two names of one file: damage of the one is damage of the other, and neither mends the other."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from archive import StoredInstance
from dicomrelay.errors import ArchiveError, SpoolError
from dicomrelay.ledger.texts import storable
from workers.integrity.looking import Look

_NO_OTHER: Final = "is this same file (a hard link): there is no second copy here, send the instance again"
OF_THE_SPOOL: Final = f"; its file in the archive {_NO_OTHER}"
OF_THE_ARCHIVE: Final = f"; its spool item {_NO_OTHER}"


def of_item(look: Look, path: Path, sop_instance_uid: str = "") -> str:
    """What is to be added of a damaged item whose file the archive has too; "" where it has none, or one of its own.

    Parameters
    ----------
    sop_instance_uid : str
        Where its record can be read; else the ledger is asked for it.
    """
    if look.archive is None:
        return ""
    uid = storable(sop_instance_uid)
    if not uid and look.ledger is not None:
        entry = look.ledger.by_spool_id([path.stem]).get(path.stem)
        uid = entry.facts.sop_instance_uid if entry else ""
    stored = look.archive.known([uid]).get(uid) if uid else None
    return OF_THE_SPOOL if stored is not None and _is_one(look, path, stored) else ""


def of_stored(look: Look, stored: StoredInstance) -> str:
    """What is to be added of a damaged file of the archive that the spool has too; "" where it has none, or one of its own."""
    if look.ledger is None or look.spool is None:
        return ""
    entry = look.ledger.kept([stored.sop_instance_uid]).get(stored.sop_instance_uid)
    if entry is None or entry.facts.source_path:
        return ""
    try:
        path = look.spool.find(entry.facts.spool_id)
    except SpoolError:
        return ""
    return OF_THE_ARCHIVE if _is_one(look, path, stored) else ""


def _is_one(look: Look, path: Path, stored: StoredInstance) -> bool:
    """By device and inode."""
    try:
        return look.archive is not None and path.samefile(look.archive.layout.resolve(stored.relative_path))
    except (OSError, ArchiveError):
        return False

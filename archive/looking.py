"""Whether a stored file is what was archived. It knows a storage and an instance, and no index."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from archive.index.health import Damage
from archive.storage import Storage
from archive.values import StoredInstance
from dicomrelay.dicom.part10 import parse_file_meta
from dicomrelay.errors import ArchiveError, DataSetError


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen: the damage, words for it, how much was read for that, in bytes, and the digest of a head that is whole."""

    damage: Damage | None
    words: str = ""
    read_bytes: int = 0
    head_digest: str = ""


def look_at(
    storage: Storage,
    stored: StoredInstance,
    head_digest: str = "",
    *,
    read: bool = True,
    pace: Callable[[int], None] = lambda _: None,
) -> Look:
    """Hold a stored file against what the index says of it.

    Parameters
    ----------
    head_digest : str
        SHA-256 of what is in front of its data set; "" where it is not known.
    read : bool
        Read its bytes; else only its size is asked.
    pace : callable
        Told of every piece that was read, in bytes; it may take its time.

    Raises
    ------
    ServiceUnavailable
        The storage does not answer: that says nothing about the file.
    """
    total = 0
    try:
        there = storage.stat(stored.relative_path)
        if there is None:
            return Look(Damage.GONE, "its file is gone")
        if there.size_bytes != stored.file_bytes:
            return Look(Damage.SIZE, f"its file has {there.size_bytes} bytes, not {stored.file_bytes}")
        if not read:
            return Look(None)
        digest = hashlib.sha256()
        head = bytearray()
        for chunk in storage.chunks(stored.relative_path, fresh=True):
            digest.update(memoryview(chunk)[max(0, stored.data_set_offset - total) :])
            head += chunk[: max(0, stored.data_set_offset - total)]
            total += len(chunk)
            pace(len(chunk))
    except FileNotFoundError:
        return Look(Damage.GONE, "its file is gone", total)
    except (OSError, ArchiveError) as error:
        words = getattr(error, "strerror", None) or type(error).__name__
        return Look(Damage.UNREADABLE, f"its file cannot be read: {words}", total)
    if digest.hexdigest() != stored.digest:
        return Look(Damage.DIGEST, "its data set has other bytes than were archived", total)
    seen = hashlib.sha256(head).hexdigest()
    fault = "other bytes" if head_digest and seen != head_digest else _head_fault(bytes(head), stored)
    if fault:
        return Look(Damage.DIGEST, f"its file meta is damaged: {fault}", total)
    return Look(None, read_bytes=total, head_digest=seen)


def _head_fault(head: bytes, stored: StoredInstance) -> str:
    """What in front of the data set is not as the index has it; "" when nothing is."""
    try:
        meta = parse_file_meta(head)
    except DataSetError as error:
        return type(error).__name__
    if meta.data_set_offset != stored.data_set_offset:
        return f"it ends at byte {meta.data_set_offset}, and the data set begins at {stored.data_set_offset}"
    if meta.transfer_syntax_uid != stored.transfer_syntax_uid:
        return "it names another transfer syntax"
    return ""

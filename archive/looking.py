"""Whether a stored file is what was archived. It knows a storage and an instance, and no index."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from archive.index.health import Damage
from archive.storage import Storage
from archive.values import Conflict, StoredInstance
from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.errors import ArchiveError, DataSetError, ServiceUnavailable

# What our process or our machine lacks, or a file server that is away: of the file that says nothing. EIO is the disk's own word.
_SAYS_NOTHING: Final = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOBUFS,
        errno.EAGAIN,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENODEV,
        errno.ENXIO,
        errno.ENOLINK,
    }
)


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
        The storage does not answer, is not there, or cannot be asked now: that says nothing about the file.
    """
    total = 0
    try:
        there = storage.stat(stored.relative_path)
        if there is None:
            return _gone(storage)
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
        return _gone(storage, total)
    except (OSError, ArchiveError) as error:
        return _unreadable(error, total)
    if digest.hexdigest() != stored.digest:
        return Look(Damage.DIGEST, "its data set has other bytes than were archived", total)
    seen = hashlib.sha256(head).hexdigest()
    fault = "other bytes" if head_digest and seen != head_digest else _head_fault(bytes(head), stored)
    if fault:
        return Look(Damage.DIGEST, f"its file meta is damaged: {fault}", total)
    return Look(None, read_bytes=total, head_digest=seen)


def look_aside(
    storage: Storage,
    conflict: Conflict,
    *,
    read: bool = True,
    pace: Callable[[int], None] = lambda _: None,
) -> Look:
    """The same of what was set aside: its digest is in its row, and where its data set begins in the file alone.

    Raises
    ------
    ServiceUnavailable
        As `look_at`.
    """
    path, total = conflict.relative_path, 0
    try:
        there = storage.stat(path)
        if there is None:
            return _gone(storage)
        if not read and there.size_bytes == conflict.file_bytes:
            return Look(None)
        offset = parse_file_meta(storage.read(path, 0, HEAD_BYTES)).data_set_offset
        digest = hashlib.sha256()
        for chunk in storage.chunks(path, fresh=True):
            digest.update(memoryview(chunk)[max(0, offset - total) :])
            total += len(chunk)
            pace(len(chunk))
    except FileNotFoundError:
        return _gone(storage, total)
    except DataSetError as error:
        return Look(Damage.DIGEST, f"its file meta is damaged: {type(error).__name__}", total)
    except (OSError, ArchiveError) as error:
        return _unreadable(error, total)
    if digest.hexdigest() == conflict.digest:
        return Look(None, read_bytes=total)
    if there.size_bytes != conflict.file_bytes:
        words = f"its file has {there.size_bytes} bytes, not {conflict.file_bytes}"
        return Look(Damage.SIZE, words, total)
    return Look(Damage.DIGEST, "its data set has other bytes than were set aside", total)


def _gone(storage: Storage, read_bytes: int = 0) -> Look:
    storage.require()
    return Look(Damage.GONE, "its file is gone", read_bytes)


def _unreadable(error: OSError | ArchiveError, read_bytes: int) -> Look:
    words = getattr(error, "strerror", None) or type(error).__name__
    if getattr(error, "errno", None) in _SAYS_NOTHING:
        raise ServiceUnavailable(f"the archive's files cannot be read now: {words}") from None
    return Look(Damage.UNREADABLE, f"its file cannot be read: {words}", read_bytes)


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

"""Committed items as files: reading what they say, checking what they hold, moving them."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from dicomrelay.dicom.part10 import HEAD_BYTES
from dicomrelay.errors import SpoolCorrupt, SpoolError
from dicomrelay.spool.layout import ITEM, PART, REFERENCE
from dicomrelay.spool.operations import sync_path
from dicomrelay.spool.records import PAGE_BYTES, SpoolRecord, decode_head, decode_record
from dicomrelay.spool.reserve import MAX_READY_BYTES

_HASH_STEP_BYTES: Final = 1 << 20
# Preamble and prefix (PS3.10 Section 7.1): a head of ours was written.
_BEGINNING: Final = bytes(128) + b"DICM"
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def read_item(path: Path) -> SpoolRecord:
    """The record of an item.

    Raises
    ------
    FileNotFoundError
        It is no longer there.
    SpoolCorrupt
        Its CRC or its size is wrong, or it is not the item that its name says.
    SpoolError
        It cannot be read, which says nothing about what it holds: worth another try.
    """
    record = _read(path, may_be_longer=False)
    if record.id != path.stem:
        raise SpoolCorrupt(f"{path}: holds the record of {record.id}")
    return record


def _read(path: Path, *, may_be_longer: bool) -> SpoolRecord:
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(PAGE_BYTES)
            if path.suffix == REFERENCE:
                return decode_record(head + (file.read() or b""), origin=str(path))
            record = _read_head(head, file.read, str(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SpoolError(f"{path}: cannot be read: {error.strerror}") from error
    expected = record.data_set_offset + record.data_set_bytes
    if size > expected and (may_be_longer or _is_untrimmed(path, expected, size)):
        _trim(path, expected)
    elif size != expected:
        raise SpoolCorrupt(f"{path}: {size} bytes long, not as long as its record says")
    return record


def _is_untrimmed(path: Path, expected: int, size: int) -> bool:
    """Whether a power cut has kept an item's name and taken its cut to size: zeros of the reserve stand behind it."""
    with path.open("rb", buffering=0) as file:
        file.seek(expected)
        return size <= MAX_READY_BYTES and not (file.read(size - expected) or b"").strip(b"\0")


def _trim(path: Path, size: int) -> None:
    try:
        os.truncate(path, size)
    except OSError as error:
        raise SpoolError(f"{path}: cannot be cut to its size: {error.strerror}") from error


class Left(Enum):
    """What became of a file that a dead writer left."""

    WHOLE = "given the name of its item"
    SWEPT = "begun, and removed"
    OTHER = "of the reserve, or gone, or to be looked at"


def clear_part(path: Path, folder: Path) -> Left:
    """Give a whole item its name, and remove what is none. The head is written last: without one nobody was answered.

    Raises
    ------
    SpoolCorrupt
        It has a head, and what stands behind it is not what the head says.
    SpoolError
        It cannot be read, which says nothing about what it holds.
    """
    try:
        with path.open("rb", buffering=0) as file:
            head = file.read(MAX_READY_BYTES) or b""
        if not head.startswith(_BEGINNING):
            path.unlink(missing_ok=True)
            return Left.SWEPT if head.strip(b"\0") else Left.OTHER
        record = _read(path, may_be_longer=True)
        verify_data_set(record, path)
        path.rename(folder / (record.id + ITEM))
    except FileNotFoundError:
        return Left.OTHER
    except OSError as error:
        raise SpoolError(f"{path}: cannot be looked at: {error.strerror}") from error
    return Left.WHOLE


def _read_head(head: bytes, read_on: Callable[[int], bytes | None], origin: str) -> SpoolRecord:
    """One page is the rule; more only for a job with many destinations."""
    try:
        return decode_head(head, origin=origin)
    except SpoolCorrupt:
        return decode_head(head + (read_on(HEAD_BYTES) or b""), origin=origin)


def verify_data_set(record: SpoolRecord, path: Path) -> None:
    """Read the data set and hold it against its digest.

    Raises
    ------
    SpoolCorrupt
        It is gone, is too short, or holds other bytes.
    SpoolError
        It cannot be read, which says nothing about what it holds.
    """
    digest, left = hashlib.sha256(), record.data_set_bytes
    try:
        with path.open("rb") as file:
            file.seek(record.data_set_offset)
            while left and (step := file.read(min(left, _HASH_STEP_BYTES))):
                digest.update(step)
                left -= len(step)
    except FileNotFoundError as error:
        raise SpoolCorrupt(f"{path}: is gone") from error
    except OSError as error:
        raise SpoolError(f"{path}: cannot be read: {error.strerror}") from error
    if left or digest.hexdigest() != record.digest:
        raise SpoolCorrupt(f"{path}: the data set is not the one that was received")


def move_items(moves: Iterable[tuple[Path, Path]]) -> None:
    """Move files into other folders, which are made if need be: (file, folder) pairs.

    All are linked in their new place, those names are made durable, and only then the old ones go: whatever
    the file system does with the order of renames, a crash leaves one name or both. Files that are gone are passed over.
    A failed fsync leaves both names, and moving again asks it again (docs/design/spool.md says what that is worth).
    """
    linked: list[Path] = []
    changed: set[Path] = set()
    for source, folder in moves:
        folder.mkdir(mode=0o700, exist_ok=True)
        # Always: a process that died may have made the folder, and its name is perhaps not durable yet.
        changed.add(folder.parent)
        with suppress(FileNotFoundError):
            if _link(source, folder / source.name):
                linked.append(source)
            changed.add(folder)
    for folder in changed:
        with suppress(FileNotFoundError):
            sync_path(folder)
    for source in linked:
        source.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> bool:
    """A second name; False where the file system has none and the file was renamed."""
    try:
        target.hardlink_to(source)
    except FileExistsError:
        return True  # an earlier move was cut off here
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        source.rename(target)
        return False
    return True


def item_names(folder: Path) -> Iterator[str]:
    """The files of items in a folder, in no order, read on as they are asked for; none when the folder is gone.

    Raises
    ------
    SpoolError
        The folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.endswith(PART):
                    yield entry.name
    except FileNotFoundError:
        return
    except OSError as error:
        raise SpoolError(f"{folder}: cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Counted:
    """Items in a folder, and bytes of its files; `estimated` when not every file was asked."""

    items: int
    bytes: int
    estimated: bool = False


def count_items(folder: Path, *, measured: int | None = None) -> Counted:
    """How many items a folder holds, and how many bytes.

    Parameters
    ----------
    measured : int, optional
        Ask no more files than this for their size, evenly spread, and take the others to be like them.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return Counted(0, 0)
    step = 1 if measured is None else max(1, -(-len(names) // measured))
    size = asked = 0
    for name in names[::step]:
        with suppress(FileNotFoundError):
            size += os.stat(f"{folder}/{name}").st_size  # noqa: PTH116 - a path object costs more than the question
            asked += 1
    if step > 1 and asked:
        size = round(size * len(names) / asked)
    return Counted(sum(not name.endswith(PART) for name in names), size, estimated=step > 1)

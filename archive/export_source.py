"""The bytes of a stored file on their way out, verified: whoever takes them keeps them only when all of them came."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from archive.archive import Archive
from archive.disk import CHUNK_BYTES
from archive.export_values import ExportOutcome, NotExportable
from archive.values import StoredInstance
from dicomrelay.dicom.part10 import HEAD_BYTES, FileMeta, encode_file_meta, parse_file_meta
from dicomrelay.errors import ArchiveError, DataSetError

_PREFIX: Final = slice(128, 132)


@contextmanager
def stored_file(archive: Archive, stored: StoredInstance) -> Iterator[Path]:
    """The file of an instance on this machine, as long as the block lasts.

    Raises
    ------
    NotExportable
        There is none, or its storage cannot read it.
    ServiceUnavailable
        The storage does not answer: it would not for the others.
    """
    with ExitStack() as stack:
        try:
            path = stack.enter_context(archive.reading(stored))
        except (OSError, ArchiveError) as error:
            raise _unreadable(stored, error) from None
        yield path


def file_bytes(path: Path, stored: StoredInstance) -> Iterator[bytes]:
    """A whole Part 10 file of the instance, at most 1 MiB at a time; all of it came when the iteration ends.

    A file meta that does not say what the index says is written anew: the digest is the data set's alone.

    Raises
    ------
    NotExportable
        It is gone, cannot be read, or its data set has another digest than the index: what came must not be kept.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            yield _preface(file.read(HEAD_BYTES), stored)
            file.seek(stored.data_set_offset)
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                yield chunk
    except OSError as error:
        raise _unreadable(stored, error) from None
    if digest.hexdigest() != stored.digest:
        raise NotExportable(
            f"the file of {stored.sop_instance_uid} is damaged: its data set has not the digest of the index",
            outcome=ExportOutcome.DAMAGED,
        )


def _unreadable(stored: StoredInstance, error: OSError | ArchiveError) -> NotExportable:
    """Without the path, which holds the patient id."""
    uid = stored.sop_instance_uid
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotExportable(f"the file of {uid} is gone", outcome=ExportOutcome.MISSING)
    why = error.strerror if isinstance(error, OSError) else None
    return NotExportable(
        f"the file of {uid} cannot be read: {why or type(error).__name__}", outcome=ExportOutcome.FAILED
    )


def _preface(head: bytes, stored: StoredInstance) -> bytes:
    """What is in front of the data set: as it stands, if it is a file meta that fits, else a new one."""
    try:
        meta = parse_file_meta(head)
    except DataSetError:
        meta = FileMeta()
    says = (meta.data_set_offset, meta.transfer_syntax_uid, meta.sop_class_uid, meta.sop_instance_uid)
    wants = (
        stored.data_set_offset,
        stored.transfer_syntax_uid,
        stored.sop_class_uid,
        stored.sop_instance_uid,
    )
    if says == wants and head[_PREFIX] == b"DICM":
        return head[: stored.data_set_offset]
    return encode_file_meta(
        FileMeta(
            sop_class_uid=stored.sop_class_uid,
            sop_instance_uid=stored.sop_instance_uid,
            transfer_syntax_uid=stored.transfer_syntax_uid,
        )
    )

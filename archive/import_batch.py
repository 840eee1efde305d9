"""One batch of an import: files read, stored as a worker stores them, and what became of each."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from archive.archive import Archive
from archive.file_reading import read_request
from archive.root import Origin
from archive.values import StoreOutcome, StoreRequest, StoreResult
from archive.walking import Found
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.errors import DataSetError, NotDicom, ServiceUnavailable

# What the rest of an import would meet as well.
_NO_ROOM: Final = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS))
# The same, said by the database of the index; what helps stands behind it.
_NO_ROOM_IN_THE_INDEX: Final = ("(database or disk is full)", "(attempt to write a readonly database)")


class FileOutcome(Enum):
    """What became of a file."""

    STORED = "stored"
    ALREADY_THERE = "already there"
    REPLACED = "replaced"
    CONFLICT = "conflict"
    REFUSED = "refused"
    SKIPPED = "skipped"


_OUTCOMES: Final = {
    StoreOutcome.STORED: FileOutcome.STORED,
    StoreOutcome.ALREADY_THERE: FileOutcome.ALREADY_THERE,
    StoreOutcome.REPLACED: FileOutcome.REPLACED,
    StoreOutcome.CONFLICT: FileOutcome.CONFLICT,
    StoreOutcome.FAILED: FileOutcome.REFUSED,
}


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """A file and what became of it.

    Attributes
    ----------
    sop_instance_uid : str
        "" where it is not known.
    reason : str
        Why it is not in the archive, or what is odd about it.
    fault : bool
        It is skipped, and that is no matter of course: it was named itself.
    made_up_study : bool
        It is in the archive under a Study Instance UID that is made from its SOP Instance UID, since it has none itself.
    study_instance_uid : str
        Of what was read as DICOM; else "".
    """

    path: str
    outcome: FileOutcome
    sop_instance_uid: str = ""
    file_bytes: int = 0
    reason: str = ""
    fault: bool = False
    made_up_study: bool = False
    study_instance_uid: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether somebody should look at it."""
        return self.outcome in (FileOutcome.CONFLICT, FileOutcome.REFUSED) or self.fault

    @property
    def is_no_room(self) -> bool:
        """Whether the archive's disk takes nothing more."""
        return self.outcome is FileOutcome.REFUSED and _is_no_room(self.reason)


def _is_no_room(reason: str) -> bool:
    return reason.endswith(_NO_ROOM) or any(words in reason for words in _NO_ROOM_IN_THE_INDEX)


def import_batch(archive: Archive, batch: Sequence[Found]) -> list[ImportedFile]:
    """Store a batch of files; each of them is in the answer, in no order.

    Raises
    ------
    ServiceUnavailable
        Index or storage do not work: nothing is known of the batch.
    """
    done: list[ImportedFile] = []
    requests: list[tuple[Found, StoreRequest]] = []
    for file in batch:
        try:
            requests.append((file, read_request(Path(file.path))))
        except NotDicom as error:
            done.append(
                ImportedFile(
                    file.path, FileOutcome.SKIPPED, "", file.size_bytes, str(error), fault=file.named
                )
            )
        except DataSetError as error:
            done.append(ImportedFile(file.path, FileOutcome.REFUSED, "", file.size_bytes, str(error)))
        except OSError as error:
            words = error.strerror or "changed while it was read"
            done.append(
                ImportedFile(file.path, FileOutcome.REFUSED, "", file.size_bytes, f"cannot be read: {words}")
            )
    try:
        results = archive.store([request for _, request in requests])
    except ServiceUnavailable as error:
        if not _is_no_room(str(error)):
            raise
        # Files may be in place already, and are found again by the next import.
        return done + lost([file for file, _ in requests], str(error))
    return done + [
        _imported(file, request, result) for (file, request), result in zip(requests, results, strict=True)
    ]


def _imported(file: Found, request: StoreRequest, result: StoreResult) -> ImportedFile:
    size = request.data_set_offset + request.data_set_bytes
    # The path is told beside it.
    reason = result.reason.removeprefix(f"{file.path}: ").removeprefix(f"{file.path} ")
    made_up = request.study_instance_uid == derived_uid("study", request.sop_instance_uid)
    return ImportedFile(
        file.path,
        _OUTCOMES[result.outcome],
        result.sop_instance_uid,
        size,
        reason,
        made_up_study=made_up,
        study_instance_uid=request.study_instance_uid,
    )


def lost(batch: Sequence[Found], words: str) -> list[ImportedFile]:
    """A batch of which nothing is known: what of it was stored is found there by the next import."""
    return [ImportedFile(file.path, FileOutcome.REFUSED, "", file.size_bytes, words) for file in batch]


def open_importer(origin: Origin) -> Callable[[Sequence[Found]], list[ImportedFile]]:
    """What a process of an import does with a batch.

    Raises
    ------
    ServiceUnavailable, ArchiveError
        The archive cannot be opened.
    """
    archive = Archive.open(origin.root, database_url=origin.database_url, policy=origin.policy)
    return lambda batch: import_batch(archive, batch)

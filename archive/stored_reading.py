"""What a stored file says of itself, for an index that is made from the files alone.

More lenient than an import: what was archived once is archived, whether it can be read or not. Where the file is the
spool's, its record is believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from archive.attributes import read_attributes
from archive.index.entries import NewInstance
from archive.storage import Storage, StoredObject
from archive.values import StoreRequest
from dicomrelay.dicom.part10 import HEAD_BYTES, FileMeta, parse_file_meta
from dicomrelay.dicom.scan import Header, HeaderScanner
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.errors import ArchiveError, DataSetError, MalformedDataSet, SpoolCorrupt
from dicomrelay.spool import SpoolRecord
from dicomrelay.spool.records import decode_head

_STEP_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A stored file that the index will not have. Its key has the patient id in it: for who asked, never for a log."""

    key: str
    reason: str


Read: TypeAlias = NewInstance | Unlisted


def read_stored(storage: Storage, objects: Sequence[StoredObject]) -> list[Read]:
    """Each of the files as the index is to have it, in their order. Raises ServiceUnavailable."""
    return [_read(storage, each) for each in objects]


def _read(storage: Storage, found: StoredObject) -> Read:
    try:
        with storage.fetch(found.key) as path, path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            meta = parse_file_meta(head)
            record = _record(head)
            file.seek(meta.data_set_offset)
            header = Header() if record else _header(file, meta)
            digest = storage.digest(found.key, meta.data_set_offset)
            if record is not None and record.digest != digest:
                return Unlisted(found.key, "holds other bytes than were received: damaged")
            request = _request(meta, record, header, found, digest)
            attributes = read_attributes(
                path,
                data_set_offset=meta.data_set_offset,
                transfer_syntax_uid=meta.transfer_syntax_uid,
            )
    except DataSetError as error:
        return Unlisted(found.key, f"is no instance: {error}")
    except ArchiveError as error:
        return Unlisted(found.key, str(error))
    except OSError as error:
        return Unlisted(found.key, f"cannot be read: {error.strerror}")
    return NewInstance(request, attributes, found.key, found.size_bytes)


def _record(head: bytes) -> SpoolRecord | None:
    with suppress(SpoolCorrupt):
        return decode_head(head, origin="a stored file")
    return None


def _header(file: BinaryIO, meta: FileMeta) -> Header:
    """What stands in front of the pixel data. Of what cannot be read the file meta knows enough."""
    scanner = HeaderScanner(meta.transfer_syntax_uid)
    with suppress(MalformedDataSet):
        while (step := file.read(_STEP_BYTES)) and not scanner.feed(memoryview(step)):
            pass
    return scanner.header


def _request(
    meta: FileMeta, record: SpoolRecord | None, header: Header, found: StoredObject, digest: str
) -> StoreRequest:
    uid = record.sop_instance_uid if record else header.sop_instance_uid or meta.sop_instance_uid
    if not uid:
        raise DataSetError("it has no SOP Instance UID")
    study_uid = record.study_instance_uid if record else header.study_instance_uid
    series_uid = record.series_instance_uid if record else header.series_instance_uid
    return StoreRequest(
        source=Path(found.key),
        data_set_offset=meta.data_set_offset,
        data_set_bytes=found.size_bytes - meta.data_set_offset,
        digest=digest,
        sop_class_uid=(record.sop_class_uid if record else header.sop_class_uid) or meta.sop_class_uid,
        sop_instance_uid=uid,
        study_instance_uid=study_uid or derived_uid("study", uid),
        series_instance_uid=series_uid or derived_uid("series", uid),
        transfer_syntax_uid=meta.transfer_syntax_uid,
        modality=record.modality if record else header.modality,
    )

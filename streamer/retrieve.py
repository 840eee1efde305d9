"""WADO-RS: whole instances as they are stored, and their metadata (PS3.18 Section 8.7 and 10.4).

Files stream through in chunks whatever their size and number. The file meta is written anew: what the archive keeps about
the way an instance came stays in the archive.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from archive import Archive, StoredInstance
from archive.frame_reader import CHUNK_BYTES, read_exactly
from archive.metadata import bare_metadata, instance_metadata
from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.errors import ArchiveError, InstanceNotFound
from dicomrelay.log import get_logger
from streamer import media_types
from streamer.answers import HttpError
from streamer.frames import checked_uids
from streamer.search import DICOM_JSON

_BOUNDARY: Final = f"dicomrelay-{uuid.uuid4().hex}"
_MULTIPART: Final = f'multipart/related; type="{media_types.DICOM}"; boundary={_BOUNDARY}'
_log = get_logger("dicomrelay.streamer")
_T = TypeVar("_T")


class Retrieve:
    """The retrieve transactions."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def instance(self, request: Request) -> Response:
        """`GET /studies/{study}/series/{series}/instances/{instance}`: bare when that is wanted, multipart otherwise."""
        uids = (request.path_params[name] for name in ("study", "series", "instance"))
        stored = self._archive.find(*checked_uids(*uids))
        choice = _choice(request, syntax_uid=stored.transfer_syntax_uid, may_be_single=True)
        meta = _file_meta(stored)
        if choice.is_multipart:
            return StreamingResponse(_begun(self._parts(iter([stored]))), media_type=_MULTIPART)
        headers = {"content-length": str(len(meta) + stored.data_set_bytes)}
        content_type = f"{media_types.DICOM}; transfer-syntax={stored.transfer_syntax_uid}"
        return StreamingResponse(
            _begun(_file(self._archive, stored, meta)), media_type=content_type, headers=headers
        )

    def several(self, request: Request) -> Response:
        """`GET /studies/{study}` and `GET /studies/{study}/series/{series}`: always multipart."""
        _choice(request, syntax_uid="", may_be_single=False)
        return StreamingResponse(_begun(self._parts(self._some(request))), media_type=_MULTIPART)

    def metadata(self, request: Request) -> Response:
        """`GET .../metadata` of a study, a series or an instance."""
        ranges = media_types.parse_accept(request.headers.getlist("accept"))
        if not media_types.accepts(ranges, DICOM_JSON, "application/json"):
            raise HttpError(406, f"metadata is there as {DICOM_JSON}")
        return StreamingResponse(self._metadata(self._some(request)), media_type=DICOM_JSON)

    def _some(self, request: Request) -> Iterator[StoredInstance]:
        """The instances that a URL names. Raises InstanceNotFound when there are none."""
        names = [name for name in ("study", "series", "instance") if name in request.path_params]
        uids = checked_uids(*(request.path_params[name] for name in names))
        if len(uids) == 3:
            return iter([self._archive.find(*uids)])
        found = self._archive.instances(*uids)
        first = next(found, None)
        if first is None:
            raise InstanceNotFound(f"no {names[-1]} {uids[-1]} in the archive")
        return _with_first(first, found)

    def _parts(self, found: Iterator[StoredInstance]) -> Iterator[bytes]:
        for stored in found:
            content_type = f"{media_types.DICOM}; transfer-syntax={stored.transfer_syntax_uid}"
            head = f"--{_BOUNDARY}\r\nContent-Type: {content_type}\r\n\r\n".encode()
            yield from _file(self._archive, stored, head + _file_meta(stored))
            yield b"\r\n"
        yield f"--{_BOUNDARY}--\r\n".encode()

    def _metadata(self, found: Iterator[StoredInstance]) -> Iterator[bytes]:
        separator = b"["
        for stored in found:
            try:
                item = instance_metadata(self._archive.path_of(stored), stored)
            except (ArchiveError, FileNotFoundError) as error:
                _log.warning("metadata left out", action="streamer.metadata", error=str(error))
                item = bare_metadata(stored)
            yield separator + json.dumps(item, ensure_ascii=False).encode("utf-8", "replace")
            separator = b","
        yield b"]"


def _with_first(first: _T, others: Iterator[_T]) -> Iterator[_T]:
    yield first
    yield from others


def _begun(body: Iterator[bytes]) -> Iterator[bytes]:
    """A body whose first file is open before the status goes out, so that its absence is an answer in words."""
    return _with_first(next(body), body)


def _file(archive: Archive, stored: StoredInstance, head: bytes) -> Iterator[bytes]:
    """Something in front, and the data set of a stored file. Raises ArchiveError, which names no path, and ServiceUnavailable."""
    descriptor = -1
    try:
        descriptor = os.open(archive.path_of(stored), os.O_RDONLY | os.O_CLOEXEC)
        actual = os.fstat(descriptor).st_size
        if actual != stored.file_bytes:
            raise ArchiveError(
                f"the file of {stored.sop_instance_uid} has {actual} bytes where the index expects {stored.file_bytes}"
            )
        yield head
        end = stored.data_set_offset + stored.data_set_bytes
        for offset in range(stored.data_set_offset, end, CHUNK_BYTES):
            yield read_exactly(descriptor, min(CHUNK_BYTES, end - offset), offset)
    except OSError as error:
        # Not from it: its path holds the patient id, and a traceback would show that.
        why = error.strerror or type(error).__name__
        raise ArchiveError(f"the file of {stored.sop_instance_uid} cannot be read: {why}") from None
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _file_meta(stored: StoredInstance) -> bytes:
    return encode_file_meta(
        FileMeta(
            sop_class_uid=stored.sop_class_uid,
            sop_instance_uid=stored.sop_instance_uid,
            transfer_syntax_uid=stored.transfer_syntax_uid,
        )
    )


def _choice(request: Request, *, syntax_uid: str, may_be_single: bool) -> media_types.Choice:
    ranges = media_types.parse_accept(request.headers.getlist("accept"))
    choice = media_types.choose(
        ranges, types=(media_types.DICOM,), syntax_uid=syntax_uid, may_be_single=may_be_single
    )
    if choice is None:
        stored = f" in transfer syntax {syntax_uid}" if syntax_uid else ""
        raise HttpError(
            406, f'instances are sent as they are stored: multipart/related; type="application/dicom"{stored}'
        )
    return choice

"""WADO-RS: whole instances, bare, in multipart or as a ZIP file (PS3.18 Section 8.7 and 10.4; docs/design/retrieve.md).

Files stream through in chunks whatever their size and number. The file meta is written anew: what the archive keeps about
the way an instance came stays in the archive.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from archive import Archive, StoredInstance
from archive.zip_stream import ZipEntry, zip_length, zip_stream
from dicomrelay.dicom.file_names import component
from dicomrelay.errors import InstanceNotFound
from streamer import media_types
from streamer.answers import HttpError
from streamer.conditions import (
    Caching,
    Fields,
    Span,
    as_text,
    is_known,
    span_fields,
    strong,
    wanted_span,
    weak,
)
from streamer.contents import Contents, file_meta
from streamer.cut_short import told
from streamer.frames import checked_uids

BOUNDARY: Final = f"dicomrelay-{uuid.uuid4().hex}"
_MULTIPART: Final = f'multipart/related; type="{media_types.DICOM}"; boundary={BOUNDARY}'
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Listing:
    """What is known of several instances after one look: how many, what the index says of them all, how large they are as ZIP."""

    count: int
    digest: str
    zip_length: int


class Retrieve:
    """The retrieve transactions of whole instances."""

    def __init__(self, archive: Archive, contents: Contents, caching: Caching) -> None:
        self._archive = archive
        self._contents = contents
        self._caching = caching

    def others(self, transfer_syntax_uid: str) -> Sequence[str]:
        """The transfer syntaxes that an instance can be sent in besides its own."""
        return self._contents.transcoding.others(transfer_syntax_uid)

    def instance(self, request: Request) -> Response:
        """`GET /studies/{study}/series/{series}/instances/{instance}`: bare when that is wanted, multipart otherwise."""
        stored = find(self._archive, request)
        choice = self._choice(request, stored, may_be_single=True)
        if choice.part_type == media_types.ZIP or choice.is_multipart:
            return self._several(request, choice, lambda: iter([stored]))
        return self.bare(request, stored, choice.transfer_syntax_uid)

    def bare(self, request: Request, stored: StoredInstance, transfer_syntax_uid: str) -> Response:
        """One instance as a Part 10 file, or a range of its bytes; in another transfer syntax unless that is ""."""
        syntax = transfer_syntax_uid or stored.transfer_syntax_uid
        make = weak if transfer_syntax_uid else strong
        etag = make(stored.digest, f"i{transfer_syntax_uid}")
        fields = self._caching.fields(etag, lasts=True)
        if unchanged := not_modified(request, etag, fields):
            return unchanged
        content_type = f"{media_types.DICOM}; transfer-syntax={syntax}"
        if request.method == "HEAD" and transfer_syntax_uid:
            return answer(request, iter(()), content_type, fields)
        length = len(file_meta(stored)) + stored.data_set_bytes
        span = None if transfer_syntax_uid else span_of(request, etag, length)
        content = self._contents.open(stored, transfer_syntax_uid)
        if transfer_syntax_uid:
            sized: Fields = [(b"content-length", str(content.length).encode()), (b"accept-ranges", b"none")]
        else:
            sized = span_fields(span, length=length)
        return answer(
            request,
            begun(content.chunks(span)),
            content_type,
            [*fields, *sized],
            200 if span is None else 206,
        )

    def several(self, request: Request) -> Response:
        """`GET /studies/{study}` and `GET /studies/{study}/series/{series}`: multipart or ZIP."""
        first = next(some(self._archive, request))
        choice = self._choice(request, first, may_be_single=False)
        return self._several(request, choice, lambda: some(self._archive, request))

    def _several(
        self, request: Request, choice: media_types.Choice, find: Callable[[], Iterator[StoredInstance]]
    ) -> Response:
        syntax = choice.transfer_syntax_uid
        is_zip = choice.part_type == media_types.ZIP
        listing = listed(find(), sized=is_zip)
        etag = weak(listing.digest, f"{'z' if is_zip else 'm'}{syntax}")
        fields = self._caching.fields(etag, lasts=False)
        if unchanged := not_modified(request, etag, fields):
            return unchanged
        # No more than were counted: what comes meanwhile comes behind them.
        found = islice(find(), listing.count)
        if not is_zip:
            return answer(request, begun(self._parts(found, syntax)), _MULTIPART, fields)
        name = (
            request.path_params.get("instance")
            or request.path_params.get("series")
            or request.path_params["study"]
        )
        fields = [*fields, (b"content-disposition", f'attachment; filename="{name}.zip"'.encode())]
        if not syntax:
            fields.append((b"content-length", str(listing.zip_length).encode()))
        return answer(request, begun(zip_stream(self._entries(found, syntax))), media_types.ZIP, fields)

    def _parts(self, found: Iterator[StoredInstance], syntax_uid: str) -> Iterator[bytes]:
        for number, stored in enumerate(found):
            syntax = self._possible(stored, syntax_uid, is_first=number == 0)
            content = self._contents.open(stored, syntax)
            content_type = f"{media_types.DICOM}; transfer-syntax={syntax or stored.transfer_syntax_uid}"
            content.head = f"--{BOUNDARY}\r\nContent-Type: {content_type}\r\n\r\n".encode() + content.head
            yield from content.chunks()
            yield b"\r\n"
        yield f"--{BOUNDARY}--\r\n".encode()

    def _entries(
        self, found: Iterator[StoredInstance], syntax_uid: str
    ) -> Iterator[tuple[ZipEntry, Iterable[bytes]]]:
        for number, stored in enumerate(found):
            content = self._contents.open(stored, self._possible(stored, syntax_uid, is_first=number == 0))
            yield _entry(stored, content.length), content.chunks()

    def _possible(self, stored: StoredInstance, syntax_uid: str, *, is_first: bool) -> str:
        """The syntax that was asked for, where this one can be in it; the first one must."""
        can_be = syntax_uid in self._contents.transcoding.others(stored.transfer_syntax_uid)
        return syntax_uid if can_be or is_first else ""

    def _choice(self, request: Request, stored: StoredInstance, *, may_be_single: bool) -> media_types.Choice:
        others = self._contents.transcoding.others(stored.transfer_syntax_uid)
        choice = media_types.choose(
            media_types.wanted(request.scope),
            types=(media_types.DICOM,),
            syntax_uid=stored.transfer_syntax_uid,
            may_be_single=may_be_single,
            made=others,
            whole=media_types.ZIP,
        )
        if choice is None:
            can_be = ", ".join((stored.transfer_syntax_uid, *others))
            raise HttpError(
                406,
                'instances are there as multipart/related; type="application/dicom", application/zip and, a single one, '
                f"application/dicom; in transfer syntax {can_be}",
            )
        return choice


def find(archive: Archive, request: Request) -> StoredInstance:
    """The instance that a URL names. Raises InstanceNotFound, HttpError."""
    return archive.find(
        *checked_uids(*(request.path_params[name] for name in ("study", "series", "instance")))
    )


def some(archive: Archive, request: Request) -> Iterator[StoredInstance]:
    """The instances that a URL names. Raises InstanceNotFound when there are none, HttpError."""
    names = [name for name in ("study", "series", "instance") if name in request.path_params]
    uids = checked_uids(*(request.path_params[name] for name in names))
    if len(uids) == 3:
        return iter([archive.find(*uids)])
    found = archive.instances(*uids)
    first = next(found, None)
    if first is None:
        raise InstanceNotFound(f"no {names[-1]} {uids[-1]} in the archive")
    return with_first(first, found)


def listed(found: Iterable[StoredInstance], *, sized: bool = False) -> Listing:
    """One look at instances: what makes the ETag of all of them."""
    digest = hashlib.sha256()
    count = 0

    def entries() -> Iterator[ZipEntry]:
        nonlocal count
        for stored in found:
            count += 1
            digest.update(
                f"{stored.sop_instance_uid} {stored.digest} {stored.transfer_syntax_uid}\n".encode()
            )
            yield _entry(stored, len(file_meta(stored)) + stored.data_set_bytes if sized else 0)

    length = zip_length(entries())
    return Listing(count, digest.hexdigest(), length)


def not_modified(request: Request, etag: str, fields: Fields) -> Response | None:
    """304, when the client has it already."""
    if fields and is_known(request.headers.getlist("if-none-match"), etag):
        return Response(status_code=304, headers=as_text(fields))
    return None


def span_of(request: Request, etag: str, length: int) -> Span | None:
    """The range of bytes that a request wants. Raises HttpError."""
    return wanted_span(
        request.headers.getlist("range"), request.headers.getlist("if-range"), etag=etag, length=length
    )


def answer(
    request: Request, body: Iterator[bytes], content_type: str, fields: Fields, status: int = 200
) -> Response:
    """What is sent; of HEAD the fields alone."""
    headers = {**as_text(fields), "content-type": content_type}
    if request.method == "HEAD":
        _closed(body)
        return HeadOnly(status_code=status, headers=headers)
    return StreamingResponse(told(body, request.url.path), status, headers=headers)


class HeadOnly(Response):
    """The fields of an answer whose length is not that of this body."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Nothing is added to what is given."""
        self.raw_headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()
        ]


def with_first(first: _T, others: Iterator[_T]) -> Iterator[_T]:
    """An iterator with what was taken of it put back."""
    yield first
    yield from others


def begun(body: Iterator[bytes]) -> Iterator[bytes]:
    """A body whose first file is open before the status goes out, so that its absence is an answer in words; it may be empty."""
    return with_first(next(body, b""), body)


def _closed(body: Iterator[bytes]) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


def _entry(stored: StoredInstance, size: int) -> ZipEntry:
    uids = (stored.study_instance_uid, stored.series_instance_uid, stored.sop_instance_uid)
    return ZipEntry("/".join(component(uid) for uid in uids) + ".dcm", size)

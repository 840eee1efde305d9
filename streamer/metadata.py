"""WADO-RS: metadata as DICOM JSON, and the values that it has only the addresses of (PS3.18 Section 10.4.1)."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

import dicomrelay
from archive import Archive, StoredInstance
from archive.bulk_data import BulkValue, find_value, turned
from archive.frame_reader import frame_chunks
from archive.metadata import bare_metadata, instance_metadata
from dicomrelay.errors import ArchiveError
from dicomrelay.log import get_logger
from streamer import media_types
from streamer.addresses import base_url
from streamer.answers import HttpError
from streamer.compression import takes_gzip
from streamer.conditions import Caching, Fields, Span, span_fields, strong, weak
from streamer.contents import Content, opened
from streamer.kept_metadata import LEAST_INSTANCES, KeptMetadata, key_of, plain
from streamer.media_types import DICOM_JSON
from streamer.open_frames import FrameCache
from streamer.retrieve import BOUNDARY, answer, begun, find, listed, not_modified, some, span_of

_ADDRESS: Final = re.compile(r"[0-9A-Fa-f]{8}(?:/[1-9][0-9]{0,8}/[0-9A-Fa-f]{8}){0,16}", re.ASCII)
_PIECE_BYTES: Final = 64 * 1024
_log = get_logger("dicomrelay.streamer")


class Metadata:
    """`GET .../metadata` of a study, a series or an instance."""

    def __init__(self, archive: Archive, caching: Caching, kept: KeptMetadata) -> None:
        self._archive = archive
        self._caching = caching
        self._kept = kept

    def show(self, request: Request) -> Response:
        """The attributes of all instances that the URL names."""
        if not media_types.accepts(media_types.wanted(request.scope), DICOM_JSON, "application/json"):
            raise HttpError(406, f"metadata is there as {DICOM_JSON}")
        base = base_url(request)
        listing = listed(some(self._archive, request))
        etag = weak(listing.digest, f"j{dicomrelay.__version__}-{zlib.crc32(base.encode()):08x}")
        fields = self._caching.fields(etag, lasts=False)
        if unchanged := not_modified(request, etag, fields):
            return unchanged
        left_out: list[str] = []
        # No more than were counted: what comes meanwhile is in the next answer.
        body = self._items(islice(some(self._archive, request), listing.count), base, left_out)
        if listing.count >= LEAST_INSTANCES and request.method == "GET":
            key = key_of(listing.digest, base)
            if zipped := self._kept.open(key):
                if not takes_gzip(request.headers.getlist("accept-encoding")):
                    return answer(request, plain(zipped), DICOM_JSON, fields)
                coding: Fields = [(b"content-encoding", b"gzip"), (b"vary", b"Accept, Accept-Encoding")]
                return answer(request, zipped, DICOM_JSON, [*fields, *coding])
            body = self._kept.keeping(key, body, lambda: not left_out)
        return answer(request, body, DICOM_JSON, fields)

    def _items(self, found: Iterator[StoredInstance], base: str, left_out: list[str]) -> Iterator[bytes]:
        held, separator = bytearray(), b"["
        for stored in found:
            try:
                item = instance_metadata(
                    self._archive.path_of(stored), stored, bulk_url=f"{base}{_path(stored)}/bulkdata"
                )
            except (ArchiveError, FileNotFoundError) as error:
                _log.warning("metadata left out", action="streamer.metadata", error=str(error))
                item = bare_metadata(stored)
                left_out.append(stored.sop_instance_uid)
            held += separator + json.dumps(item, ensure_ascii=False).encode("utf-8", "replace")
            separator = b","
            # Each piece is a way to another thread and back.
            if len(held) >= _PIECE_BYTES:
                yield bytes(held)
                held.clear()
        yield bytes(held) + b"]"


class BulkData:
    """`GET .../bulkdata/{address}` of an instance."""

    def __init__(self, archive: Archive, cache: FrameCache, caching: Caching) -> None:
        self._archive = archive
        self._cache = cache
        self._caching = caching

    def show(self, request: Request) -> Response:
        """One value: bare, with ranges, or in multipart; compressed pixel data in one part for each frame."""
        text = request.path_params["address"]
        if not _ADDRESS.fullmatch(text):
            raise HttpError(
                400,
                f"{text[:80]!r} is no tag such as 7FE00010, and no tag, item, tag such as 00400275/1/00420011",
            )
        stored = find(self._archive, request)
        numbers = text.split("/")
        address = [int(part, 10 if place % 2 else 16) for place, part in enumerate(numbers)]
        try:
            with self._archive.reading(stored) as path:
                value = find_value(path, stored, address)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise ArchiveError(f"the file of {stored.sop_instance_uid} cannot be read: {why}") from None
        if value.is_encapsulated:
            return self._frames(request, stored)
        return self._value(request, stored, value, "b" + "-".join(numbers).upper())

    def _value(self, request: Request, stored: StoredInstance, value: BulkValue, form: str) -> Response:
        is_multipart = _is_multipart(request, media_types.OCTET_STREAM, may_be_single=True)
        etag = (weak if is_multipart else strong)(stored.digest, form)
        fields = self._caching.fields(etag, lasts=True)
        if unchanged := not_modified(request, etag, fields):
            return unchanged
        has_ranges = value.unit == 1 and not is_multipart
        span = span_of(request, etag, value.length) if has_ranges else None
        chunks = self._chunks(stored, value, span)
        if is_multipart:
            return answer(
                request,
                begun(_parts(iter([chunks]), media_types.OCTET_STREAM)),
                _multipart(media_types.OCTET_STREAM),
                fields,
            )
        sized = span_fields(span, length=value.length, has_ranges=has_ranges)
        status = 200 if span is None else 206
        return answer(request, begun(chunks), media_types.OCTET_STREAM, [*fields, *sized], status)

    def _chunks(self, stored: StoredInstance, value: BulkValue, span: Span | None) -> Iterator[bytes]:
        if value.data is not None:
            content = Content(value.data, -1, 0, 0)
        else:
            # What reaches beyond the end of the file is a damaged length: reading says so.
            content = Content(b"", opened(self._archive, stored), value.offset, value.length)
        chunks = content.chunks(span)
        return chunks if value.unit == 1 or value.data is not None else turned(chunks, value.unit)

    def _frames(self, request: Request, stored: StoredInstance) -> Response:
        """Compressed pixel data: its frames, as PS3.18 Section 8.7.3.3 has them."""
        part_type = media_types.frame_type(stored.transfer_syntax_uid)
        _is_multipart(request, part_type, may_be_single=False)
        etag = weak(stored.digest, "b7FE00010")
        fields = self._caching.fields(etag, lasts=True)
        if unchanged := not_modified(request, etag, fields):
            return unchanged
        part = f"{part_type}; transfer-syntax={stored.transfer_syntax_uid}"
        body = _parts(self._all_frames(stored), part)
        return answer(request, begun(body), _multipart(part_type), fields)

    def _all_frames(self, stored: StoredInstance) -> Iterator[Iterator[bytes]]:
        key = (stored.study_instance_uid, stored.series_instance_uid, stored.sop_instance_uid)
        with self._cache.borrowed(key) as frames:
            for number in range(1, frames.index.header.frame_count + 1):
                yield frame_chunks(frames.index, frames.index.locate(number), frames.descriptor)


def _is_multipart(request: Request, part_type: str, *, may_be_single: bool) -> bool:
    choice = media_types.choose(
        media_types.wanted(request.scope),
        types=tuple(dict.fromkeys((part_type, media_types.OCTET_STREAM))),
        syntax_uid="",
        may_be_single=may_be_single,
    )
    if choice is None:
        bare = f" or {part_type}" if may_be_single else ""
        raise HttpError(406, f'this value is there as multipart/related; type="{part_type}"{bare}')
    return choice.is_multipart


def _multipart(part_type: str) -> str:
    return f'multipart/related; type="{part_type}"; boundary={BOUNDARY}'


def _parts(bodies: Iterator[Iterator[bytes]], part_type: str) -> Iterator[bytes]:
    head = f"--{BOUNDARY}\r\nContent-Type: {part_type}\r\n\r\n".encode()
    for body in bodies:
        # Together: what cannot be read is known before its part begins.
        yield head + next(body, b"")
        yield from body
        yield b"\r\n"
    yield f"--{BOUNDARY}--\r\n".encode()


def _path(stored: StoredInstance) -> str:
    return (
        f"/studies/{stored.study_instance_uid}/series/{stored.series_instance_uid}"
        f"/instances/{stored.sop_instance_uid}"
    )

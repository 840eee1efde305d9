"""Rendered frames and thumbnails (PS3.18 Section 10.4.1.1.3 and 10.4.1.1.4; docs/design/renditions.md)."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from archive import Archive, StoredInstance
from archive.renditions.cache import RenditionCache
from archive.renditions.renditions import Renditions, picture_key
from archive.renditions.request import MIDDLE, REPRESENTATIVE, PictureRequest
from dicomrelay.errors import FramesNotAddressable, NotTranscodable
from streamer.answers import HttpError
from streamer.conditions import Caching, as_text, weak
from streamer.cut_short import told_later
from streamer.frames import frame_numbers
from streamer.making import Making
from streamer.rendered_requests import of_wado_uri, rendered, small
from streamer.retrieve import HeadOnly, find, listed, not_modified, some

BOUNDARY: Final = f"dicomrelay-{uuid.uuid4().hex}"
AT_ONCE: Final = 2
_TEMPORARY_BYTES: Final = 64 << 20
_SERIES: Final = "/studies/{study}/series/{series}"
_INSTANCE: Final = _SERIES + "/instances/{instance}"
_FRAMES: Final = _INSTANCE + "/frames/{frames}"
_Picture = tuple[StoredInstance, int]
Routes = tuple[tuple[str, Callable[[Request], Awaitable[Response]]], ...]


class Rendered:
    """Pictures of frames, instances, series and studies. `close` ends the children that make them.

    Parameters
    ----------
    caching : Caching
        What clients may keep.
    kept : RenditionCache, optional
        Where they are kept; a small temporary folder when not given.
    at_once : int
        How many are made at once.
    """

    def __init__(
        self,
        archive: Archive,
        *,
        caching: Caching,
        kept: RenditionCache | None = None,
        at_once: int = AT_ONCE,
    ) -> None:
        self._archive = archive
        self._caching = caching
        self._temporary: Path | None = None
        if kept is None:
            self._temporary = Path(tempfile.gettempdir(), f"dicomrelay-{secrets.token_hex(8)}")
            kept = RenditionCache(self._temporary, max_bytes=_TEMPORARY_BYTES)
        self.renditions = Renditions(archive, kept)
        self._making = Making(at_once)
        self.routes: Routes = (
            ("/studies/{study}/rendered", self.several),
            ("/studies/{study}/thumbnail", self.thumbnail_of_several),
            (_SERIES + "/rendered", self.several),
            (_SERIES + "/thumbnail", self.thumbnail_of_several),
            (_INSTANCE + "/rendered", self.instance),
            (_INSTANCE + "/thumbnail", self.thumbnail),
            (_FRAMES + "/rendered", self.frames),
            (_FRAMES + "/thumbnail", self.thumbnail),
        )

    def close(self) -> None:
        """End what was started."""
        self._making.close()
        self.renditions.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    # ---- rendered

    async def instance(self, request: Request) -> Response:
        """`GET .../instances/{instance}/rendered`: its representative frame."""
        wanted, is_multipart = rendered(request, several=False)
        stored = await asyncio.to_thread(find, self._archive, request)
        return await self._pictures(request, stored, [REPRESENTATIVE], wanted, is_multipart=is_multipart)

    async def frames(self, request: Request) -> Response:
        """`GET .../frames/{frames}/rendered`."""
        numbers = frame_numbers(request.path_params["frames"])
        wanted, is_multipart = rendered(request, several=len(numbers) > 1)
        stored = await asyncio.to_thread(find, self._archive, request)
        return await self._pictures(request, stored, numbers, wanted, is_multipart=is_multipart)

    async def several(self, request: Request) -> Response:
        """`GET /studies/{study}[/series/{series}]/rendered`: one picture of each instance that has one."""
        wanted, _ = rendered(request, several=True)
        listing = await asyncio.to_thread(lambda: listed(some(self._archive, request)))
        etag = weak(listing.digest, f"r{wanted.key}")
        fields = self._caching.fields(etag, lasts=False)
        if unchanged := not_modified(request, etag, fields):
            return unchanged
        found = await asyncio.to_thread(some, self._archive, request)
        pictures = ((stored, REPRESENTATIVE) for stored in found)
        return await self._multipart(request, self._that_can_be(pictures, wanted), wanted, as_text(fields))

    async def _pictures(
        self,
        request: Request,
        stored: StoredInstance,
        numbers: list[int],
        wanted: PictureRequest,
        *,
        is_multipart: bool,
    ) -> Response:
        name = (
            picture_key(stored, numbers[0], wanted)[:32]
            if len(numbers) == 1
            else request.path_params["frames"]
        )
        etag = weak(stored.digest, f"r{'m' * is_multipart}{_short(name)}{wanted.key[:16]}")
        fields = self._caching.fields(etag, lasts=True)
        if unchanged := not_modified(request, etag, fields):
            return unchanged
        if is_multipart:
            each = self._each(stored, numbers, wanted)
            return await self._multipart(request, each, wanted, as_text(fields))
        data = await self._made(stored, numbers[0], wanted)
        return Response(data, media_type=wanted.media_type, headers=as_text(fields))

    async def _each(
        self, stored: StoredInstance, numbers: list[int], wanted: PictureRequest
    ) -> AsyncIterator[tuple[_Picture, bytes]]:
        for number in numbers:
            yield (stored, number), await self._made(stored, number, wanted)

    async def _that_can_be(
        self, pictures: Iterator[_Picture], wanted: PictureRequest
    ) -> AsyncIterator[tuple[_Picture, bytes]]:
        """Those of instances that have one; the first that has none says why when there is not one."""
        why: HttpError | None = None
        is_empty = True
        while (each := await asyncio.to_thread(next, pictures, None)) is not None:
            try:
                data = await self._made(*each, wanted)
            except HttpError as error:
                if error.status != 406:
                    raise
                why = why or error
                continue
            is_empty = False
            yield each, data
        if is_empty:
            raise why or HttpError(406, "there is nothing here that can be shown as a picture")

    async def _multipart(
        self,
        request: Request,
        pictures: AsyncIterator[tuple[_Picture, bytes]],
        wanted: PictureRequest,
        fields: Mapping[str, str],
    ) -> Response:
        """A part for each; the first is made before the status goes out."""
        first = await anext(pictures)
        content_type = f'multipart/related; type="{wanted.media_type}"; boundary={BOUNDARY}'

        async def parts() -> AsyncIterator[bytes]:
            yield _part(*first, wanted.media_type)
            async for each, data in pictures:
                yield _part(each, data, wanted.media_type)
            yield f"--{BOUNDARY}--\r\n".encode()

        if request.method == "HEAD":
            return HeadOnly(headers={**fields, "content-type": content_type})
        body = told_later(parts(), request.url.path)
        return StreamingResponse(body, headers={**fields, "content-type": content_type})

    # ---- thumbnails

    async def thumbnail(self, request: Request) -> Response:
        """`GET .../instances/{instance}[/frames/{frame}]/thumbnail`."""
        wanted = small(request)
        numbers = (
            frame_numbers(request.path_params["frames"]) if "frames" in request.path_params else [MIDDLE]
        )
        if len(numbers) > 1:
            raise HttpError(400, "a thumbnail is of one frame")
        stored = await asyncio.to_thread(find, self._archive, request)
        return await self._thumbnail(request, [stored], numbers[0], wanted, lasts=True)

    async def thumbnail_of_several(self, request: Request) -> Response:
        """`GET /studies/{study}[/series/{series}]/thumbnail`."""
        wanted = small(request)
        # One look says 400 and 404 as everywhere.
        await asyncio.to_thread(lambda: next(some(self._archive, request)))
        names = request.path_params
        found = await asyncio.to_thread(self.renditions.shown_in, names["study"], names.get("series", ""))
        return await self._thumbnail(request, found, MIDDLE, wanted, lasts=False)

    async def _thumbnail(
        self,
        request: Request,
        found: Iterable[StoredInstance],
        frame: int,
        wanted: PictureRequest,
        *,
        lasts: bool,
    ) -> Response:
        """Of the first that has one."""
        why = HttpError(406, "there is nothing here that can be shown as a picture")
        for stored in found:
            etag = weak(stored.digest, f"r{picture_key(stored, frame, wanted)[:32]}")
            fields = self._caching.fields(etag, lasts=lasts)
            if unchanged := not_modified(request, etag, fields):
                return unchanged
            try:
                data = await self._made(stored, frame, wanted)
            except HttpError as error:
                if error.status != 406:
                    raise
                why = error
                continue
            return Response(data, media_type=wanted.media_type, headers=as_text(fields))
        raise why

    # ---- WADO-URI

    def wado_uri(
        self, request: Request, stored: StoredInstance, given: Mapping[str, str], media_type: str
    ) -> Response:
        """The picture that parameters of WADO-URI ask for; in a thread of Starlette's."""
        wanted, frame = of_wado_uri(given, media_type)
        etag = weak(stored.digest, f"r{picture_key(stored, frame, wanted)[:32]}")
        fields = self._caching.fields(etag, lasts=True)
        if unchanged := not_modified(request, etag, fields):
            return unchanged
        data = self.renditions.kept_picture(stored, frame, wanted)
        if data is None:
            data = self._making.waited(lambda: self._picture(stored, frame, wanted))
        return Response(data, media_type=wanted.media_type, headers=as_text(fields))

    async def _made(self, stored: StoredInstance, frame: int, wanted: PictureRequest) -> bytes:
        kept = await asyncio.to_thread(self.renditions.kept_picture, stored, frame, wanted)
        if kept is not None:
            return kept
        return await self._making.made(lambda: self._picture(stored, frame, wanted))

    def _picture(self, stored: StoredInstance, frame: int, wanted: PictureRequest) -> bytes:
        try:
            return self.renditions.picture(stored, frame, wanted)
        except (NotTranscodable, FramesNotAddressable) as error:
            raise HttpError(406, f"{stored.sop_instance_uid} is not shown: {error}") from error


def _part(each: _Picture, data: bytes, media_type: str) -> bytes:
    stored, number = each
    place = (
        f"/studies/{stored.study_instance_uid}/series/{stored.series_instance_uid}"
        f"/instances/{stored.sop_instance_uid}{f'/frames/{number}' if number > 0 else ''}/rendered"
    )
    head = f"--{BOUNDARY}\r\nContent-Type: {media_type}\r\nContent-Location: {place}\r\n\r\n"
    return head.encode() + data + b"\r\n"


def _short(text: str) -> str:
    return text if len(text) <= 64 else uuid.uuid5(uuid.NAMESPACE_URL, text).hex

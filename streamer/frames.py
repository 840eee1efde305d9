"""The road for frames: index entry, positioned read, answer. No data set is parsed and no database asked.

Reads that the page cache can answer are done at once; those that wait for a disk go to a thread, so that one slow frame
does not hold up the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from functools import lru_cache
from typing import Final

from archive.frame_index import FrameIndex, FrameLocation
from dicomrelay.errors import ArchiveError, FrameIndexDamaged, RelayError
from dicomrelay.log import get_logger
from streamer import media_types
from streamer.answers import HttpError, Receive, Scope, Send, header_values, send_error, send_whole, status_of
from streamer.conditions import (
    Caching,
    conditions,
    is_known,
    strong,
    weak,
)
from streamer.decoded_frames import decode
from streamer.frame_body import FrameBody, send_body
from streamer.open_frames import FrameCache, Key, OpenFrames
from streamer.transcoding import Transcoding

PATH: Final = re.compile(r"/studies/([^/]+)/series/([^/]+)/instances/([^/]+)/frames/([^/]*)")
_INSTANCE: Final = re.compile(r"/studies/([^/]+)/series/([^/]+)/instances/([^/]+)")
_LONGEST_PATH: Final = 512
_LONGEST_ACCEPT: Final = 256
_MOST_ROWS_CHECKED: Final = 4096
MOST_FRAMES: Final = 10_000
_NUMBERS: Final = re.compile(r"[1-9][0-9]{0,11}(?:,[1-9][0-9]{0,11})*", re.ASCII)
_UID: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
# There is equipment that writes more than the 64 characters of PS3.5 Section 9.1, and its instances are archived too.
_LONGEST_UID: Final = 128
_LONGEST_LIST: Final = 64
_DEFAULT_CACHING: Final = Caching()
_log = get_logger("dicomrelay.streamer")


def checked_uids(*uids: str) -> tuple[str, ...]:
    """The UIDs of a URL. Raises HttpError 400 when one is none."""
    for uid in uids:
        if not _UID.fullmatch(uid) or len(uid) > _LONGEST_UID:
            raise HttpError(400, f"{uid[:80]!r} is no UID: digits with single dots between them")
    return uids


def _checked_key(path: str) -> Key:
    matched = _INSTANCE.fullmatch(path)
    study, series, instance = checked_uids(*(matched.groups() if matched else ("", "", "")))
    return study, series, instance


# Who reads one frame of an instance reads others.
_key: Final = lru_cache(maxsize=1024)(_checked_key)


class Frames:
    """`GET .../frames/{n}[,n...]` as a plain ASGI function."""

    def __init__(
        self,
        cache: FrameCache,
        *,
        caching: Caching = _DEFAULT_CACHING,
        transcoding: Transcoding | None = None,
    ) -> None:
        self._cache = cache
        self._caching = caching
        self._transcoding = transcoding

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request whose path matches `PATH`."""
        frames: OpenFrames | None = None
        body: FrameBody | None = None
        try:
            if scope["method"] not in {"GET", "HEAD"}:
                raise HttpError(405, "frames are read: GET or HEAD", headers=((b"allow", b"GET, HEAD"),))
            of, _, listed = scope["path"].rpartition("/frames/")
            key = _key(of) if len(of) <= _LONGEST_PATH else _checked_key(of)
            numbers = frame_numbers(listed)
            frames = await self._open(key)
            try:
                locations = _located(frames.index, numbers)
            except FrameIndexDamaged:
                damaged, frames = frames, None
                frames = await asyncio.to_thread(self._cache.renew, key, damaged)
                locations = _located(frames.index, numbers)
            choice, syntax_uid = _choice(
                scope, frames, single=len(numbers) == 1, decodes=self._transcoding is not None
            )
            body = FrameBody(frames, locations, choice, syntax_uid)
            etag = _etag(body, listed, choice.transfer_syntax_uid)
            fields = self._caching.fields(etag, lasts=True)
            if (asked := conditions(scope)) is not None:
                if fields and is_known(asked.get(b"if-none-match", ()), etag):
                    await send_whole(send, 304, b"", b"", headers=fields)
                    return
                if not choice.transfer_syntax_uid:
                    body.cut(asked, etag)
            if choice.transfer_syntax_uid and self._transcoding is not None:
                body.put(await asyncio.to_thread(decode, frames, locations, self._transcoding))
            await send_body(scope, receive, send, body, fields)
        except (RelayError, OSError) as raised:
            error = raised if isinstance(raised, RelayError) else _of_a_disk(raised)
            if status_of(error) >= 500:
                _log.error(
                    "frames not served", action="streamer.frames", path=scope["path"], error=str(error)
                )
            await send_error(send, error)
        finally:
            if body is not None and body.decoded is not None:
                body.decoded.close()
            if frames is not None:
                self._cache.release(frames)

    async def _open(self, key: Key) -> OpenFrames:
        frames = self._cache.peek(key)
        return await asyncio.to_thread(self._cache.open, key) if frames is None else frames


def _of_a_disk(error: OSError) -> ArchiveError:
    """Before the status is out; later it is `send_body` that says so."""
    return ArchiveError(f"frames cannot be read: {error.strerror or type(error).__name__}")


def _located(index: FrameIndex, numbers: list[int]) -> list[FrameLocation]:
    """Where frames are. Damaged rows of fragments are found now, before the status is out, unless there are very many."""
    locations = [index.locate(number) for number in numbers]
    if sum(location.fragments for location in locations) - len(locations) <= _MOST_ROWS_CHECKED:
        for location in locations:
            if location.fragments > 1:
                for _ in index.pieces(location):
                    pass
    return locations


def _etag(body: FrameBody, listed: str, transfer_syntax_uid: str) -> str:
    """Strong for one frame, bare, as it is stored."""
    form = listed if len(listed) <= _LONGEST_LIST else hashlib.sha256(listed.encode()).hexdigest()
    digest = body.frames.index.header.digest
    if body.is_multipart or transfer_syntax_uid:
        return weak(digest, f"m{form}-{transfer_syntax_uid}")
    return strong(digest, f"f{form}")


def frame_numbers(listed: str) -> list[int]:
    """The numbers of a list such as 1,2,3. Raises HttpError 400."""
    # Counted before it is split: the list is bounded before memory is spent.
    if listed.count(",") >= MOST_FRAMES:
        raise HttpError(400, f"at most {MOST_FRAMES} frames at once")
    if not _NUMBERS.fullmatch(listed):
        raise HttpError(
            400, f"{listed[:80]!r} is no list of frame numbers such as 1 or 1,2,3; the first frame is 1"
        )
    return [int(number) for number in listed.split(",")]


def _choice(
    scope: Scope, frames: OpenFrames, *, single: bool, decodes: bool
) -> tuple[media_types.Choice, str]:
    stored = frames.index.header.transfer_syntax_uid
    if scope["query_string"]:
        return _fitting(media_types.wanted(scope), stored, single=single, decodes=decodes)
    given = tuple(header_values(scope, b"accept"))
    # Few clients have few ways to ask; what is long is not remembered, so that nobody can fill the memory with it.
    chosen = _remembered if sum(map(len, given)) <= _LONGEST_ACCEPT else _chosen
    return chosen(given, stored, single=single, decodes=decodes)


def _chosen(
    accept: tuple[str, ...], stored: str, *, single: bool, decodes: bool
) -> tuple[media_types.Choice, str]:
    return _fitting(media_types.ranges_of(accept), stored, single=single, decodes=decodes)


def _fitting(
    ranges: list[media_types.MediaRange], stored: str, *, single: bool, decodes: bool
) -> tuple[media_types.Choice, str]:
    syntax_uid = media_types.served_transfer_syntax(stored)
    natural = media_types.frame_type(stored)
    types = tuple(dict.fromkeys((natural, media_types.OCTET_STREAM)))
    is_made = decodes and syntax_uid == stored
    made = Transcoding.frame_syntaxes(stored) if is_made else ()
    choice = media_types.choose(ranges, types=types, syntax_uid=syntax_uid, may_be_single=single, made=made)
    if choice is None:
        other = f" or {made[0]}" if made else ""
        raise HttpError(
            406,
            f"these frames are there as {' or '.join(types)} in transfer syntax {syntax_uid}{other}, "
            'in multipart/related or, a single one, bare; ask for transfer-syntax="*" to take what is stored',
        )
    return choice, choice.transfer_syntax_uid or syntax_uid


_remembered: Final = lru_cache(maxsize=1024)(_chosen)

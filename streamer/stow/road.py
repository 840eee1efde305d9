"""`POST /studies` and `POST /studies/{study}`: from a request to its answer (PS3.18 Section 10.5)."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from starlette.requests import Request

from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import SpoolError
from dicomrelay.log import get_logger
from dicomrelay.net.service import StoreReply, StoreSink
from dicomrelay.settings import Settings
from dicomrelay.spool import Provenance, SpoolRecord
from streamer import media_types, writers
from streamer.addresses import base_url
from streamer.answers import HttpError, Receive, Scope, Send, header_values, send_error, send_whole
from streamer.audited import CALLER, address_of
from streamer.frames import checked_uids
from streamer.media_types import DICOM_JSON
from streamer.stow.content_type import Form, form_of
from streamer.stow.outcomes import Failed, Stored, as_json, http_status
from streamer.stow.port import Intake
from streamer.stow.reading import PACE, Gone, Pace, Places, Reader
from streamer.stow.session import Body

_log = get_logger("dicomrelay.streamer")

PROTOCOL: Final = "STOW-RS"
PATH: Final = re.compile(r"/studies(?:/(?P<study>[^/]+))?")
_MOST_COMMITS: Final = 8
_RETRY_AFTER_S: Final = 30
_CLOSE: Final = (b"connection", b"close")
_Result = TypeVar("_Result")


def _nobody(_origin: Provenance, _outcomes: Iterable[Stored | Failed]) -> None:
    """Nobody wants to know."""


class Stow:
    """The store transaction.

    Parameters
    ----------
    intake : Intake
        Where instances go; its owner's to close.
    pace : Pace
        How slowly a body may come.
    stored : callable
        Told what each request came to.
    """

    def __init__(
        self,
        settings: Settings,
        intake: Intake,
        *,
        pace: Pace = PACE,
        stored: Callable[[Provenance, Iterable[Stored | Failed]], None] = _nobody,
    ) -> None:
        stow = settings.streamer.stow
        self._stored = stored
        self._intake = intake
        self._pace = pace
        self._ae_titles = stow.ae_title, settings.gateway.ae_title
        self._has_archive = settings.archive.enabled
        self._public_url = settings.streamer.public_url
        self._most_bytes = stow.max_request_bytes
        self._places = Places(stow.max_requests)
        # Threads are made as they are needed. Those that commit wait for nothing but the disk.
        self._threads = ThreadPoolExecutor(stow.max_requests, thread_name_prefix="stow")
        self._commits = ThreadPoolExecutor(
            min(2 * stow.max_requests, _MOST_COMMITS), thread_name_prefix="stow-commit"
        )
        self.closed = _closed(settings)

    @property
    def body_bytes(self) -> int:
        """What the body of a request may have; 0 while nothing is stored here."""
        return 0 if self.closed else self._most_bytes

    @staticmethod
    def is_mine(scope: Scope) -> bool:
        """Whether a request stores."""
        return (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and PATH.fullmatch(scope["path"]) is not None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one."""
        try:
            origin, form, study = self._judged(scope)
            holder = origin.user or origin.peer_address
            if why := self._places.full(holder):
                raise _later(why)
            with self._places.one(holder):
                await self._room(origin)
                await self._store(scope, receive, send, origin, form, study)
        except HttpError as error:
            await send_error(send, error)
        except Gone:
            return

    def close(self) -> None:
        """No more requests come."""
        self._threads.shutdown()
        self._commits.shutdown()

    def _judged(self, scope: Scope) -> tuple[Provenance, Form, str]:
        """Who stores what, as far as the head of the request tells; or why not."""
        caller, address = scope.get(CALLER, ""), address_of(scope)
        calling, called = self._ae_titles
        why = (
            self.closed
            or writers.refusal(scope)
            or self._intake.refusal(calling, address, is_identified=bool(caller))
        )
        if why:
            _log.warning(
                "store request refused", action="stow.refused", peer_address=address, user=caller, reason=why
            )
            raise HttpError(403, f"nothing may be stored: {why}")
        found = PATH.fullmatch(scope["path"])
        named = found["study"] if found else None
        study = checked_uids(named)[0] if named else ""
        if not media_types.accepts(media_types.wanted(scope), DICOM_JSON, "application/json"):
            raise HttpError(406, f"what was stored is answered as {DICOM_JSON}")
        form = form_of(header_values(scope, b"content-type"))
        if any(int(length) > self._most_bytes for length in header_values(scope, b"content-length")):
            raise self._too_large()
        origin = Provenance(
            calling_ae_title=calling,
            called_ae_title=called,
            peer_address=address,
            association_id=f"stow-{uuid.uuid4().hex[:12]}",
            received_at_ms=time.time_ns() // 1_000_000,
            protocol=PROTOCOL,
            user=caller,
        )
        return origin, form, study

    async def _room(self, origin: Provenance) -> None:
        """Nothing is read while there is no room for it."""
        try:
            await self._apart(lambda: self._intake.check(origin))
        except (SpoolError, OSError) as error:
            _log.warning("no room to store", action="stow.no-room", reason=str(error))
            raise _later("there is no room for instances now") from None

    async def _store(
        self, scope: Scope, receive: Receive, send: Send, origin: Provenance, form: Form, study: str
    ) -> None:
        began = time.monotonic()

        def begin(
            sop_class: str, instance: str, syntax: str, kept: Callable[[SpoolRecord], None]
        ) -> StoreSink | StoreReply:
            request = CStoreRequest(1, sop_class, instance)
            return self._intake.begin(request, syntax, origin, study_instance_uid=study, kept=kept)

        body, reader = (
            Body(form, begin, commits=self._commits),
            Reader(receive, self._most_bytes, self._pace),
        )
        refusal: HttpError | None = None
        try:
            refusal = await self._read(reader, body)
        finally:
            # Also when the client is gone, or this process stops: a part that is not whole leaves nothing.
            await asyncio.shield(self._apart(body.abandon))
            if any(isinstance(each, Stored) for each in body.outcomes):
                self._intake.ended(origin.association_id)
            self._stored(origin, body.outcomes)
            status = refusal.status if refusal else http_status(body.outcomes) if body.is_over else 0
            _tell(origin, body, status=status, size=reader.bytes, seconds=time.monotonic() - began)
        if refusal is not None:
            raise refusal
        await self._answer(scope, send, body, status, study, ends=reader.is_late)

    async def _read(self, reader: Reader, body: Body) -> HttpError | None:
        """The body into the spool; the refusal of a request that is at fault, if nothing was stored."""
        while not (reader.is_whole or reader.is_late or body.is_over):
            pieces = await reader.next()
            if reader.bytes > self._most_bytes:
                await self._apart(lambda: body.stop("the request is too long"))
                return self._too_large()
            await self._apart(lambda: body.take(pieces))  # noqa: B023 - awaited before the next turn
        if reader.is_late and not body.is_over:
            await self._apart(lambda: body.stop("the body did not come in time"))
            if not any(isinstance(each, Stored) for each in body.outcomes):
                return HttpError(408, "the body did not come in time", headers=(_CLOSE,))
        await self._apart(body.finish)
        return None

    async def _answer(
        self, scope: Scope, send: Send, body: Body, status: int, study: str, *, ends: bool
    ) -> None:
        base = ""
        if self._has_archive:
            base = (self._public_url or base_url(Request(scope))).rstrip("/")
        answer = json.dumps(as_json(body.outcomes, base=base, study_instance_uid=study)).encode()
        headers = [_CLOSE] if ends else []
        if status == 503:
            headers.append((b"retry-after", b"%d" % _RETRY_AFTER_S))
        await send_whole(send, status, DICOM_JSON.encode(), answer, headers=headers)

    async def _apart(self, work: Callable[[], _Result]) -> _Result:
        """In a thread of ours: a disk that is slow does not keep those who read from theirs."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _too_large(self) -> HttpError:
        return HttpError(
            413,
            f"a request may have {self._most_bytes} bytes (streamer.stow.max_request_bytes): send several",
        )


def _closed(settings: Settings) -> str:
    """Why nobody may store here; "" when some may."""
    if not settings.streamer.stow.enabled:
        return "streamer.stow.enabled is false"
    return writers.closed(settings)


def _later(words: str) -> HttpError:
    return HttpError(503, f"{words}: ask again later", headers=((b"retry-after", b"%d" % _RETRY_AFTER_S),))


def _tell(origin: Provenance, body: Body, *, status: int, size: int, seconds: float) -> None:
    """One line for each request."""
    stored = sum(isinstance(each, Stored) for each in body.outcomes)
    _log.info(
        "store request",
        action="stow.request",
        association_id=origin.association_id,
        peer_address=origin.peer_address,
        calling_ae_title=origin.calling_ae_title,
        ending=str(status) if status else "the client is gone",
        stored=stored,
        refused=len(body.outcomes) - stored,
        bytes=size,
        seconds=round(seconds, 3),
        **({"user": origin.user} if origin.user else {}),
    )

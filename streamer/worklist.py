"""`/worklist`: scheduled procedure steps over HTTP, guarded as what stores is (docs/design/worklist.md).

No service of PS3.18: objects with an id, a status, and the item in the DICOM JSON model.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.errors import ConfigurationError, LedgerError, RelayError, ServiceUnavailable, SpoolFull
from dicomrelay.log import get_logger
from dicomrelay.scheduling.opening import open_worklist
from dicomrelay.scheduling.worklist import Entry, Worklist
from dicomrelay.scheduling.worklist_building import path_of
from dicomrelay.scheduling.worklist_change import MOST_REFUSED, OrderKey, UnreadableFile
from dicomrelay.scheduling.worklist_files import Kind, read_bytes
from dicomrelay.scheduling.worklist_query import EVERYTHING, Question, read_question
from dicomrelay.scheduling.worklist_taking import Taken, take
from dicomrelay.settings import Settings
from dicomrelay.spool.ledger_space import LedgerSpace
from streamer import writers
from streamer.answers import HttpError, Receive, Scope, Send, header_values, send_error, send_whole
from streamer.audited import CALLER, address_of
from streamer.stow.reading import Gone, Reader

_log = get_logger("dicomrelay.streamer")

PATH: Final = re.compile(r"/worklist(?:/(?P<id>[0-9a-f]{1,64}))?")
BODY_BYTES: Final = 4 * 1024 * 1024
_THREADS: Final = 4
_RETRY_AFTER_S: Final = 10
_DEFAULT_LIMIT, _MOST = 100, 1000
_MOST_PARAMETERS: Final = 100
_COUNTS: Final = {"limit": _DEFAULT_LIMIT, "offset": 0}
_KINDS: Final = {
    "application/json": Kind.JSON,
    "application/dicom+json": Kind.JSON,
    "text/csv": Kind.CSV,
    "application/dicom": Kind.DICOM,
    "x-application/hl7-v2+er7": Kind.HL7,
    "application/hl7-v2": Kind.HL7,
}
_Result = TypeVar("_Result")


class Schedule:
    """Serves `/worklist`. The database is opened at the first request."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._closed = writers.closed(settings) if settings.worklist.enabled else "worklist.enabled is false"
        self._space = LedgerSpace(settings)
        self._lock = threading.Lock()
        self._worklist: Worklist | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="worklist")

    @property
    def body_bytes(self) -> int:
        """What the body of a request may have; 0 while nothing is taken here."""
        return 0 if self._closed else BODY_BYTES

    @staticmethod
    def is_mine(scope: Scope) -> bool:
        """Whether a request is about the worklist."""
        return scope["type"] == "http" and PATH.fullmatch(scope["path"]) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one."""
        try:
            found = PATH.fullmatch(scope["path"])
            assert found is not None  # noqa: S101 - is_mine
            why = self._closed or writers.refusal(scope)
            if why:
                self._tell(scope, "worklist.refused", reason=why)
                raise HttpError(403, f"the worklist is not for you: {why}")
            await self._serve(scope, receive, send, found["id"] or "")
        except (HttpError, ConfigurationError) as error:
            await send_error(send, error)
        except (ServiceUnavailable, LedgerError) as error:
            _log.error("the worklist cannot be asked", action="worklist.away", error=str(error))
            headers = ((b"retry-after", b"%d" % _RETRY_AFTER_S),)
            await send_error(
                send, HttpError(503, "the worklist does not answer: ask again later", headers=headers)
            )
        except Gone:
            return

    def close(self) -> None:
        """No more requests come."""
        self._threads.shutdown()
        if self._worklist is not None:
            self._worklist.dispose()

    async def _serve(self, scope: Scope, receive: Receive, send: Send, item_id: str) -> None:
        method = scope["method"]
        if method in ("GET", "HEAD"):
            await self._read(scope, send, item_id)
        elif method == "POST" and not item_id:
            await self._take(scope, receive, send)
        elif method == "DELETE" and item_id:
            count = await self._apart(lambda worklist: worklist.remove(OrderKey(id=item_id)))
            self._tell(scope, "worklist.removed", count=count)
            if not count:
                raise _no_item()
            await send_whole(send, 204, b"", b"")
        else:
            allowed = b"GET, HEAD, DELETE" if item_id else b"GET, HEAD, POST"
            raise HttpError(
                405,
                f"{method[:20]} is not for here, which takes {allowed.decode()}",
                headers=((b"allow", allowed),),
            )

    async def _read(self, scope: Scope, send: Send, item_id: str) -> None:
        question, limit, offset = _asked(scope["query_string"]) if not item_id else (EVERYTHING, 1, 0)
        key = OrderKey(id=item_id) if item_id else None

        def look(worklist: Worklist) -> list[Entry]:
            found = worklist.find(question, keys=key)
            return [entry for entry, _ in islice(found, offset, offset + limit + 1)]

        entries = await self._apart(look)
        self._tell(scope, "worklist.read", count=min(len(entries), limit))
        if item_id and not entries:
            raise _no_item()
        rows = [*map(as_json, entries[:limit])]
        headers = (
            [(b"warning", b'299 dicomrelay "There are more items than limit; use offset"')]
            if len(entries) > limit
            else []
        )
        await _send_json(send, 200, rows[0] if item_id else rows, headers)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        content_type = next(iter(header_values(scope, b"content-type")), "").partition(";")[0].strip().lower()
        kind = _KINDS.get(content_type)
        if kind is None:
            raise HttpError(415, f"say in Content-Type what it is: {', '.join(_KINDS)}")
        try:
            self._space.check(0)
        except SpoolFull as error:
            _log.warning("no room for the worklist", action="worklist.no-room", error=str(error))
            raise HttpError(507, "no room here, say it again later") from None
        body = await _body(scope, receive)
        stations = self._settings.worklist.station_ae_titles

        def work(worklist: Worklist) -> Taken:
            taken = Taken()
            take(worklist, read_bytes(body, kind, stations), taken, most_refused=MOST_REFUSED)
            return taken

        try:
            taken = await self._apart(work)
        except UnreadableFile as error:
            raise HttpError(400, str(error)) from None
        self._tell(scope, "worklist.taken", done=taken.done, refused=len(taken.refused))
        status = 200 if not taken.refused else 202 if taken.done else 400
        await _send_json(send, status, taken_json(taken), [])

    async def _apart(self, work: Callable[[Worklist], _Result]) -> _Result:
        """In a thread of ours: a database that is slow does not keep those who look at images."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(self._opened()))

    def _opened(self) -> Worklist:
        with self._lock:
            if self._worklist is None:
                self._worklist = open_worklist(self._settings)
            return self._worklist

    @staticmethod
    def _tell(scope: Scope, action: str, **facts: Any) -> None:
        """One line for each request; of what it is about its counts alone."""
        caller = scope.get(CALLER, "")
        _log.info(
            "worklist request",
            action=action,
            peer_address=address_of(scope),
            **facts,
            **({"user": caller} if caller else {}),
        )


def as_json(entry: Entry) -> dict[str, Any]:
    """An item as it is answered."""
    return {"id": entry.id, "status": entry.status.value, "item": entry.data_set}


def taken_json(taken: Taken) -> dict[str, Any]:
    """What became of what was sent."""
    return {
        **{name.value: count for name, count in sorted(taken.put.items())},
        "status_set": taken.set,
        "refused": [
            {"where": where, "faults": [str(fault) for fault in faults]} for where, faults in taken.refused
        ],
    }


def _asked(query_string: bytes) -> tuple[Question, int, int]:
    """The question that an address stands for: attributes by keyword, `limit`, `offset`."""
    counts = dict(_COUNTS)
    keys = []
    seen: set[str] = set()
    for name, value in _parameters(query_string):
        if (path := name if name in counts else path_of(name)) in seen:
            raise HttpError(400, f"{name[:80]} stands twice: the values of a list are parted by a backslash")
        seen.add(path)
        # It ends a text in DICOM, so that nothing would be left to ask for.
        if "\0" in value:
            raise HttpError(400, f"{name[:80]}: a NUL is in no value")
        if name in counts:
            if not (value.isascii() and value.isdigit() and len(value) < 10):
                raise HttpError(400, f"{name} is a number")
            counts[name] = int(value)
        else:
            keys.append(parse_key(f"{path}={value}"))
    try:
        question = read_question(build_identifier(keys))
    except RelayError as error:
        raise HttpError(400, str(error)) from None
    return question, min(counts["limit"], _MOST), counts["offset"]


def _parameters(query_string: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS
        )
    except ValueError:
        raise HttpError(400, f"more than {_MOST_PARAMETERS} parameters") from None


async def _body(scope: Scope, receive: Receive) -> bytes:
    too_large = HttpError(413, f"a request may have {BODY_BYTES} bytes: send several")
    if any(
        not length.isdigit() or int(length[:20]) > BODY_BYTES
        for length in header_values(scope, b"content-length")
    ):
        raise too_large
    reader = Reader(receive, BODY_BYTES)
    pieces: list[bytes] = []
    while not reader.is_whole:
        pieces += await reader.next()
        if reader.bytes > BODY_BYTES:
            raise too_large
        if reader.is_late and not reader.is_whole:
            raise HttpError(408, "the body did not come in time", headers=((b"connection", b"close"),))
    return b"".join(pieces)


async def _send_json(send: Send, status: int, body: Any, headers: Sequence[tuple[bytes, bytes]]) -> None:
    encoded = json.dumps(body, ensure_ascii=False).encode()
    await send_whole(send, status, b"application/json", encoded, headers=headers)


def _no_item() -> HttpError:
    return HttpError(404, "there is no such item in the worklist")

"""The body of one request, from its bytes to what became of each instance. Runs in a thread; knows no HTTP."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Final, Protocol

from dicomrelay.dicom.status import Status
from streamer.answers import HttpError
from streamer.media_types import DICOM, DICOM_JSON, OCTET_STREAM
from streamer.stow.content_type import Form, parsed
from streamer.stow.file_part import Begin, FilePart
from streamer.stow.json_part import JsonPart
from streamer.stow.multipart import MalformedBody, MultipartParser, PartBegins, PartData, PartEnds
from streamer.stow.outcomes import Failed, Outcome

MOST_PARTS: Final = 20_000
_MOST_PENDING: Final = 4


class Part(Protocol):
    """Takes one part."""

    def write(self, pieces: Sequence[memoryview]) -> None:
        """Take the next bytes."""

    def finish(self) -> Callable[[], list[Outcome]]:
        """It is whole. What is left to do for it, which may wait for a disk."""

    def abandon(self) -> None:
        """It never will be."""


class _Passed:
    """A part that is not looked at, with what is to be said of it."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = [*outcomes]

    def write(self, pieces: Sequence[memoryview]) -> None:
        """Nothing is kept."""

    def finish(self) -> Callable[[], list[Outcome]]:
        return lambda: self._outcomes

    def abandon(self) -> None:
        """There is nothing."""


class Body:
    """Takes the body of one request. Calls from several threads take turns: one that was cancelled may still be at work.

    Attributes
    ----------
    outcomes : list
        In the order of the parts; of all of them once it is finished, stopped or abandoned.
    is_over : bool
        Nothing more is taken: the body is malformed, and the last outcome says so.
    """

    def __init__(
        self, form: Form, begin: Begin, *, commits: Executor | None = None, most_parts: int = MOST_PARTS
    ) -> None:
        self._begin = begin
        self._form = form
        self._commits = commits
        self._pending: deque[Future[list[Outcome]]] = deque()
        self._most_parts = most_parts
        self._parser = MultipartParser(form.boundary) if form.boundary else None
        self._part: Part | None = None if form.boundary else self._taker(form.part_type)
        self._parts = 0
        self._turn = threading.RLock()
        self.outcomes: list[Outcome] = []
        self.is_over = False

    def take(self, pieces: Sequence[bytes]) -> None:
        """Take the next bytes."""
        with self._turn:
            if not self.is_over:
                self._take(pieces)

    def _take(self, pieces: Sequence[bytes]) -> None:
        if self._parser is None:
            if self._part is not None:
                self._part.write([memoryview(piece) for piece in pieces])
            return
        try:
            for piece in pieces:
                if not self._parse(self._parser, piece):
                    return
        except MalformedBody as error:
            self.stop(str(error))

    def finish(self) -> None:
        """The body is whole, or says that it is."""
        with self._turn:
            if not self.is_over:
                self._finish()

    def _finish(self) -> None:
        if self._parser is None:
            self._end_part()
            self._settle(0)
        elif not self._parser.is_complete:
            self.stop("the body ends before its last boundary")
        elif not self._parts:
            self.stop("the body has no part")
        else:
            self._settle(0)
        self.is_over = True

    def stop(self, words: str) -> None:
        """Take no more, and say why; the part in hand is forgotten."""
        with self._turn:
            self.abandon()
            self.is_over = True
            self.outcomes.append(Failed(Status.CANNOT_UNDERSTAND, words, is_request=True))

    def abandon(self) -> None:
        """Forget the part in hand."""
        with self._turn:
            part, self._part = self._part, None
            if part is not None:
                part.abandon()
            self._settle(0)

    def _parse(self, parser: MultipartParser, piece: bytes) -> bool:
        """Whether more is taken."""
        for event in parser.feed(piece):
            match event:
                case PartData(data):
                    if self._part is not None:
                        self._part.write([data])
                case PartBegins(fields):
                    self._parts += 1
                    if self._parts > self._most_parts:
                        self.stop(f"more than {self._most_parts} parts: send several requests")
                        return False
                    self._part = self._part_of(fields)
                case PartEnds():
                    self._end_part()
        return True

    def _end_part(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        rest = part.finish()
        if self._commits is None:
            self.outcomes += rest()
        else:
            # The next part comes while this one is on its way to the disk; flushes of several are shared.
            self._pending.append(self._commits.submit(rest))
            self._settle(_MOST_PENDING)

    def _settle(self, most: int) -> None:
        """Wait until no more than so many parts are on their way to the disk."""
        while len(self._pending) > most:
            self.outcomes += self._pending.popleft().result()

    def _part_of(self, fields: Mapping[str, str]) -> Part:
        """By its own type; a part without one is what the request says of all (RFC 2387 Section 3.1)."""
        given = fields.get("content-type", "")
        try:
            name = parsed(given)[0] if given else self._form.part_type
        except HttpError:
            name = ""
        if self._form.part_type == DICOM_JSON and name != DICOM_JSON:
            # Bulk data: the instance that it belongs to is refused for asking for it.
            return _Passed()
        if name == OCTET_STREAM:
            name = DICOM
        if name != self._form.part_type:
            return _Passed(Failed(Status.CANNOT_UNDERSTAND, f"a part is not {self._form.part_type}"))
        return self._taker(name)

    def _taker(self, name: str) -> Part:
        return JsonPart(self._begin) if name == DICOM_JSON else FilePart(self._begin)

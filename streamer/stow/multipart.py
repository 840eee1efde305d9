"""A multipart body in pieces, as it comes (RFC 2046 Section 5.1). Pure: bytes in, events out.

Nothing of a part is kept but what may be the beginning of a boundary, so a part may have any size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BLANK: Final = b" \t"
_NEW_LINE: Final = b"\r\n"
_LONGEST_HEAD: Final = 8192
# White space that may stand behind a boundary on its line.
_LONGEST_PADDING: Final = 256


class MalformedBody(ValueError):
    """The body is not multipart as its boundary says; the words are for the client."""


@dataclass(frozen=True, slots=True)
class PartBegins:
    """The header fields of a part, names in lower case; the last of a name counts."""

    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartData:
    """The next bytes of the part; never empty."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part is whole."""


Event = PartBegins | PartData | PartEnds


class MultipartParser:
    """Takes a body, gives its events.

    Parameters
    ----------
    boundary : bytes
        Of the Content-Type, 1 to 70 characters.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        # The first boundary needs no line before it.
        self._held = _NEW_LINE
        self._step = self._preamble
        self._events: list[Event] = []
        # Of what is held, the end of the part's head: no content of it, but perhaps the beginning of a boundary.
        self._skip = 0
        self.is_complete = False

    def feed(self, data: bytes) -> list[Event]:
        """The events of the next bytes. What comes behind the last boundary is passed over.

        Raises
        ------
        MalformedBody
            Header fields or a boundary's line that are none.
        """
        self._events = []
        held = self._held + data if self._held else data
        place = 0
        while not self.is_complete:
            before, step = place, self._step
            place = step(held, place)
            if place == before and step == self._step:
                break
        self._held = b"" if self.is_complete else held[place:]
        return self._events

    def _preamble(self, held: bytes, place: int) -> int:
        found = held.find(self._delimiter, place)
        if found < 0:
            return self._safe(held, place)
        self._step = self._boundary
        return found + len(self._delimiter)

    def _boundary(self, held: bytes, place: int) -> int:
        if held.startswith(b"--", place):
            self.is_complete = True
            return place + 2
        end = held.find(_NEW_LINE, place, place + _LONGEST_PADDING)
        line = held[place : end if end >= 0 else place + _LONGEST_PADDING]
        if line.strip(b" \t\r-") or len(line) == _LONGEST_PADDING or (end >= 0 and b"-" in line):
            raise MalformedBody("a boundary is not followed by a new line")
        if end < 0:
            return place
        # The line's end stays: the header fields may be none, and the next line is empty then.
        self._step = self._head
        return end

    def _head(self, held: bytes, place: int) -> int:
        end = held.find(b"\r\n\r\n", place, place + _LONGEST_HEAD)
        if end < 0:
            if len(held) - place >= _LONGEST_HEAD:
                raise MalformedBody(f"the header fields of a part have more than {_LONGEST_HEAD} bytes")
            return place
        self._events.append(PartBegins(_fields(held[place + 2 : end])))
        self._step, self._skip = self._content, len(_NEW_LINE)
        return end + 2

    def _content(self, held: bytes, place: int) -> int:
        found = held.find(self._delimiter, place)
        end = found if found >= 0 else self._safe(held, place)
        begin = place + self._skip
        if end > begin:
            self._events.append(PartData(memoryview(held)[begin:end]))
            self._skip = 0
        elif found < 0:
            return place
        if found < 0:
            return end
        self._events.append(PartEnds())
        self._step, self._skip = self._boundary, 0
        return found + len(self._delimiter)

    def _safe(self, held: bytes, place: int) -> int:
        """Up to where no boundary can have begun."""
        return max(place, len(held) - len(self._delimiter) + 1)


def _fields(head: bytes) -> dict[str, str]:
    found = {}
    for line in head.split(_NEW_LINE) if head else ():
        # Not by one expression: it would take time by the square of a line of blanks.
        name, colon, value = line.partition(b":")
        name = name.rstrip(_BLANK)
        if not colon or not _NAME.fullmatch(name):
            raise MalformedBody("a header field of a part is none")
        found[name.decode("ascii").lower()] = value.strip(_BLANK).decode("latin-1")
    return found

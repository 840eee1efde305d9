"""JSON read piece by piece: objects and arrays are walked through, and only what is small is ever whole in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, TextIO

from dicomrelay.errors import ArchiveError

LARGEST_VALUE: Final = 1024 * 1024
_CHUNK: Final = 65_536
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_NUMBER_GOES_ON: Final = 3


class JsonStream:
    """A position in a JSON text. Each method begins at a value and ends behind it.

    Parameters
    ----------
    file : TextIO
    name : str
        How errors call it.
    """

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name
        self._text = ""
        self._at = 0
        self._before = 0  # characters that are not in memory any more
        self._is_end = False
        self._decoder = json.JSONDecoder()

    def members(self) -> Iterator[str]:
        """The keys of an object. The value of each must be read before the next key is asked for.

        Raises
        ------
        ArchiveError
            It is no object, or no JSON; the message says where.
        """
        self._take("{")
        if self._next_is("}"):
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise self.error("a key must be text")
            self._take(":")
            yield key
            if self._next_is("}"):
                return
            self._take(",")

    def elements(self) -> Iterator[None]:
        """One step for each element of an array, which must be read before the next step. Raises as `members`."""
        self._take("[")
        if self._next_is("]"):
            return
        while True:
            yield
            if self._next_is("]"):
                return
            self._take(",")

    def value(self) -> Any:
        """A whole value of at most `LARGEST_VALUE` characters.

        Raises
        ------
        ArchiveError
            It is larger, or no JSON.
        """
        self._skip_space()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if self._is_end or len(self._text) - self._at > LARGEST_VALUE:
                    raise self.error("no JSON here, or a value that is too large") from None
            except ValueError:
                # Python reads no number of more than 4300 digits.
                raise self.error("a number of too many digits") from None
            except RecursionError:
                raise self.error("a value with too many levels") from None
            else:
                # A number may go on behind what is in memory: "1e+" ends in front of "e".
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                if self._is_end or not is_number or len(self._text) - end > _NUMBER_GOES_ON:
                    self._at = end
                    return value
            self._fill()

    def end(self) -> None:
        """Raise ArchiveError unless there is nothing more."""
        self._skip_space()
        if self._at < len(self._text):
            raise self.error("more text behind the end")

    def error(self, what: str) -> ArchiveError:
        """An error that says where."""
        return ArchiveError(f"{self._name}: {what}, at character {self._before + self._at}")

    def _take(self, wanted: str) -> None:
        if not self._next_is(wanted):
            raise self.error(f"{wanted!r} is missing")

    def _next_is(self, wanted: str) -> bool:
        """Whether that character comes next; if so, it is read."""
        self._skip_space()
        if self._text[self._at : self._at + 1] != wanted:
            return False
        self._at += 1
        return True

    def _skip_space(self) -> None:
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text) or self._is_end:
                return
            self._fill()

    def _fill(self) -> None:
        try:
            more = self._file.read(_CHUNK)
        except UnicodeDecodeError:
            raise self.error("text that is no UTF-8 follows") from None
        self._is_end = not more
        self._before += self._at
        self._text = self._text[self._at :] + more
        self._at = 0

"""Text of an answer in the character set of whoever asked, or in UTF-8 (PS3.3 Section C.12.1.1.2). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.charset import (
    STAND_ALONE_ENCODINGS,
    convert_encodings,
    decode_bytes,
    encode_string,
    python_encoding,
)

from dicomrelay.dimse.identifier_buffer import UTF_8

_ASCII: Final = frozenset({"", "ISO_IR 6", "ISO 2022 IR 6"})
# pydicom's name for ISO_IR 13, of which the codec of that name knows far too many characters.
_JIS_X_0201: Final = "shift_jis"
_DELIMITERS: Final = {0x0A, 0x0C, 0x0D, 0x09}
# What Specific Character Set speaks for (PS3.5 Section 6.1.2.2); the other texts are ASCII whatever it says.
_EXTENSIBLE: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """A Specific Character Set (0008,0005).

    Attributes
    ----------
    names : tuple of str
        Its defined terms; none for the default repertoire, ASCII.
    encodings : tuple of str
        How Python calls them.
    """

    names: tuple[str, ...] = ()
    encodings: tuple[str, ...] = ("ascii",)

    @classmethod
    def of(cls, names: Sequence[str]) -> CharacterSet:
        """That of a request; UTF-8 in place of one that nobody knows."""
        terms = tuple(name.strip() for name in names)
        if not any(terms):
            return cls()
        if not all(term in python_encoding for term in terms) or (
            len(terms) > 1 and any(term in STAND_ALONE_ENCODINGS for term in terms)
        ):
            return UNICODE
        return cls(terms, tuple(convert_encodings(list(terms))))

    def encoded(self, text: str, vr: str) -> bytes | None:
        """The bytes of a text; None when it has characters that are not in the set."""
        if text.isascii():
            return text.encode("ascii")
        if vr not in _EXTENSIBLE:
            return None
        if vr != "PN":
            return self._one(text)
        # Every delimiter of a name goes back to the first of several sets (PS3.5 Section 6.1.2.5.3).
        groups: list[bytes] = []
        for group in text.split("="):
            parts = [self._one(part) for part in group.split("^")]
            whole = _joined(parts)
            if whole is None:
                return None
            groups.append(whole)
        return b"=".join(groups)

    def _one(self, text: str) -> bytes | None:
        # pydicom takes the default repertoire for Latin 1, which is kind to what it reads and would be wrong of us.
        if self.names[:1] and self.names[0] in _ASCII and any("\x80" <= each <= "\xff" for each in text):
            return None
        try:
            if len(self.encodings) == 1 and self.encodings[0] != _JIS_X_0201:
                return text.encode(self.encodings[0])
            found: bytes = encode_string(text, list(self.encodings))
            is_whole = decode_bytes(found, list(self.encodings), _DELIMITERS) == text
        except (UnicodeError, LookupError, ValueError, UserWarning):
            return None
        return found if is_whole else None


UNICODE: Final = CharacterSet((UTF_8,), ("utf-8",))


def _joined(parts: Iterable[bytes | None]) -> bytes | None:
    found: list[bytes] = []
    for part in parts:
        if part is None:
            return None
        found.append(part)
    return b"^".join(found)

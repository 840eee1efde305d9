"""Text of elements, in and out of the character set of its data set (PS3.5 Section 6.1, PS3.3 Section C.12.1.1.2).

pydicom is imported where other letters than ASCII are met, here and in the modules beside this one: most commands know of edits
and make none, and pydicom with numpy takes longer to be imported than they run.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final

from dicomrelay.dicom.elements import tag_name
from dicomrelay.edits.tree import CHARACTER_SET_VRS, Item, Leaf
from dicomrelay.errors import NotEditable

SPECIFIC_CHARACTER_SET: Final = 0x00080005
_PADDED_WITH_ZERO: Final = frozenset({b"UI", b"OB", b"UN"})


def padded(vr: bytes, value: bytes) -> bytes:
    """Of even length (PS3.5 Section 6.2)."""
    return value + (b"\0" if vr in _PADDED_WITH_ZERO else b" ") * (len(value) % 2)


@dataclass(frozen=True, slots=True)
class Letters:
    """A character set, as Specific Character Set (0008,0005) names it; with none the default repertoire."""

    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, item: Item, outer: Letters | None = None) -> Letters:
        """That of a data set, or of an item, which has its own or that around it."""
        found = item.leaf(SPECIFIC_CHARACTER_SET)
        if not found and outer is not None:
            return outer
        return cls(tuple(name.strip(" \0") for name in found.decode("latin-1").split("\\")) if found else ())

    def decode(self, leaf: Leaf) -> str:
        """The value as text, padding and all values in it; bytes that are no letters become replacement characters."""
        if leaf.value.isascii() and b"\x1b" not in leaf.value:
            return leaf.value.decode("ascii")
        if leaf.kind not in CHARACTER_SET_VRS:
            return leaf.value.decode("latin-1")
        from pydicom.charset import decode_bytes  # noqa: PLC0415
        from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS  # noqa: PLC0415

        delimiters = PN_DELIMS if leaf.kind == b"PN" else TEXT_VR_DELIMS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values, which are nobody's business
            return decode_bytes(leaf.value, self._encodings(), delimiters)

    def encode(self, tag: int, vr: bytes, text: str) -> Leaf:
        """A leaf with that text.

        Raises
        ------
        NotEditable
            The character set cannot write it.
        """
        if text.isascii():
            return Leaf(tag, vr, padded(vr, text.encode("ascii")))
        from pydicom.charset import encode_string  # noqa: PLC0415

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            leaf = Leaf(tag, vr, padded(vr, encode_string(text, self._encodings())))
        if self.decode(leaf).rstrip(" ") != text.rstrip(" "):
            names = ", ".join(filter(None, self.names)) or "the default repertoire"
            raise NotEditable(
                f"the new value of {tag_name(tag)} has letters that its character set, {names}, has not"
            )
        return leaf

    def _encodings(self) -> list[str]:
        from pydicom.charset import convert_encodings  # noqa: PLC0415

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return convert_encodings(list(self.names) or None)
            except LookupError:  # a name that nobody knows
                return ["iso8859"]


def stripped(text: str) -> str:
    """Without padding."""
    return text.strip(" \0")

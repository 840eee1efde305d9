"""How data elements are laid out (PS3.5 Section 7.1): what the header scan and the file meta share."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

UNDEFINED_LENGTH: Final = 0xFFFFFFFF

# 16-bit length (PS3.5 Table 7.1-2).
SHORT_VRS: Final = frozenset(
    vr.encode("ascii")
    for vr in "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()  # noqa: SIM905
)
# Two reserved bytes and a 32-bit length (PS3.5 Table 7.1-1).
LONG_VRS: Final = frozenset(
    vr.encode("ascii")
    for vr in "OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()  # noqa: SIM905
)
KNOWN_VRS: Final = SHORT_VRS | LONG_VRS


def looks_like_vr(two_bytes: bytes) -> bool:
    """Whether two bytes are capital letters, as every value representation is, those of the future too."""
    return len(two_bytes) == 2 and two_bytes.isalpha() and two_bytes.isupper()


def has_long_form(vr: bytes, reserved: bytes) -> bool:
    """Whether an element of that VR has a 32-bit length.

    A VR that the standard does not know has one (PS3.5 Section 7.1.2), unless the bytes that must be zero are not.
    """
    return vr in LONG_VRS or (vr not in SHORT_VRS and reserved == b"\0\0")


def text(value: bytes) -> str:
    """A UID, AE title or code string without its padding; bytes outside ASCII stay apart from one another."""
    return value.decode("latin-1").strip(" \0")


def tag_name(tag: int) -> str:
    """A tag as the standard writes it."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


@dataclass(frozen=True, slots=True)
class ElementSyntax:
    """Whether VRs are left out, and the structures that take an element's head apart.

    Attributes
    ----------
    head : struct.Struct
        The first 8 bytes: group, element, and either a 32-bit length or VR and 16-bit length.
    length : struct.Struct
        A 32-bit length.
    """

    implicit: bool
    head: struct.Struct
    length: struct.Struct

    @classmethod
    def of(cls, *, implicit: bool, little_endian: bool) -> ElementSyntax:
        """The one that a transfer syntax asks for."""
        return _SYNTAXES[implicit, little_endian]

    def as_seen(self, head: bytes) -> ElementSyntax:
        """The one that the first 8 bytes of a data set are in, whatever was promised."""
        little_endian = self.head.format.startswith("<")
        if head[:2] != b"\0\0" and 0 in head[:2]:
            # The first group is a small number, in whichever order its bytes stand.
            little_endian = head[1] == 0
        vr = head[4:6]
        implicit = vr not in KNOWN_VRS if self.implicit else not looks_like_vr(vr)
        return ElementSyntax.of(implicit=implicit, little_endian=little_endian)

    def long_head(self, data: memoryview, pos: int, group: int, vr: bytes) -> tuple[bytes, int, int]:
        """VR, where the value begins, and its length, of an explicit element whose VR has no 16-bit length.

        Where the value begins lies beyond the data when the head is not whole.
        """
        if group == 0xFFFE or not looks_like_vr(vr):
            # Items have no VR (PS3.5 Section 7.5); nor, now and then, has an element that should.
            return b"", pos + 8, self.length.unpack_from(data, pos + 4)[0]
        if not has_long_form(vr, bytes(data[pos + 6 : pos + 8])):
            return vr, pos + 8, self.head.unpack_from(data, pos)[3]
        if len(data) - pos < 12:
            return vr, len(data) + 1, 0
        return vr, pos + 12, self.length.unpack_from(data, pos + 8)[0]


# By whether VRs are left out and whether the least significant byte comes first: made once, for every data set needs two.
_SYNTAXES: Final = {
    (implicit, little_endian): ElementSyntax(
        implicit,
        struct.Struct(order + ("HHI" if implicit else "HH2sH")),
        struct.Struct(order + "I"),
    )
    for implicit in (True, False)
    for little_endian, order in ((True, "<"), (False, ">"))
}
IMPLICIT_LITTLE_ENDIAN: Final = ElementSyntax.of(implicit=True, little_endian=True)

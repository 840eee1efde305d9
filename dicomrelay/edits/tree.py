"""A data set as a tree: leaves as the bytes they are, large binary values as places in the file (docs/design/edits.md#words)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, TypeAlias

from dicomrelay.dicom.elements import tag_name

PIXEL_GROUP: Final = 0x7FE0
# Values whose letters the character set of the data set rules (PS3.5 Section 6.1.2.2), and all that hold words of people.
CHARACTER_SET_VRS: Final = frozenset({b"LO", b"LT", b"PN", b"SH", b"ST", b"UC", b"UT"})
TEXT_VRS: Final = CHARACTER_SET_VRS | {b"AE", b"UR"}
# Coding schemes that are published (PS3.16 Table 8-1): what they code is no secret.
PUBLISHED_SCHEMES: Final = frozenset(
    "ACR BI DCM FMA I10 I10P I9 I9C ICD10 ICDO3 ISO3166_1 ISO639_1 LN MA NCDR NCIt NDC NEU NYUMCCG "  # noqa: SIM905
    "PUBCHEM_CID RADELEMENT RADLEX RFC3066 RFC5646 RXNORM SCT SNM3 SRT UCUM UMLS UNS".split()
)


@lru_cache(maxsize=8192)
def known_vr(tag: int) -> bytes:
    """The value representation by PS3.6, the first where it leaves a choice; b"" of what it does not know."""
    if tag & 0xFFFF == 0:
        return b"UL"
    if (tag >> 16) & 1:
        return b"LO" if 0x10 <= tag & 0xFFFF <= 0xFF else b""
    from pydicom.datadict import dictionary_VR  # noqa: PLC0415 - see dicomrelay.edits.text

    try:
        return dictionary_VR(tag)[:2].encode("ascii")
    except KeyError:
        return b""


def is_private(tag: int) -> bool:
    """Whether the group is odd (PS3.5 Section 7.8)."""
    return bool((tag >> 16) & 1)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value.

    Attributes
    ----------
    vr : bytes
        As it was written; b"" where the syntax leaves it out.
    value : bytes
        In the byte order of the data set, of even length.
    """

    tag: int
    vr: bytes
    value: bytes = field(repr=False)

    @property
    def kind(self) -> bytes:
        """What it is: its VR, and where that says nothing, what PS3.6 says (PS3.5 Section 6.2.2)."""
        return self.vr if self.vr not in (b"", b"UN") else known_vr(self.tag) or b"UN"


@dataclass(frozen=True, slots=True)
class Bulk:
    """A binary value that stays in the file: the bytes behind the element's head, delimiter and all where it has no length."""

    tag: int
    vr: bytes
    offset: int
    length: int
    is_undefined: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """Items.

    Attributes
    ----------
    vr : bytes
        As it was written: of UN, the items are implicit VR little endian.
    """

    tag: int
    vr: bytes
    items: tuple[Item, ...]
    is_undefined: bool = False


Node: TypeAlias = Leaf | Bulk | Sequence


@dataclass(slots=True)
class Item:
    """The elements of a data set or of an item, by tag."""

    elements: dict[int, Node] = field(default_factory=dict)
    is_undefined: bool = False

    def leaf(self, tag: int) -> bytes:
        """The value of a leaf; b"" where there is none."""
        found = self.elements.get(tag)
        return found.value if isinstance(found, Leaf) else b""

    def items(self, tag: int) -> tuple[Item, ...]:
        """The items of a sequence; none where there is none."""
        found = self.elements.get(tag)
        return found.items if isinstance(found, Sequence) else ()


Place: TypeAlias = tuple[int, ...]


def place_name(place: Place) -> str:
    """Where an element is, for people: the tags of the sequences that it is in, then its own."""
    return ".".join(tag_name(tag) for tag in place)

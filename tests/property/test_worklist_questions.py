"""Whatever a modality asks, it gets a status of the worklist's, and the next one is answered."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR

from tests.unit.scp_gateway.test_worklist import EXPLICIT, IMPLICIT, ITEMS, MemoryWorklist, operation, serve

TAGS = (
    0x00080005, 0x0008002A, 0x00080050, 0x00081110, 0x00100010, 0x00100020, 0x00100030, 0x00101030, 0x001021C0,
    0x0020000D, 0x00280009, 0x00400002, 0x00400003, 0x00400006,
)  # fmt: skip
LONG = ("SQ", "UN", "OB", "UT")
VALUES = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [
            b"",
            b"*",
            b"P1",
            b"20260101-",
            b"-",
            b"1000-0900",
            b"2026*",
            b"ISO_IR 100",
            b"\\\\",
            b"?",
            b"70.5",
            b"sNaN",
        ]
    ),
)
STATUSES = {0x0000, 0xA900, 0xC000}
_Element = tuple[int, str, bytes]


def encoded(elements: Sequence[_Element]) -> bytes:
    parts = []
    for tag, vr, value in sorted(elements):
        even = value + b" " * (len(value) % 2)
        length = b"\0\0" + struct.pack("<I", len(even)) if vr in LONG else struct.pack("<H", len(even))
        parts.append(struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode() + length + even)
    return b"".join(parts)


@st.composite
def elements(draw: st.DrawFn) -> list[_Element]:
    """A few keys, with the VR of their attribute mostly."""
    found = []
    for tag in draw(st.lists(st.sampled_from(TAGS), max_size=4, unique=True)):
        vr = draw(st.sampled_from([str(dictionary_VR(tag))] * 8 + ["LO", "UN", "FD"]))
        if vr != "SQ":
            found.append((tag, vr, draw(VALUES)))
    return found


@given(elements(), st.lists(elements(), max_size=2))
def test_keys_of_any_kind(keys: list[_Element], items: list[list[_Element]]) -> None:
    """Found, refused, or not understood; never a fault of ours."""
    inside = b""
    for item in map(encoded, items):
        inside += struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item
    raw = encoded([*keys, (0x00400100, "SQ", inside)])
    _, last = serve(MemoryWorklist(*ITEMS), operation(raw))
    assert last.status in STATUSES


@given(st.binary(max_size=200), st.sampled_from([IMPLICIT, EXPLICIT]))
def test_any_bytes(raw: bytes, syntax: str) -> None:
    """The same of what is no identifier."""
    _, last = serve(MemoryWorklist(*ITEMS), operation(raw, syntax))
    assert last.status in STATUSES

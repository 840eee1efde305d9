"""The bytes of an identifier without sequences (PS3.5 Section 7.1): an answer costs microseconds and needs no data set."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from dicomrelay.dicom.elements import LONG_VRS
from dicomrelay.errors import LocalProtocolError

_IMPLICIT: Final = struct.Struct("<HHI")
_SHORT: Final = struct.Struct("<HH2sH")
_LONG: Final = struct.Struct("<HH2sxxI")
_LONGEST_SHORT: Final = 0xFFFE
# Padded with a NUL (PS3.5 Section 6.2); all else that is text with a space.
_NUL_PADDED: Final = frozenset({"UI", "OB", "UN"})


def encode_elements(elements: Iterable[tuple[int, str, bytes]], *, implicit: bool) -> bytes:
    """Elements in little endian, in ascending order of their tags whatever order they come in.

    Parameters
    ----------
    elements : iterable of (tag, VR, value)
        Values as they stand on the wire, but for the byte that makes their length even.
    implicit : bool
        Without VRs.

    Raises
    ------
    LocalProtocolError
        A value over what the length of its VR can say, 65,534 bytes.
    """
    parts: list[bytes] = []
    for tag, vr, value in sorted(elements):
        if len(value) % 2:
            value += b"\0" if vr in _NUL_PADDED else b" "  # noqa: PLW2901 - the padding is part of it
        group, element = tag >> 16, tag & 0xFFFF
        if implicit:
            parts.append(_IMPLICIT.pack(group, element, len(value)))
        elif (name := vr.encode("ascii")) in LONG_VRS:
            parts.append(_LONG.pack(group, element, name, len(value)))
        elif len(value) > _LONGEST_SHORT:
            raise LocalProtocolError(
                f"({group:04X},{element:04X}) is too long for {vr}", section="PS3.5 Section 7.1.2"
            )
        else:
            parts.append(_SHORT.pack(group, element, name, len(value)))
        parts.append(value)
    return b"".join(parts)

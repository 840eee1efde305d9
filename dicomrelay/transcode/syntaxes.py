"""Which transfer syntaxes a copy can be made in, by the one that an instance is in."""

from __future__ import annotations

from typing import Final

from dicomrelay.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

DEFLATED_FRAMES: Final = "1.2.840.10008.1.2.8.1"
RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"
JPEG: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
JPEG_LS: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
JPEG_2000: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))

# What needs no codec, the plainest first.
NATIVE: Final = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
)
HTJ2K_LOSSLESS: Final = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_RPCL: Final = "1.2.840.10008.1.2.4.202"
JPEG_LS_LOSSLESS: Final = "1.2.840.10008.1.2.4.80"
# What a copy can be compressed to without loss. Only for those who ask: nothing is delivered so.
COMPRESSED: Final = (HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, JPEG_LS_LOSSLESS)
DECODABLE: Final = JPEG | JPEG_LS | JPEG_2000 | {RLE_LOSSLESS, DEFLATED_FRAMES}


def producible(transfer_syntax_uid: str) -> tuple[str, ...]:
    """The transfer syntaxes in which a copy loses nothing, the plainest first; none where there is no decoder.

    To decompress loses nothing, whatever the compression has lost before; nothing is compressed here but by deflate.
    Video has no frames of its own, JPIP and SMPTE ST 2110 have no pixel data here, and some retired syntaxes have no decoder.
    """
    if transfer_syntax_uid in NATIVE:
        return tuple(syntax for syntax in NATIVE if syntax != transfer_syntax_uid)
    return NATIVE if transfer_syntax_uid in DECODABLE else ()


def compressible(transfer_syntax_uid: str) -> tuple[str, ...]:
    """The compressed transfer syntaxes that an instance may be copied to without loss; each frame is held against its source."""
    if transfer_syntax_uid not in NATIVE and transfer_syntax_uid not in DECODABLE:
        return ()
    return tuple(syntax for syntax in COMPRESSED if syntax != transfer_syntax_uid)

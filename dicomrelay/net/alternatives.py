"""Which transfer syntaxes to propose beside an instance's own, when it may be re-encoded without loss. Pure.

What makes sense depends on the kind of object: a waveform gains nothing from JPEG, a retired SOP class is read by old
equipment, a multi-frame image of gigabytes should stay small, a video stays what it is.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from functools import cache
from typing import Final

from dicomrelay.dicom.sop_classes import sop_class_name, storage_sop_classes
from dicomrelay.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    transfer_syntax,
)

_PREFIX: Final = "1.2.840.10008.1.2."

_UNCOMPRESSED: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
# The default for lossless JPEG first (PS3.5 Section 10.2), then what most archives read.
_LOSSLESS: Final = tuple(
    _PREFIX + tail for tail in ("4.70", "4.90", "4.80", "5", "4.201", "4.202", "4.57", "4.92", "4.110")
)
_DEFLATED_FRAMES: Final = _PREFIX + "8.1"
_ENCAPSULATED_UNCOMPRESSED: Final = _PREFIX + "1.98"
# Nobody asks for these first: one is retired, the others need more of a reader than what they are made of.
_LAST: Final = (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    _DEFLATED_FRAMES,
    _ENCAPSULATED_UNCOMPRESSED,
    EXPLICIT_VR_BIG_ENDIAN,
)
# Known to keep every bit. JPEG 2000 (4.91) and HTJ2K (4.203) may, and the UID does not tell.
_WITHOUT_LOSS: Final = frozenset((*_UNCOMPRESSED, *_LOSSLESS, *_LAST))
# Pixel data that is elsewhere or runs in real time: JPIP and SMPTE ST 2110 (PS3.5 Sections A.7 and A.8).
_REFERENCED: Final = frozenset(
    _PREFIX + tail for tail in ("4.94", "4.95", "4.204", "4.205", "7.1", "7.2", "7.3")
)

_STORAGE_ROOT: Final = "1.2.840.10008.5.1.4.1.1."
# Behind the root, each with all below it: no pixel data, or such as no codec for images takes (bits, floats).
_NO_FRAMES: Final = (
    "4.2 9 11 30 66 67 68 77.1.5.3 78 79 80 88 90 91 104 131 200 201 501.3 501.6 "
    "481.3 481.4 481.5 481.6 481.7 481.8 481.9 481.10 481.11 481.12 481.13 481.14 481.15 481.16 481.17 481.18 "
    "481.19 481.20 481.21 481.22 481.25"
)
_FRAMES_AFTER_ALL: Final = ("66.7", "66.8")  # label and height maps
_MANY_FRAMES: Final = (
    "Enhanced",
    "Multi-frame",
    "Video",
    "Tomosynthesis",
    "Volume",
    "Whole Slide",
    "Tiled",
    "Coherence",
    "Ophthalmic Tomography",
    "3D",
    "Breast Projection",
    "Nuclear Medicine",
    "Map Segmentation",
)


class Category(Enum):
    """What kind of object a SOP class holds, as far as its encoding goes."""

    IMAGE = "image"
    MULTI_FRAME = "multi-frame image"
    NO_FRAMES = "no frames"  # waveforms, structured reports, presentation states, documents, plans
    LEGACY = "legacy"  # retired by the standard
    UNKNOWN = "unknown"  # private, or newer than the registry


@cache
def category_of(sop_class_uid: str) -> Category:
    """The category of a SOP class."""
    known = storage_sop_classes().get(sop_class_uid)
    if known is None:
        return Category.UNKNOWN
    if known.retired:
        return Category.LEGACY
    tail = sop_class_uid.removeprefix(_STORAGE_ROOT)
    if tail == sop_class_uid:  # objects without a patient, and instructions of radiation therapy
        return Category.NO_FRAMES
    if tail not in _FRAMES_AFTER_ALL and any(
        f"{tail}.".startswith(f"{root}.") for root in _NO_FRAMES.split()
    ):
        return Category.NO_FRAMES
    name = sop_class_name(sop_class_uid)
    return Category.MULTI_FRAME if any(word in name for word in _MANY_FRAMES) else Category.IMAGE


def alternatives_for(
    sop_class_uid: str, transfer_syntax_uid: str, *, producible: Collection[str]
) -> tuple[str, ...]:
    """The transfer syntaxes that an instance may be offered in beside its own, the best first.

    Parameters
    ----------
    sop_class_uid, transfer_syntax_uid : str
        Of the instance as it lies on disk.
    producible : collection of str
        The transfer syntaxes that the caller's transcoder writes without loss; nothing else is answered.

    Returns
    -------
    tuple of str
        Implicit VR Little Endian is among them whenever it is producible and not the instance's own: PS3.5 Section
        10.1 wants it offered for every abstract syntax, and so offered it can be sent. Empty for video and for pixel
        data that is not in the instance.
    """
    own = transfer_syntax(transfer_syntax_uid)
    if own.is_video or own.uid in _REFERENCED:
        return ()
    wanted = _wanted(category_of(sop_class_uid), own.uid, is_compressed=own.is_encapsulated)
    return tuple(uid for uid in wanted if uid != own.uid and uid in producible)


def _wanted(category: Category, own: str, *, is_compressed: bool) -> tuple[str, ...]:
    if category is Category.LEGACY:
        return (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)
    if category is Category.UNKNOWN:
        return _UNCOMPRESSED
    if category is Category.NO_FRAMES:
        return (*_UNCOMPRESSED, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)
    if own not in _WITHOUT_LOSS:
        return (
            _UNCOMPRESSED  # what was lost is lost; a lossless codec would say that nothing was, in more bytes
        )
    if category is Category.MULTI_FRAME and is_compressed:
        return (*_LOSSLESS, *_UNCOMPRESSED, *_LAST)  # uncompressed it may be over 4 GiB
    return (*_UNCOMPRESSED, *_LOSSLESS, *_LAST)

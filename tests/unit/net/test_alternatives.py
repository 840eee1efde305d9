"""What to propose beside an instance's own transfer syntax."""

from __future__ import annotations

import pytest

from dicomrelay.dicom.sop_classes import storage_sop_classes
from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.net.alternatives import Category, alternatives_for, category_of

ROOT = "1.2.840.10008.5.1.4.1.1."
CT, ENHANCED_CT, ECG, VIDEO_ENDOSCOPY, OLD_NM = (
    ROOT + tail for tail in ("2", "2.1", "9.1.1", "77.1.1.1", "5")
)
IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED = ("1.2.840.10008.1.2" + tail for tail in ("", ".1", ".2", ".1.99"))
JPEG_BASELINE, JPEG_LOSSLESS, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 70, 80, 90))
RLE, H264 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.102"
ALL = frozenset(transfer_syntaxes())


@pytest.mark.parametrize(
    ("uid", "category"),
    [
        (CT, Category.IMAGE),
        (ENHANCED_CT, Category.MULTI_FRAME),
        (VIDEO_ENDOSCOPY, Category.MULTI_FRAME),
        (ROOT + "128", Category.IMAGE),  # PET: one slice an instance
        (ECG, Category.NO_FRAMES),
        (ROOT + "88.11", Category.NO_FRAMES),
        (ROOT + "4.2", Category.NO_FRAMES),  # spectroscopy, below MR
        (ROOT + "4", Category.IMAGE),
        (ROOT + "66.4", Category.NO_FRAMES),  # bits
        (ROOT + "66.7", Category.MULTI_FRAME),
        (ROOT + "481.2", Category.IMAGE),
        (ROOT + "481.5", Category.NO_FRAMES),
        ("1.2.840.10008.5.1.4.38.1", Category.NO_FRAMES),
        (OLD_NM, Category.LEGACY),
        ("1.3.46.670589.1", Category.UNKNOWN),
    ],
)
def test_categories(uid: str, category: Category) -> None:
    assert category_of(uid) is category


@pytest.mark.parametrize(
    ("sop_class", "own", "producible", "expected"),
    [
        (CT, JPEG_LS, {IMPLICIT, EXPLICIT, RLE}, (EXPLICIT, IMPLICIT, RLE)),
        (CT, EXPLICIT, {IMPLICIT, EXPLICIT, JPEG_2000}, (IMPLICIT, JPEG_2000)),
        (ENHANCED_CT, JPEG_LS, {IMPLICIT, EXPLICIT, JPEG_2000, JPEG_LS}, (JPEG_2000, EXPLICIT, IMPLICIT)),
        (ENHANCED_CT, EXPLICIT, {IMPLICIT, JPEG_2000}, (IMPLICIT, JPEG_2000)),
        (CT, JPEG_BASELINE, {IMPLICIT, EXPLICIT, JPEG_LOSSLESS}, (EXPLICIT, IMPLICIT)),
        (ECG, EXPLICIT, {IMPLICIT, DEFLATED, JPEG_2000, BIG_ENDIAN}, (IMPLICIT, DEFLATED, BIG_ENDIAN)),
        (OLD_NM, RLE, ALL, (IMPLICIT, EXPLICIT)),
        ("1.3.46.670589.1", EXPLICIT, ALL, (IMPLICIT,)),
        (VIDEO_ENDOSCOPY, H264, ALL, ()),
        (CT, "1.2.840.10008.1.2.4.94", ALL, ()),
        (CT, JPEG_LS, (), ()),
    ],
)
def test_the_kind_of_object_decides(
    sop_class: str, own: str, producible: set[str], expected: tuple[str, ...]
) -> None:
    assert alternatives_for(sop_class, own, producible=producible) == expected


@pytest.mark.parametrize("own", transfer_syntaxes())
def test_whatever_the_object_the_answer_is_producible_and_new_and_holds_the_default(own: str) -> None:
    """The default transfer syntax is offered wherever it could be sent (PS3.5 Section 10.1)."""
    for sop_class in storage_sop_classes():
        answer = alternatives_for(sop_class, own, producible=ALL)
        assert own not in answer
        assert len(set(answer)) == len(answer)
        assert alternatives_for(sop_class, own, producible={RLE}) in ((), (RLE,))
        is_elsewhere = not answer
        assert is_elsewhere or own == IMPLICIT or IMPLICIT in answer
        # Nothing that may lose bits is ever proposed.
        assert not {JPEG_BASELINE, "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.81"} & set(answer)

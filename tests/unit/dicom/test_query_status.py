"""Statuses of C-FIND, C-MOVE and C-GET in words."""

from __future__ import annotations

import pytest

from dicomrelay.dicom.query_models import (
    MODALITY_WORKLIST,
    PATIENT_ROOT,
    PATIENT_STUDY_ONLY,
    STUDY_ROOT,
    Level,
)
from dicomrelay.dicom.query_status import Finality, finality, query_status_name


@pytest.mark.parametrize(
    ("status", "expected", "words"),
    [
        (0x0000, Finality.SUCCESS, "success"),
        (0xFF00, Finality.PENDING, "pending"),
        (0xFF01, Finality.PENDING, "optional keys"),
        (0xFE00, Finality.CANCELLED, "cancelled"),
        (0xB000, Finality.WARNING, "some instances failed"),
        (0xB123, Finality.WARNING, "0xB123"),
        (0xA701, Finality.FAILURE, "matches cannot be counted"),
        (0xA702, Finality.FAILURE, "cannot be sent"),
        (0xA7FF, Finality.FAILURE, "out of resources"),
        (0xA801, Finality.FAILURE, "destination is unknown"),
        (0xA900, Finality.FAILURE, "identifier does not match"),
        (0xC123, Finality.FAILURE, "unable to process"),
        (0x0107, Finality.WARNING, "attribute list error (0x0107)"),
        (0x0122, Finality.FAILURE, "SOP class not supported"),
        (0x0124, Finality.FAILURE, "not authorised"),
        (0xFF02, Finality.FAILURE, "unknown status"),
        (0x1234, Finality.FAILURE, "0x1234"),
    ],
)
def test_every_status_has_a_meaning_and_words(status: int, expected: Finality, words: str) -> None:
    """PS3.4 Tables C.4-1 to C.4-3; one that no table knows is a failure."""
    assert finality(status) is expected
    assert words in query_status_name(status)


def test_the_models_are_those_of_the_standard() -> None:
    """UIDs as pynetdicom has them, and each hierarchy from its top."""
    from pynetdicom import sop_class  # noqa: PLC0415

    for model, word in (
        (PATIENT_ROOT, "PatientRoot"),
        (STUDY_ROOT, "StudyRoot"),
        (PATIENT_STUDY_ONLY, "PatientStudyOnly"),
    ):
        for operation in ("Find", "Move", "Get"):
            uid = getattr(sop_class, f"{word}QueryRetrieveInformationModel{operation}")
            assert getattr(model, operation.lower()) == uid
    assert sop_class.ModalityWorklistInformationFind == MODALITY_WORKLIST.find
    assert STUDY_ROOT.levels == (Level.STUDY, Level.SERIES, Level.IMAGE)
    assert PATIENT_ROOT.levels_down_to(Level.SERIES) == (Level.PATIENT, Level.STUDY, Level.SERIES)

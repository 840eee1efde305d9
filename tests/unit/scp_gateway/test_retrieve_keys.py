"""What an identifier of a C-MOVE or C-GET asks for, and what it is refused for."""

from __future__ import annotations

import struct

import pytest
from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import PATIENT_ROOT, STUDY_ROOT, Level, QueryModel
from dicomrelay.dimse.identifier import encode_identifier
from scp_gateway.retrieve.keys import MAX_UIDS, Keys, RetrieveRefused, model_of, read_keys

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


def read(model: QueryModel, *, relational: bool = False, syntax: str = EXPLICIT, **keys: object) -> Keys:
    identifier = Dataset()
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return read_keys(model, encode_identifier(identifier, syntax), syntax, relational=relational)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_each_level_of_each_model(syntax: str) -> None:
    """Unique keys from the top to the level; a list at the level only."""
    one = {"syntax": syntax, "StudyInstanceUID": "1.2"}
    assert read(STUDY_ROOT, QueryRetrieveLevel="STUDY", **one) == Keys(Level.STUDY, study_uids=("1.2",))
    assert read(
        STUDY_ROOT, syntax=syntax, QueryRetrieveLevel="STUDY", StudyInstanceUID=["1.2", "1.3", "1.2"]
    ) == Keys(Level.STUDY, study_uids=("1.2", "1.3"))
    assert read(STUDY_ROOT, QueryRetrieveLevel="SERIES", SeriesInstanceUID=["1.2.1", "1.2.2"], **one) == Keys(
        Level.SERIES, study_uids=("1.2",), series_uids=("1.2.1", "1.2.2")
    )
    assert read(
        PATIENT_ROOT, QueryRetrieveLevel="IMAGE", PatientID=" P1 ", SeriesInstanceUID="1.2.1", SOPInstanceUID="1.2.1.1", **one
    ) == Keys(Level.IMAGE, "P1", ("1.2",), ("1.2.1",), ("1.2.1.1",))  # fmt: skip
    assert read(PATIENT_ROOT, syntax=syntax, QueryRetrieveLevel="patient", PatientID="P 1") == Keys(
        Level.PATIENT, "P 1"
    )


def test_what_is_below_the_level_is_passed_over() -> None:
    """The level says what is retrieved."""
    found = read(
        STUDY_ROOT,
        QueryRetrieveLevel="STUDY",
        StudyInstanceUID="1.2",
        SeriesInstanceUID="1.2.1",
        Modality="CT",
    )
    assert found == Keys(Level.STUDY, study_uids=("1.2",))


def test_levels_above_may_miss_where_that_is_allowed() -> None:
    """Relational retrieval; the level's own key never."""
    found = read(PATIENT_ROOT, relational=True, QueryRetrieveLevel="SERIES", SeriesInstanceUID="1.2.1")
    assert found == Keys(Level.SERIES, series_uids=("1.2.1",))
    with pytest.raises(RetrieveRefused, match="SeriesInstanceUID is missing"):
        read(PATIENT_ROOT, relational=True, QueryRetrieveLevel="SERIES", PatientID="P1")


@pytest.mark.parametrize(
    ("model", "keys", "tag", "words"),
    [
        (STUDY_ROOT, {"StudyInstanceUID": "1.2"}, 0x00080052, "QueryRetrieveLevel is missing"),
        (STUDY_ROOT, {"QueryRetrieveLevel": ""}, 0x00080052, "QueryRetrieveLevel is missing"),
        (STUDY_ROOT, {"QueryRetrieveLevel": "FRAME"}, 0x00080052, "none there is"),
        (STUDY_ROOT, {"QueryRetrieveLevel": ["STUDY", "SERIES"]}, 0x00080052, "none there is"),
        (STUDY_ROOT, {"QueryRetrieveLevel": "PATIENT", "PatientID": "P"}, 0x00080052, "not of this model"),
        (STUDY_ROOT, {"QueryRetrieveLevel": "STUDY"}, 0x0020000D, "StudyInstanceUID is missing"),
        (STUDY_ROOT, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}, 0x0020000D, "is missing"),
        (STUDY_ROOT, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2*"}, 0x0020000D, "no UID"),
        (STUDY_ROOT, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ["1.2", "x"]}, 0x0020000D, "no UID"),
        (
            STUDY_ROOT,
            {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": "1.2.1"},
            0x0020000D,
            "is missing",
        ),
        (STUDY_ROOT, {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "1.2"}, 0x0020000E, "is missing"),
        (
            STUDY_ROOT,
            {
                "QueryRetrieveLevel": "SERIES",
                "StudyInstanceUID": ["1.2", "1.3"],
                "SeriesInstanceUID": "1.2.1",
            },
            0x0020000D,
            "not a list",
        ),
        (PATIENT_ROOT, {"QueryRetrieveLevel": "PATIENT"}, 0x00100020, "PatientID is missing"),
        (PATIENT_ROOT, {"QueryRetrieveLevel": "PATIENT", "PatientID": "*"}, 0x00100020, "without wildcards"),
        (PATIENT_ROOT, {"QueryRetrieveLevel": "PATIENT", "PatientID": ["A", "B"]}, 0x00100020, "one patient"),
        (PATIENT_ROOT, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2"}, 0x00100020, "is missing"),
        (
            STUDY_ROOT,
            {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": [f"1.{n}" for n in range(MAX_UIDS + 1)]},
            0x0020000D,
            "at once at most",
        ),
    ],
)
def test_a_key_that_is_wrong_is_named(
    model: QueryModel, keys: dict[str, object], tag: int, words: str
) -> None:
    """A900, the element, and words that fit into Error Comment and quote nothing."""
    with pytest.raises(RetrieveRefused, match=words) as refused:
        read(model, syntax=IMPLICIT, **keys)
    assert (refused.value.status, refused.value.offending) == (0xA900, (tag,))
    assert len(str(refused.value)) <= 64


@pytest.mark.parametrize("raw", [b"", b"\x08\x00\x52\x00CS\x06\x00STU", b"\x08\x00"])
def test_what_is_no_identifier(raw: bytes) -> None:
    """Missing, cut off, or no data set."""
    with pytest.raises(RetrieveRefused) as refused:
        read_keys(STUDY_ROOT, raw, EXPLICIT)
    assert refused.value.status == 0xC000


def test_a_key_of_another_vr_is_named() -> None:
    """A sequence has no value that could be a UID; and what is below the level is looked at too."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    sequence = struct.pack("<HH2sHI", 0x0020, 0x000D, b"SQ", 0, len(item)) + item
    raw = struct.pack("<HH2sH", 0x0008, 0x0052, b"CS", 6) + b"STUDY " + sequence
    with pytest.raises(RetrieveRefused, match=r"StudyInstanceUID \(0020,000D\): not its VR") as refused:
        read_keys(STUDY_ROOT, raw, EXPLICIT)
    assert (refused.value.status, refused.value.offending) == (0xA900, (0x0020000D,))


def test_too_many_elements() -> None:
    """C000, and said so."""
    raw = b"".join(struct.pack("<HH2sH", 9, number, b"LO", 0) for number in range(0x10, 6000))
    with pytest.raises(RetrieveRefused, match="more than 5000 elements") as refused:
        read_keys(STUDY_ROOT, raw, EXPLICIT)
    assert refused.value.status == 0xC000


def test_models_by_their_operations() -> None:
    """C-FIND's SOP class is none of a retrieve."""
    assert model_of(STUDY_ROOT.move) is STUDY_ROOT
    assert model_of(PATIENT_ROOT.get) is PATIENT_ROOT
    assert model_of(STUDY_ROOT.find) is None

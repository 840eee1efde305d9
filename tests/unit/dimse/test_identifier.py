"""Identifiers: keys to data sets, data sets to bytes, and back (PS3.4 Annex C)."""

from __future__ import annotations

import contextlib
import struct
import warnings
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom.dsutils import decode as decode_independently

from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dimse.identifier import MAX_DEPTH, decode_identifier, encode_identifier, failed_instances
from dicomrelay.dimse.identifier_buffer import IdentifierBuffer, TooLarge
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.errors import ConfigurationError, MalformedDataSet

BOTH = pytest.mark.parametrize("syntax", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN])


def _identifier(*keys: str) -> Dataset:
    return build_identifier(parse_key(key) for key in keys)


@BOTH
def test_keys_reach_an_independent_reader(syntax: str) -> None:
    """Keywords, tags, sequences, lists, ranges and wildcards, each as its VR wants it."""
    sent = _identifier(
        "PatientName=M*LLER^?",
        "(0008,0060)=CT",
        "00200013=7",
        "StudyDate=20260101-20261231",
        "StudyInstanceUID=1.2\\1.3",
        "ScheduledProcedureStepSequence[0].Modality=MR",
        "ScheduledProcedureStepSequence.ScheduledStationAETitle",
        "Rows=512",
        "AccessionNumber",
    )
    raw = encode_identifier(sent, syntax)
    found = decode_independently(BytesIO(raw), syntax == IMPLICIT_VR_LITTLE_ENDIAN, True)
    assert str(found.PatientName) == "M*LLER^?"
    assert (found.Modality, found.InstanceNumber, found.Rows) == ("CT", 7, 512)
    assert found.StudyDate == "20260101-20261231"
    assert list(found.StudyInstanceUID) == ["1.2", "1.3"]
    assert len(found.ScheduledProcedureStepSequence) == 1
    step = found.ScheduledProcedureStepSequence[0]
    assert (step.Modality, step.ScheduledStationAETitle) == ("MR", "")
    assert found["AccessionNumber"].is_empty
    assert [element.tag for element in found] == sorted(element.tag for element in found)


@pytest.mark.parametrize(
    "charset", ["", "ISO_IR 192", "ISO_IR 100", "\\ISO 2022 IR 87", "ISO_IR 144", "GB18030"]
)
@BOTH
def test_characters_survive_in_every_set(charset: str, syntax: str) -> None:
    """Both ways; with none named, UTF-8 is, as soon as there is something beyond ASCII."""
    name = {"\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎", "ISO_IR 144": "Люк^Иван", "GB18030": "王^小东"}
    text = name.get(charset, "Müller^Jörg")
    keys = [f"SpecificCharacterSet={charset}"] if charset else []
    sent = _identifier(*keys, f"PatientName={text}")
    assert "SpecificCharacterSet" in sent
    found = decode_identifier(encode_identifier(sent, syntax), syntax)
    assert str(found.PatientName) == text


def test_ascii_names_no_character_set() -> None:
    """Old peers trip over (0008,0005)."""
    assert "SpecificCharacterSet" not in _identifier("PatientName=MUELLER*")


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 999"])
def test_text_that_does_not_fit_its_set_is_not_sent_as_question_marks(charset: str) -> None:
    """It would match other patients."""
    with pytest.raises(ConfigurationError, match=charset):
        encode_identifier(
            _identifier(f"SpecificCharacterSet={charset}", "PatientName=山田*"), EXPLICIT_VR_LITTLE_ENDIAN
        )


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("PatientNam=X", "no keyword"),
        ("", "no keyword|write a keyword"),
        ("PatientID[0].Modality=CT", "no sequence"),
        ("PatientID.Modality=CT", "no sequence"),
        ("ScheduledProcedureStepSequence[x].Modality", "write a keyword"),
        ("ScheduledProcedureStepSequence[0]..Modality", "write a keyword"),
        ("0000,0100=1", "cannot be in an identifier"),
        ("0002,0010=1", "cannot be in an identifier"),
        ("FFFE,E000", "cannot be in an identifier"),
        (".".join(["ContentSequence"] * (MAX_DEPTH + 1)), "more than"),
        ("PatientID=" + "x" * 16_385, "characters"),
    ],
)
def test_a_key_that_is_none_is_named(key: str, words: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigurationError, match=words):
        parse_key(key)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("Rows=many", "no number"),
        ("InstanceNumber=1*", "no number"),
        ("PixelData=1", "bytes"),
        ("ScheduledProcedureStepSequence=1", "no value"),
        ("ScheduledProcedureStepSequence[0]=1", "no value"),
        ("ScheduledProcedureStepSequence[1].Modality", "item 0"),
    ],
)
def test_a_value_that_cannot_be_is_refused_without_being_quoted(key: str, words: str) -> None:
    """Values are patients' matters."""
    with pytest.raises(ConfigurationError, match=words):
        _identifier(key)
    with pytest.raises(ConfigurationError) as caught:
        _identifier("Rows=SECRET^NAME")
    assert "SECRET" not in str(caught.value)


def test_the_later_key_wins() -> None:
    """So an option overrides what is asked for by default."""
    assert _identifier("PatientID", "PatientID=7").PatientID == "7"
    assert (
        len(
            _identifier(
                "ScheduledProcedureStepSequence[0].Modality=CT", "ScheduledProcedureStepSequence"
            ).ScheduledProcedureStepSequence
        )
        == 1
    )


def test_a_buffer_keeps_no_byte_over_its_limit() -> None:
    """However the bytes are cut."""
    buffer = IdentifierBuffer(10)
    buffer.add([b"12345", memoryview(b"67890")])
    with pytest.raises(TooLarge):
        buffer.add([b"x"])
    assert buffer.take() == b"1234567890"
    buffer.add([b"again"])
    assert buffer.take() == b"again"


def test_sequences_that_nest_too_deep_are_refused() -> None:
    """A thousand levels would exhaust the stack, and a hundred mean nothing."""
    for depth in (MAX_DEPTH + 1, 100, 20_000):
        raw = struct.pack("<HHI", 0x0040, 0xA730, 0xFFFFFFFF) + struct.pack(
            "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
        )
        with pytest.raises(MalformedDataSet):
            decode_identifier(raw * depth, IMPLICIT_VR_LITTLE_ENDIAN)
    deep = Dataset()
    deep.PatientID = "X"
    for _ in range(MAX_DEPTH):
        outer = Dataset()
        outer.ContentSequence = Sequence([deep])
        deep = outer
    raw = encode_identifier(deep, EXPLICIT_VR_LITTLE_ENDIAN)
    assert decode_identifier(raw, EXPLICIT_VR_LITTLE_ENDIAN) == deep


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN]))
def test_any_bytes_are_an_identifier_or_one_error(raw: bytes, syntax: str) -> None:
    """No other exception, and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(MalformedDataSet):
            assert isinstance(decode_identifier(raw, syntax), Dataset)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8))
def test_a_damaged_answer_is_an_identifier_or_one_error(changes: list[tuple[int, int]]) -> None:
    """Bytes changed in a real one: values that no longer fit their VR among them."""
    raw = bytearray(
        encode_identifier(
            _identifier(
                "PatientName=A^B",
                "StudyDate=20260101",
                "InstanceNumber=3",
                "Rows=5",
                "PatientSize=1.5",
                "OtherPatientIDsSequence[0].PatientID=X",
                "StudyInstanceUID=1.2.3",
                "AccessionNumber=7",
            ),
            EXPLICIT_VR_LITTLE_ENDIAN,
        )
    )
    for place, value in changes:
        raw[place % len(raw)] = value
    with contextlib.suppress(MalformedDataSet):
        decode_identifier(bytes(raw), EXPLICIT_VR_LITTLE_ENDIAN)


def test_the_list_of_failures_holds_uids_only() -> None:
    """One, many, none; what is no UID is left out."""
    final = Dataset()
    assert failed_instances(final) == []
    final.FailedSOPInstanceUIDList = "1.2.3"
    assert failed_instances(final) == ["1.2.3"]
    final.FailedSOPInstanceUIDList = ["1.2.3", "../../x", "1.2.4"]
    assert failed_instances(final) == ["1.2.3", "1.2.4"]

"""The bytes of an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dimse.flat_identifier import encode_elements
from dicomrelay.dimse.identifier import decode_identifier, encode_identifier
from dicomrelay.errors import LocalProtocolError

_PRINTABLE = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="\\"), max_size=64
)


@pytest.mark.parametrize("syntax", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN])
@given(name=_PRINTABLE, identity=_PRINTABLE, uid=st.from_regex(r"[1-9](\.[1-9]){0,30}", fullmatch=True))
def test_the_bytes_are_those_that_pydicom_writes(syntax: str, name: str, identity: str, uid: str) -> None:
    """Order, lengths and padding, in both transfer syntaxes of an identifier."""
    data_set = Dataset()
    data_set.StudyInstanceUID, data_set.PatientID, data_set.StudyDescription = uid, identity, name
    data_set.NumberOfStudyRelatedInstances, data_set.Rows = 17, 512
    elements = [
        (0x00280010, "US", (512).to_bytes(2, "little")),
        (0x0020000D, "UI", uid.encode()),
        (0x00081030, "LO", name.encode()),
        (0x00100020, "LO", identity.encode()),
        (0x00201208, "IS", b"17"),
    ]
    made = encode_elements(elements, implicit=syntax == IMPLICIT_VR_LITTLE_ENDIAN)
    assert made == encode_identifier(data_set, syntax)


def test_a_long_vr_has_a_long_length() -> None:
    """PS3.5 Table 7.1-1: more than 65,534 bytes, and reserved bytes before the length."""
    made = encode_elements([(0x0040A160, "UT", b"x" * 70_001)], implicit=False)
    assert len(decode_identifier(made, EXPLICIT_VR_LITTLE_ENDIAN).TextValue) == 70_001


def test_what_a_short_vr_cannot_hold_is_an_error() -> None:
    """Never a length that lies."""
    with pytest.raises(LocalProtocolError):
        encode_elements([(0x00081030, "LO", b"x" * 65_536)], implicit=False)

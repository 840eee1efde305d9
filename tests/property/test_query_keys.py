"""Whatever a peer puts into an identifier, it is answered, and with a status of the standard."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dicomrelay.dicom.query_models import PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT
from dicomrelay.dimse.flat_identifier import encode_elements
from dicomrelay.dimse.identifier import decode_identifier
from dicomrelay.dimse.messages import CFindRequest
from dicomrelay.net.service import RequestedOperation
from dicomrelay.settings import QuerySettings
from scp_gateway.query.find import FindService
from scp_gateway.query.question import Agreed
from tests.unit.scp_gateway.query.test_find import PEER, MemoryArchive
from tests.unit.scp_gateway.query.test_keys import ATTRIBUTES

EXPLICIT = "1.2.840.10008.1.2.1"
_KNOWN = sorted((each.tag, each.vr) for each in ATTRIBUTES.values())
_OTHERS = [
    (0x00080005, "CS"), (0x00080052, "CS"), (0x00080054, "AE"), (0x00080056, "CS"), (0x00080061, "CS"),
    (0x00080062, "UI"), (0x00081032, "SQ"), (0x00101010, "AS"), (0x00101030, "DS"), (0x00090010, "LO"), (0x00201208, "IS"),
    (0x0040A730, "SQ"), (0x7FE00010, "OB"),
]  # fmt: skip
_VALUES = st.one_of(
    st.sampled_from(
        [b"", b"*", b"STUDY", b"IMAGE", b"SERIES", b"PATIENT", b"20260101-20260131", b"-", b"1.2.3\\1.2.4", b"CT\\MR",
         b"ISO_IR 100", b"ISO_IR 192", b"\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B", b"M\xdcLLER^*", b"1015", b"07"]
    ),
    st.binary(max_size=40),
)  # fmt: skip
_ELEMENTS = st.dictionaries(st.sampled_from(_KNOWN + _OTHERS), _VALUES, max_size=8)
_STATUSES = {0, 0xA700, 0xA900, 0xC000}


def _ask(raw: bytes, model: str, agreed: Agreed) -> None:
    operation = RequestedOperation(CFindRequest(7, model), 1, raw, EXPLICIT)
    service = FindService(QuerySettings(), "OURS", MemoryArchive(3))
    answers = [each for each in service.serve(PEER, operation, agreed) if each is not None]
    *pending, last = answers
    assert last.response.status in _STATUSES
    assert last.identifier is None
    for each in pending:
        assert each.response.status in (0xFF00, 0xFF01)
        assert each.identifier is not None
        decode_identifier(each.identifier, EXPLICIT)


@settings(max_examples=300, deadline=None)
@given(
    _ELEMENTS,
    st.sampled_from([PATIENT_ROOT.find, STUDY_ROOT.find, PATIENT_STUDY_ONLY.find]),
    st.builds(Agreed, st.booleans(), st.booleans(), st.booleans()),
)
def test_any_elements_are_answered(
    elements: dict[tuple[int, str], bytes], model: str, agreed: Agreed
) -> None:
    """Values that no VR allows, character sets that are none, sequences of garbage."""
    raw = encode_elements([(tag, vr, value) for (tag, vr), value in elements.items()], implicit=False)
    _ask(raw, model, agreed)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_answered(raw: bytes) -> None:
    """C000 mostly."""
    _ask(raw, STUDY_ROOT.find, Agreed())

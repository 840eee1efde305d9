"""De-identification against any data set: the same again, nothing left, and never anything but a refusal."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicomrelay.edits.files import edit
from dicomrelay.edits.reading import TreeLimits, TreeReader
from dicomrelay.edits.writing import pieces_of, write
from dicomrelay.errors import NotEditable
from tests.support.data_sets import BIG_ENDIAN, EXPLICIT, IMPLICIT
from tests.support.edits import SECRETS, basic, decoded, edited, elements_of, encoded, person

SYNTAXES = st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN])
OPTIONS = st.sets(
    st.sampled_from(
        ["modified_dates", "clean_structured_content", "clean_descriptors", "retain_patient_characteristics"]
    )
)
# What a data set says of a patient may stand in any of these.
KEYWORDS = st.sampled_from(
    [
        *(
            "PatientComments",
            "OtherPatientNames",
            "PatientBirthName",
            "AdditionalPatientHistory",
            "OperatorsName",
        ),
        *(
            "PerformingPhysicianName",
            "RequestingPhysician",
            "PatientAddress",
            "StationName",
            "DeviceSerialNumber",
        ),
        *("SeriesDescription", "ImageComments", "DerivationDescription", "RequestedProcedureDescription"),
    ]
)
SEQUENCES = st.sampled_from(
    [
        *(
            "ReferencedSeriesSequence",
            "RequestAttributesSequence",
            "ContentSequence",
            "AcquisitionContextSequence",
        ),
        *("DerivationCodeSequence", "SharedFunctionalGroupsSequence", "OriginalAttributesSequence"),
        "ReferencedPerformedProcedureStepSequence",
    ]
)
VALUES = st.sampled_from(["Mustermann", "Erika M.", "PAT-4711", "Klinikum"])


@st.composite
def items(draw: st.DrawFn, depth: int = 0) -> Dataset:
    """An item that names the patient somewhere."""
    made = Dataset()
    for keyword in draw(st.sets(KEYWORDS, max_size=4)):
        setattr(made, keyword, draw(VALUES))
    if draw(st.booleans()):
        made.ReferencedSOPInstanceUID = f"1.2.826.0.1.11.{draw(st.integers(100, 110))}"
    if draw(st.booleans()):
        made.StudyDate, made.DateTime = "19640812", "19640812101010.5+0100"
    if draw(st.booleans()):
        made.private_block(0x0029, "ACME", create=True).add_new(1, "LO", "Mustermann")
    if depth < 2:
        for keyword in draw(st.sets(SEQUENCES, max_size=2)):
            setattr(made, keyword, Sequence(draw(st.lists(items(depth + 1), max_size=2))))
            made[keyword].is_undefined_length = draw(st.booleans())
    return made


@st.composite
def people(draw: st.DrawFn) -> Dataset:
    """A whole data set."""
    made = person()
    made.update(draw(items()))
    return made


@settings(max_examples=30, deadline=None)
@given(people(), SYNTAXES, OPTIONS)
def test_nothing_is_left_and_again_changes_nothing(data_set: Dataset, syntax: str, options: set[str]) -> None:
    """The same input gives the same bytes; a copy that comes by again is left as it is."""
    data = encoded(data_set, syntax)
    profile = basic(*options)
    once, made = edited(data, syntax, profile)
    assert made.changes
    assert edited(data, syntax, profile, at_ms=1)[0] == once
    for secret in SECRETS:
        assert secret.encode() not in once, secret
    assert decoded(once, syntax).PixelData == data_set.PixelData
    again, left = edited(once, syntax, profile)
    assert not left.changes
    assert again == once


@settings(max_examples=30, deadline=None)
@given(people(), SYNTAXES)
def test_what_is_read_and_written_is_the_same_data_set(data_set: Dataset, syntax: str) -> None:
    """Element by element, by pydicom's eyes."""
    data = encoded(data_set, syntax)
    source, out = io.BytesIO(data), io.BytesIO()
    tree = TreeReader(source, begin=0, end=len(data), syntax=elements_of(syntax), limits=TreeLimits()).read()
    write(pieces_of(tree, elements_of(syntax)), source, out)
    assert decoded(out.getvalue(), syntax) == decoded(data, syntax)


@settings(max_examples=30, deadline=None)
@given(people(), SYNTAXES, st.integers(0, 1 << 20), st.binary(min_size=1, max_size=4), st.booleans())
def test_damage_is_refused_or_harmless(
    data_set: Dataset, syntax: str, at: int, bytes_: bytes, cut: bool
) -> None:
    """Nothing else is raised, and what comes out is a data set that names nobody."""
    data = encoded(data_set, syntax)
    position = at % len(data)
    broken = data[:position] + (b"" if cut else bytes_ + data[position + len(bytes_) :])
    assert _names_nobody(_message_of(broken, syntax).encode())


def _message_of(data: bytes, syntax: str) -> str:
    """Why a data set is refused; "" of one that becomes a copy that can be read again."""
    limits = TreeLimits(max_elements=10_000, max_depth=8, max_bytes=1 << 20)
    out, elements = io.BytesIO(), elements_of(syntax)
    try:
        edit(
            [basic()], io.BytesIO(data), out, begin=0, end=len(data), syntax=elements, at_ms=0, limits=limits
        )
    except NotEditable as error:
        return str(error)
    made = out.getvalue()
    TreeReader(io.BytesIO(made), begin=0, end=len(made), syntax=elements, limits=limits).read()
    return ""


def _names_nobody(data: bytes) -> bool:
    return not any(secret.encode() in data for secret in SECRETS)

"""Keys beside the index: what is looked up in a stored instance, matched and answered from there. Pure.

Of a study or a series one instance speaks for all. Which attributes these are is a list, and not all there are: a data set
may hold sequences of ten thousand items.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import Level
from dicomrelay.dicom.wildcards import Wildcards
from scp_gateway.query.matching import name_filter
from scp_gateway.query.values import Invalid, normalised

_STUDY: Final = """
    OtherPatientIDs OtherPatientIDsSequence OtherPatientNames PatientBirthTime EthnicGroup PatientComments
    PatientSpeciesDescription PatientAge PatientSize PatientWeight Occupation AdditionalPatientHistory
    AdmittingDiagnosesDescription NameOfPhysiciansReadingStudy PhysiciansOfRecord ProcedureCodeSequence ReferencedStudySequence
    ReasonForPerformedProcedureCodeSequence IssuerOfAccessionNumberSequence
"""
_SERIES: Final = """
    RequestAttributesSequence ProtocolName OperatorsName PerformingPhysicianName InstitutionName InstitutionAddress
    InstitutionalDepartmentName ManufacturerModelName DeviceSerialNumber SoftwareVersions PatientPosition
    PerformedProcedureStepID PerformedProcedureStepDescription PerformedProtocolCodeSequence
    ReferencedPerformedProcedureStepSequence SeriesDescriptionCodeSequence AnatomicRegionSequence FrameOfReferenceUID
"""
_IMAGE: Final = """
    ImageType AcquisitionNumber AcquisitionDate AcquisitionTime AcquisitionDateTime InstanceCreationDate InstanceCreationTime
    ImageComments SliceLocation SliceThickness ImagePositionPatient ImageOrientationPatient PixelSpacing SamplesPerPixel
    PhotometricInterpretation BitsStored WindowCenter WindowWidth ContentLabel ContentDescription ContentCreatorName
    PresentationCreationDate PresentationCreationTime ConceptNameCodeSequence CompletionFlag VerificationFlag DocumentTitle
    ReferencedRequestSequence ViewPosition ImageLaterality
"""
_DEPTH: Final = {level: depth for depth, level in enumerate(Level)}
LEVELS: Final = {
    tag: level
    for level, words in ((Level.STUDY, _STUDY), (Level.SERIES, _SERIES), (Level.IMAGE, _IMAGE))
    for word in words.split()
    if (tag := tag_for_keyword(word)) is not None
}
_RANGED: Final = frozenset({"DA", "TM", "DT"})
_NUMBERS: Final = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
_TEXTS: Final = frozenset({"AE", "AS", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"})


def is_beside(tag: int, level: Level) -> bool:
    """Whether an attribute is looked up for who asks at that level."""
    found = LEVELS.get(tag)
    return found is not None and _DEPTH[found] <= _DEPTH[level]


def check(key: DataElement) -> None:
    """Raise Invalid when the value of a key, or of one in its items, cannot be one of its attribute."""
    if key.VR == "SQ":
        if len(key.value) > 1:
            raise Invalid("a sequence is matched by one item")
        for item in key.value:
            for each in item:
                check(each)
    elif key.VR in {"DA", "TM", "UI"} and _text(key).strip("*"):
        normalised(key.VR, _text(key))


def matches(keys: Iterable[DataElement], found: Dataset | None) -> bool:
    """Whether every key that has a value matches; what cannot be read has none of the attributes."""
    return all(_matches(key, None if found is None else found.get(key.tag)) for key in keys)


def _matches(key: DataElement, found: Any) -> bool:
    if key.VR == "SQ":
        item = key.value[0] if key.value else None
        if item is None or not any(_asks(each) for each in item):
            return True  # universal matching (PS3.4 Section C.2.2.2.3)
        return found is not None and any(matches(item, each) for each in found.value)
    if not _asks(key):
        return True
    if found is None:
        return False
    values = [value for value in _values(found) if value]
    return any(_matches_one(key, value) for value in values)


def _asks(key: DataElement) -> bool:
    if key.VR == "SQ":
        return any(_asks(each) for item in key.value for each in item)
    return bool(_text(key).strip("*"))


def _matches_one(key: DataElement, value: str) -> bool:
    asked = _text(key)
    if key.VR == "PN":
        return name_filter("", asked)({"": value})
    if key.VR in _RANGED:
        return _in_range(asked if key.VR == "DT" else normalised(key.VR, asked), value)
    if key.VR == "UI":
        return value in asked.split("\\")
    if key.VR in _NUMBERS:
        return _number(asked) is not None and _number(asked) == _number(value)
    if key.VR in _TEXTS:
        return any(Wildcards(pattern).matches(value) for pattern in asked.split("\\"))
    return True  # bytes are not matched


def _in_range(asked: str, value: str) -> bool:
    """An end takes all that begins with it."""
    first, dash, last = asked.partition("-")
    if not dash:
        return value.startswith(first)
    return (not first or value >= first) and (not last or value[: len(last)] <= last)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def answered(keys: Iterable[DataElement], found: Dataset | None) -> Dataset:
    """What is answered to these keys: a sequence with those of its items that match, reduced to what was asked for.

    A key without value has the whole of it; what is not there is empty.
    """
    answer = Dataset()
    for key in keys:
        element = None if found is None else found.get(key.tag)
        if key.VR != "SQ":
            answer[key.tag] = element if element is not None else DataElement(key.tag, key.VR, None)
            continue
        items = [] if element is None or element.VR != "SQ" else list(element.value)
        wanted = list(key.value[0]) if key.value else []
        if wanted:
            items = [answered(wanted, item) for item in items if matches(wanted, item)]
        answer[key.tag] = DataElement(key.tag, "SQ", items)
    return answer


def _values(element: DataElement) -> list[str]:
    value: Any = element.value
    if value is None:
        return []
    many = isinstance(value, list | tuple) or hasattr(value, "append")
    return [str(each).strip(" \0") for each in (value if many else [value])]


def _text(element: DataElement) -> str:
    return "\\".join(_values(element))

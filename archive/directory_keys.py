"""Which record a SOP class has in a DICOMDIR, and what that must say (PS3.3 Sections F.4 and F.5), as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PATIENT, STUDY, SERIES, IMAGE, PRIVATE = "PATIENT", "STUDY", "SERIES", "IMAGE", "PRIVATE"
# Behind 1.2.840.10008.5.1.4.; the longest root that fits a SOP class wins.
_TYPES: Final = {
    "RT DOSE": "1.1.481.2",
    "RT STRUCTURE SET": "1.1.481.3",
    "RT PLAN": "1.1.481.5 1.1.481.8",
    "RT TREAT RECORD": "1.1.481.4 1.1.481.6 1.1.481.7 1.1.481.9",
    "RADIOTHERAPY": "1.1.481",
    "IMAGE": "1.1.481.1 1.1.481.23 1.1.481.24",
    "PLAN": "34.7 34.10",
    "PRESENTATION": "1.1.11 1.1.131",
    "WAVEFORM": "1.1.9",
    "SR DOCUMENT": "1.1.88 1.1.78.6 1.1.79",
    "KEY OBJECT DOC": "1.1.88.59",
    "SPECTROSCOPY": "1.1.4.2",
    "RAW DATA": "1.1.66",
    "REGISTRATION": "1.1.66.1 1.1.66.3",
    "FIDUCIAL": "1.1.66.2",
    "SURFACE": "1.1.66.5",
    "TRACT": "1.1.66.6",
    "VALUE MAP": "1.1.67",
    "SURFACE SCAN": "1.1.68",
    "STEREOMETRIC": "1.1.77.1.5.3",
    "MEASUREMENT": "1.1.78 1.1.80",
    "ENCAP DOC": "1.1.104",
    "ASSESSMENT": "1.1.90",
    "HANGING PROTOCOL": "38",
    "PALETTE": "39",
    "IMPLANT": "43",
    "IMPLANT ASSY": "44",
    "IMPLANT GROUP": "45",
}
_BY_ROOT: Final = {
    f"1.2.840.10008.5.1.4.{root}": record_type
    for record_type, roots in _TYPES.items()
    for root in roots.split()
}
# Segmentations, label and height maps: under the root of raw data, and images.
_BY_ROOT.update({f"1.2.840.10008.5.1.4.1.1.66.{number}": IMAGE for number in (4, 7, 8)})
# Without a patient: records of the root directory entity.
AT_ROOT: Final = frozenset({"HANGING PROTOCOL", "PALETTE", "IMPLANT", "IMPLANT ASSY", "IMPLANT GROUP"})


@dataclass(frozen=True, slots=True)
class Keys:
    """Keywords of a record: those that must have a value, those that may be empty, those that are there if known."""

    required: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


_NUMBERED: Final = ("InstanceNumber",)
_CONTENT: Final = ("InstanceNumber", "ContentDate", "ContentTime")
_IDENTIFIED: Final = Keys((*_CONTENT, "ContentLabel"), ("ContentDescription", "ContentCreatorName"))
KEYS: Final = {
    PATIENT: Keys(("PatientID",), ("PatientName",), ("IssuerOfPatientID", "PatientBirthDate", "PatientSex")),
    STUDY: Keys(
        ("StudyDate", "StudyTime", "StudyInstanceUID", "StudyID"), ("StudyDescription", "AccessionNumber")
    ),
    SERIES: Keys(
        ("Modality", "SeriesInstanceUID", "SeriesNumber"),
        (),
        ("SeriesDescription", "BodyPartExamined", "Laterality", "InstitutionName"),
    ),
    IMAGE: Keys(_NUMBERED, (), ("ImageType", "NumberOfFrames", "Rows", "Columns")),
    "RT DOSE": Keys((*_NUMBERED, "DoseSummationType")),
    "RT STRUCTURE SET": Keys((*_NUMBERED, "StructureSetLabel"), ("StructureSetDate", "StructureSetTime")),
    "RT PLAN": Keys((*_NUMBERED, "RTPlanLabel"), ("RTPlanDate", "RTPlanTime")),
    "RT TREAT RECORD": Keys(_NUMBERED, ("TreatmentDate", "TreatmentTime")),
    "RADIOTHERAPY": Keys(
        _NUMBERED,
        ("ContentDescription", "ContentCreatorName"),
        ("UserContentLabel", "UserContentLongLabel"),
    ),
    "PLAN": Keys(),
    "PRESENTATION": Keys(
        (*_NUMBERED, "PresentationCreationDate", "PresentationCreationTime", "ContentLabel"),
        ("ContentDescription", "ContentCreatorName"),
        ("ReferencedSeriesSequence", "BlendingSequence"),
    ),
    "WAVEFORM": Keys(_CONTENT),
    "SR DOCUMENT": Keys(
        (*_CONTENT, "CompletionFlag", "VerificationFlag", "ConceptNameCodeSequence"),
        (),
        ("VerificationDateTime", "ContentSequence"),
    ),
    "KEY OBJECT DOC": Keys((*_CONTENT, "ConceptNameCodeSequence"), (), ("ContentSequence",)),
    "SPECTROSCOPY": Keys(
        (*_CONTENT, "ImageType", "NumberOfFrames", "Rows", "Columns", "DataPointRows", "DataPointColumns"),
        (),
        ("ReferencedImageEvidenceSequence",),
    ),
    "RAW DATA": Keys(_CONTENT),
    "REGISTRATION": _IDENTIFIED,
    "FIDUCIAL": _IDENTIFIED,
    "SURFACE": _IDENTIFIED,
    "TRACT": _IDENTIFIED,
    "VALUE MAP": _IDENTIFIED,
    "MEASUREMENT": _IDENTIFIED,
    "SURFACE SCAN": Keys(("ContentDate", "ContentTime")),
    "STEREOMETRIC": Keys(),
    "ENCAP DOC": Keys(
        (*_NUMBERED, "MIMETypeOfEncapsulatedDocument"),
        ("ContentDate", "ContentTime", "DocumentTitle", "ConceptNameCodeSequence"),
        ("HL7InstanceIdentifier",),
    ),
    "ASSESSMENT": Keys((*_NUMBERED, "InstanceCreationDate"), ("InstanceCreationTime",)),
    "HANGING PROTOCOL": Keys(
        (
            "HangingProtocolName",
            "HangingProtocolDescription",
            "HangingProtocolLevel",
            "HangingProtocolCreator",
            "HangingProtocolCreationDateTime",
            "HangingProtocolDefinitionSequence",
            "NumberOfPriorsReferenced",
        ),
        ("HangingProtocolUserIdentificationCodeSequence",),
    ),
    "PALETTE": Keys(("ContentLabel",), ("ContentDescription",)),
    "IMPLANT": Keys(("Manufacturer", "ImplantName", "ImplantPartNumber"), (), ("ImplantSize",)),
    "IMPLANT ASSY": Keys(("ImplantAssemblyTemplateName", "Manufacturer", "ProcedureTypeCodeSequence")),
    "IMPLANT GROUP": Keys(("ImplantTemplateGroupName", "ImplantTemplateGroupIssuer")),
    PRIVATE: Keys(("PrivateRecordUID",)),
}
# What is made up where a data set has nothing: no reader takes it for a finding. For the rest there is PRIVATE.
MADE_UP: Final = {
    "CompletionFlag": "PARTIAL",
    "VerificationFlag": "UNVERIFIED",
    "ContentLabel": "UNLABELLED",
    "StructureSetLabel": "UNLABELLED",
    "RTPlanLabel": "UNLABELLED",
    "Modality": "OT",
    "DATE": "19000101",
    "TIME": "000000",
}


def record_type(sop_class_uid: str, *, has_image: bool) -> str:
    """The Directory Record Type (0004,1430) of an instance.

    Parameters
    ----------
    has_image : bool
        Its data set has Rows: it is an image, when the SOP class is none that we know.
    """
    root = sop_class_uid
    while root:
        if root in _BY_ROOT:
            return _BY_ROOT[root]
        root = root.rpartition(".")[0]
    return IMAGE if has_image else PRIVATE

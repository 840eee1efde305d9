"""Data sets of people who are nobody, and profiles for them."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from dicomrelay.dicom.elements import ElementSyntax
from dicomrelay.edits.files import Edited, edit
from dicomrelay.edits.keys import Key
from dicomrelay.edits.values import Deidentification, Profile
from tests.support.data_sets import BIG_ENDIAN, CT_IMAGE_STORAGE, IMPLICIT

KEY = Key(b"0123456789abcdef0123456789abcdef")
# What must not be found in a copy.
SECRETS = (
    "Mustermann",
    "Erika",
    "PAT-4711",
    "ACC-0815",
    "STUDY-99",
    "19640812",
    "Referrer",
    "1.2.826.0.1.11",
    "Klinikum",
)


def elements_of(syntax: str) -> ElementSyntax:
    """How elements lie in a plain syntax."""
    return ElementSyntax.of(implicit=syntax == IMPLICIT, little_endian=syntax != BIG_ENDIAN)


def encoded(data_set: Dataset, syntax: str) -> bytes:
    """The bytes of a data set alone."""
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = syntax == IMPLICIT, syntax != BIG_ENDIAN
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_dataset(out, data_set)
    return out.getvalue()


def decoded(data: bytes, syntax: str) -> Dataset:
    """The data set by pydicom, read to its last element."""
    found = read_dataset(io.BytesIO(data), syntax == IMPLICIT, syntax != BIG_ENDIAN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.walk(lambda *_: None)
    return found


def edited(
    data: bytes, syntax: str, *profiles: Profile, at_ms: int = 1_700_000_000_000
) -> tuple[bytes, Edited]:
    """What profiles make of a data set; the bytes that were given when they have nothing to do."""
    out = io.BytesIO()
    found = edit(
        profiles, io.BytesIO(data), out, begin=0, end=len(data), syntax=elements_of(syntax), at_ms=at_ms
    )
    return (out.getvalue() if found.changes else data), found


def basic(*options: str, **other: object) -> Profile:
    """The basic profile with options."""
    what = replace(Deidentification(KEY, options=frozenset(options)), **other)  # type: ignore[arg-type]
    return Profile("research", "0123456789ab", deidentification=what)


def person(sop_class: str = CT_IMAGE_STORAGE) -> Dataset:
    """An instance that says who the patient is wherever that can be said."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.SOPClassUID, made.SOPInstanceUID = sop_class, "1.2.826.0.1.11.1"
    made.StudyDate, made.SeriesDate, made.AcquisitionDate = "20240310", "20240311", "20240312"
    made.StudyTime, made.ContentDate, made.ContentTime = "101112", "20240310", "101500"
    made.AccessionNumber, made.Modality = "ACC-0815", "CT"
    made.InstitutionName = "Klinikum Mustermann"
    made.ReferringPhysicianName = "Referrer^Rudi"
    made.StudyDescription, made.ProtocolName = "CT Mustermann Erika", "Thorax Klinikum"
    made.PatientName, made.PatientID, made.PatientBirthDate = "Mustermann^Erika", "PAT-4711", "19640812"
    made.PatientSex, made.PatientAge = "F", "059Y"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.826.0.1.11.2", "1.2.826.0.1.11.3"
    made.FrameOfReferenceUID, made.StudyID = "1.2.826.0.1.11.4", "STUDY-99"
    made.BurnedInAnnotation, made.Rows, made.Columns = "NO", 4, 4
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, "1.2.826.0.1.11.5"
    request = Dataset()
    request.AccessionNumber, request.RequestedProcedureDescription = "ACC-0815", "for Erika Mustermann"
    request.ReferencedStudySequence = Sequence([reference])
    made.RequestAttributesSequence = Sequence([request])
    made.ReferencedImageSequence = Sequence([reference])
    block = made.private_block(0x0019, "ACME 1", create=True)
    block.add_new(0x01, "LO", "Erika Mustermann")
    block.add_new(0x02, "DS", "1.5")
    block.add_new(0x03, "UI", "1.2.826.0.1.11.6")
    made.add_new(0x00280010, "US", 4)
    made.add_new(0x7FE00010, "OW", bytes(range(32)))
    return made

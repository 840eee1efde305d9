"""Studies that differ in everything a query may ask for, and an archive of ours that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset

from archive import Archive, StoreOutcome
from dicomrelay.dicom.query_models import STUDY_ROOT, QueryModel
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.net.query_retrieve import Find
from dicomrelay.net.requestor import Association, RemoteAe, Timeouts
from dicomrelay.ul.pdu import ExtendedNegotiation
from tests.support.archive import request_for

ROOT = "1.2.826.0.1.3680043.10.7"
CT, MR, US = (f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("2", "4", "6.1"))
EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Series:
    """So many instances of one modality."""

    modality: str
    instances: int
    description: str = ""

    @property
    def sop_class_uid(self) -> str:
        return {"CT": CT, "MR": MR, "US": US}[self.modality]


@dataclass(frozen=True)
class Study:
    """One study; its UIDs come of its number."""

    number: int
    patient_id: str
    name: str
    date: str
    time: str
    accession: str
    description: str
    series: Sequence[Series]
    character_set: Sequence[str] = ("ISO_IR 100",)

    @property
    def uid(self) -> str:
        return f"{ROOT}.{self.number}"


STUDIES = (
    Study(1, "P1", "MÜLLER^JÖRG", "20260102", "101500", "A1", "HEAD", (Series("CT", 3, "AXIAL"), Series("MR", 2))),
    Study(2, "P1", "MÜLLER^JÖRG", "20260215", "070000", "A2", "ABDOMEN", (Series("MR", 1, "T2"),)),
    Study(3, "P2", "SMITH^ANN", "20251231", "235959", "A10", "HEAD AND NECK", (Series("CT", 2, "SCOUT"),)),
    Study(4, "P3", "SMITH^ANNA", "20260102", "080000", "B1", "Head", (Series("US", 1),)),
    Study(5, "P4", "Yamada^Tarou=山田^太郎=やまだ^たろう", "20260301", "120000", "B2", "HEAD",
          (Series("MR", 2, "T1"),), ("", "ISO 2022 IR 87")),
    Study(6, "P5", "smith^bob", "20260102", "235900", "", "", (Series("CT", 1),)),
)  # fmt: skip


def write_studies(folder: Path, studies: Iterable[Study] = STUDIES) -> list[Path]:
    """Their instances as files, written by pydicom."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for study in studies:
        for series_number, series in enumerate(study.series, 1):
            for number in range(1, series.instances + 1):
                path = folder / f"{study.number}.{series_number}.{number}.dcm"
                dcmwrite(path, _instance(study, series, series_number, number), enforce_file_format=True)
                paths.append(path)
    return paths


def _instance(study: Study, series: Series, series_number: int, number: int) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = (
        list(study.character_set) if len(study.character_set) > 1 else study.character_set[0]
    )
    ds.SOPClassUID, ds.SOPInstanceUID = series.sop_class_uid, f"{study.uid}.{series_number}.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study.uid, f"{study.uid}.{series_number}"
    ds.PatientID, ds.PatientName, ds.PatientSex, ds.PatientBirthDate = (
        study.patient_id,
        study.name,
        "O",
        "19700101",
    )
    ds.StudyDate, ds.StudyTime, ds.StudyID = study.date, study.time, str(study.number)
    ds.AccessionNumber, ds.StudyDescription = study.accession, study.description
    ds.Modality, ds.SeriesDescription = series.modality, series.description
    ds.SeriesNumber, ds.InstanceNumber = series_number, number
    request = Dataset()
    request.RequestedProcedureID = f"R{study.number}"
    request.ScheduledProcedureStepID = f"S{study.number}.{series_number}"
    ds.RequestAttributesSequence = [request]
    ds.ProtocolName = "SCHÄDEL" if study.character_set == ("ISO_IR 100",) else "HEAD"
    ds.PatientWeight = "70.5"
    ds.Rows = ds.Columns = 4
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 7, 0, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = bytes([number]) * 16
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT
    return ds


def fill_archive(root: Path, paths: Sequence[Path], *, database_url: str | None = None) -> None:
    """An archive of ours with these files."""
    with closing(Archive.open(root, database_url=database_url)) as archive:
        stored = archive.store([request_for(path) for path in paths])
        assert {each.outcome for each in stored} <= {StoreOutcome.STORED, StoreOutcome.ALREADY_THERE}


@dataclass
class Found:
    """What a C-FIND brought."""

    answers: list[Dataset]
    status: int
    comment: str
    offending: tuple[int, ...]
    ignores_keys: bool
    extended: Mapping[str, bytes] = field(default_factory=dict)

    def values(self, keyword: str) -> list[str]:
        """One attribute of all answers, sorted."""
        return sorted(str(answer.get(keyword, "")) for answer in self.answers)

    @property
    def numbers(self) -> list[int]:
        """The studies of the answers by their numbers, sorted."""
        return sorted(
            int(str(answer.StudyInstanceUID)[len(ROOT) + 1 :].split(".")[0]) for answer in self.answers
        )


def associate(
    remote: RemoteAe,
    model: QueryModel = STUDY_ROOT,
    *,
    extended: bytes | None = None,
    syntaxes: Sequence[str] = IDENTIFIER_TRANSFER_SYNTAXES,
    calling_ae_title: str = "TEST",
    window: int = 1,
) -> Association:
    """An association for C-FIND."""
    return Association.request(
        remote,
        calling_ae_title=calling_ae_title,
        contexts=[(model.find, syntaxes)],
        timeouts=Timeouts(response_s=20),
        extended=[ExtendedNegotiation(model.find, extended)] if extended is not None else [],
        window=window,
    )


def find(
    remote: RemoteAe,
    *keys: str,
    model: QueryModel = STUDY_ROOT,
    extended: bytes | None = None,
    limit: int | None = None,
    syntaxes: Sequence[str] = IDENTIFIER_TRANSFER_SYNTAXES,
    calling_ae_title: str = "TEST",
) -> Found:
    """Ask with keys as they are written on a command line: `PatientName=MÜ*`."""
    identifier = build_identifier([parse_key(key) for key in keys])
    with associate(
        remote, model, extended=extended, syntaxes=syntaxes, calling_ae_title=calling_ae_title
    ) as association:
        return ask(association, identifier, model=model, limit=limit)


def ask(
    association: Association, identifier: Dataset, *, model: QueryModel = STUDY_ROOT, limit: int | None = None
) -> Found:
    """One C-FIND over an open association."""
    asked = Find(association, model, identifier, limit=limit)
    answers = list(asked)
    conclusion = asked.conclusion
    assert conclusion is not None
    assert not asked.unreadable
    return Found(
        answers,
        conclusion.status,
        conclusion.comment,
        conclusion.offending,
        asked.ignores_keys,
        dict(association.extended),
    )

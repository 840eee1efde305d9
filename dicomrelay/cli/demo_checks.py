"""What the demo looks at to say what arrived where: the receiver's files, the ledger, the streamer."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomrelay.cli.files import DicomFile, read
from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import StudySummary
from dicomrelay.settings import Settings


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What came of one study. `streamed` counts the instances whose frames, or whose file, the streamer gave.

    `framed` counts the instances whose frames a worker has counted, none included; only then `frames` is all of them.
    """

    study_instance_uid: str
    modalities: str
    instances: int
    received: int
    delivered: int
    archived: int
    framed: int
    frames: int
    streamed: int

    @property
    def complete(self) -> bool:
        """Whether every instance is everywhere."""
        counts = self.received, self.delivered, self.archived, self.framed, self.streamed
        return {*counts} == {self.instances}


def check(
    files: Sequence[DicomFile], *, settings: Settings, ledger: Ledger, received: Path
) -> list[StudyResult]:
    """Compare what was sent with what is there, study by study."""
    known = {study.study_instance_uid: study for study in ledger.studies()}
    studies: dict[str, list[DicomFile]] = defaultdict(list)
    for file in files:
        studies[file.study_instance_uid].append(file)
    return [_study(uid, group, known.get(uid), settings, received) for uid, group in studies.items()]


def _study(
    uid: str, files: list[DicomFile], study: StudySummary | None, settings: Settings, received: Path
) -> StudyResult:
    return StudyResult(
        study_instance_uid=uid,
        modalities=",".join(sorted({file.modality for file in files if file.modality})) or "-",
        instances=len(files),
        received=study.instances if study else 0,
        delivered=sum(_same_bytes(file, received / f"{file.sop_instance_uid}.dcm") for file in files),
        archived=study.archived if study else 0,
        framed=study.framed if study else 0,
        frames=study.frames if study else 0,
        streamed=sum(_streams(file, settings) for file in files),
    )


def _same_bytes(file: DicomFile, other: Path) -> bool:
    """Whether the receiver's copy has the data set that we were given, byte for byte."""
    try:
        return data_set_digest(file.path) == data_set_digest(other)
    except OSError:
        return False


def data_set_digest(path: Path) -> str:
    """SHA-256 of the data set in a file, without its file meta."""
    content = path.read_bytes()
    offset = parse_file_meta(content[:HEAD_BYTES]).data_set_offset
    return _digest(memoryview(content)[offset:])


def _digest(data_set: memoryview) -> str:
    """As on the wire: a deflated stream of odd length has a NUL behind it there (PS3.5 Annex A.5)."""
    return hashlib.sha256(bytes(data_set) + b"\0" * (len(data_set) % 2)).hexdigest()


def _streams(file: DicomFile, settings: Settings) -> bool:
    """Whether the streamer gives the instance with our bytes, and its first frame where it has pixel data."""
    base = f"http://{settings.streamer.host}:{settings.streamer.port}"
    instance = f"{base}/studies/{file.study_instance_uid}/series/{file.series_instance_uid}/instances/{file.sop_instance_uid}"
    stored = _get(instance, "application/dicom")
    if stored is None:
        return False
    offset = parse_file_meta(stored[:HEAD_BYTES]).data_set_offset
    if _digest(memoryview(stored)[offset:]) != data_set_digest(file.path):
        return False
    if not has_pixel_data(file.path):
        return True
    return bool(_get(f"{instance}/frames/1", "application/octet-stream"))


def has_pixel_data(path: Path) -> bool:
    """Whether an instance has frames to stream."""
    from pydicom import dcmread  # noqa: PLC0415 - 0.1 s that only the demo pays

    return "PixelData" in dcmread(path, force=True)


def _get(url: str, accept: str) -> bytes | None:
    request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310 - our own loopback address
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            body: bytes = response.read()
            return body
    except (urllib.error.URLError, OSError):
        return None


def usable(path: Path) -> DicomFile:
    """A sample, read.

    Raises
    ------
    ValueError
        It is no DICOM file that can be sent.
    """
    found = read(path)
    if not isinstance(found, DicomFile):
        raise ValueError(f"{path}: {found.reason}")
    return found

"""The data sets that every figure is taken on: ct, small and big."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
MULTI_FRAME_GRAYSCALE_WORD_STORAGE = "1.2.840.10008.5.1.4.1.1.7.3"


@dataclass(frozen=True, slots=True)
class DataSets:
    """One kind of load: `instances` of `frames` frames of `side` by `side` pixels of 16 bits."""

    name: str
    sop_class_uid: str
    instances: int
    side: int
    frames: int
    instances_a_study: int

    def scaled(self, scale: float) -> DataSets:
        """Fewer of the same instances."""
        return DataSets(
            self.name,
            self.sop_class_uid,
            max(1, round(self.instances * scale)),
            self.side,
            self.frames,
            self.instances_a_study,
        )


LOADS = {
    load.name: load
    for load in (
        DataSets("ct", CT_IMAGE_STORAGE, 600, 512, 1, 100),
        DataSets("small", CT_IMAGE_STORAGE, 3000, 64, 1, 300),
        DataSets("big", MULTI_FRAME_GRAYSCALE_WORD_STORAGE, 6, 512, 160, 1),
    )
}


def write(load: DataSets, directory: Path) -> int:
    """Write the instances of a load into `directory`, the same at every run but for their UIDs; their bytes in all."""
    directory.mkdir(parents=True)
    noise = np.random.default_rng(seed=2026)
    total = 0
    study_uid = series_uid = ""
    for number in range(load.instances):
        if number % load.instances_a_study == 0:
            study_uid, series_uid = generate_uid(), generate_uid()
        ds = _header(load, study_uid, series_uid, number)
        pixels = noise.integers(0, 4095, (load.frames, load.side, load.side), dtype=np.uint16)
        ds.PixelData = pixels.tobytes()
        path = directory / f"{number:05d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        total += path.stat().st_size
    return total


def _header(load: DataSets, study_uid: str, series_uid: str, number: int) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = load.sop_class_uid, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, series_uid
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "20240101", "120000", "A1"
    ds.PatientName, ds.PatientID, ds.Modality, ds.InstanceNumber = "BENCH^MARK", "P1", "CT", number
    ds.Rows = ds.Columns = load.side
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    if load.frames > 1:
        ds.NumberOfFrames = load.frames
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds

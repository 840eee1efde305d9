"""A frame out of the middle of real files of every transfer syntax decodes to what pydicom makes of the whole file."""

from __future__ import annotations

import dataclasses
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder, pixel_array

from archive import Archive, StoreRequest
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from dicomrelay.dicom.uids import derived_uid
from tests.support.archive import request_for, shared_files
from tests.support.streamer import running_streamer

STORED = {"accept": 'application/octet-stream; transfer-syntax="*"'}


def whole(request: StoreRequest) -> Dataset:
    """The file as pydicom reads it."""
    ds = dcmread(request.source, force=True)
    ds.file_meta.TransferSyntaxUID = request.transfer_syntax_uid
    return ds


def decoded(ds: Dataset, index: int) -> np.ndarray | None:
    """A frame; None when no decoder that is installed can make one of it."""
    try:
        if "PixelData" not in ds or not get_decoder(ds.file_meta.TransferSyntaxUID).is_available:
            return None
        return pixel_array(ds, index=index, raw=True)
    except (RuntimeError, ValueError, AttributeError, NotImplementedError):
        return None


def alone(ds: Dataset, frame: bytes) -> Dataset:
    """The data set with a served frame as its only one: native ones come in explicit VR little endian."""
    ds.NumberOfFrames = 1
    for table in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if table in ds:
            delattr(ds, table)
    if transfer_syntax(ds.file_meta.TransferSyntaxUID).is_encapsulated:
        ds.PixelData = encapsulate([frame])
    else:
        ds.file_meta.TransferSyntaxUID = EXPLICIT_VR_LITTLE_ENDIAN
        ds.PixelData = frame + b"\0" * (len(frame) % 2)
        ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"
    return ds


@pytest.mark.slow
def test_frames_of_the_shared_files_decode_to_pydicoms_pixels(tmp_path: Path) -> None:
    """The last frame of each, in whatever way its file is encoded."""
    requests = [
        dataclasses.replace(request_for(path), sop_instance_uid=derived_uid("test", str(number)))
        for number, path in enumerate(shared_files())
    ]
    with closing(Archive.open(tmp_path / "archive")) as archive:
        archive.store(requests)
    checked: Counter[str] = Counter()
    with running_streamer(tmp_path) as client:
        for request in requests:
            ds = whole(request)
            count = int(ds.get("NumberOfFrames") or 1)
            expected = decoded(ds, count - 1)
            if expected is None:
                continue
            answer = client.get(
                f"/studies/{request.study_instance_uid}/series/{request.series_instance_uid}"
                f"/instances/{request.sop_instance_uid}/frames/{count}",
                headers=STORED,
            )
            assert answer.status_code == 200, (request.source, answer.text)
            found = decoded(alone(whole(request), answer.content), 0)
            assert found is not None, request.source
            assert np.array_equal(found, expected), request.source
            checked[request.transfer_syntax_uid] += 1
    assert len(checked) >= 10, checked
    assert checked.total() > 100, checked

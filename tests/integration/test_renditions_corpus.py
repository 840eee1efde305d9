"""Pictures and compressed copies of one image of every kind, held against pydicom's own decoding."""

from __future__ import annotations

import dataclasses
import io
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.pixels import pixel_array

from archive import Archive, StoredInstance
from archive.renditions.cache import RenditionCache
from archive.renditions.renditions import Renditions
from archive.renditions.request import PNG, PictureRequest
from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.errors import FramesNotAddressable, NotTranscodable
from dicomrelay.transcode.syntaxes import HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, JPEG_LS_LOSSLESS
from tests.support.archive import SHARED, pydicom_files, request_for, shared_files
from tests.support.pictures import expected_picture, of_every_kind

LARGEST = 300_000
# pydicom cannot decode these (.51: of 12 bits) without a plug-in under the GPL; test_transcode_corpus.py has them.
NO_ORACLE = {f"1.2.840.10008.1.2.4.{n}" for n in (51, 57, 70)} | {"1.2.840.10008.1.2.8.1"}
# Number of Frames is "1A".
NOT_READ_BY_PYDICOM = {"badVR.dcm"}
# What is not decoded here; a JPEG 2000 stream that is none; single bits in RLE.
REFUSED = {f"1.2.840.10008.1.2.4.{n}" for n in (53, 55, 110, 111, 112)}
BROKEN = {"JPEG2000-embedded-sequence-delimiter.dcm", "liver_rle.dcm", "liver_nonbyte_aligned_rle.dcm"}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def renditions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renditions]:
    home = tmp_path_factory.mktemp("home")
    with closing(Archive.open(home / "archive")) as archive:
        made = Renditions(archive, RenditionCache(home / "renditions", max_bytes=1 << 30))
        with closing(made):
            yield made


@pytest.fixture(scope="module")
def images(renditions: Renditions) -> dict[Path, StoredInstance]:
    files = pydicom_files() + (shared_files() if SHARED.is_dir() else [])
    paths = of_every_kind(files, largest=LARGEST)
    requests = [
        dataclasses.replace(request_for(path), sop_instance_uid=derived_uid("test", str(path)))
        for path in paths
    ]
    archive = renditions._archive
    archive.store(requests)
    found = (
        archive.find(it.study_instance_uid, it.series_instance_uid, it.sop_instance_uid) for it in requests
    )
    return dict(zip(paths, found, strict=True))


def test_every_pixel_of_every_kind_is_shown_as_pydicom_has_it(
    renditions: Renditions, images: dict[Path, StoredInstance]
) -> None:
    seen: Counter[str] = Counter()
    refused: set[str] = set()
    for path, stored in images.items():
        syntax = stored.transfer_syntax_uid
        try:
            data = renditions.picture(stored, 1, PictureRequest(PNG))
        except FramesNotAddressable:
            continue  # no pixel data, for all its rows
        except NotTranscodable:
            refused.add(path.name if path.name in BROKEN else syntax)
            continue
        shown = np.asarray(Image.open(io.BytesIO(data)))
        if path.name in NOT_READ_BY_PYDICOM:
            continue
        ds = dcmread(path)
        try:
            expected = expected_picture(ds)
        except RuntimeError:
            assert syntax in NO_ORACLE, path
            continue
        assert np.array_equal(shown, expected), path
        seen[syntax] += 1
    assert refused <= REFUSED | BROKEN
    assert len(seen) >= (11 if SHARED.is_dir() else 10)
    assert sum(seen.values()) > 45


@pytest.mark.parametrize("syntax", [HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, JPEG_LS_LOSSLESS])
def test_a_compressed_copy_has_every_pixel(
    renditions: Renditions, images: dict[Path, StoredInstance], syntax: str
) -> None:
    made = 0
    for path, stored in images.items():
        if stored.transfer_syntax_uid == syntax or stored.file_bytes > LARGEST // 4:
            continue
        try:
            descriptor, length = renditions.copy(stored, syntax)
        except NotTranscodable:
            continue
        with open(descriptor, "rb") as file:
            data = file.read(length)
        meta = encode_file_meta(FileMeta(stored.sop_class_uid, stored.sop_instance_uid, syntax))
        copy, source = dcmread(io.BytesIO(meta + data)), dcmread(path)
        try:
            expected = pixel_array(source, raw=True)
        except RuntimeError:
            assert stored.transfer_syntax_uid in NO_ORACLE
            continue
        assert np.array_equal(pixel_array(copy, raw=True), expected), path
        assert copy.get("LossyImageCompression") == source.get("LossyImageCompression")
        made += 1
        # Kept: the second time there is nothing to make.
        os.close(renditions.copy(stored, syntax)[0])
    assert made > 15

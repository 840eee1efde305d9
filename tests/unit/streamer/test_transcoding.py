"""Copies for those who ask for another transfer syntax: few at once, nothing left behind."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from pydicom import dcmread

from dicomrelay.transcode.values import Source
from streamer.answers import HttpError
from streamer.transcoding import AT_ONCE, Transcoding
from tests.support.archive import pydicom_file, request_for

EXPLICIT = "1.2.840.10008.1.2.1"


def source_of(path: Path) -> Source:
    request = request_for(path)
    return Source(path, request.data_set_offset, request.data_set_bytes, request.transfer_syntax_uid)


def test_a_copy_has_no_name_once_it_is_open_and_nothing_stays(tmp_path: Path) -> None:
    """It goes with its descriptor; the folder goes with the server."""
    with closing(Transcoding(tmp_path / "copies")) as transcoding:
        copy = transcoding.copy(source_of(pydicom_file("MR_small_RLE.dcm")), EXPLICIT)
        files = [path for path in (tmp_path / "copies").rglob("*") if path.is_file()]
        content = os.pread(copy.descriptor, copy.length + 1, 0)
        os.close(copy.descriptor)

    assert files == []
    assert len(content) == copy.length
    assert dcmread(pydicom_file("MR_small.dcm")).PixelData in content
    assert [*(tmp_path / "copies").iterdir()] == []


def test_who_waits_too_long_is_told_to_ask_again(tmp_path: Path) -> None:
    """503 with the time to wait, and no process for it."""
    with closing(Transcoding(tmp_path, patience_s=0)) as transcoding:
        for _ in range(AT_ONCE):
            assert transcoding._free.acquire(blocking=False)
        with pytest.raises(HttpError) as refused:
            transcoding.copy(source_of(pydicom_file("MR_small_RLE.dcm")), EXPLICIT)

    assert (refused.value.status, refused.value.headers) == (503, ((b"retry-after", b"10"),))


def test_what_fails_gives_its_place_back(tmp_path: Path) -> None:
    """More failures than places, and then a copy."""
    bad = Source(pydicom_file("CT_small.dcm"), 500, 1000, "1.2.840.10008.1.2.5")
    with closing(Transcoding(tmp_path, patience_s=5)) as transcoding:
        for _ in range(AT_ONCE + 1):
            with pytest.raises(HttpError, match="not in transfer syntax"):
                transcoding.copy(bad, EXPLICIT)
        copy = transcoding.copy(source_of(pydicom_file("MR_small_RLE.dcm")), EXPLICIT)
        os.close(copy.descriptor)


def test_where_the_home_cannot_be_written_copies_are_temporary(tmp_path: Path) -> None:
    """As in a container with a read-only file system; here a file stands in the way."""
    (tmp_path / "home").write_text("no folder")
    with closing(Transcoding(tmp_path / "home" / "copies")) as transcoding:
        copy = transcoding.copy(source_of(pydicom_file("MR_small_RLE.dcm")), EXPLICIT)
        os.close(copy.descriptor)

    assert copy.length > 8192

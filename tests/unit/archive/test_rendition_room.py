"""Renditions while there is no room for them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from archive import Archive
from archive.renditions.cache import RenditionCache
from archive.renditions.renditions import Renditions
from archive.renditions.request import MIDDLE, thumbnail
from dicomrelay.errors import ArchiveError, RelayError, ServiceUnavailable
from tests.support.archive import pydicom_file, request_for


class SickDisk(RenditionCache):
    """A cache on a disk that always says the same."""

    said = errno.ENOSPC

    @contextmanager
    def one_maker(self, key: str) -> Iterator[None]:
        with super().one_maker(key):
            if self.said:
                raise OSError(self.said, os.strerror(self.said), str(self.root))
            yield


@pytest.mark.parametrize(
    ("said", "kind"),
    [(errno.ENOSPC, ServiceUnavailable), (errno.EDQUOT, ServiceUnavailable), (errno.EIO, ArchiveError)],
)
def test_a_full_disk_is_full_for_now(tmp_path: Path, said: int, kind: type[RelayError]) -> None:
    """There may be room again: whoever asks is told to ask again (503), and nobody reads a path."""
    cache = SickDisk(tmp_path / "renditions", max_bytes=1 << 20)
    cache.said = said
    with closing(Archive.open(tmp_path / "archive")) as archive:
        request = request_for(pydicom_file("CT_small.dcm"))
        archive.store([request])
        stored = archive.find(
            request.study_instance_uid, request.series_instance_uid, request.sop_instance_uid
        )
        with closing(Renditions(archive, cache)) as renditions, pytest.raises(kind) as raised:
            renditions.picture(stored, MIDDLE, thumbnail())

    assert type(raised.value) is kind
    assert str(tmp_path) not in str(raised.value)

"""Export from an archive whose files are in a bucket: as from a folder, and a service that is away ends it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from archive import Archive
from archive.export_values import ExportOutcome
from archive.exporting import export
from archive.storage import Put
from archive.values import Selection
from dicomrelay.errors import ServiceUnavailable
from tests.support.exports import data_sets, instance, stored, without
from tests.support.s3 import S3Service, running_s3

ALL = Selection()


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Service]:
    with running_s3(tmp_path) as service:
        service.make_bucket("images")
        yield service


@pytest.fixture
def archive(s3: S3Service, tmp_path: Path) -> Iterator[Archive]:
    root = tmp_path / "archive"
    with closing(Archive.open(root, storage=s3.storage("images", root))) as opened:
        paths = [instance(tmp_path / "in", study, 1, number) for study in (1, 2) for number in (1, 2, 3)]
        stored(opened, paths)
        shutil.rmtree(root / "cache", ignore_errors=True)
        yield opened


@pytest.mark.parametrize("form", ["flatten", "dicomdir", "zip"])
def test_every_form_leaves_a_bucket(archive: Archive, tmp_path: Path, form: str) -> None:
    """Verified on the way, as ever: other bytes under a key and a key that is gone do not leave."""
    other = tmp_path / "other"
    shutil.copy(tmp_path / "in" / "1.1.2.dcm", other)
    data = bytearray(other.read_bytes())
    data[-1] ^= 1
    other.write_bytes(bytes(data))
    damaged, gone = (
        archive.find(study, f"{study}.1", uid).relative_path
        for study, uid in (("1.2.1", "1.2.1.1.2"), ("1.2.2", "1.2.2.1.3"))
    )
    archive.storage.put(damaged, Put(other, hashlib.sha256(data).hexdigest()), over=True)
    archive.storage.delete(gone)
    out = tmp_path / ("out.zip" if form == "zip" else "out")
    report = export(archive, ALL, out, **{form: True})

    outcomes = {problem.sop_instance_uid: problem.outcome for problem in report.problems}
    assert report.counts[ExportOutcome.EXPORTED] == 4
    assert outcomes.keys() == {"1.2.1.1.2", "1.2.2.1.3"}
    assert outcomes["1.2.2.1.3"] is ExportOutcome.MISSING
    assert outcomes["1.2.1.1.2"] is ExportOutcome.DAMAGED
    if form == "zip":
        shutil.unpack_archive(out, tmp_path / "unzipped")
        out = tmp_path / "unzipped"
    assert data_sets(out) == without(data_sets(tmp_path / "in"), *outcomes)


def test_a_service_that_is_away_ends_the_export(archive: Archive, s3: S3Service, tmp_path: Path) -> None:
    """It would be away for all: nothing is called missing, and nothing half is left."""
    s3.stop()
    with pytest.raises(ServiceUnavailable):
        export(archive, ALL, tmp_path / "out")
    with pytest.raises(ServiceUnavailable):
        export(archive, ALL, tmp_path / "out.zip", zip=True)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not list(tmp_path.glob("*.zip"))

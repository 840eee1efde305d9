"""The instances of a study in the order in which they are looked at, on both databases."""

from __future__ import annotations

from pathlib import Path

from archive import Archive
from archive.disk import Disk
from archive.index.database import open_database
from archive.layout import Layout
from tests.support.archive import request_for
from tests.support.streams import SLICES, STUDY, VOLUME, make_study, slice_uid


def test_instances_are_listed_by_their_numbers_with_their_frames(empty_url: str, tmp_path: Path) -> None:
    """Twelve slices, stored backwards, then a volume of five frames; a part of them; never more than asked for."""
    archive = Archive(Layout(tmp_path / "archive"), open_database(empty_url), Disk())
    try:
        archive.layout.root.mkdir()
        archive.store(
            [request_for(path) for path in reversed(make_study(tmp_path / "files", slices=12, frames=5))]
        )

        listed = [
            (each.series_instance_uid, each.sop_instance_uid, each.frames)
            for each in archive.listing(STUDY, most=100)
        ]

        slices = [(SLICES, slice_uid(number), 1) for number in range(1, 13)]
        assert listed == [*slices, (VOLUME, f"{VOLUME}.1", 5)]
        assert [each.frames for each in archive.listing(STUDY, VOLUME, most=100)] == [5]
        some = archive.listing(STUDY, "", [slice_uid(11), slice_uid(2), slice_uid(2), "1.2.3"], most=100)
        assert [each.sop_instance_uid for each in some] == [slice_uid(2), slice_uid(11)]
        assert len(archive.listing(STUDY, most=4)) == 4
        assert archive.listing("1.2.3", most=100) == archive.listing(STUDY, "1.2.3", most=100) == []
    finally:
        archive.close()

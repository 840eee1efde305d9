"""What is removed stays removed: folders are flushed before the change is forgotten."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import event

from archive import Archive
from archive.disk import Disk
from archive.removal import remove
from archive.values import Selection
from tests.support.archive_writing import instance


class Told(Disk):
    """Tells what it does."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def remove(self, path: Path) -> None:
        if path.suffix == ".dcm":
            self.steps.append(f"unlink in {path.parent.name}")
        super().remove(path)

    def sync_directory(self, path: Path) -> None:
        self.steps.append(f"flush {path.name}")
        super().sync_directory(path)


def test_the_folder_is_flushed_before_the_change_is_forgotten(tmp_path: Path) -> None:
    """Else a power cut brings the file back, and a rebuild of the index serves it again."""
    archive = Archive.open(tmp_path / "archive")
    requests = [instance(tmp_path / "in", number) for number in (1, 2)]
    archive.store(requests)
    archive.disk = disk = Told()

    def executed(*of: object) -> None:
        if str(of[2]).startswith("DELETE FROM archive_meta"):
            disk.steps.append("forget the change")

    event.listen(archive._database._engine, "before_cursor_execute", executed)
    goes = requests[0]

    remove(archive, Selection(sop_instance_uids=(goes.sop_instance_uid,)), reason="a", by="b")

    folder = goes.series_instance_uid
    assert [step for step in disk.steps if folder in step or "change" in step] == [
        f"unlink in {folder}",
        f"flush {folder}",
        "forget the change",
    ]
    archive.close()

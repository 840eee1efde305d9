"""What is made from a stored file, and goes with it; and the folders that are empty then."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from archive.disk import Disk
from archive.layout import Layout
from archive.values import StoredInstance

_MADE: Final = ("frames", "inflated")


def remove_made(layout: Layout, disk: Disk, stored: StoredInstance) -> None:
    """Remove an instance's frame index, and what was inflated of it. What cannot be removed is not served."""
    for suffix in _MADE:
        relative = Layout.frames(
            stored.study_instance_uid, stored.series_instance_uid, stored.sop_instance_uid, suffix=suffix
        )
        with suppress(OSError):
            path = layout.resolve(relative)
            disk.remove(path)
            remove_empty_folders(layout, path.parent)


def remove_empty_folders(layout: Layout, folder: Path) -> None:
    """Remove a folder, and those above it, as long as they are empty; the folders of the root stay."""
    with suppress(OSError):  # not empty, or not there
        while layout.root not in (folder, folder.parent):
            folder.rmdir()
            folder = folder.parent

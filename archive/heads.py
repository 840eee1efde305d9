"""Some attributes of one stored instance as a data set, for who asks for what the index has not."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydicom.dataset import Dataset

from archive.attributes import UNREADABLE
from archive.tag_reading import reading_tags
from archive.values import StoredInstance


def read_head(path: Path, stored: StoredInstance, tags: Collection[int]) -> Dataset | None:
    """These attributes of a stored file, decoded; None when its data set cannot be read.

    Parameters
    ----------
    tags : collection of int
        Of the data set itself; a sequence comes with all that is in it. Nothing behind the last of them is read.
    """
    try:
        with reading_tags(
            path, stored.data_set_offset, stored.transfer_syntax_uid, end=max(tags) + 1, tags=tags
        ) as found:
            found.decode()
    except UNREADABLE:
        return None
    return found

"""Writing the index: a batch of instances in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archive.index.adding import add_instances, known_instances, resize_instances
from archive.index.entries import FileSize, Known, NewInstance
from dicomrelay.ledger.engine import Database

__all__ = ["FileSize", "IndexWriter", "Known", "NewInstance"]


class IndexWriter:
    """Puts instances into the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, sop_instance_uids: Sequence[str]) -> dict[str, Known]:
        """What the index holds under these SOP Instance UIDs."""
        with self._database.read() as work:
            return known_instances(work, sop_instance_uids)

    def resize(self, sizes: Mapping[str, FileSize]) -> None:
        """Record the files that were put back behind another file meta, by SOP Instance UID."""
        changed = {uid: (size.file_bytes, size.data_set_offset) for uid, size in sizes.items()}
        self._database.transact(lambda work: resize_instances(work, changed))

    def add(self, new: Sequence[NewInstance]) -> dict[str, Known]:
        """Put instances in, in one transaction, and return what the index holds under their UIDs now.

        An instance that another process put in meanwhile stays; the caller compares digests.
        """
        return self._database.transact(lambda work: add_instances(work, new))

"""Records into the worklist, and what became of them (docs/design/worklist.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dicomrelay.scheduling.worklist import Put, Worklist
from dicomrelay.scheduling.worklist_change import STOPPED, Record
from dicomrelay.scheduling.worklist_item import Fault

# Items of a transaction.
_BATCH = 100


@dataclass(slots=True)
class Taken:
    """What became of records.

    Attributes
    ----------
    put : Counter
        Items, by what became of them.
    set : int
        Items that were given a status.
    refused : list of (str, tuple of Fault)
        Records of which nothing was done, and why.
    """

    put: Counter[Put] = field(default_factory=Counter)
    set: int = 0
    refused: list[tuple[str, tuple[Fault, ...]]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Items that are as they were asked to be."""
        return self.put.total() + self.set


def take(
    worklist: Worklist, records: Iterable[Record], taken: Taken, *, most_refused: int | None = None
) -> None:
    """Do what records ask, in their order, a hundred items a transaction; what was done is in `taken` also when it is cut short.

    Parameters
    ----------
    most_refused : int, optional
        No further one is looked at when so many were refused.

    Raises
    ------
    ServiceUnavailable, LedgerError
        As the worklist.
    """
    for batch in _batches(records):
        if most_refused is not None and len(taken.refused) >= most_refused:
            taken.refused.append((batch[0].where, (Fault("", STOPPED),)))
            return
        if batch[0].faults:
            taken.refused.append((batch[0].where, batch[0].faults))
        elif batch[0].key is not None and batch[0].status is not None:
            count = worklist.set_status(batch[0].key, batch[0].status)
            taken.set += count
            if not count:
                taken.refused.append((batch[0].where, (Fault("", "no such item in the worklist"),)))
        else:
            taken.put.update(worklist.put([item for record in batch for item in record.items]))


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records that can go together: those that put, and each other by itself."""
    batch: list[Record] = []
    for record in records:
        if batch and (not record.items or len(batch) >= _BATCH):
            yield batch
            batch = []
        if record.items:
            batch.append(record)
        else:
            yield [record]
    if batch:
        yield batch

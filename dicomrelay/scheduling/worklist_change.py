"""What a record of a file asks of the worklist. Pure values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from dicomrelay.errors import DataSetError
from dicomrelay.scheduling.worklist_item import Fault, Item
from dicomrelay.scheduling.worklist_status import StepStatus

# Of a file, or of what is posted: each takes its time, and the answer says of each that is refused why.
MOST_RECORDS: Final = 5000
MOST_REFUSED: Final = 100
_STEP_ID: Final = "ScheduledProcedureStepSequence[0].ScheduledProcedureStepID"
STOPPED: Final = f"{MOST_REFUSED} are at fault: what comes after them was not looked at"


class UnreadableFile(DataSetError):
    """A file is none of its kind; the words say where, and quote nothing of it."""


@dataclass(frozen=True, slots=True)
class OrderKey:
    """By what items are named; all that is given must be theirs."""

    id: str = ""
    study_instance_uid: str = ""
    accession_number: str = ""
    requested_procedure_id: str = ""
    step_id: str = ""
    placer_order_number: str = ""
    filler_order_number: str = ""

    @property
    def given(self) -> Mapping[str, str]:
        """What is given, by name."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name))}


@dataclass(frozen=True, slots=True)
class Record:
    """One item of a file, one line, one order of a message.

    Attributes
    ----------
    where : str
        Its place in the file; "" when it is all of it.
    items : tuple of Item
        To be put.
    key, status : OrderKey, StepStatus, optional
        Items that are there, and the status to give them.
    faults : tuple of Fault
        Why nothing is done with it.
    """

    where: str
    items: tuple[Item, ...] = ()
    key: OrderKey | None = None
    status: StepStatus | None = None
    faults: tuple[Fault, ...] = field(default=())


def bounded(records: Iterable[Record]) -> list[Record]:
    """Records of a file as they are read, up to so many; after a hundred that are at fault no further one is read.

    Raises
    ------
    UnreadableFile
        There are more than 5,000.
    """
    found: list[Record] = []
    refused = 0
    for record in records:
        if len(found) >= MOST_RECORDS:
            raise UnreadableFile(f"more than {MOST_RECORDS} items: give it in parts")
        if refused >= MOST_REFUSED:
            return [*found, Record(record.where, faults=(Fault("", STOPPED),))]
        found.append(record)
        refused += bool(record.faults)
    return found


def told_apart(records: Iterable[Record]) -> Iterator[Record]:
    """The same, but one is at fault that would replace another one of them.

    They have study, procedure and step in common and are not the same: that is how two lines of one order look where
    nobody gives its steps a Scheduled Procedure Step ID.
    """
    seen: dict[tuple[str, str, str], tuple[str, Item]] = {}
    for record in records:
        faults = []
        for item in record.items:
            where, first = seen.setdefault(item.identity, (record.where, item))
            if first != item:
                words = f"study, procedure and step are those of {where or 'another'}: give each step an ID"
                faults.append(Fault(_STEP_ID, words))
        yield Record(record.where, faults=tuple(faults)) if faults else record

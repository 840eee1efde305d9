"""What a record of a file asks of the worklist. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from dicomrelay.errors import DataSetError
from dicomrelay.scheduling.worklist_item import Fault, Item
from dicomrelay.scheduling.worklist_status import StepStatus


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

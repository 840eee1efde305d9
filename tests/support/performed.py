"""Performed procedure steps as a CT says them, and a RIS on pynetdicom that hears of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pynetdicom import AE, evt
from pynetdicom.sop_class import ModalityPerformedProcedureStep  # type: ignore[attr-defined]

from dicomrelay.dimse.identifier import encode_identifier
from dicomrelay.runtime.ports import free_ports
from dicomrelay.scheduling.performed_values import StepMessage

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
STUDY, SERIES = "1.2.1", "1.2.1.1"


def created(**changes: object) -> Dataset:
    """An N-CREATE with all of Table F.7.2-1; a change of None takes the attribute away."""
    scheduled = Dataset()
    scheduled.StudyInstanceUID = STUDY
    scheduled.ReferencedStudySequence = Items([])
    scheduled.AccessionNumber = "A1"
    scheduled.RequestedProcedureID = "RP1"
    scheduled.RequestedProcedureDescription = "CT of the head"
    scheduled.ScheduledProcedureStepID = "SPS1"
    scheduled.ScheduledProcedureStepDescription = "Head"
    scheduled.ScheduledProtocolCodeSequence = Items([])
    step = Dataset()
    step.ScheduledStepAttributesSequence = Items([scheduled])
    step.PatientName = "Müller^Jürgen"
    step.PatientID = "P4711"
    step.PatientBirthDate = "19700101"
    step.PatientSex = "M"
    step.ReferencedPatientSequence = Items([])
    step.PerformedProcedureStepID = "PPS1"
    step.PerformedStationAETitle = "CT_1"
    step.PerformedStationName = "CT"
    step.PerformedLocation = ""
    step.PerformedProcedureStepStartDate = "20240131"
    step.PerformedProcedureStepStartTime = "101500"
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.PerformedProcedureStepDescription = "Head"
    step.PerformedProcedureTypeDescription = ""
    step.ProcedureCodeSequence = Items([])
    step.PerformedProcedureStepEndDate = None
    step.PerformedProcedureStepEndTime = None
    step.Modality = "CT"
    step.StudyID = "1"
    step.PerformedProtocolCodeSequence = Items([])
    step.PerformedSeriesSequence = Items([])
    step.SpecificCharacterSet = "ISO_IR 100"
    return changed_by(step, changes)


def changed_by(step: Dataset, changes: dict[str, object]) -> Dataset:
    """With attributes set, or without those that are None."""
    for keyword, value in changes.items():
        if value is None:
            del step[keyword]
        else:
            setattr(step, keyword, value)
    return step


def series(references: Sequence[str], uid: str = SERIES, **changes: object) -> Dataset:
    """An item of the Performed Series Sequence."""
    item = Dataset()
    item.PerformingPhysicianName = ""
    item.ProtocolName = "HEAD"
    item.OperatorsName = ""
    item.SeriesInstanceUID = uid
    item.SeriesDescription = ""
    item.RetrieveAETitle = ""
    item.ReferencedImageSequence = Items([reference(each) for each in references])
    item.ReferencedNonImageCompositeSOPInstanceSequence = Items([])
    return changed_by(item, changes)


def reference(uid: str, sop_class_uid: str = CT) -> Dataset:
    """A SOP class and instance."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, uid
    return item


def ended(state: str = "COMPLETED", references: Sequence[str] = ("1.2.3.1",), **changes: object) -> Dataset:
    """The last N-SET."""
    step = Dataset()
    step.PerformedProcedureStepStatus = state
    step.PerformedProcedureStepEndDate = "20240131"
    step.PerformedProcedureStepEndTime = "103000"
    step.PerformedSeriesSequence = Items([series(references)])
    return changed_by(step, changes)


def message(attributes: Dataset, uid: str = "1.2.9", syntax: str = EXPLICIT) -> StepMessage:
    """What the gateway makes of it."""
    return StepMessage(uid, "CT_1", syntax, encode_identifier(attributes, syntax), attributes)


@dataclass
class Heard:
    """One message that came to the RIS."""

    kind: str
    uid: str
    attributes: Dataset
    syntax: str
    association: int


@dataclass
class Ris:
    """What it does, and what came to it.

    Attributes
    ----------
    says : callable
        Gives the status for a message, None to abort the association in place of an answer; 0 for all by default.
    error_id : int or None
        In responses that are no success.
    """

    port: int
    says: Callable[[Heard], int | None] = lambda _heard: 0
    error_id: int | None = None
    heard: list[Heard] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    _associations: int = 0

    def wait(self, count: int) -> list[Heard]:
        """The first messages, once there are so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.heard) >= count, 20), f"{len(self.heard)} came"
            return self.heard[:count]

    def on_association(self, _event: evt.Event) -> None:
        self._associations += 1

    def on_create(self, event: evt.Event) -> tuple[Any, Dataset | None]:
        uid = str(event.request.AffectedSOPInstanceUID)
        return self._take(event, "N-CREATE", uid, event.attribute_list)

    def on_set(self, event: evt.Event) -> tuple[Any, Dataset | None]:
        uid = str(event.request.RequestedSOPInstanceUID)
        return self._take(event, "N-SET", uid, event.modification_list)

    def _take(self, event: evt.Event, kind: str, uid: str, attributes: Dataset) -> tuple[Any, Dataset | None]:
        found = Heard(kind, uid, attributes, str(event.context.transfer_syntax), self._associations)
        with self.changed:
            self.heard.append(found)
            self.changed.notify_all()
        status = self.says(found)
        if status is None:
            event.assoc.abort()
            return 0x0110, None
        if status and self.error_id is not None:
            answer = Dataset()
            answer.Status, answer.ErrorID = status, self.error_id
            return answer, None
        return status, None


@contextmanager
def ris(port: int = 0, syntaxes: Sequence[str] = (EXPLICIT, IMPLICIT)) -> Iterator[Ris]:
    """One that listens; its script may be changed at any time."""
    found = Ris(port or free_ports(1)[0])
    ae = AE("RIS")
    ae.add_supported_context(ModalityPerformedProcedureStep, [*syntaxes])
    server = ae.start_server(
        ("127.0.0.1", found.port),
        block=False,
        evt_handlers=[
            (evt.EVT_ACCEPTED, found.on_association),
            (evt.EVT_N_CREATE, found.on_create),
            (evt.EVT_N_SET, found.on_set),
        ],
    )
    assert server is not None
    try:
        yield found
    finally:
        server.shutdown()

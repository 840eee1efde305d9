"""What is exchanged about performed procedure steps: messages in, rows out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pydicom.dataset import Dataset

from dicomrelay.dicom.performed_step import StepState
from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.scheduling.performed_facts import ScheduledReference
from dicomrelay.settings.performed import StepDestinationSettings


class MessageKind(StrEnum):
    """By which service a message came."""

    CREATE = "N-CREATE"
    SET = "N-SET"


class ForwardState(StrEnum):
    """What became of a message for one peer."""

    WAITING = "waiting"
    SENT = "sent"
    NEEDS_ATTENTION = "needs_attention"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class StepMessage:
    """An N-CREATE or N-SET.

    Attributes
    ----------
    data_set : bytes
        As it came.
    attributes : Dataset
        The same, decoded.
    """

    sop_instance_uid: str
    calling_ae_title: str
    transfer_syntax_uid: str
    data_set: bytes = field(repr=False)
    attributes: Dataset = field(repr=False)


@dataclass(frozen=True, slots=True)
class ForwardPeer:
    """Who gets messages.

    Attributes
    ----------
    modalities : tuple of Wildcards
        Of the steps that it gets; none for all.
    """

    name: str
    modalities: tuple[Wildcards, ...] = ()

    @classmethod
    def of(cls, settings: StepDestinationSettings) -> ForwardPeer:
        """From the settings."""
        return cls(settings.name, tuple(map(Wildcards, settings.modalities)))

    def wants(self, modality: str) -> bool:
        """Whether steps of that modality go there."""
        return not self.modalities or any(each.matches(modality) for each in self.modalities)


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step, without its attributes; times in milliseconds since 1970."""

    sop_instance_uid: str
    state: StepState
    calling_ae_title: str
    modality: str
    station_ae_title: str
    step_id: str
    started: str
    ended: str
    series: int
    instances: int
    messages: int
    created_at: int
    changed_at: int
    scheduled: tuple[ScheduledReference, ...] = ()
    forwards: tuple[ForwardRow, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message that was taken."""

    number: int
    kind: MessageKind
    calling_ae_title: str
    state: StepState
    data_set_bytes: int
    at: int


@dataclass(frozen=True, slots=True)
class ForwardRow:
    """A message for one peer; `due_in_ms` is None for one that is not the next, and `is_claimed` while it is being sent."""

    number: int
    destination: str
    state: ForwardState
    attempts: int
    status: int | None
    reason: str
    due_in_ms: int | None
    is_claimed: bool = False


@dataclass(frozen=True, slots=True)
class ClaimedForward:
    """A message to be sent now.

    Attributes
    ----------
    was_uncertain : bool
        It was begun before, and nobody has said what came of it: the peer may have had it.
    """

    sop_instance_uid: str
    number: int
    destination: str
    kind: MessageKind
    transfer_syntax_uid: str
    data_set: bytes = field(repr=False)
    fence: int
    attempts: int
    was_uncertain: bool

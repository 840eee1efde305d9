"""What of a performed procedure step is looked for: its studies, the scheduled steps it is for, what it made. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from dicomrelay.dicom.performed_step import StepState
from dicomrelay.scheduling.performed_rules import state_of
from dicomrelay.scheduling.performed_table import PERFORMED_SERIES, SCHEDULED_STEPS

_LISTS: Final = ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence")


@dataclass(frozen=True, slots=True)
class ScheduledReference:
    """An item of the Scheduled Step Attributes Sequence; "" for what it does not say."""

    study_instance_uid: str
    accession_number: str = ""
    requested_procedure_id: str = ""
    scheduled_procedure_step_id: str = ""


@dataclass(frozen=True, slots=True)
class InstanceReference:
    """An instance that the step made."""

    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class StepFacts:
    """Attributes
    ----------
    started, ended : str
        Date and time as they came, YYYYMMDD HHMMSS; "" for none.
    series : int
        Items of the Performed Series Sequence.
    references : tuple of InstanceReference
        Each instance once.
    """

    state: StepState
    modality: str
    station_ae_title: str
    step_id: str
    started: str
    ended: str
    scheduled: tuple[ScheduledReference, ...]
    series: int
    references: tuple[InstanceReference, ...]

    @property
    def study_instance_uids(self) -> tuple[str, ...]:
        """The studies that it is for, each once."""
        return tuple(dict.fromkeys(each.study_instance_uid for each in self.scheduled))


def facts_of(step: Dataset) -> StepFacts:
    """The facts of a step that `performed_rules` has let through."""
    series = step.get(PERFORMED_SERIES.keyword) or []
    return StepFacts(
        state=state_of(step),
        modality=_text(step, "Modality"),
        station_ae_title=_text(step, "PerformedStationAETitle"),
        step_id=_text(step, "PerformedProcedureStepID"),
        started=_moment(step, "PerformedProcedureStepStart"),
        ended=_moment(step, "PerformedProcedureStepEnd"),
        scheduled=tuple(map(_scheduled, step.get(SCHEDULED_STEPS.keyword) or ())),
        series=len(series),
        references=tuple({each.sop_instance_uid: each for each in _references(series)}.values()),
    )


def _scheduled(item: Dataset) -> ScheduledReference:
    return ScheduledReference(
        _text(item, "StudyInstanceUID"),
        _text(item, "AccessionNumber"),
        _text(item, "RequestedProcedureID"),
        _text(item, "ScheduledProcedureStepID"),
    )


def _references(series: list[Dataset]) -> Iterator[InstanceReference]:
    for each in series:
        for keyword in _LISTS:
            for item in each.get(keyword) or ():
                yield InstanceReference(
                    _text(each, "SeriesInstanceUID"),
                    _text(item, "ReferencedSOPClassUID"),
                    _text(item, "ReferencedSOPInstanceUID"),
                )


def _moment(step: Dataset, prefix: str) -> str:
    return f"{_text(step, f'{prefix}Date')} {_text(step, f'{prefix}Time')}".strip()


def _text(holder: Dataset, keyword: str) -> str:
    value = holder.get(keyword)
    if value is None:
        return ""
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        value = next(iter(value), "")
    return str(value).strip()

"""Scheduled procedure steps that differ in everything a modality may ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom import config, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset

from dicomrelay.ledger.migrate import migrate
from dicomrelay.runtime import home
from dicomrelay.scheduling.worklist import Worklist
from dicomrelay.scheduling.worklist_item import Item, items_of
from dicomrelay.settings import Settings

EXPLICIT = "1.2.840.10008.1.2.1"


def step(number: int = 1, **more: object) -> Dataset:
    """A data set that is one sound item; `more` by keyword, those of the step begin with `step_`."""
    found, item = Dataset(), Dataset()
    given: dict[str, object] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientID": f"P{number}",
        "PatientName": f"DOE^JOHN {number}",
        "PatientBirthDate": "19700101",
        "PatientSex": "O",
        "AccessionNumber": f"A{number}",
        "StudyInstanceUID": f"1.2.3.{number}",
        "RequestedProcedureID": f"R{number}",
        "RequestedProcedureDescription": "CT HEAD",
    }
    of_step: dict[str, object] = {
        "Modality": "CT",
        "ScheduledStationAETitle": "CT_1",
        "ScheduledProcedureStepStartDate": "20261123",
        "ScheduledProcedureStepStartTime": "0800",
        "ScheduledProcedureStepID": f"S{number}",
        "ScheduledProcedureStepDescription": "HEAD",
        "ScheduledPerformingPhysicianName": "DOC^TOR",
    }
    of_step |= {name.removeprefix("step_"): value for name, value in more.items() if name.startswith("step_")}
    given |= {name: value for name, value in more.items() if not name.startswith("step_")}
    with config.disable_value_validation():
        for holder, values in ((found, given), (item, of_step)):
            for name, value in values.items():
                if value is not None:
                    setattr(holder, name, value)
        found.ScheduledProcedureStepSequence = [item]
    return found


def item(number: int = 1, **more: object) -> Item:
    """The same, taken."""
    (found,) = items_of(step(number, **more))
    return found


# Of one character set, so that a server that compares bytes can be held against ours.
STEPS: Sequence[Dataset] = (
    step(1, PatientName="MUELLER^HANS"),
    step(2, PatientName="MUELLER^ANNA", step_Modality="MR", step_ScheduledStationAETitle="MR_1"),
    step(3, PatientName="SMITH^ANN", step_ScheduledProcedureStepStartTime="123000"),
    step(4, PatientName="SMITH^BOB", step_ScheduledProcedureStepStartDate="20261124"),
    step(5, PatientID="P1", PatientName="MUELLER^HANS", step_ScheduledProcedureStepStartDate="20261125",
         step_ScheduledProcedureStepStartTime="1545"),
    step(6, PatientName="DOE^JANE", step_ScheduledPerformingPhysicianName="HOUSE^GREG", step_Modality="US",
         step_ScheduledStationAETitle="US_1"),
)  # fmt: skip


def write(path: Path, data_set: Dataset, number: int = 1) -> Path:
    """As wlmscpfs reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = EXPLICIT
    data_set.file_meta.MediaStorageSOPClassUID = "1.2.276.0.7230010.3.1.0.1"
    data_set.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number}"
    dcmwrite(path, data_set, enforce_file_format=True)
    return path


@contextmanager
def worklist_of(settings: Settings, items: Sequence[Item] = ()) -> Iterator[Worklist]:
    """The worklist of a home, made if it is not there."""
    home.prepare(settings)
    url = home.ledger_url(settings)
    migrate(url)
    worklist = Worklist.open(url)
    try:
        worklist.put(items)
        yield worklist
    finally:
        worklist.dispose()

"""The worklist held against DCMTK: findscu -W asks ours and wlmscpfs, over the same items, the same questions."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomrelay.net.requestor import RemoteAe
from dicomrelay.scheduling.worklist_item import items_of
from dicomrelay.settings import Settings
from tests.support.archives import require, wlmscpfs
from tests.support.gateway import running
from tests.support.worklist import STEPS, step, worklist_of

pytestmark = pytest.mark.dcmtk
SPS = "(0040,0100)[0]"
RETURNED = (
    "SpecificCharacterSet", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber",
    "StudyInstanceUID", "RequestedProcedureID", "RequestedProcedureDescription",
)  # fmt: skip
RETURNED_OF_STEP = (
    "Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime",
    "ScheduledProcedureStepID", "ScheduledProcedureStepDescription", "ScheduledPerformingPhysicianName",
)  # fmt: skip


@dataclass
class Scene:
    ours: RemoteAe
    theirs: RemoteAe


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("worklists")
    plain = [step_of_ascii(each) for each in STEPS]
    items = [item for each in plain for item in items_of(each)]
    with (
        worklist_of(Settings(home=folder / "home"), items),
        running(folder / "home") as gateway,
        wlmscpfs(folder / "theirs", plain) as theirs,
    ):
        yield Scene(gateway.remote, theirs.remote)


def step_of_ascii(data_set: Dataset) -> Dataset:
    found = Dataset()
    found.update(data_set)
    del found.SpecificCharacterSet
    return found


def findscu(remote: RemoteAe, folder: Path, *keys: str) -> list[Dataset]:
    """The answers, in the order of their steps."""
    folder.mkdir()
    wanted = {key.partition("=")[0] for key in keys}
    asked = [name for name in RETURNED if name not in wanted and name != "SpecificCharacterSet"]
    asked += [f"{SPS}.{name}" for name in RETURNED_OF_STEP if f"{SPS}.{name}" not in wanted]
    argv = [require("findscu"), "-W", "-X", "-aet", "WORKLIST", "-aec", remote.ae_title, "-od", str(folder)]
    for key in (*asked, *keys):
        argv += ["-k", key]
    subprocess.run([*argv, "127.0.0.1", str(remote.port)], check=True, timeout=60, capture_output=True)
    found = [dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]
    return sorted(found, key=lambda each: str(each.StudyInstanceUID))


def facts(answer: Dataset) -> dict[str, str]:
    (of_step,) = answer.ScheduledProcedureStepSequence
    return {
        **{name: str(answer.get(name, "") or "") for name in RETURNED},
        **{name: str(of_step.get(name, "") or "") for name in RETURNED_OF_STEP},
    }


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["PatientID=P1"],
        ["PatientName=MUELLER*"],
        ["PatientName=*^ANN?"],
        [f"{SPS}.Modality=CT"],
        [f"{SPS}.ScheduledStationAETitle=CT_1", f"{SPS}.Modality=CT"],
        [f"{SPS}.ScheduledStationAETitle=CT_1", f"{SPS}.Modality=MR"],
        [f"{SPS}.ScheduledPerformingPhysicianName=HOUSE*"],
        [f"{SPS}.ScheduledProcedureStepStartDate=20261123"],
        [f"{SPS}.ScheduledProcedureStepStartDate=20261124-"],
        [f"{SPS}.ScheduledProcedureStepStartTime=1000-1600"],
        [f"{SPS}.ScheduledProcedureStepStartTime=-0900"],
        [
            f"{SPS}.ScheduledProcedureStepStartDate=20261123",
            f"{SPS}.ScheduledProcedureStepStartTime=1200-1300",
        ],
        [f"{SPS}.ScheduledProcedureStepStartDate=-20261124", "PatientName=S*", "AccessionNumber=A3"],
        # Ranges of both are one, from moment to moment.
        [
            f"{SPS}.ScheduledProcedureStepStartDate=20261122-20261124",
            f"{SPS}.ScheduledProcedureStepStartTime=1000-0900",
        ],
        [
            f"{SPS}.ScheduledProcedureStepStartDate=20261123-20261125",
            f"{SPS}.ScheduledProcedureStepStartTime=1000-1200",
        ],
        [f"{SPS}.ScheduledProcedureStepStartTime=08"],
    ],
    ids=lambda keys: " ".join(key.rpartition(".")[2] for key in keys) or "everything",
)
def test_both_find_the_same(scene: Scene, tmp_path: Path, keys: list[str]) -> None:
    """Every attribute of every answer."""
    ours = [facts(each) for each in findscu(scene.ours, tmp_path / "ours", *keys)]
    theirs = [facts(each) for each in findscu(scene.theirs, tmp_path / "theirs", *keys)]
    assert ours == theirs


def test_findscu_reads_text_of_other_character_sets(tmp_path: Path) -> None:
    """A request in Latin 1 finds and gets Latin 1."""
    (item,) = items_of(step(1, PatientName="MÜLLER^JÖRG"))
    home = tmp_path / "home"
    with worklist_of(Settings(home=home), [item]), running(home) as gateway:
        (answer,) = findscu(
            gateway.remote, tmp_path / "ours", "SpecificCharacterSet=ISO_IR 100",
            "PatientName=M\udcdcLLER*",  # a byte of Latin 1 on the command line
        )  # fmt: skip
    assert (answer.SpecificCharacterSet, str(answer.PatientName)) == ("ISO_IR 100", "MÜLLER^JÖRG")

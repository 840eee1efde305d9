"""C-FIND at our gateway by SCUs that are not ours, and beside DCMTK's dcmqrscp over the same data: the same answers."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
)

from dicomrelay.net.requestor import RemoteAe
from dicomrelay.runtime.ports import free_ports
from tests.support.archives import dcmqrscp, orthanc, store
from tests.support.gateway import running
from tests.support.house import require
from tests.support.queries import ROOT, STUDIES, fill_archive, write_studies


@dataclass
class Scene:
    """Our gateway, and perhaps another archive with the same instances."""

    ours: RemoteAe
    files: Sequence[Path]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("query")
    files = write_studies(folder / "in")
    fill_archive(folder / "home" / "archive", files)
    with running(folder / "home") as gateway:
        yield Scene(gateway.remote, files)


@pytest.fixture(scope="module")
def reference(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteAe]:
    with dcmqrscp(tmp_path_factory.mktemp("reference") / "qr") as archive:
        store(archive, scene.files)
        yield archive.remote


def findscu(remote: RemoteAe, folder: Path, *keys: str, model: str = "-S") -> list[Dataset]:
    """What DCMTK's findscu gets."""
    folder.mkdir(parents=True)
    argv = [require("findscu"), model, "-X", "-od", str(folder), "-aet", "US", "-aec", remote.ae_title]
    for key in keys:
        argv += ["-k", key]
    subprocess.run([*argv, remote.host, str(remote.port)], check=True, timeout=60, capture_output=True)
    return [dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]


def _rows(answers: Sequence[Dataset], keywords: Sequence[str]) -> list[tuple[str, ...]]:
    return sorted(tuple(str(answer.get(keyword) or "") for keyword in keywords) for answer in answers)


_STUDY_KEYS = ("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "PatientID", "StudyID")


@pytest.mark.dcmtk
@pytest.mark.parametrize(
    "keys",
    [
        (),
        ("PatientID=P1",),
        ("PatientID=P*",),
        ("PatientID=P9",),
        ("PatientName=SMITH^ANN",),
        ("PatientName=SMITH^ANN?",),
        ("PatientName=SMITH^*",),
        ("AccessionNumber=A?",),
        ("AccessionNumber=A*",),
        ("StudyDate=20260102",),
        ("StudyDate=20260101-20260131",),
        ("StudyDate=20260103-",),
        ("StudyDate=-20251231",),
        ("StudyDate=20260102", "StudyTime=080000-110000"),
        ("StudyTime=101500",),
        ("StudyID=?",),
        (f"StudyInstanceUID={ROOT}.2\\{ROOT}.5\\{ROOT}.99",),
        ("ReferringPhysicianName",),
    ],
)
def test_studies_are_those_of_dcmqrscp(
    scene: Scene, reference: RemoteAe, tmp_path: Path, keys: tuple[str, ...]
) -> None:
    """The same client, the same keys, the same answers.

    But for the case of names, which PS3.4 Section C.2.2.2.1 leaves open: dcmqrscp heeds it, we do not, and nor does a
    person at a workstation.
    """
    wanted = [key for key in _STUDY_KEYS if not any(each.startswith(f"{key}=") for each in keys)]
    asked = ("QueryRetrieveLevel=STUDY", *wanted, *keys)
    theirs = findscu(reference, tmp_path / "theirs", *asked)
    ours = findscu(scene.ours, tmp_path / "ours", *asked)
    lower_case = f"{ROOT}.6"
    assert _rows(ours, _STUDY_KEYS) == _rows(
        [*theirs, *(each for each in ours if each.StudyInstanceUID == lower_case and "SMITH^*" in asked[-1])],
        _STUDY_KEYS,
    )


@pytest.mark.dcmtk
@pytest.mark.parametrize(
    ("model", "asked", "keywords"),
    [
        ("-P", ("QueryRetrieveLevel=PATIENT", "PatientID"), ("PatientID", "PatientSex", "PatientBirthDate")),
        ("-P", ("QueryRetrieveLevel=STUDY", "PatientID=P1"), ("StudyInstanceUID", "StudyDate", "StudyDescription")),
        (
            "-P",
            ("QueryRetrieveLevel=SERIES", "PatientID=P1", f"StudyInstanceUID={ROOT}.1"),
            ("SeriesInstanceUID", "Modality", "SeriesNumber"),
        ),
        ("-S", ("QueryRetrieveLevel=SERIES", f"StudyInstanceUID={ROOT}.3"), ("SeriesInstanceUID", "Modality")),
        (
            "-S",
            ("QueryRetrieveLevel=SERIES", f"StudyInstanceUID={ROOT}.1", "Modality=MR"),
            ("SeriesInstanceUID", "SeriesNumber"),
        ),
        (
            "-S",
            ("QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={ROOT}.1", f"SeriesInstanceUID={ROOT}.1.1"),
            ("SOPInstanceUID", "InstanceNumber"),
        ),
        (
            "-S",
            (
                "QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={ROOT}.1", f"SeriesInstanceUID={ROOT}.1.1",
                "InstanceNumber=2",
            ),
            ("SOPInstanceUID",),
        ),
    ],
)  # fmt: skip
def test_every_level_is_that_of_dcmqrscp(
    scene: Scene,
    reference: RemoteAe,
    tmp_path: Path,
    model: str,
    asked: tuple[str, ...],
    keywords: tuple[str, ...],
) -> None:
    """Down the hierarchy of both models."""
    given = {key.partition("=")[0] for key in asked}
    keys = (*asked, *(keyword for keyword in keywords if keyword not in given))
    theirs = findscu(reference, tmp_path / "theirs", *keys, model=model)
    ours = findscu(scene.ours, tmp_path / "ours", *keys, model=model)
    assert _rows(ours, keywords) == _rows(theirs, keywords)
    assert ours


@pytest.mark.dcmtk
def test_findscu_reads_names_in_its_own_character_set(scene: Scene, tmp_path: Path) -> None:
    """Latin 1 asked, Latin 1 answered."""
    (first, second) = findscu(
        scene.ours, tmp_path / "ours", "QueryRetrieveLevel=STUDY", "SpecificCharacterSet=ISO_IR 100", "PatientID=P1",
        "PatientName",
    )  # fmt: skip
    for answer in (first, second):
        assert answer.SpecificCharacterSet == "ISO_IR 100"
        assert str(answer.PatientName) == "MÜLLER^JÖRG"
        assert answer.PatientName.original_string == "MÜLLER^JÖRG".encode("latin-1")


def _identifier(**values: Any) -> Dataset:
    data_set = Dataset()
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    return data_set


def _pynetdicom(
    remote: RemoteAe, identifier: Dataset, model: str, *, extended: bytes = b"", cancel_after: int = 0
) -> list[tuple[int, Dataset | None]]:
    ae = AE("PYNETDICOM")
    ae.add_requested_context(model)
    items = []
    if extended:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = model, extended
        items.append(item)
    association = ae.associate(remote.host, remote.port, ae_title=remote.ae_title, ext_neg=items)
    assert association.is_established
    found: list[tuple[int, Dataset | None]] = []
    try:
        for status, answer in association.send_c_find(identifier, model, msg_id=5):
            found.append((status.Status, answer))
            if len(found) == cancel_after:
                association.send_c_cancel(5, query_model=model)
    finally:
        association.release()
    return found


def test_pynetdicom_asks_both_models(scene: Scene) -> None:
    """Pending with identifiers, and Success."""
    found = _pynetdicom(
        scene.ours,
        _identifier(QueryRetrieveLevel="PATIENT", PatientID="", NumberOfPatientRelatedInstances=None),
        PatientRootQueryRetrieveInformationModelFind,
    )
    assert [status for status, _ in found] == [0xFF00] * 5 + [0]
    counts = {answer.PatientID: answer.NumberOfPatientRelatedInstances for _, answer in found if answer}
    assert counts == {"P1": 6, "P2": 2, "P3": 1, "P4": 2, "P5": 1}
    found = _pynetdicom(
        scene.ours,
        _identifier(QueryRetrieveLevel="STUDY", PatientName="SMITH*", StudyInstanceUID=""),
        StudyRootQueryRetrieveInformationModelFind,
    )
    assert sorted(str(answer.StudyInstanceUID) for _, answer in found if answer) == [
        f"{ROOT}.{number}" for number in (3, 4, 6)
    ]


def test_pynetdicom_agrees_on_relational_queries(scene: Scene) -> None:
    """And asks all images at once."""
    found = _pynetdicom(
        scene.ours,
        _identifier(QueryRetrieveLevel="IMAGE", SOPInstanceUID=""),
        StudyRootQueryRetrieveInformationModelFind,
        extended=b"\x01\x00\x00",
    )
    assert found[-1][0] == 0
    assert len(found) == 1 + sum(each.instances for study in STUDIES for each in study.series)


def test_pynetdicom_is_told_what_is_wrong(scene: Scene) -> None:
    """A900, and no identifier."""
    found = _pynetdicom(
        scene.ours,
        _identifier(QueryRetrieveLevel="SERIES", SeriesInstanceUID=""),
        StudyRootQueryRetrieveInformationModelFind,
    )
    assert found == [(0xA900, None)]


def test_orthanc_asks_us_as_a_remote_modality(scene: Scene, tmp_path: Path) -> None:
    """By its REST interface, at each level."""
    (http,) = free_ports(1)
    modality = [scene.ours.ae_title, scene.ours.host, scene.ours.port]
    with orthanc(tmp_path / "orthanc", HttpPort=http, DicomModalities={"relay": modality}):
        assert _rest(http, "/modalities/relay/echo", {}) == {}
        studies = _query(http, "Study", {"PatientID": "P1", "StudyDescription": "", "ModalitiesInStudy": ""})
        assert sorted(each["StudyInstanceUID"] for each in studies) == [f"{ROOT}.1", f"{ROOT}.2"]
        assert {each["StudyDescription"] for each in studies} == {"HEAD", "ABDOMEN"}
        named = _query(http, "Study", {"PatientName": "MÜLLER*"})
        assert {each["PatientName"] for each in named} == {"MÜLLER^JÖRG"}
        patients = _query(http, "Patient", {"PatientID": "P*"})
        assert sorted(each["PatientID"] for each in patients) == ["P1", "P2", "P3", "P4", "P5"]
        series = _query(
            http, "Series", {"PatientID": "P1", "StudyInstanceUID": f"{ROOT}.1", "Modality": "MR"}
        )
        assert [each["SeriesInstanceUID"] for each in series] == [f"{ROOT}.1.2"]
        images = _query(
            http,
            "Instance",
            {"PatientID": "P1", "StudyInstanceUID": f"{ROOT}.1", "SeriesInstanceUID": f"{ROOT}.1.1"},
        )
        assert len(images) == 3


def _rest(port: int, path: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _query(port: int, level: str, keys: Mapping[str, str]) -> list[dict[str, str]]:
    made = _rest(port, "/modalities/relay/query", {"Level": level, "Query": keys})
    answers: list[dict[str, str]] = _rest(port, f"{made['Path']}/answers?expand&simplify")
    return answers

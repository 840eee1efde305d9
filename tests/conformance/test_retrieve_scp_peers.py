"""C-MOVE and C-GET at our gateway by SCUs that are not ours, beside DCMTK's dcmqrscp over the same data."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
    MRImageStorage,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicomrelay.net.requestor import RemoteAe
from dicomrelay.runtime.ports import free_ports
from tests.support.archives import dcmqrscp, orthanc, store
from tests.support.gateway import running
from tests.support.house import Storescp, require, storescp, wait_for
from tests.support.queries import ROOT, fill_archive, write_studies


@dataclass
class Scene:
    """Our gateway and dcmqrscp with the same instances; both may move to SINK, and to MOVESCU on a port of its own."""

    ours: RemoteAe
    theirs: RemoteAe
    sink: Storescp
    movescu_port: int
    files: Sequence[Path]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("retrieve")
    files = write_studies(folder / "in")
    fill_archive(folder / "home" / "archive", files)
    (movescu_port,) = free_ports(1)
    with ExitStack() as stack:
        sink = stack.enter_context(storescp("SINK", folder / "sink"))
        target = RemoteAe("MOVESCU", "127.0.0.1", movescu_port)
        theirs = stack.enter_context(dcmqrscp(folder / "qr", destination=target))
        store(theirs, files)
        destinations = [
            {"name": "sink", "ae_title": "SINK", "host": "127.0.0.1", "port": sink.port},
            {"name": "movescu", "ae_title": "MOVESCU", "host": "127.0.0.1", "port": movescu_port},
        ]
        gateway = stack.enter_context(running(folder / "home", sections={"destinations": destinations}))
        yield Scene(gateway.remote, theirs.remote, sink, movescu_port, files)


KEYS = [
    ("-S", ("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={ROOT}.1")),
    ("-S", ("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={ROOT}.99")),
    ("-S", ("QueryRetrieveLevel=SERIES", f"StudyInstanceUID={ROOT}.1", f"SeriesInstanceUID={ROOT}.1.2")),
    (
        "-S",
        (
            "QueryRetrieveLevel=IMAGE",
            f"StudyInstanceUID={ROOT}.1",
            f"SeriesInstanceUID={ROOT}.1.1",
            f"SOPInstanceUID={ROOT}.1.1.1\\{ROOT}.1.1.3",
        ),
    ),
    ("-P", ("QueryRetrieveLevel=PATIENT", "PatientID=P1")),
    ("-P", ("QueryRetrieveLevel=STUDY", "PatientID=P2", f"StudyInstanceUID={ROOT}.3")),
]


def _dcmtk(
    program: str, remote: RemoteAe, folder: Path, model: str, keys: Sequence[str], *options: str
) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    argv = [require(program), "-v", model, "-aet", "MOVESCU", "-aec", remote.ae_title, *options]
    if program == "getscu" or "+P" in options:
        argv += ["-od", str(folder)]
    for key in keys:
        argv += ["-k", key]
    done = subprocess.run(
        [*argv, remote.host, str(remote.port)], timeout=60, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def is_success(said: str) -> bool:
    """Whether the last response that a program of DCMTK heard was a success."""
    return bool(re.search(r"Received (C-GET|Final Move) Response \((0x0000|Success)", said))


def _instances(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in folder.iterdir():
        ds = dcmread(path)
        found[str(ds.SOPInstanceUID)] = bytes(ds.PixelData)
    return found


@pytest.mark.dcmtk
@pytest.mark.parametrize(("model", "keys"), KEYS)
def test_getscu_gets_what_it_gets_of_dcmqrscp(
    scene: Scene, tmp_path: Path, model: str, keys: Sequence[str]
) -> None:
    """The same client, the same keys, the same instances."""
    theirs = _dcmtk("getscu", scene.theirs, tmp_path / "theirs", model, keys)
    ours = _dcmtk("getscu", scene.ours, tmp_path / "ours", model, keys)
    assert _instances(tmp_path / "ours") == _instances(tmp_path / "theirs"), (ours, theirs)
    assert (is_success(ours), is_success(theirs)) == (True, True), (ours, theirs)


@pytest.mark.dcmtk
@pytest.mark.parametrize(("model", "keys"), KEYS)
def test_movescu_moves_to_itself_as_from_dcmqrscp(
    scene: Scene, tmp_path: Path, model: str, keys: Sequence[str]
) -> None:
    """movescu listens itself: the usual way of a workstation."""
    options = ("-aem", "MOVESCU", "+P", str(scene.movescu_port))
    theirs = _dcmtk("movescu", scene.theirs, tmp_path / "theirs", model, keys, *options)
    ours = _dcmtk("movescu", scene.ours, tmp_path / "ours", model, keys, *options)
    assert _instances(tmp_path / "ours") == _instances(tmp_path / "theirs"), (ours, theirs)
    assert (is_success(ours), is_success(theirs)) == (True, True), (ours, theirs)


@pytest.mark.dcmtk
def test_movescu_moves_to_a_third(scene: Scene, tmp_path: Path) -> None:
    """And is told of a destination that nobody knows."""
    before = set(scene.sink.files())
    said = _dcmtk("movescu", scene.ours, tmp_path, "-S", KEYS[0][1], "-aem", "SINK")
    assert is_success(said), said
    wait_for(lambda: len(set(scene.sink.files()) - before) == 5, timeout_s=5, what="five files at the sink")
    refused = _dcmtk("movescu", scene.ours, tmp_path, "-S", KEYS[0][1], "-aem", "NOBODY")
    assert re.search("a801|MoveDestinationUnknown", refused, re.IGNORECASE), refused


@pytest.mark.dcmtk
@pytest.mark.parametrize(
    ("keys", "they_refuse"),
    [
        (("StudyInstanceUID=1.2.3",), True),
        (("QueryRetrieveLevel=STUDY",), False),  # dcmqrscp gives all that it has
        (("QueryRetrieveLevel=SERIES", f"SeriesInstanceUID={ROOT}.1.1"), False),
        (("QueryRetrieveLevel=WHATEVER", f"StudyInstanceUID={ROOT}.1"), True),
        (("QueryRetrieveLevel=PATIENT", "PatientID=P1"), False),
    ],
)
def test_what_is_no_retrieve_is_refused(
    scene: Scene, tmp_path: Path, keys: Sequence[str], they_refuse: bool
) -> None:
    """Missing keys and unknown levels: no success, and nothing comes. dcmqrscp takes some of them for less than was meant."""
    if they_refuse:
        assert not is_success(_dcmtk("getscu", scene.theirs, tmp_path / "theirs", "-S", keys))
    said = _dcmtk("getscu", scene.ours, tmp_path / "ours", "-S", keys)
    assert not is_success(said), said
    assert _instances(tmp_path / "ours") == {}


@pytest.mark.dcmtk
def test_getscu_in_other_transfer_syntaxes(scene: Scene, tmp_path: Path) -> None:
    """Implicit VR only: changed without loss on the way."""
    said = _dcmtk("getscu", scene.ours, tmp_path, "-S", KEYS[0][1], "+xi")
    assert is_success(said), said
    assert len(_instances(tmp_path)) == 5
    syntaxes = {str(dcmread(path).file_meta.TransferSyntaxUID) for path in tmp_path.iterdir()}
    assert syntaxes <= {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}


# ---- pynetdicom


def _identifier(level: str, **keys: str) -> Dataset:
    found = Dataset()
    found.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(found, keyword, value)
    return found


def test_a_get_of_pynetdicom(scene: Scene) -> None:
    """Its default transfer syntaxes, with role selection; pending and final as it reads them."""
    ae, came = AE("PYND"), list[str]()
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    roles = []
    for uid in (CTImageStorage, MRImageStorage):
        ae.add_requested_context(uid)
        roles.append(build_role(uid, scp_role=True))

    def keep(event: evt.Event) -> int:
        came.append(str(event.dataset.SOPInstanceUID))
        return 0

    association = ae.associate(
        scene.ours.host, scene.ours.port, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, keep)]
    )
    assert association.is_established
    responses = list(
        association.send_c_get(
            _identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"), StudyRootQueryRetrieveInformationModelGet
        )
    )
    association.release()
    status = responses[-1][0]
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0, 5)
    assert len(set(came)) == 5


def test_a_move_of_pynetdicom(scene: Scene) -> None:
    """Success, and failures with their list; the originator reaches the destination."""
    destination, originators = AE("MOVESCU"), list[tuple[str, int]]()
    for uid in (CTImageStorage, MRImageStorage):
        destination.add_supported_context(uid)

    def keep(event: evt.Event) -> int:
        originators.append(
            (event.request.MoveOriginatorApplicationEntityTitle, event.request.MoveOriginatorMessageID)
        )
        return 0xA700 if str(event.dataset.SOPInstanceUID).endswith(".2.1") else 0

    server = destination.start_server(
        ("127.0.0.1", scene.movescu_port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)]
    )
    try:
        ae = AE("PYND")
        for model in (
            StudyRootQueryRetrieveInformationModelMove,
            PatientRootQueryRetrieveInformationModelMove,
        ):
            ae.add_requested_context(model)
        association = ae.associate(scene.ours.host, scene.ours.port)
        *_, (status, failed) = association.send_c_move(
            _identifier("PATIENT", PatientID="P1"),
            "MOVESCU",
            PatientRootQueryRetrieveInformationModelMove,
            msg_id=5,
        )
        counts = status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations
        assert (status.Status, counts) == (0xB000, (5, 1))
        assert failed.FailedSOPInstanceUIDList == f"{ROOT}.1.2.1"
        assert set(originators) == {("PYND", 5)}
        *_, (status, _) = association.send_c_move(
            _identifier("STUDY", StudyInstanceUID=f"{ROOT}.3"),
            "NOBODY",
            StudyRootQueryRetrieveInformationModelMove,
        )
        assert status.Status == 0xA801
        association.release()
    finally:
        server.shutdown()


# ---- Orthanc retrieves from us


def _rest(port: int, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=60) as answer:
        return json.loads(answer.read())


@pytest.mark.dcmtk
def test_orthanc_queries_and_retrieves_from_us(tmp_path: Path) -> None:
    """As a remote modality of its own: C-FIND, then C-MOVE to itself."""
    files = write_studies(tmp_path / "in")
    fill_archive(tmp_path / "home" / "archive", files)
    gateway_port, http = free_ports(2)
    modalities = {"relay": ["DICOMRELAY", "127.0.0.1", gateway_port]}
    with orthanc(
        tmp_path / "orthanc",
        HttpServerEnabled=True, HttpPort=http, AuthenticationEnabled=False, DicomModalities=modalities,
    ) as archive:  # fmt: skip
        destination = {
            "name": "orthanc", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": archive.remote.port, "moves_only": True,
        }  # fmt: skip
        with running(tmp_path / "home", sections={"destinations": [destination]}, port=gateway_port):
            query = _rest(http, "/modalities/relay/query", {"Level": "Study", "Query": {"PatientID": "P1"}})[
                "ID"
            ]
            assert len(_rest(http, f"/queries/{query}/answers")) == 2
            _rest(http, f"/queries/{query}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
            assert len(_rest(http, "/instances")) == 6

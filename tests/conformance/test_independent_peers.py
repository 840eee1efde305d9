"""The engine against implementations that are not ours, in both roles, over real sockets: pynetdicom and DCMTK."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from time import monotonic, sleep

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from dicomrelay.net.requestor import Association, RemoteAe, StoreItem
from dicomrelay.net.service import EndingKind, StoreReply
from dicomrelay.runtime.ports import free_ports
from tests.support.engine import (
    CT_IMAGE_STORAGE,
    EXPLICIT_VR_LITTLE_ENDIAN,
    MemoryService,
    running_acceptor,
)

VERIFICATION = ("1.2.840.10008.1.1", ("1.2.840.10008.1.2",))
CT = (CT_IMAGE_STORAGE, (EXPLICIT_VR_LITTLE_ENDIAN,))
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} of DCMTK is needed here")
        pytest.skip(f"{name} of DCMTK is not installed")
    return found


def _write_instance(path: Path, number: int, *, pixel_bytes: int = 131_072) -> StoreItem:
    """A file of an independent writer (pydicom), and where its data set lies in it."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CT_IMAGE_STORAGE, f"1.2.826.0.1.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "1.2.826.0.2", "1.2.826.0.3", "CT"
    ds.PatientName, ds.PatientID = "TEST^ENGINE", "E1"
    ds.Rows = ds.Columns = 256
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 15, 0, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = os.urandom(pixel_bytes)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT_VR_LITTLE_ENDIAN
    ds.save_as(path, enforce_file_format=True)
    raw = path.read_bytes()
    offset = 144 + int.from_bytes(raw[140:144], "little")  # preamble 128, DICM 4, group length element 12
    return StoreItem(
        CT_IMAGE_STORAGE, ds.SOPInstanceUID, EXPLICIT_VR_LITTLE_ENDIAN, path, offset, len(raw) - offset
    )


def _data_set(item: StoreItem) -> bytes:
    return item.path.read_bytes()[item.data_set_offset :]


# ---- pynetdicom


def _pynetdicom_scp(max_pdu: int, received: list[bytes], status: int = 0) -> tuple[AE, int]:
    def keep(event: evt.Event) -> int:
        received.append(event.request.DataSet.getvalue())
        return status

    ae = AE("PEER")
    ae.maximum_pdu_size = max_pdu
    ae.add_supported_context(*CT)
    ae.add_supported_context(*VERIFICATION)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    return ae, server.socket.getsockname()[1]


@pytest.mark.parametrize("max_pdu", [0, 4096, 16_382, 1 << 20])
def test_we_send_to_pynetdicom(tmp_path: Path, max_pdu: int) -> None:
    """Whatever maximum length it states, none included: byte for byte."""
    received: list[bytes] = []
    items = [_write_instance(tmp_path / f"{n}.dcm", n) for n in range(3)]
    ae, port = _pynetdicom_scp(max_pdu, received)
    try:
        with Association.request(
            RemoteAe("PEER", "127.0.0.1", port), calling_ae_title="RELAY", contexts=[VERIFICATION, CT]
        ) as association:
            assert association.echo() == 0
            assert [association.store(item) for item in items] == [StoreReply(0)] * 3
    finally:
        ae.shutdown()
    assert received == [_data_set(item) for item in items]


def test_a_refusal_of_pynetdicom_is_a_status(tmp_path: Path) -> None:
    """A700 comes back as it was said."""
    ae, port = _pynetdicom_scp(16_382, [], status=0xA700)
    try:
        with Association.request(
            RemoteAe("PEER", "127.0.0.1", port), calling_ae_title="RELAY", contexts=[CT]
        ) as association:
            assert association.store(_write_instance(tmp_path / "x.dcm", 1)).status == 0xA700
    finally:
        ae.shutdown()


def test_a_context_pynetdicom_refuses_is_not_accepted() -> None:
    """One of three contexts is refused; the other two are there."""
    ae, port = _pynetdicom_scp(16_382, [])
    try:
        contexts = [VERIFICATION, ("1.2.840.10008.5.1.4.1.1.4", (EXPLICIT_VR_LITTLE_ENDIAN,)), CT]
        with Association.request(
            RemoteAe("PEER", "127.0.0.1", port), calling_ae_title="RELAY", contexts=contexts
        ) as association:
            assert sorted(association.accepted.values()) == [1, 5]
    finally:
        ae.shutdown()


@pytest.mark.parametrize("pixel_bytes", [2, 131_072, 3_000_000])
def test_pynetdicom_sends_to_us(tmp_path: Path, pixel_bytes: int) -> None:
    """C-ECHO, several C-STORE, release."""
    items = [_write_instance(tmp_path / f"{n}.dcm", n, pixel_bytes=pixel_bytes) for n in range(3)]
    with running_acceptor() as running:
        ae = AE("PEER")
        ae.add_requested_context(*CT)
        ae.add_requested_context(*VERIFICATION)
        association = ae.associate("127.0.0.1", running.port, ae_title="RELAY")
        assert association.is_established
        assert association.send_c_echo().Status == 0
        for item in items:
            assert association.send_c_store(item.path).Status == 0
        association.release()
        ending = running.service.wait_ending()
        assert (ending.kind, ending.stored, ending.echoes) == (EndingKind.RELEASED, 3, 1)
        stored = running.service.stored
        assert [each.request.sop_instance_uid for each in stored] == [item.sop_instance_uid for item in items]
        assert [dcmread(BytesIO(each.data_set), force=True).PixelData[:2] for each in stored] == [
            dcmread(item.path).PixelData[:2] for item in items
        ]


def test_what_pynetdicom_negotiates_is_understood() -> None:
    """Every user information item that it can write reaches the service as a value."""
    with running_acceptor() as running:
        ae = AE("PEER")
        ae.add_requested_context(*CT)
        window = AsynchronousOperationsWindowNegotiation()
        window.maximum_number_operations_invoked, window.maximum_number_operations_performed = 5, 3
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = CT_IMAGE_STORAGE, True, True
        extended = SOPClassExtendedNegotiation()
        extended.sop_class_uid, extended.service_class_application_information = (
            CT_IMAGE_STORAGE,
            b"\x02\x00\x03",
        )
        common = SOPClassCommonExtendedNegotiation()
        common.sop_class_uid, common.service_class_uid = CT_IMAGE_STORAGE, "1.2.840.10008.4.2"
        common.related_general_sop_class_identification = ["1.2.840.10008.5.1.4.1.1.88.22"]
        identity = UserIdentityNegotiation()
        identity.user_identity_type, identity.primary_field, identity.secondary_field = 2, b"alice", b"s3cret"
        association = ae.associate(
            "127.0.0.1", running.port, ext_neg=[window, role, extended, common, identity]
        )
        assert association.is_established
        association.release()
        information = running.service.requests[0].user_information
    assert information.implementation_version_name.startswith("PYNETDICOM")
    assert (information.asynchronous_operations.invoked, information.asynchronous_operations.performed) == (
        5,
        3,
    )
    assert (information.roles[0].sop_class_uid, information.roles[0].scp) == (CT_IMAGE_STORAGE, True)
    assert information.extended[0].application_information == b"\x02\x00\x03"
    assert information.common_extended[0].related_general_sop_class_uids == ("1.2.840.10008.5.1.4.1.1.88.22",)
    assert (information.user_identity.primary_field, information.user_identity.secondary_field) == (
        b"alice",
        b"s3cret",
    )


def test_an_operation_we_do_not_do_is_refused_to_pynetdicom_and_it_goes_on() -> None:
    """C-FIND is answered 0211; the C-ECHO after it succeeds."""
    find = "1.2.840.10008.5.1.4.1.2.2.1"
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    with running_acceptor() as running:
        ae = AE("PEER")
        ae.add_requested_context(find)
        ae.add_requested_context(*VERIFICATION)
        association = ae.associate("127.0.0.1", running.port)
        assert [status.Status for status, _ in association.send_c_find(query, find)] == [0x0211]
        assert association.send_c_echo().Status == 0
        association.release()


def test_an_abort_of_pynetdicom_is_seen() -> None:
    """The service learns who ended it."""
    with running_acceptor() as running:
        ae = AE("PEER")
        ae.add_requested_context(*VERIFICATION)
        ae.associate("127.0.0.1", running.port).abort()
        assert running.service.wait_ending().kind is EndingKind.ABORTED_BY_PEER


# ---- DCMTK


@pytest.mark.dcmtk
def test_echoscu_is_answered() -> None:
    """Exit code 0."""
    with running_acceptor() as running:
        subprocess.run([_tool("echoscu"), "127.0.0.1", str(running.port)], check=True, timeout=30)
        assert running.service.wait_ending().echoes == 1


@pytest.mark.dcmtk
@pytest.mark.parametrize("options", [[], ["--max-send-pdu", "4096"], ["--required"]], ids=str)
def test_storescu_sends_to_us(tmp_path: Path, options: list[str]) -> None:
    """Byte for byte what the file holds: storescu sends explicit VR little endian as it lies."""
    items = [_write_instance(tmp_path / f"{n}.dcm", n) for n in range(3)]
    paths = [str(item.path) for item in items]
    with running_acceptor() as running:
        command = [_tool("storescu"), *options, "127.0.0.1", str(running.port), *paths]
        subprocess.run(command, check=True, timeout=60)
        assert running.service.wait_ending().kind is EndingKind.RELEASED
        assert [each.data_set for each in running.service.stored] == [_data_set(item) for item in items]


@pytest.mark.dcmtk
def test_storescu_hears_our_refusals(tmp_path: Path) -> None:
    """A status of failure makes storescu fail, and says so in its words."""
    item = _write_instance(tmp_path / "x.dcm", 1)
    with running_acceptor(MemoryService(reply=StoreReply(0xA700, "no room"))) as running:
        done = subprocess.run(
            [_tool("storescu"), "-v", "127.0.0.1", str(running.port), str(item.path)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert "OutOfResources" in done.stdout + done.stderr


@pytest.mark.dcmtk
@pytest.mark.parametrize("options", [[], ["--max-pdu", "4096"], ["--max-pdu", "131072"]], ids=str)
def test_we_send_to_storescp(tmp_path: Path, options: list[str]) -> None:
    """It writes the data set bit for bit (+B), and answers our C-ECHO."""
    items = [_write_instance(tmp_path / f"{n}.dcm", n) for n in range(3)]
    kept = tmp_path / "kept"
    kept.mkdir()
    with (
        _storescp([*options, "+B", "-od", str(kept)]) as port,
        Association.request(
            RemoteAe("ANY", "127.0.0.1", port), calling_ae_title="RELAY", contexts=[VERIFICATION, CT]
        ) as association,
    ):
        assert association.echo() == 0
        assert [association.store(item).status for item in items] == [0, 0, 0]
    written = sorted(kept.iterdir())
    assert len(written) == 3
    assert sorted(_data_set(item) for item in items) == sorted(
        raw[144 + int.from_bytes(raw[140:144], "little") :] for raw in (path.read_bytes() for path in written)
    )


@pytest.mark.dcmtk
def test_storescp_that_refuses_or_aborts(tmp_path: Path) -> None:
    """An unknown context is not accepted by storescp; what it aborts is an error of ours with words."""
    item = _write_instance(tmp_path / "x.dcm", 1)
    from dicomrelay.errors import AssociationAborted, AssociationRejected, NoAcceptedContext  # noqa: PLC0415

    with _storescp(["--refuse"]) as port, pytest.raises(AssociationRejected):
        Association.request(RemoteAe("ANY", "127.0.0.1", port), calling_ae_title="RELAY", contexts=[CT])
    with _storescp(["--abort-after"]) as port:
        association = Association.request(
            RemoteAe("ANY", "127.0.0.1", port), calling_ae_title="RELAY", contexts=[CT]
        )
        with pytest.raises(AssociationAborted):
            association.store(item)
    with _storescp(["+xy"]) as port:
        private = [("1.2.826.0.99", (JPEG_BASELINE,)), CT]
        with Association.request(
            RemoteAe("ANY", "127.0.0.1", port), calling_ae_title="RELAY", contexts=private
        ) as association:
            strange = StoreItem(
                "1.2.826.0.99", "1.2", JPEG_BASELINE, item.path, item.data_set_offset, item.data_set_bytes
            )
            with pytest.raises(NoAcceptedContext):
                association.store(strange)


@contextmanager
def _storescp(options: list[str]) -> Iterator[int]:
    """A storescp on a free port; its output is thrown away."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [_tool("storescp"), *options, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = monotonic() + 10
        while not _listens(port):
            assert monotonic() < deadline
            assert process.poll() is None
            sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True

"""One C-STORE request from its first byte to the answer, against a spool on disk."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from dicomrelay import errors
from dicomrelay.dicom.status import Status
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import RelayError
from dicomrelay.net.replies import REPLIES, reply_to
from dicomrelay.net.service import (
    Admission,
    AssociationEnding,
    AssociationInfo,
    EndingKind,
    PeerConnection,
    StoreReply,
    finish,
)
from dicomrelay.settings import GatewaySettings, PeerSettings
from dicomrelay.spool import Spool
from dicomrelay.ul.pdu import AssociateReject, AssociateRequest, ProposedContext, UserInformation
from scp_gateway.admission import Peers
from scp_gateway.service import GatewayService
from scp_gateway.store_sink import SpoolSink
from tests.support.data_sets import CT_IMAGE_STORAGE, ENCODERS, EXPLICIT, IMPLICIT
from tests.support.spool import DATA_SET, Faulty

PEER = AssociationInfo("a1", "MODALITY", "DICOMRELAY", "127.0.0.1", 5000, "1.2", "TEST")
LE = ENCODERS[EXPLICIT]


class Gateway:
    """A service over a spool, and what it was told."""

    def __init__(self, root: Path, operations: Faulty | None = None, *, min_free_bytes: int = 0) -> None:
        self.spool = Spool(root, operations=operations, min_free_bytes=min_free_bytes)
        self.commits = 0
        self.service = GatewayService(GatewaySettings(), Peers([]), self.spool, self._committed)

    def _committed(self) -> None:
        self.commits += 1

    def store(
        self, data_set: bytes, *, uid: str = "1.2.3", sop_class: str = CT_IMAGE_STORAGE, step: int = 64
    ) -> StoreReply:
        """Send a data set in pieces of `step` bytes."""
        sink = self.service.begin_store(PEER, CStoreRequest(1, sop_class, uid), EXPLICIT)
        if isinstance(sink, StoreReply):
            return sink
        for at in range(0, len(data_set), step):
            sink.write([memoryview(data_set)[at : at + step]])
        return finish(sink)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path / "spool")
    yield gateway
    gateway.spool.close()


def left(gateway: Gateway) -> int:
    """Files in new/, of whatever kind."""
    return len(list((gateway.spool.root / "new").iterdir()))


@pytest.mark.parametrize("step", [1, 64, 100_000])
def test_success_means_that_it_is_in_the_spool(gateway: Gateway, step: int) -> None:
    """With its bytes, digest and provenance; and the notifier is told once."""
    assert gateway.store(DATA_SET, step=step) == StoreReply(Status.SUCCESS)
    (record,) = gateway.spool.arrivals(10)
    assert gateway.spool.verify(record.id).data_set_bytes == len(DATA_SET)
    assert (record.study_instance_uid, record.modality) == ("1.2.3.4", "CT")
    assert (record.provenance.calling_ae_title, record.provenance.peer_address) == ("MODALITY", "127.0.0.1")
    assert record.provenance.association_id == "a1"
    assert gateway.commits == 1


def test_the_views_may_be_used_again_after_each_write(gateway: Gateway) -> None:
    """They are one receive buffer of the engine."""
    sink = gateway.service.begin_store(PEER, CStoreRequest(1, CT_IMAGE_STORAGE, "1.2.3"), EXPLICIT)
    assert isinstance(sink, SpoolSink)
    buffer = bytearray(64)
    for at in range(0, len(DATA_SET), 64):
        piece = DATA_SET[at : at + 64]
        buffer[: len(piece)] = piece
        sink.write([memoryview(buffer)[: len(piece)]])
        buffer[:] = bytes(64)
    assert finish(sink).status == Status.SUCCESS
    gateway.spool.verify(gateway.spool.arrivals(1)[0].id)


@pytest.mark.parametrize(
    ("uid", "sop_class", "field"),
    [
        ("1.2.4", CT_IMAGE_STORAGE, "SOP Instance UID (0008,0018)"),
        ("1.2.3", "1.2.840.10008.5.1.4.1.1.4", "SOP Class UID (0008,0016)"),
    ],
)
def test_another_instance_than_the_command_says_is_a900(
    gateway: Gateway, uid: str, sop_class: str, field: str
) -> None:
    """The comment names the field (PS3.3 Section C.12.1.1.1)."""
    reply = gateway.store(DATA_SET, uid=uid, sop_class=sop_class)
    assert reply == StoreReply(0xA900, f"{field} is not the command's")
    assert len(reply.comment) <= 64
    assert (left(gateway), gateway.commits) == (0, 0)


def test_a_data_set_without_an_instance_uid_is_a900(gateway: Gateway) -> None:
    """It could not be found again."""
    reply = gateway.store(LE.element(0x00080016, b"UI", CT_IMAGE_STORAGE.encode()))
    assert reply == StoreReply(0xA900, "SOP Instance UID (0008,0018) is missing in the data set")


@pytest.mark.parametrize(
    "data_set", [b"\xff" * 200, DATA_SET[:30], LE.element(0x00080018, b"UI", b"1" * 300)]
)
def test_what_cannot_be_read_is_c000_with_the_reason(gateway: Gateway, data_set: bytes) -> None:
    """Bytes that are no data set, one that ends inside an element, a UID that is none."""
    reply = gateway.store(data_set)
    assert reply.status == 0xC000
    assert reply.comment
    assert (left(gateway), gateway.commits) == (0, 0)


def test_what_follows_the_uids_is_kept_as_it_came(gateway: Gateway) -> None:
    """Truncated pixel data is forwarded truncated: we are a router."""
    assert gateway.store(DATA_SET[:-1000]).status == Status.SUCCESS


def test_missing_study_and_series_are_accepted(gateway: Gateway) -> None:
    """Objects without a patient have none."""
    data = LE.element(0x00080016, b"UI", CT_IMAGE_STORAGE.encode()) + LE.element(0x00080018, b"UI", b"1.2.3")
    assert gateway.store(data).status == Status.SUCCESS
    assert gateway.spool.arrivals(1)[0].study_instance_uid == derived_uid("study", "1.2.3")


@pytest.mark.parametrize("uid", ["", "../../etc/passwd", "1.2.3/../4", "1..2", "a.b", "1.2.3\x00", "1" * 65])
def test_an_instance_uid_that_is_none_is_refused_unread(gateway: Gateway, uid: str) -> None:
    """0117: it would be a name somewhere, some day."""
    assert gateway.store(DATA_SET, uid=uid).status == 0x0117
    assert left(gateway) == 0


def test_a_class_that_stores_nothing_is_refused_unread(gateway: Gateway) -> None:
    """0122, should a peer use a context for something else."""
    assert gateway.store(DATA_SET, sop_class="1.2.840.10008.1.1").status == 0x0122


@pytest.mark.parametrize("at", range(1, 8))
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_an_error_of_the_disk_is_never_success(tmp_path: Path, at: int, code: int) -> None:
    """A700 at whichever system call, for a disk may do its work again; no path reaches the peer."""
    gateway = Gateway(tmp_path / "spool", Faulty(at, fail_with=code))
    reply = gateway.store(DATA_SET, step=1 << 20)
    assert reply.status == 0xA700
    assert str(tmp_path) not in reply.comment
    assert 0 < len(reply.comment) <= 64
    assert (left(gateway), gateway.commits) == (0, 0)
    assert gateway.store(DATA_SET).status == Status.SUCCESS


def test_under_the_low_water_mark_the_answer_is_a700(tmp_path: Path) -> None:
    """Before anything is written."""
    gateway = Gateway(tmp_path / "spool", min_free_bytes=1 << 60)
    assert gateway.store(DATA_SET).status == 0xA700
    assert left(gateway) == 0


def test_an_abandoned_data_set_leaves_nothing(gateway: Gateway) -> None:
    """The association died first."""
    sink = gateway.service.begin_store(PEER, CStoreRequest(1, CT_IMAGE_STORAGE, "1.2.3"), EXPLICIT)
    assert isinstance(sink, SpoolSink)
    sink.write([memoryview(DATA_SET)])
    sink.abandon()
    assert (left(gateway), gateway.commits) == (0, 0)


def test_logs_hold_uids_and_no_patient(gateway: Gateway) -> None:
    """A marked name goes in, by a good and by a bad data set; one line for the refusal, one for the association."""
    named = LE.element(0x00080016, b"UI", CT_IMAGE_STORAGE.encode()) + LE.element(0x00080018, b"UI", b"1.2.3")
    named += LE.element(0x00100010, b"PN", b"MARKED^NAME")
    with structlog.testing.capture_logs() as lines:
        gateway.store(named)
        gateway.store(named, uid="1.2.9")
        gateway.store(named[:-3])
        gateway.service.closed(
            PEER, AssociationEnding(EndingKind.RELEASED, stored=1, failed=2, bytes_received=99)
        )
    assert [line["action"] for line in lines] == [
        "instance.refused",
        "instance.refused",
        "association.closed",
    ]
    assert lines[0]["sop_instance_uid"] == "1.2.9"
    assert (lines[2]["association_id"], lines[2]["stored"], lines[2]["ending"]) == ("a1", 1, "released")
    assert "MARKED" not in str(lines)


def test_every_error_of_ours_has_a_status() -> None:
    """The table has a row for each class, and none of them is success."""
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RelayError)
    ]
    assert len(kinds) > 20
    for kind in kinds:
        status = next(status for row, status, _ in REPLIES if issubclass(kind, row))
        assert status & 0xF000 in {0xA000, 0xC000} or status == Status.PROCESSING_FAILURE
    assert reply_to(errors.MalformedDataSet("byte 8: wrong")) == StoreReply(0xC000, "byte 8: wrong")


def request(calling: str = "MODALITY", called: str = "DICOMRELAY") -> AssociateRequest:
    """An A-ASSOCIATE-RQ with one context."""
    contexts = (ProposedContext(1, CT_IMAGE_STORAGE, (IMPLICIT,)),)
    return AssociateRequest(called, calling, "1.2.840.10008.3.1.1.1", contexts, UserInformation(0, "1.2"))


@pytest.mark.parametrize(
    ("peers", "check", "asked", "expected"),
    [
        ([], False, request(), None),
        ([], False, request(called="OTHER"), None),
        ([], True, request(called="OTHER"), AssociateReject(1, 1, 7)),
        ([], True, request(called=" DICOMRELAY "), None),
        ([PeerSettings(ae_title="CT_*")], False, request(), AssociateReject(1, 1, 3)),
        ([PeerSettings(ae_title="CT_*")], False, request(calling="CT_1"), None),
        ([PeerSettings(ae_title="*", host="10.0.0.1")], False, request(), AssociateReject(1, 1, 3)),
    ],
)
def test_who_is_rejected_and_how(
    tmp_path: Path,
    peers: list[PeerSettings],
    check: bool,
    asked: AssociateRequest,
    expected: AssociateReject | None,
) -> None:
    """PS3.8 Table 9-21: calling AE title not recognised 3, called 7."""
    settings = GatewaySettings(check_called_ae_title=check)
    service = GatewayService(settings, Peers(peers), Spool(tmp_path / "spool"), lambda: None)
    answer = service.negotiate(asked, PeerConnection("c1", "127.0.0.1", 5000))
    if expected is None:
        assert not isinstance(answer, AssociateReject)
        assert [each.is_accepted for each in answer.contexts] == [True]
    else:
        assert answer == expected
    is_admitted = service.admit("127.0.0.1", 0) is not Admission.REFUSED
    assert is_admitted == (not peers or peers[0].host == "*")

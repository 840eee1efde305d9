"""Queries and retrievals from peers that answer whatever they like: scripted, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic

import pytest
from pydicom.dataset import Dataset

from dicomrelay.cli.retrieved import RetrievedFolder
from dicomrelay.dicom.query_models import STUDY_ROOT
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dimse.codec import decode_message, encode_message
from dicomrelay.dimse.identifier import encode_identifier
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.dimse.messages import (
    CCancelRequest,
    CFindResponse,
    CGetResponse,
    CMoveResponse,
    CStoreRequest,
    CStoreResponse,
    Message,
)
from dicomrelay.errors import AssociationAborted, AssociationTimeout, NoAcceptedContext, PeerBrokeProtocol
from dicomrelay.net import operation
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.query_retrieve import Find, Get, Move, Stop
from dicomrelay.net.requestor import Association, RemoteAe
from dicomrelay.net.retrieve_contexts import retrieve_contexts
from dicomrelay.ul.pdu import (
    Abort,
    AssociateAccept,
    AssociateRequest,
    ContextDecision,
    PDataTf,
    Pdu,
    Pdv,
    ReleaseRequest,
    ReleaseResponse,
    RoleSelection,
    UserInformation,
)
from dicomrelay.ul.writer import encode
from tests.support.data_sets import Encoder
from tests.support.engine import CT_IMAGE_STORAGE
from tests.support.wire import read_pdu, scripted_acceptor

TIMEOUTS = Timeouts(connect_s=5, association_s=5, response_s=2, pdu_s=2, release_s=2)
CT_DATA = Encoder().identity("1.2.3") + Encoder().element(0x7FE00010, b"OW", b"x" * 100)


class Peer:
    """The peer's side of one association, written by hand."""

    def __init__(self, sock: socket.socket, *, accepts: int = 256, roles: bool = True) -> None:
        self.sock = sock
        request = read_pdu(sock)
        assert isinstance(request, AssociateRequest)
        contexts = tuple(
            ContextDecision(each.context_id, 0 if number < accepts else 3, each.transfer_syntaxes[0])
            for number, each in enumerate(request.contexts)
        )
        granted = tuple(
            RoleSelection(each.sop_class_uid, scu=False, scp=True)
            for each in request.user_information.roles
            if roles
        )
        information = UserInformation(16_384, "1.2.3", "WIRE", roles=granted)
        self.sock.sendall(
            encode(AssociateAccept("A", "B", request.application_context, contexts, information))
        )
        self.message_id = 0

    def hear(self) -> Message | Pdu | None:
        """The next command, or the next PDU that carries none."""
        while True:
            pdu = read_pdu(self.sock)
            if not isinstance(pdu, PDataTf):
                return pdu
            for pdv in pdu.pdvs:
                if pdv.is_command:
                    message, _ = decode_message(bytes(pdv.data))
                    self.message_id = getattr(message, "message_id", self.message_id)
                    return message

    def say(self, message: Message, data: bytes | None = None, *, context_id: int = 1) -> None:
        """A message, in one PDU or two."""
        command = encode_message(message, has_data_set=data is not None)
        self.sock.sendall(encode(PDataTf((Pdv(context_id, True, True, command),))))
        if data is not None:
            self.sock.sendall(encode(PDataTf((Pdv(context_id, False, True, data),))))

    def answer(self, number: int = 0) -> None:
        """A pending C-FIND response."""
        found = Dataset()
        found.PatientID = str(number)
        self.say(CFindResponse(self.message_id, 0xFF00), encode_identifier(found, EXPLICIT_VR_LITTLE_ENDIAN))

    def end(self) -> None:
        """Answer the release, or see the association gone."""
        if isinstance(self.hear(), ReleaseRequest):
            self.sock.sendall(encode(ReleaseResponse()))


def _identifier() -> Dataset:
    found = Dataset()
    found.QueryRetrieveLevel, found.StudyInstanceUID = "STUDY", "1.2"
    return found


@contextmanager
def _association(script: Callable[[socket.socket], None], kind: str = "find") -> Iterator[Association]:
    with scripted_acceptor(script) as port:
        contexts, roles = retrieve_contexts(STUDY_ROOT, [CT_IMAGE_STORAGE])
        if kind != "get":
            contexts, roles = [(getattr(STUDY_ROOT, kind), IDENTIFIER_TRANSFER_SYNTAXES)], []
        remote = RemoteAe("PEER", "127.0.0.1", port)
        with Association.request(
            remote, calling_ae_title="US", contexts=contexts[:4], timeouts=TIMEOUTS, roles=roles
        ) as association:
            yield association


# ---- C-FIND


def test_answers_beyond_the_limit_are_cancelled_and_thrown_away() -> None:
    """C-CANCEL names the request; what was on its way is not yielded (PS3.7 Section 9.3.2.3)."""
    heard: list[object] = []

    def script(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.hear()
        for number in range(50):
            peer.answer(number)
        heard.append(peer.hear())
        peer.answer(99)
        peer.say(CFindResponse(peer.message_id, 0xFE00))
        peer.end()

    with _association(script) as association:
        find = Find(association, STUDY_ROOT, _identifier(), limit=3)
        assert [answer.PatientID for answer in find] == ["0", "1", "2"]
    assert heard == [CCancelRequest(1)]
    assert find.conclusion is not None
    assert (find.conclusion.status, find.conclusion.stopped) == (0xFE00, Stop.LIMIT)


def test_as_many_answers_as_the_limit_are_no_more_than_it() -> None:
    """Only another one would be over it."""

    def script(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.hear()
        peer.answer(1)
        peer.say(CFindResponse(peer.message_id, 0))
        peer.end()

    with _association(script) as association:
        find = Find(association, STUDY_ROOT, _identifier(), limit=1)
        assert len(list(find)) == 1
    assert find.conclusion is not None
    assert (find.conclusion.status, find.conclusion.stopped) == (0, None)


def test_a_peer_that_was_done_before_the_cancel_had_more_than_the_limit_all_the_same() -> None:
    """It ends with Success; what was thrown away is not held for all there is."""

    def script(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.hear()
        peer.answer(1)
        peer.answer(2)
        peer.hear()
        peer.say(CFindResponse(peer.message_id, 0))
        peer.end()

    with _association(script) as association:
        find = Find(association, STUDY_ROOT, _identifier(), limit=1)
        assert len(list(find)) == 1
    assert find.conclusion is not None
    assert (find.conclusion.status, find.conclusion.stopped) == (0, Stop.LIMIT)


def test_answers_that_never_end_end_after_the_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that does not hear C-CANCEL is aborted, and every answer up to the limit is there."""
    monkeypatch.setattr(operation, "_CANCEL_S", 0.5)

    def script(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.hear()
        try:
            while True:
                peer.answer()
        except OSError:
            return

    began = monotonic()
    with _association(script) as association:
        find = Find(association, STUDY_ROOT, _identifier(), limit=5)
        assert len(list(find)) == 5
        assert not association.is_open
    assert monotonic() - began < 5
    assert find.conclusion is not None
    assert find.conclusion.stopped is Stop.LIMIT


def test_a_wish_to_stop_is_heard_while_nothing_comes() -> None:
    """Long before the deadline of the response."""
    heard: list[object] = []

    def script(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.hear()
        heard.append(peer.hear())
        peer.say(CFindResponse(peer.message_id, 0xFE00))
        peer.end()

    with _association(script) as association:
        find = Find(association, STUDY_ROOT, _identifier(), stop=lambda: True)
        assert list(find) == []
    assert heard == [CCancelRequest(1)]
    assert find.conclusion is not None
    assert find.conclusion.stopped is Stop.ASKED


def test_an_answer_that_cannot_be_read_costs_that_answer() -> None:
    """The others are given, and how many are missing is known."""

    def script(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.hear()
        peer.answer(1)
        peer.say(CFindResponse(peer.message_id, 0xFF00), b"\x10\0\x10\0PN\xff\xff")
        peer.say(CFindResponse(peer.message_id, 0xFF01), b"\x10\0\x20\0LO\x02\x007 ")
        peer.say(CFindResponse(peer.message_id, 0))
        peer.end()

    with _association(script) as association:
        find = Find(association, STUDY_ROOT, _identifier())
        assert [str(answer.PatientID) for answer in find] == ["1", "7"]
    assert (find.unreadable, find.ignores_keys) == (1, True)


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (CFindResponse(999, 0xFF00), b""),
        (CFindResponse(999, 0), None),
        (CFindResponse(1, 0xFF00), None),
        (CMoveResponse(1, 0), None),
        (CStoreRequest(1, CT_IMAGE_STORAGE, "1.2.3"), b"xx"),
        (CCancelRequest(1), None),
        (CFindResponse(1, 0xFF00), bytes((1 << 20) + 2)),
    ],
    ids=["pending-id", "final-id", "no-identifier", "kind", "store", "cancel", "huge"],
)
def test_what_answers_nothing_is_answered_with_an_abort(message: Message, data: bytes | None) -> None:
    """And is an error that names the peer."""
    aborted: list[object] = []

    def script(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.hear()
        command = encode_message(message, has_data_set=data is not None)
        sock.sendall(encode(PDataTf((Pdv(1, True, True, command),))))
        view = data or b""
        try:
            for at in range(0, len(view), 16_000):
                piece = view[at : at + 16_000]
                sock.sendall(encode(PDataTf((Pdv(1, False, at + 16_000 >= len(view), piece),))))
            aborted.append(peer.hear())
        except OSError:  # it has closed on us while we were writing
            aborted.append(Abort())

    with _association(script) as association, pytest.raises(PeerBrokeProtocol, match=r"PEER@127\.0\.0\.1"):
        list(Find(association, STUDY_ROOT, _identifier()))
    assert isinstance(aborted[0], Abort)


def test_silence_ends_at_the_deadline_of_a_response() -> None:
    """Each response has its own."""

    def script(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.hear()
        peer.answer()
        peer.hear()

    began = monotonic()
    with _association(script) as association, pytest.raises(AssociationTimeout):
        list(Find(association, STUDY_ROOT, _identifier()))
    assert TIMEOUTS.response_s <= monotonic() - began < TIMEOUTS.response_s + 3


def test_a_model_that_is_not_accepted_is_told() -> None:
    """Before anything is asked; the association is released."""

    def script(sock: socket.socket) -> None:
        Peer(sock, accepts=0).end()

    with (
        _association(script) as association,
        pytest.raises(NoAcceptedContext, match="does not serve this model"),
    ):
        Find(association, STUDY_ROOT, _identifier())


# ---- C-MOVE


def test_a_move_tells_its_failures() -> None:
    """Counters as they come, and the UIDs of the last response that are UIDs."""

    def script(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.hear()
        peer.say(CMoveResponse(1, 0xFF00, "", 2, 1, 0, 0))
        failed = Dataset()
        failed.FailedSOPInstanceUIDList = ["1.2.3", "../../evil"]
        raw = encode_identifier(failed, EXPLICIT_VR_LITTLE_ENDIAN)
        peer.say(CMoveResponse(1, 0xB000, "", 0, 1, 2, 0, (), "no room"), raw)
        peer.end()

    with _association(script, "move") as association:
        move = Move(association, STUDY_ROOT, _identifier(), "TARGET")
        assert [counts.remaining for counts in move] == [2]
    conclusion = move.conclusion
    assert conclusion is not None
    assert (conclusion.status, conclusion.comment, conclusion.failed_uids) == (0xB000, "no room", ("1.2.3",))
    assert (conclusion.counts.completed, conclusion.counts.failed) == (1, 2)


# ---- C-GET


def _get(
    tmp_path: Path, script: Callable[[socket.socket], None], **options: object
) -> tuple[Get, RetrievedFolder]:
    folder = RetrievedFolder(tmp_path / "out", peer_ae_title="PEER", own_ae_title="US")
    with closing(folder), _association(script, "get") as association:
        get = Get(association, STUDY_ROOT, _identifier(), folder, **options)  # type: ignore[arg-type]
        list(get)
    return get, folder


def test_a_get_answers_each_store_and_keeps_what_it_may(tmp_path: Path) -> None:
    """Evil UIDs, another SOP class than the context's, another instance than the command says: none of them is kept."""
    said: list[tuple[int, str]] = []

    def script(sock: socket.socket) -> None:
        peer = Peer(sock, roles=False)
        peer.hear()
        message_id = peer.message_id
        for uid, sop_class in (
            ("1.2.3", CT_IMAGE_STORAGE),
            ("../../../evil", CT_IMAGE_STORAGE),
            ("/etc/passwd", CT_IMAGE_STORAGE),
            ("1.2.4", CT_IMAGE_STORAGE),
            ("1.2.3", "1.2.840.10008.5.1.4.1.1.4"),
        ):
            peer.say(CStoreRequest(7, sop_class, uid), CT_DATA, context_id=3)
            response = peer.hear()
            assert isinstance(response, CStoreResponse)
            assert response.message_id_being_responded_to == 7
            said.append((response.status, response.sop_instance_uid))
        peer.say(CGetResponse(message_id, 0xB000, "", 0, 1, 4, 0))
        peer.message_id = message_id
        peer.end()

    get, folder = _get(tmp_path, script)
    assert [status for status, _ in said] == [0, 0x0117, 0x0117, 0xA900, 0x0122]
    (kept,) = folder.root.iterdir()
    assert kept.name == "1.2.3.dcm"
    assert kept.read_bytes().endswith(CT_DATA)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert (get.stored, get.refused) == (1, 4)


@pytest.mark.parametrize("context_id", [1, 251])
def test_a_store_in_a_context_that_is_not_for_it_ends_the_association(
    tmp_path: Path, context_id: int
) -> None:
    """That of the model, and one that was not accepted."""

    def script(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.hear()
        peer.say(CStoreRequest(7, CT_IMAGE_STORAGE, "1.2.3"), CT_DATA, context_id=context_id)
        peer.hear()

    with pytest.raises(PeerBrokeProtocol):
        _get(tmp_path, script)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_peer_that_goes_in_the_middle_of_a_data_set_leaves_no_file(tmp_path: Path) -> None:
    """What was whole before stays."""

    def script(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.hear()
        peer.say(CStoreRequest(7, CT_IMAGE_STORAGE, "1.2.3"), CT_DATA, context_id=3)
        peer.hear()
        command = encode_message(CStoreRequest(8, CT_IMAGE_STORAGE, "1.2.4"), has_data_set=True)
        sock.sendall(encode(PDataTf((Pdv(3, True, True, command), Pdv(3, False, False, CT_DATA[:40])))))

    with pytest.raises(AssociationAborted):
        _get(tmp_path, script)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.2.3.dcm"]


def test_stores_that_never_end_end_after_the_cancel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit cancels; who goes on sending is aborted."""
    monkeypatch.setattr(operation, "_CANCEL_S", 0.5)

    def script(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.hear()
        try:
            while True:
                peer.say(CStoreRequest(7, CT_IMAGE_STORAGE, "1.2.3"), CT_DATA, context_id=3)
                peer.hear()
        except OSError:
            return

    get, folder = _get(tmp_path, script, limit=2)
    assert get.conclusion is not None
    assert get.conclusion.stopped is Stop.LIMIT
    assert get.stored >= 2
    assert [path.name for path in folder.root.iterdir()] == ["1.2.3.dcm"]


def test_a_peer_without_a_storage_context_is_told_of_move(tmp_path: Path) -> None:
    """C-GET would bring nothing."""

    def script(sock: socket.socket) -> None:
        Peer(sock, accepts=1).end()

    with pytest.raises(NoAcceptedContext, match="use move"):
        _get(tmp_path, script)

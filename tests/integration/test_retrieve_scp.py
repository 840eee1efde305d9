"""C-MOVE and C-GET at a gateway with real sockets and a real archive, by our own requestor and by hand."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from dicomrelay.dicom.query_models import PATIENT_ROOT, STUDY_ROOT
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.fragments import CommandReceived, MessageAssembler
from dicomrelay.dimse.identifier import encode_identifier
from dicomrelay.dimse.messages import (
    CCancelRequest,
    CEchoRequest,
    CEchoResponse,
    CGetRequest,
    CGetResponse,
    CStoreRequest,
    CStoreResponse,
    Message,
)
from dicomrelay.errors import NoAcceptedContext
from dicomrelay.net.requestor import Association
from dicomrelay.net.service import StoreReply
from dicomrelay.runtime.ports import free_ports
from dicomrelay.ul.pdu import (
    Abort,
    AssociateAccept,
    AssociateRequest,
    PDataTf,
    Pdv,
    ProposedContext,
    ReleaseRequest,
    RoleSelection,
    UserInformation,
)
from dicomrelay.ul.writer import encode
from tests.support.house import wait_for
from tests.support.queries import CT, EXPLICIT, MR, ROOT, STUDIES, fill_archive, write_studies
from tests.support.retrieves import IMPLICIT, Scene, get, identifier, move, retrieving
from tests.support.wire import read_pdu

EVERYTHING = [
    f"{study.uid}.{series}.{number}"
    for study in STUDIES
    for series, each in enumerate(study.series, 1)
    for number in range(1, each.instances + 1)
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with retrieving(tmp_path_factory.mktemp("retrieve")) as found:
        yield found


def _of(*numbers: int) -> list[str]:
    return sorted(uid for uid in EVERYTHING if any(uid.startswith(f"{ROOT}.{number}.") for number in numbers))


LEVELS = [
    (PATIENT_ROOT, identifier("PATIENT", PatientID="P1"), _of(1, 2)),
    (PATIENT_ROOT, identifier("STUDY", PatientID="P1", StudyInstanceUID=f"{ROOT}.2"), _of(2)),
    (PATIENT_ROOT, identifier("STUDY", PatientID="P2", StudyInstanceUID=f"{ROOT}.2"), []),
    (STUDY_ROOT, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"), _of(1)),
    (STUDY_ROOT, identifier("STUDY", StudyInstanceUID=[f"{ROOT}.1", f"{ROOT}.3", f"{ROOT}.99"]), _of(1, 3)),
    (STUDY_ROOT, identifier("SERIES", StudyInstanceUID=f"{ROOT}.1", SeriesInstanceUID=f"{ROOT}.1.2"),
     [uid for uid in _of(1) if uid.startswith(f"{ROOT}.1.2.")]),
    (STUDY_ROOT, identifier("SERIES", StudyInstanceUID=f"{ROOT}.3", SeriesInstanceUID=f"{ROOT}.1.2"), []),
    (STUDY_ROOT, identifier("IMAGE", StudyInstanceUID=f"{ROOT}.1", SeriesInstanceUID=f"{ROOT}.1.1",
     SOPInstanceUID=[f"{ROOT}.1.1.3", f"{ROOT}.1.1.1"]), [f"{ROOT}.1.1.1", f"{ROOT}.1.1.3"]),
    (STUDY_ROOT, identifier("STUDY", StudyInstanceUID="1.2.3"), []),
]  # fmt: skip


@pytest.mark.parametrize(("model", "keys", "wanted"), LEVELS)
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_a_move_sends_what_was_named(
    scene: Scene, model: object, keys: object, wanted: list[str], syntax: str
) -> None:
    """Both roots, all levels, lists; what is not there is success with no sub-operation."""
    found = move(scene.remote, keys, model=model, syntaxes=[syntax])  # type: ignore[arg-type]
    assert sorted(scene.stored()) == wanted
    assert (found.status, found.totals) == (0, (len(wanted), 0, 0))
    assert found.conclusion.failed_uids == ()


@pytest.mark.parametrize(("model", "keys", "wanted"), LEVELS)
def test_a_get_brings_what_was_named(scene: Scene, model: object, keys: object, wanted: list[str]) -> None:
    """On the same association, data set byte for byte as archived."""
    found, keeper = get(scene.remote, keys, model=model)  # type: ignore[arg-type]
    assert sorted(keeper.data_sets) == wanted
    assert (found.status, found.totals) == (0, (len(wanted), 0, 0))
    sent = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in scene.files}
    for uid, data_set in keeper.data_sets.items():
        assert sent[uid].read_bytes().endswith(data_set)


def test_the_order_is_that_of_storing_and_the_originator_is_told(scene: Scene) -> None:
    """AE title and message id of the C-MOVE, in each C-STORE (PS3.7 Section 9.3.1.1); the bytes are those archived."""
    move(scene.remote, identifier("SERIES", StudyInstanceUID=f"{ROOT}.1", SeriesInstanceUID=f"{ROOT}.1.1"))
    stored = list(scene.sink.service.stored)
    assert scene.stored() == [f"{ROOT}.1.1.{number}" for number in (1, 2, 3)]
    assert {each.request.move_originator_ae_title for each in stored} == {"ASKER"}
    assert {each.request.move_originator_message_id for each in stored} == {1}
    assert scene.sink.service.requests[-1].calling_ae_title == "DICOMRELAY"
    assert scene.files[0].read_bytes().endswith(stored[0].data_set)


@pytest.mark.parametrize(
    ("destination", "keys", "status", "words"),
    [
        (
            "NOBODY",
            identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"),
            0xA801,
            "NOBODY: no ae_title of [[destinations]]",
        ),
        ("SINK", identifier("STUDY"), 0xA900, "StudyInstanceUID is missing"),
        (
            "SINK",
            identifier("PATIENT", PatientID="P1"),
            0xA900,
            "QueryRetrieveLevel PATIENT is not of this model",
        ),
        (
            "SINK",
            identifier("STUDY", StudyInstanceUID="1.2.x"),
            0xA900,
            "StudyInstanceUID: what is given is no UID",
        ),
    ],
)
def test_a_move_that_cannot_be(scene: Scene, destination: str, keys: object, status: int, words: str) -> None:
    """The status of the standard, in words, and nothing is sent."""
    found = move(scene.remote, keys, destination)  # type: ignore[arg-type]
    assert (found.status, found.conclusion.comment) == (status, words)
    assert scene.stored() == []


def test_failures_are_named(scene: Scene) -> None:
    """B000 with the list when some failed or were warned of, A702 when all did; why is said."""
    replies = iter([StoreReply(0), StoreReply(0xA700), StoreReply(0xB000)])
    scene.sink.service.on_begin = lambda: reply if (reply := next(replies)).status else None
    try:
        some = move(
            scene.remote,
            identifier("SERIES", StudyInstanceUID=f"{ROOT}.1", SeriesInstanceUID=f"{ROOT}.1.1"),
        )
        scene.sink.service.on_begin = lambda: StoreReply(0xA700)
        none = move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.3"))
    finally:
        scene.sink.service.on_begin = None
    scene.stored()
    assert (some.status, some.totals) == (0xB000, (1, 1, 1))
    assert some.conclusion.failed_uids == (f"{ROOT}.1.1.2",)
    assert (none.status, none.totals) == (0xA702, (0, 2, 0))
    assert set(none.conclusion.failed_uids) == {f"{ROOT}.3.1.1", f"{ROOT}.3.1.2"}
    assert "out of resources" in none.conclusion.comment.lower()


def test_a_get_of_what_the_peer_takes_in_no_context(scene: Scene) -> None:
    """MR has no context: those fail, by name, and the others come."""
    found, keeper = get(
        scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"), storage=[(CT, (EXPLICIT,))]
    )
    assert sorted(keeper.data_sets) == [f"{ROOT}.1.1.{number}" for number in (1, 2, 3)]
    assert (found.status, found.totals) == (0xB000, (3, 2, 0))
    assert set(found.conclusion.failed_uids) == {f"{ROOT}.1.2.1", f"{ROOT}.1.2.2"}
    assert "does not accept MR" in found.conclusion.comment


def test_a_get_changes_what_has_to_be_changed(scene: Scene) -> None:
    """A peer that takes implicit VR only gets a copy without loss."""
    found, keeper = get(
        scene.remote,
        identifier(
            "IMAGE",
            StudyInstanceUID=f"{ROOT}.3",
            SeriesInstanceUID=f"{ROOT}.3.1",
            SOPInstanceUID=f"{ROOT}.3.1.2",
        ),
        storage=[(CT, (IMPLICIT,))],
    )
    assert (found.status, found.totals) == (0, (1, 0, 0))
    assert keeper.syntaxes == {f"{ROOT}.3.1.2": IMPLICIT}
    assert bytes([2]) * 16 in keeper.data_sets[f"{ROOT}.3.1.2"]


def test_a_get_that_is_refused_by_the_peer(scene: Scene) -> None:
    """What its C-STORE responses say is counted."""
    found, _ = get(
        scene.remote,
        identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"),
        reply=lambda uid: StoreReply(0xA700 if uid.endswith(".1") else 0),
    )
    assert (found.status, found.totals) == (0xB000, (3, 2, 0))
    assert set(found.conclusion.failed_uids) == {f"{ROOT}.1.1.1", f"{ROOT}.1.2.1"}


def test_a_get_is_cancelled_between_two_instances(scene: Scene) -> None:
    """FE00 tells what remains."""
    found, keeper = get(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"), limit=1)
    assert found.status == 0xFE00
    assert found.conclusion.counts.remaining is not None
    assert 1 <= len(keeper.data_sets) <= 2
    assert found.conclusion.counts.remaining == 5 - len(keeper.data_sets)


# ---- a destination that thinks


def test_a_move_tells_how_far_it_is_and_is_cancelled(tmp_path: Path) -> None:
    """Pending responses while a slow destination thinks; C-CANCEL ends it, and nothing more is begun."""
    with retrieving(tmp_path) as scene:
        scene.sink.service.on_finish = lambda: time.sleep(0.8)
        whole = move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.3"))
        assert (whole.status, whole.totals) == (0, (2, 0, 0))
        assert whole.counts
        assert whole.counts[0].remaining is not None
        scene.stored()
        stop = threading.Event()
        threading.Timer(0.5, stop.set).start()
        began = time.monotonic()
        found = move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"), stop=stop.is_set)
        assert time.monotonic() - began < 3
        assert found.status == 0xFE00
        counts = found.conclusion.counts
        assert counts.remaining is not None
        assert counts.completed is not None
        assert (counts.remaining + counts.completed, counts.remaining > 0) == (5, True)
        time.sleep(1)
        assert len(scene.stored()) == counts.completed


def test_a_peer_that_goes_stops_its_move(tmp_path: Path) -> None:
    """Nobody waits for the rest."""
    with retrieving(tmp_path) as scene:
        scene.sink.service.on_finish = lambda: time.sleep(0.3)
        association = Association.request(
            scene.remote, calling_ae_title="ASKER", contexts=[(PATIENT_ROOT.move, (EXPLICIT,))]
        )
        from dicomrelay.dimse.messages import CMoveRequest  # noqa: PLC0415

        keys = encode_identifier(identifier("PATIENT", PatientID="P1"), EXPLICIT)
        association.send_message(CMoveRequest(1, PATIENT_ROOT.move, "SINK"), 1, keys)
        wait_for(lambda: bool(scene.sink.service.stored), timeout_s=5, what="the first instance")
        association.abort()
        scene.sink.service.wait_ending(timeout_s=5)
        assert len(scene.sink.service.stored) < 6


def test_no_more_moves_at_once_than_may_be(tmp_path: Path) -> None:
    """One waits its turn, with pending responses; one that waits too long is told so."""
    with retrieving(
        tmp_path, associations=1, sections={"retrieve": {"max_moves": 4, "wait_s": 1.5}}
    ) as scene:
        busy = threading.Event()
        release = threading.Event()

        def hold() -> None:
            busy.set()
            release.wait(10)

        scene.sink.service.on_finish = hold
        results: list[int] = []
        keys = identifier("STUDY", StudyInstanceUID=f"{ROOT}.4")
        first = threading.Thread(target=lambda: results.append(move(scene.remote, keys).status))
        first.start()
        assert busy.wait(5)
        refused = move(scene.remote, keys)
        assert refused.status == 0xA702
        assert "too many moves to sink" in refused.conclusion.comment
        assert refused.counts  # it was told that it waits
        release.set()
        first.join(10)
        assert results == [0]
        assert move(scene.remote, keys).status == 0


def test_a_destination_that_is_not_there(tmp_path: Path) -> None:
    """All of it has failed, at once, and why is said."""
    (nobody,) = free_ports(1)
    with retrieving(tmp_path, port=nobody) as scene:
        found = move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"))
        assert (found.status, found.totals) == (0xA702, (0, 5, 0))
        assert len(found.conclusion.failed_uids) == 5
        assert found.conclusion.comment


def test_an_association_that_dies_takes_one_instance_with_it(tmp_path: Path) -> None:
    """The others go over another association."""
    with retrieving(tmp_path) as scene:
        service = scene.sink.service
        died: list[str] = []

        def die() -> None:
            if len(service.stored) == 2 and not died:
                died.append("once")
                with scene.sink.acceptor._lock:
                    for sock in scene.sink.acceptor._threads.values():
                        sock.shutdown(socket.SHUT_RDWR)

        service.on_finish = die
        found = move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"))
        assert (found.status, found.totals) == (0xB000, (4, 1, 0))
        assert len(found.conclusion.failed_uids) == 1
        assert "the association ended" in found.conclusion.comment


def test_files_that_are_gone_or_cut_have_failed(tmp_path: Path) -> None:
    """And the association lives for the others."""
    with retrieving(tmp_path) as scene:
        root = tmp_path / "home" / "archive" / "data"
        (gone,) = root.rglob(f"{ROOT}.1.1.1.dcm")
        (cut,) = root.rglob(f"{ROOT}.1.1.2.dcm")
        gone.unlink()
        content = cut.read_bytes()
        cut.unlink()
        cut.write_bytes(content[:-2])
        found, keeper = get(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"))
        moved = move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"))
    assert (found.status, found.totals) == (0xB000, (3, 2, 0))
    assert len(keeper.data_sets) == 3
    assert (moved.status, moved.totals) == (0xB000, (3, 2, 0))
    assert set(moved.conclusion.failed_uids) == {f"{ROOT}.1.1.1", f"{ROOT}.1.1.2"}
    assert str(tmp_path) not in moved.conclusion.comment


def test_too_much_at_once(tmp_path: Path) -> None:
    """A701 before anything is sent."""
    with retrieving(tmp_path, sections={"retrieve": {"max_instances": 4}}) as scene:
        found = move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"))
        assert (found.status, found.conclusion.comment) == (
            0xA701,
            "more than 4 instances at once, ask for less",
        )
        assert move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.3")).status == 0


def test_an_index_that_is_away_costs_a_retrieve_and_no_store(tmp_path: Path) -> None:
    """A701, and the association goes on."""
    with retrieving(tmp_path) as scene:
        index = tmp_path / "home" / "archive" / "index.sqlite"
        content = index.read_bytes()
        index.write_bytes(b"no database at all" * 100)
        assert move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1")).status == 0xA701
        index.write_bytes(content)
        for beside in index.parent.glob("index.sqlite-*"):
            beside.unlink()
        assert move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1")).status == 0


# ---- rights and roles


def test_rights_are_asked_for(tmp_path: Path) -> None:
    """Each of the two by itself: a context without its right is rejected."""
    peers = [{"ae_title": "ASKER", "host": "127.0.0.1", "rights": ["get"]}]
    with retrieving(tmp_path, peers=peers) as scene:
        keys = identifier("STUDY", StudyInstanceUID=f"{ROOT}.3")
        found, keeper = get(scene.remote, keys)
        assert (found.status, len(keeper.data_sets)) == (0, 2)
        with pytest.raises(NoAcceptedContext):
            move(scene.remote, keys)


def test_roles_are_agreed_on_for_a_get_only(scene: Scene) -> None:
    """As SCP only where a C-GET is asked for beside (PS3.7 Annex D.3.3.4); explicit VR is what is chosen."""
    roles = [RoleSelection(CT, scu=True, scp=True), RoleSelection(VERIFICATION, scu=True, scp=True)]
    contexts = [(STUDY_ROOT.get, (EXPLICIT,)), (CT, (IMPLICIT, EXPLICIT)), (VERIFICATION, (IMPLICIT,))]
    with Association.request(
        scene.remote, calling_ae_title="A", contexts=contexts, roles=roles
    ) as association:
        assert association.roles[CT] == (True, True)
        assert association.roles[VERIFICATION] == (True, False)
        assert (CT, EXPLICIT_VR_LITTLE_ENDIAN) in association.accepted
    with Association.request(
        scene.remote, calling_ae_title="A", contexts=[contexts[1]], roles=roles[:1]
    ) as association:
        assert association.roles[CT] == (True, False)
        assert (CT, IMPLICIT) in association.accepted


# ---- by hand: what no decent peer does


class _Hand:
    """A C-GET peer that writes its PDUs itself."""

    def __init__(self, scene: Scene) -> None:
        self.sock = socket.create_connection((scene.remote.host, scene.remote.port), timeout=10)
        contexts = (
            ProposedContext(1, STUDY_ROOT.get, (EXPLICIT,)),
            ProposedContext(3, CT, (EXPLICIT,)),
            ProposedContext(5, MR, (EXPLICIT,)),
            ProposedContext(7, VERIFICATION, (IMPLICIT,)),
        )
        roles = tuple(RoleSelection(uid, scu=False, scp=True) for uid in (CT, MR))
        information = UserInformation(16_384, "1.2.3", "HAND", roles=roles)
        request = AssociateRequest("DICOMRELAY", "HAND", "1.2.840.10008.3.1.1.1", contexts, information)
        self.sock.sendall(encode(request))
        assert isinstance(read_pdu(self.sock), AssociateAccept)
        self._assembler = MessageAssembler([1, 3, 5, 7])

    def say(self, message: Message, context_id: int, data_set: bytes | None = None) -> None:
        command = encode_message(message, has_data_set=data_set is not None)
        self.sock.sendall(encode(PDataTf((Pdv(context_id, True, True, command),))))
        if data_set is not None:
            self.sock.sendall(encode(PDataTf((Pdv(context_id, False, True, data_set),))))

    def ask(self, study: int) -> None:
        keys = identifier("STUDY", StudyInstanceUID=f"{ROOT}.{study}")
        self.say(CGetRequest(9, STUDY_ROOT.get), 1, encode_identifier(keys, EXPLICIT))

    def hear(self, *, data_set: bool) -> tuple[Message, int]:
        """The next message, and the data set behind it, which is thrown away."""
        message: tuple[Message, int] | None = None
        while True:
            pdu = read_pdu(self.sock)
            assert isinstance(pdu, PDataTf), pdu
            for part in self._assembler.feed(pdu.pdvs):
                if isinstance(part, CommandReceived):
                    message = part.message, part.context_id
                    if not part.has_data_set:
                        return message
                elif part.is_complete and message is not None:
                    return message


def _answer(hand: _Hand, request: Message, context_id: int, status: int = 0) -> None:
    assert isinstance(request, CStoreRequest)
    hand.say(
        CStoreResponse(request.message_id, status, request.sop_class_uid, request.sop_instance_uid),
        context_id,
    )


def test_a_c_echo_in_the_middle_of_a_get(scene: Scene) -> None:
    """Whatever else the association is for is served while a sub-operation waits for its answer."""
    hand = _Hand(scene)
    with hand.sock:
        hand.ask(3)
        first, context_id = hand.hear(data_set=True)
        hand.say(CEchoRequest(77, VERIFICATION), 7)
        echo, _ = hand.hear(data_set=False)
        assert isinstance(echo, CEchoResponse)
        assert echo.message_id_being_responded_to == 77
        _answer(hand, first, context_id)
        second, context_id = hand.hear(data_set=True)
        assert isinstance(second, CStoreRequest)
        _answer(hand, second, context_id)
        last, _ = hand.hear(data_set=False)
        assert isinstance(last, CGetResponse)
        assert (last.status, last.completed) == (0, 2)


def test_a_cancel_while_a_sub_operation_waits(scene: Scene) -> None:
    """The one under way is waited for; C-CANCEL for something else is nobody's fault."""
    hand = _Hand(scene)
    with hand.sock:
        hand.ask(1)
        first, context_id = hand.hear(data_set=True)
        hand.say(CCancelRequest(8), 1)
        hand.say(CCancelRequest(9), 1)
        _answer(hand, first, context_id)
        message, context_id = hand.hear(data_set=True)
        if isinstance(message, CStoreRequest):  # it was prepared already
            _answer(hand, message, context_id)
            message, _ = hand.hear(data_set=False)
        assert isinstance(message, CGetResponse)
        assert message.status == 0xFE00
        assert message.remaining is not None
        assert message.remaining >= 3


@pytest.mark.parametrize("how", ["close", "abort", "release", "silence", "another answer"])
def test_a_peer_that_ends_in_the_middle_of_a_get(tmp_path: Path, how: str) -> None:
    """Its association is over, and the gateway serves the next."""
    with retrieving(tmp_path) as scene:
        hand = _Hand(scene)
        with hand.sock:
            hand.ask(1)
            _, context_id = hand.hear(data_set=True)
            if how == "abort":
                hand.sock.sendall(encode(Abort()))
            elif how == "release":
                hand.sock.sendall(encode(ReleaseRequest()))
            elif how == "another answer":
                hand.say(CStoreResponse(999, 0), context_id)
            if how in ("release", "another answer"):
                while (pdu := read_pdu(hand.sock)) is not None and not isinstance(pdu, Abort):
                    pass
        found, keeper = get(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.3"))
        assert (found.status, len(keeper.data_sets)) == (0, 2)


def test_more_than_one_association_has_contexts_for(tmp_path: Path) -> None:
    """150 SOP classes: over 128 contexts, and a second association to the destination."""
    from pydicom import dcmwrite  # noqa: PLC0415

    from dicomrelay.dicom.sop_classes import storage_sop_classes  # noqa: PLC0415

    classes = [uid for uid in storage_sop_classes() if uid.startswith("1.2.840.10008.5.1.4.1.1.")][:150]
    template = dcmread(write_studies(tmp_path / "one", STUDIES[5:])[0])
    paths = []
    for number, sop_class_uid in enumerate(classes, 1):
        template.SOPClassUID = sop_class_uid
        template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.7.1.{number}"
        template.file_meta.MediaStorageSOPClassUID = sop_class_uid
        template.StudyInstanceUID, template.SeriesInstanceUID = f"{ROOT}.7", f"{ROOT}.7.1"
        paths.append(tmp_path / f"{number}.dcm")
        dcmwrite(paths[-1], template)
    fill_archive(tmp_path / "scene" / "home" / "archive", paths)
    with retrieving(tmp_path / "scene") as scene:
        found = move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.7"))
        assert (found.status, found.totals) == (0, (len(classes), 0, 0))
        assert len(scene.sink.service.requests) == 2

"""Peers that accept one transfer syntax only: what they get, and what is said of the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import select

from dicomrelay.delivery import Answer, Instance, Target, deliver
from dicomrelay.dicom.part10 import parse_file_meta
from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.status import Outcome
from dicomrelay.ledger.schema import deliveries
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.requestor import RemoteAe, StoreItem
from dicomrelay.net.service import Acceptance
from dicomrelay.settings import TransferSyntaxPolicy
from dicomrelay.spool import Provenance
from dicomrelay.transcode import TranscodeLimits
from dicomrelay.ul.pdu import AssociateRequest, ContextDecision, ContextResult
from tests.support.archives import orthanc
from tests.support.data_sets import BIG_ENDIAN, DEFLATED, ENCODERS, EXPLICIT, IMPLICIT, real_files
from tests.support.engine import CT_IMAGE_STORAGE, MemoryService, running_acceptor, store_item
from tests.support.gateway import running as running_gateway
from tests.support.house import Storescp, storescp
from tests.support.rooms import rooms_at, transfers_of
from workers.forward import forward_transfer
from workers.group import group_arrivals

pytestmark = pytest.mark.filterwarnings("ignore")


def _one_of_each() -> list[Instance]:
    """The smallest clean file of each transfer syntax in the corpus."""
    smallest: dict[str, tuple[int, Instance]] = {}
    for path, row in real_files("corpus"):
        if (row["parse"], row["expect"], row["dcmtk_cstore"]) != ("part10", "clean", "stored"):
            continue
        meta = parse_file_meta(path.read_bytes()[:65_536])
        size = path.stat().st_size
        item = StoreItem(
            meta.sop_class_uid,
            meta.sop_instance_uid,
            meta.transfer_syntax_uid,
            path,
            meta.data_set_offset,
            size - meta.data_set_offset,
        )
        known = smallest.get(meta.transfer_syntax_uid)
        if item.data_set_bytes % 2 == 0 and (known is None or size < known[0]):
            smallest[meta.transfer_syntax_uid] = size, Instance(meta.transfer_syntax_uid, item)
    return [instance for _, instance in smallest.values()]


def _send(
    remote: RemoteAe,
    instances: Sequence[Instance],
    copies: Path,
    *,
    policy: TransferSyntaxPolicy = TransferSyntaxPolicy.LOSSLESS,
    limits: TranscodeLimits | None = None,
    pace: Callable[[int], None] | None = None,
    window: int = 1,
) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}

    def answered(answer: Answer) -> None:
        assert answer.key not in answers
        answers[answer.key] = answer

    deliver(
        instances,
        Target(
            RemotePeer(remote, "SENDER"),
            policy=policy,
            copies=copies,
            limits=limits or TranscodeLimits(),
            window=window,
        ),
        locate=lambda instance: instance.item.path,
        answered=answered,
        keep_going=lambda: True,
        pace=pace,
    )
    assert not copies.exists() or not list(copies.iterdir())
    return answers


def _remote(server: Storescp) -> RemoteAe:
    return RemoteAe(server.ae_title, "127.0.0.1", server.port)


@pytest.mark.dcmtk
@pytest.mark.parametrize(
    ("option", "becomes"),
    [("+xi", IMPLICIT), ("+x=", EXPLICIT), ("+xe", EXPLICIT), ("+xd", DEFLATED), ("+xb", BIG_ENDIAN)],
)
def test_a_peer_gets_every_kind_that_can_be_changed(tmp_path: Path, option: str, becomes: str) -> None:
    """DCMTK's storescp with the one transfer syntax that it prefers; implicit VR it must always accept."""
    instances = _one_of_each()
    assert len(instances) >= 12
    with storescp("ONE", tmp_path / "got", option) as server:
        answers = _send(_remote(server), instances, tmp_path / "copies")
        received = {dcmread(path).file_meta.MediaStorageSOPInstanceUID for path in server.files()}

    delivered = {key for key, answer in answers.items() if answer.outcome is Outcome.DELIVERED}
    assert received == {each.item.sop_instance_uid for each in instances if each.key in delivered}
    for key, answer in answers.items():
        if key in delivered:
            assert (answer.digest == "") == (answer.transfer_syntax_uid == key)
            assert answer.digest in answer.words
        else:
            assert "the peer does not accept" in answer.words
    assert becomes in {answer.transfer_syntax_uid for answer in answers.values()}
    assert len(delivered) >= 11, answers


def test_our_gateway_held_to_one_transfer_syntax_gets_it(tmp_path: Path) -> None:
    """Its [[peers]] say so; what it has in its spool is read by pydicom as that."""
    instances = _one_of_each()
    peers = [{"transfer_syntaxes": [EXPLICIT]}]
    with running_gateway(tmp_path / "home", peers=peers) as gateway:
        answers = _send(gateway.remote, instances, tmp_path / "copies")
        records = list(gateway.spool.records())

    delivered = [answer for answer in answers.values() if answer.outcome is Outcome.DELIVERED]
    assert len(delivered) >= 11
    assert {record.transfer_syntax_uid for record in records} == {EXPLICIT}
    assert len(records) == len(delivered)
    assert {record.digest for record in records} >= {answer.digest for answer in delivered if answer.digest}


def test_orthanc_held_to_one_transfer_syntax_gets_it(tmp_path: Path) -> None:
    """An archive that is not ours, and reads what it gets. It takes no instance without a patient's or a study's id."""
    instances = [each for each in _one_of_each() if _is_for_orthanc(each)]
    with orthanc(tmp_path / "orthanc", AcceptedTransferSyntaxes=[EXPLICIT]) as archive:
        answers = _send(archive.remote, instances, tmp_path / "copies")

    assert len(answers) >= 9
    assert {answer.outcome for answer in answers.values()} == {Outcome.DELIVERED}
    assert {answer.transfer_syntax_uid for answer in answers.values()} == {EXPLICIT}


def _is_for_orthanc(instance: Instance) -> bool:
    header = dcmread(instance.item.path, stop_before_pixels=True)
    return bool(header.get("StudyInstanceUID")) and header.SOPInstanceUID == instance.item.sop_instance_uid


def _accepting(*syntaxes: str) -> MemoryService:
    """A peer that accepts these transfer syntaxes and no other."""

    def answer(request: AssociateRequest, decisions: list[ContextDecision]) -> Acceptance:
        return Acceptance(
            [
                each
                if each.transfer_syntax in syntaxes
                else replace(each, result=ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED)
                for each in decisions
            ]
        )

    return MemoryService(answer=answer)


def _small(folder: Path, count: int = 1) -> list[Instance]:
    """Explicit VR little endian."""
    return [
        Instance(
            str(n),
            store_item(
                folder / f"{n}.dcm",
                ENCODERS[EXPLICIT].identity(f"1.2.3.{n}"),
                f"1.2.3.{n}",
            ),
        )
        for n in range(count)
    ]


def test_a_copy_is_the_same_instance_in_the_other_syntax(tmp_path: Path) -> None:
    """The bytes that the digest is of; own syntax proposed first, one transfer syntax a context."""
    with running_acceptor(_accepting(IMPLICIT)) as peer:
        (answer,) = _send(peer.remote, _small(tmp_path), tmp_path / "copies").values()

        (stored,) = peer.service.stored
        assert stored.transfer_syntax_uid == IMPLICIT
        assert stored.data_set == ENCODERS[IMPLICIT].identity("1.2.3.0")
        assert answer.digest == hashlib.sha256(stored.data_set).hexdigest()
        assert answer.sent_bytes == len(stored.data_set)
        assert stored.request.sop_instance_uid == "1.2.3.0"
        (request,) = peer.service.requests
        assert request.contexts[0].transfer_syntaxes == (EXPLICIT,)
        assert all(len(context.transfer_syntaxes) == 1 for context in request.contexts)
        assert (IMPLICIT,) in [context.transfer_syntaxes for context in request.contexts]


def test_what_is_accepted_as_it_is_goes_as_it_is(tmp_path: Path) -> None:
    """No copy, no child process, whatever else the peer would take."""
    with running_acceptor() as peer:
        (answer,) = _send(peer.remote, _small(tmp_path), tmp_path / "copies").values()

        assert peer.service.stored[0].data_set == ENCODERS[EXPLICIT].identity("1.2.3.0")
        assert (answer.digest, answer.words, answer.transfer_syntax_uid) == ("", "", EXPLICIT)
    assert not (tmp_path / "copies").exists()


@pytest.mark.parametrize("policy", [TransferSyntaxPolicy.AS_IS, TransferSyntaxPolicy.NEVER])
def test_without_leave_nothing_is_changed(tmp_path: Path, policy: TransferSyntaxPolicy) -> None:
    """Nor proposed."""
    with running_acceptor(_accepting(IMPLICIT)) as peer:
        (answer,) = _send(peer.remote, _small(tmp_path), tmp_path / "copies", policy=policy).values()

        assert answer.outcome is Outcome.REFUSED
        assert answer.words == (
            "the peer does not accept CT Image Storage in Explicit VR Little Endian; a copy in another is not allowed "
            "(transfer_syntax_policy, or --transcode with --direct)"
        )
        assert [len(request.contexts) for request in peer.service.requests] == [1]


def test_a_peer_that_accepts_none_is_told_apart(tmp_path: Path) -> None:
    """For every instance, with what was offered."""
    with running_acceptor(_accepting()) as peer:
        answers = _send(peer.remote, _small(tmp_path, 3), tmp_path / "copies")

        assert len(answers) == 3
        for answer in answers.values():
            assert answer.outcome is Outcome.REFUSED
            assert "nor in any transfer syntax that it can be changed to without loss" in answer.words


def test_what_cannot_be_changed_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Here the second says explicit and is implicit; a decoder's reason stands beside the peer's."""
    instances = _small(tmp_path, 3)
    liar = store_item(tmp_path / "liar", ENCODERS[IMPLICIT].identity("1.2.3.1"), "1.2.3.1")
    instances[1] = Instance("1", liar)
    with running_acceptor(_accepting(IMPLICIT)) as peer:
        answers = _send(peer.remote, instances, tmp_path / "copies")

        assert [answers[key].outcome for key in "012"] == [
            Outcome.DELIVERED,
            Outcome.REFUSED,
            Outcome.DELIVERED,
        ]
        assert "cannot be changed without loss: byte 0: (0008,0016) has no VR" in answers["1"].words


def test_no_room_for_a_copy_is_for_now(tmp_path: Path) -> None:
    """The disk is full, and nobody has to decide anything."""
    with running_acceptor(_accepting(IMPLICIT)) as peer:
        (answer,) = _send(
            peer.remote, _small(tmp_path), tmp_path / "copies", limits=TranscodeLimits(min_free_bytes=1 << 60)
        ).values()

        assert answer.outcome is Outcome.RETRY


def test_copies_are_sent_under_a_window_too(tmp_path: Path) -> None:
    """Each is kept until its own answer is in."""
    with running_acceptor(_accepting(IMPLICIT)) as peer:
        answers = _send(peer.remote, _small(tmp_path, 20), tmp_path / "copies", window=4)

        assert {answer.outcome for answer in answers.values()} == {Outcome.DELIVERED}
        assert [stored.data_set for stored in peer.service.stored] == [
            ENCODERS[IMPLICIT].identity(f"1.2.3.{n}") for n in range(20)
        ]


def test_no_association_waits_while_a_copy_is_made(tmp_path: Path) -> None:
    """Each goes over one of its own when any pause is too long; no copy is made twice."""
    moved: list[int] = []
    with running_acceptor(_accepting(IMPLICIT)) as peer:
        answers: list[Answer] = []
        deliver(
            _small(tmp_path, 3),
            Target(
                RemotePeer(peer.remote, "SENDER"),
                policy=TransferSyntaxPolicy.LOSSLESS,
                copies=tmp_path / "copies",
                longest_pause_s=0.0,
            ),
            locate=lambda instance: instance.item.path,
            answered=answers.append,
            keep_going=lambda: True,
            pace=moved.append,
            opened=lambda: moved.append(-1),
        )

        assert [(each.key, each.outcome) for each in answers] == [(key, Outcome.DELIVERED) for key in "012"]
        assert [stored.data_set for stored in peer.service.stored] == [
            ENCODERS[IMPLICIT].identity(f"1.2.3.{n}") for n in range(3)
        ]
        assert len(peer.service.requests) == moved.count(-1) == 4
    assert not list((tmp_path / "copies").iterdir())


def test_a_copy_that_cannot_be_removed_costs_no_answer(tmp_path: Path) -> None:
    """Here something else lies where it was, as hard to unlink as a file on a disk that went read-only."""
    copies = tmp_path / "copies"

    def in_the_way() -> None:
        for copy in copies.rglob("*.dcm"):
            copy.unlink()
            copy.mkdir()

    service = _accepting(IMPLICIT)
    service.on_finish = in_the_way
    with running_acceptor(service) as peer:
        (answer,) = _send(peer.remote, _small(tmp_path), copies).values()

        assert answer.outcome is Outcome.DELIVERED


@pytest.mark.parametrize("policy", ["as_is", "lossless"])
def test_the_ledger_says_what_was_sent(tmp_path: Path, policy: str) -> None:
    """Delivered, from what to what and with which digest; or needs attention, with the reason."""
    data = ENCODERS[EXPLICIT].identity("1.2.3.4")
    with running_acceptor(_accepting(IMPLICIT)) as peer:
        toml = (
            f'[[destinations]]\nname = "pacs"\nae_title = "RELAY"\nhost = "127.0.0.1"\nport = {peer.port}\n'
            f'transfer_syntax_policy = "{policy}"\n'
        )
        with rooms_at(tmp_path / "home", toml) as (rooms, _):
            writer = rooms.spool.writer(
                sop_class_uid=CT_IMAGE_STORAGE,
                sop_instance_uid="1.2.3.4",
                transfer_syntax_uid=EXPLICIT,
                provenance=Provenance("CT_1", "DICOMRELAY", "127.0.0.1", "a1", 1, "job-1"),
                send_to=("pacs",),
            )
            writer.write([data])
            record = writer.commit(Header(CT_IMAGE_STORAGE, "1.2.3.4", "1.2.3.4", "1.2.3.4.5", "CT"))
            group_arrivals(rooms)
            (transfer,) = transfers_of(rooms)
            forward_transfer(rooms, transfer)

            attention = rooms.ledger.needs_attention()
            if policy == "as_is":
                assert [row.reason for row in attention] == [
                    "the peer does not accept CT Image Storage in Explicit VR Little Endian; a copy in another is not "  # noqa: ISC004
                    "allowed (transfer_syntax_policy, or --transcode with --direct)"
                ]
                return
            assert not attention
            (stored,) = peer.service.stored
            assert stored.data_set == ENCODERS[IMPLICIT].identity("1.2.3.4")
            digest = hashlib.sha256(stored.data_set).hexdigest()
            with rooms.ledger._database.read() as work:
                (row,) = work.connection.execute(select(deliveries)).all()
            assert row.state == "delivered"
            assert row.sent_bytes == len(stored.data_set)
            assert row.reason == (
                "sent in Implicit VR Little Endian, changed without loss from Explicit VR Little Endian, "
                f"SHA-256 {digest}"
            )
            # What is kept is what arrived.
            kept = rooms.spool.locate(record.id).read_bytes()
            assert kept[record.data_set_offset :] == data

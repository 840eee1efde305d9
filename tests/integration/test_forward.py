"""One transfer to a peer that answers as it is told: what becomes of each instance."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomrelay.dicom.scan import Header
from dicomrelay.errors import PeerUnreachable, ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import AttentionKind, DeliveryState, TransferState
from dicomrelay.net.service import Acceptance, StoreReply
from dicomrelay.routing import resolve
from dicomrelay.runtime.ports import free_ports
from dicomrelay.spool import Provenance
from dicomrelay.ul.pdu import AssociateReject, ContextDecision, ContextResult
from tests.support.data_sets import CT_IMAGE_STORAGE, ENCODERS, EXPLICIT, UNDEFINED
from tests.support.engine import MemoryService, Running, running_acceptor
from tests.support.house import storescp
from tests.support.rooms import data_set, rooms_at, spooled, transfers_of
from workers.forward import forward_transfer, send_claimed
from workers.group import group_arrivals
from workers.lease import LeaseKeeper
from workers.outcomes import OutcomeWriter
from workers.rooms import Rooms
from workers.sending import send_all

_MINUTE_MS = 60_000


@pytest.fixture
def peer() -> Iterator[Running]:
    """A peer that accepts all and answers with `service.reply`."""
    with running_acceptor(MemoryService()) as running:
        yield running


@pytest.fixture
def rooms(tmp_path: Path, peer: Running) -> Iterator[Rooms]:
    """Rooms with that peer as the only destination."""
    with rooms_at(tmp_path / "home", _toml(peer.port)) as (made, _):
        yield made


def _toml(port: int) -> str:
    return (
        f'[[destinations]]\nname = "pacs"\nae_title = "RELAY"\nhost = "127.0.0.1"\nport = {port}\n'
        "retry_initial_s = 0.001\nretry_max_s = 0.001\n"
    )


def _states(rooms: Rooms, study: str = "1.2.3") -> dict[str, int]:
    (summary,) = rooms.ledger.studies(study_instance_uid=study)
    (to,) = summary.destinations
    return {
        name: count
        for name in ("pending", "delivered", "warnings", "failed", "refused", "gave_up")
        if (count := getattr(to, name))
    }


_DELIVERED = {"delivered": 1}
_WARNING = {"delivered": 1, "warnings": 1}
_FAILED = {"failed": 1}
_REFUSED = {"refused": 1}


@pytest.mark.parametrize(
    ("status", "states"),
    [
        (0x0000, _DELIVERED),
        *((status, _WARNING) for status in (0xB000, 0xB006, 0xB007, 0x0001)),
        *((status, _FAILED) for status in (0xA700, 0xA7FF, 0x0110, 0x0213)),
        *(
            (status, _REFUSED)
            for status in (
                0xA900,
                0xC000,
                0xCFFF,
                0x0111,
                0x0112,
                0x0117,
                0x0122,
                0x0124,
                0x0210,
                0x0211,
                0x0212,
            )
        ),
        (0xFFFF, _REFUSED),
    ],
)
def test_each_status_leads_to_the_state_of_the_table(
    rooms: Rooms, peer: Running, status: int, states: dict[str, int]
) -> None:
    """docs/design/workers.md; a warning is no failure, an unknown status no success."""
    peer.service.reply = StoreReply(status)
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)

    forward_transfer(rooms, transfer)

    assert _states(rooms) == states
    attention = rooms.ledger.needs_attention()
    assert bool(attention) == (states == _REFUSED)


def test_the_bytes_that_arrived_are_the_bytes_that_are_sent(rooms: Rooms, peer: Running) -> None:
    """Not one is changed."""
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)

    forward_transfer(rooms, transfer)

    assert [stored.data_set for stored in peer.service.stored] == [data_set("1.2.3.4")]


def _odd_data_set() -> bytes:
    """Legal, or met in the field, and none of it what an encoder would write again."""
    encoder = ENCODERS[EXPLICIT]
    element, mark = encoder.element, encoder.mark
    item, item_end, sequence_end = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
    code = element(0x00080100, b"SH", b"121311")
    items = mark(item, UNDEFINED) + code + mark(item_end) + mark(item, len(code)) + code + mark(item, 0)
    return b"".join(
        (
            element(0x00080000, b"UL", b"\x04\x03\x02\x01"),  # a group length that is not its group's
            element(0x00080016, b"UI", CT_IMAGE_STORAGE.encode()),
            element(0x00080018, b"UI", b"1.2.3.4" + b" "),  # padded, but not with NUL
            element(0x00080060, b"LO", b"CT"),  # of VR CS
            element(0x00081032, b"SQ", items + mark(sequence_end), length=UNDEFINED),
            element(0x00090010, b"LO", b"ODD CREATOR 1.0"),
            element(0x00091001, b"UN", b"\0\1\2"),
            element(0x00100010, b"PN", b"\xff^\xfe^^"),  # in no character set that is named
            element(0x00180050, b"DS", b"+1.50E+000 "),
            element(0x0020000D, b"UI", b"1.2.3"),
            element(0x0020000E, b"UI", b"1.2.3.1"),
            element(0x00280010, b"US", b""),
            element(0xFFFCFFFC, b"OB", bytes(6)),
        )
    )


def test_odd_bytes_are_sent_as_they_arrived(rooms: Rooms, peer: Running) -> None:
    """Nothing on the way decodes a data set and encodes it again, which would mend it."""
    odd = _odd_data_set()
    writer = rooms.spool.writer(
        sop_class_uid=CT_IMAGE_STORAGE,
        sop_instance_uid="1.2.3.4",
        transfer_syntax_uid=EXPLICIT,
        provenance=Provenance("CT_1", "DICOMRELAY", "127.0.0.1", "a1", 1, ""),
    )
    writer.write([odd])
    writer.commit(Header(CT_IMAGE_STORAGE, "1.2.3.4", "1.2.3", "1.2.3.1", "CT"))
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)

    forward_transfer(rooms, transfer)

    assert [stored.data_set for stored in peer.service.stored] == [odd]


def test_a_retry_sends_what_is_missing_and_no_more(rooms: Rooms, peer: Running) -> None:
    """Invariant 7: the second of three is refused for now, and is alone in the second attempt."""
    for number in (1, 2, 3):
        spooled(rooms, f"1.2.3.{number}")
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    count = iter(range(100))

    def out_of_resources() -> StoreReply | None:
        return StoreReply(0xA700) if next(count) == 1 else None

    peer.service.on_begin = out_of_resources
    forward_transfer(rooms, transfer)
    first = [stored.request.sop_instance_uid for stored in peer.service.stored]

    assert _states(rooms) == {"delivered": 2, "failed": 1}
    _until_due(rooms, transfer)

    second = [stored.request.sop_instance_uid for stored in peer.service.stored][len(first) :]
    assert sorted(first + second) == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
    assert _states(rooms) == {"delivered": 3}


def _until_due(rooms: Rooms, transfer: str) -> None:
    """Forward as soon as the millisecond of its wait is over."""
    for _ in range(1000):
        if forward_transfer(rooms, transfer):
            return
    pytest.fail("it never became due")


@pytest.mark.dcmtk
def test_a_peer_that_aborts_before_it_answers_gets_all_again(tmp_path: Path) -> None:
    """What was not acknowledged is not delivered."""
    with (
        storescp("RELAY", tmp_path / "aborts", "--abort-after") as peer,
        rooms_at(tmp_path / "home", _toml(peer.port)) as (rooms, _),
    ):
        for number in (1, 2, 3):
            spooled(rooms, f"1.2.3.{number}")
        group_arrivals(rooms)
        (transfer,) = transfers_of(rooms)
        forward_transfer(rooms, transfer)

        assert _states(rooms) == {"failed": 3}
        assert not rooms.ledger.needs_attention()

        peer.stop()
        with storescp("RELAY", tmp_path / "takes", port=peer.port) as better:
            _until_due(rooms, transfer)

            assert _states(rooms) == {"delivered": 3}
            assert len(better.files()) == 3


def test_a_context_that_is_not_accepted_refuses_its_instances_only(rooms: Rooms, peer: Running) -> None:
    """With the SOP class and the transfer syntax in words."""
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    peer.service.answer = lambda _request, decisions: Acceptance(
        [ContextDecision(each.context_id, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED) for each in decisions]
    )

    forward_transfer(rooms, transfer)

    (row,) = rooms.ledger.needs_attention()
    assert row.reason == (
        "the peer does not accept CT Image Storage in Explicit VR Little Endian; a copy in another is not allowed "
        "(transfer_syntax_policy, or --transcode with --direct)"
    )


@pytest.mark.parametrize("result", [1, 2])
@pytest.mark.parametrize("job_id", ["", "job-1"])
def test_a_rejection_is_tried_again(rooms: Rooms, peer: Running, result: int, job_id: str) -> None:
    """A permanent one too: an administrator mends it there, and until then it is listed."""
    peer.service.rejection = AssociateReject(result, 1, 1)
    spooled(rooms, "1.2.3.4", job_id=job_id, send_to=("pacs",) if job_id else ())
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    forward_transfer(rooms, transfer)

    listed = [(row.kind, row.destination) for row in rooms.ledger.needs_attention()]
    assert listed == ([(AttentionKind.BLOCKED, "pacs")] if result == 1 else [])
    (waiting,) = rooms.ledger.waiting()
    assert (waiting.destination, waiting.instances, waiting.attempts) == ("pacs", 1, 1)
    assert "reject" in waiting.reason

    peer.service.rejection = None
    _until_due(rooms, transfer)

    assert _states(rooms) == {"delivered": 1}


def test_bytes_that_changed_are_not_sent(rooms: Rooms, peer: Running) -> None:
    """One flipped bit on the disk, and the instance needs attention instead of being delivered as something else."""
    record = spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    with rooms.spool.locate(record.id).open("r+b") as file:
        file.seek(record.data_set_offset + 20)
        (byte,) = file.read(1)
        file.seek(record.data_set_offset + 20)
        file.write(bytes([byte ^ 1]))

    forward_transfer(rooms, transfer)

    assert not peer.service.stored
    (row,) = rooms.ledger.needs_attention()
    assert "digest differs" in row.reason


def test_a_destination_that_nobody_knows_waits_with_the_reason(rooms: Rooms) -> None:
    """Its name stood in another configuration; it does not spin, and it is not forgotten."""
    spooled(rooms, "1.2.3.4", job_id="job-1", send_to=("elsewhere",))
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    forward_transfer(rooms, transfer)

    (waiting,) = rooms.ledger.waiting()
    assert "elsewhere" in waiting.reason
    assert waiting.due_in_ms > 60_000
    (row,) = rooms.ledger.needs_attention()
    assert "elsewhere" in row.reason
    assert row.advice == "Correct the setting that is named."


def test_nobody_there_is_tried_again(tmp_path: Path) -> None:
    """And nothing is lost meanwhile."""
    with rooms_at(tmp_path / "home", _toml(free_ports(1)[0])) as (rooms, _):
        record = spooled(rooms, "1.2.3.4")
        group_arrivals(rooms)
        (transfer,) = transfers_of(rooms)
        forward_transfer(rooms, transfer)

        assert _states(rooms) == {"pending": 1}
        assert rooms.spool.locate(record.id).exists()


def test_bytes_that_are_gone_need_attention_and_the_rest_goes_on(rooms: Rooms, peer: Running) -> None:
    """Nothing is dropped silently."""
    lost = spooled(rooms, "1.2.3.1")
    spooled(rooms, "1.2.3.2")
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    rooms.spool.remove([lost.id])

    forward_transfer(rooms, transfer)

    assert _states(rooms) == {"delivered": 1, "refused": 1}
    (row,) = rooms.ledger.needs_attention()
    assert "damaged or gone" in row.reason


def test_a_second_runner_finds_the_claim_and_stops(rooms: Rooms, peer: Running) -> None:
    """Invariant 5."""
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    claimed = rooms.ledger.claim_transfer(transfer, owner="another", lease_ms=_MINUTE_MS)
    assert claimed is not None

    assert forward_transfer(rooms, transfer) is None
    assert not peer.service.stored
    assert send_claimed(rooms, claimed) is TransferState.DONE


def test_a_runner_whose_lease_was_taken_writes_nothing(rooms: Rooms, peer: Running) -> None:
    """The fence of the second claim keeps the first one out."""
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    slow = rooms.ledger.claim_transfer(transfer, owner="slow", lease_ms=-1)
    fast = rooms.ledger.claim_transfer(transfer, owner="fast", lease_ms=_MINUTE_MS)
    assert slow is not None
    assert fast is not None

    peer.service.reply = StoreReply(0xC000)
    assert send_claimed(rooms, slow) is TransferState.RUNNING
    assert _states(rooms) == {"pending": 1}

    peer.service.reply = StoreReply(0)
    assert send_claimed(rooms, fast) is TransferState.DONE
    assert _states(rooms) == {"delivered": 1}


def test_a_runner_that_loses_its_lease_sends_nothing_more(rooms: Rooms, peer: Running) -> None:
    """Somebody else sends the rest; the lease is lost while the peer has the first of three in hand."""
    for number in (1, 2, 3):
        spooled(rooms, f"1.2.3.{number}")
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    claimed = rooms.ledger.claim_transfer(transfer, owner="slow", lease_ms=_MINUTE_MS)
    assert claimed is not None
    arrived, asked = threading.Event(), threading.Event()

    def taken_by_another() -> bool:
        assert arrived.wait(10)
        asked.set()
        return False

    lease = LeaseKeeper(taken_by_another, patience_s=60, every_s=0.001)

    def first_is_in_hand() -> None:
        arrived.set()
        assert asked.wait(10)
        for _ in range(1000):
            if lease.lost:
                return
            threading.Event().wait(0.01)

    peer.service.on_finish = first_is_in_hand
    writer = OutcomeWriter(rooms.ledger, claimed)
    with lease:
        send_all(rooms, claimed, resolve("pacs", rooms.settings.destinations), writer, lease)
        assert lease.lost

    assert len(peer.service.stored) == 1
    assert writer.delivered == 1


def test_the_check_of_a_large_file_is_progress(tmp_path: Path) -> None:
    """On a slow disk it takes longer than the keeper has patience. Here nobody listens: it is all the progress there is."""
    progress: list[float] = []

    class Noted(LeaseKeeper):
        def progress(self) -> None:
            progress.append(time.monotonic())

    with rooms_at(tmp_path / "home", _toml(free_ports(1)[0])) as (rooms, _):
        spooled(rooms, "1.2.3.4", more=bytes(5 << 20))
        group_arrivals(rooms)
        (transfer,) = transfers_of(rooms)
        claimed = rooms.ledger.claim_transfer(transfer, owner="a", lease_ms=_MINUTE_MS)
        assert claimed is not None
        writer = OutcomeWriter(rooms.ledger, claimed)
        lease = Noted(lambda: True, patience_s=60)
        with pytest.raises(PeerUnreachable):
            send_all(rooms, claimed, resolve("pacs", rooms.settings.destinations), writer, lease)

    assert len(progress) >= 5


def test_what_a_peer_says_stays_out_of_the_log(
    rooms: Rooms, peer: Running, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """An Error Comment may name a patient; the ledger keeps it for a person who looks."""
    peer.service.reply = StoreReply(0xA700, "CANARY^NAME is full")
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    with caplog.at_level(logging.DEBUG):
        forward_transfer(rooms, transfer)

    printed = capsys.readouterr()
    assert "CANARY" not in caplog.text + printed.out + printed.err
    (study,) = rooms.ledger.studies()
    assert study.destinations[0].failed == 1


def test_delivered_is_only_what_the_peer_acknowledged(rooms: Rooms, peer: Running) -> None:
    """Invariant 6: the ledger's row holds status, attempt, association and bytes."""
    rooms.ledger.create_job("job-1", kind="send", expected=1)
    spooled(rooms, "1.2.3.4", job_id="job-1", send_to=("pacs",))
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    forward_transfer(rooms, transfer)
    (row,) = rooms.ledger.job_progress("job-1", with_instances=True).instances

    assert (row.state, row.status, row.attempts) == (DeliveryState.DELIVERED, 0, 1)
    assert row.bytes == len(data_set("1.2.3.4"))
    assert json.dumps(row.reason) == '""'


@pytest.mark.parametrize("written", [False, True])
def test_a_transfer_is_given_back_though_the_ledger_was_away_for_a_moment(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch, *, written: bool
) -> None:
    """Tried once more, whether the first was written and its answer lost, or not: it is done, and not left to its lease."""
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    finish = Ledger.finish_transfer
    said: list[TransferState | None] = []

    def away_once(*given: Any, **options: Any) -> TransferState:
        if said:
            said.append(finish(*given, **options))
        else:
            said.append(finish(*given, **options) if written else None)
            raise ServiceUnavailable("the database does not answer (test)")
        return TransferState.DONE

    monkeypatch.setattr(Ledger, "finish_transfer", away_once)
    forward_transfer(rooms, transfer)
    assert said == [TransferState.DONE if written else None, TransferState.DONE]
    assert _states(rooms) == _DELIVERED

"""One transfer to a peer that answers as it is told: what becomes of each instance."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomrelay.ledger.values import DeliveryState, TransferState
from dicomrelay.net.service import StoreReply
from dicomrelay.ul.pdu import AssociateReject
from tests.support.engine import MemoryService, Running, running_acceptor
from tests.support.house import free_ports, storescp
from tests.support.rooms import data_set, rooms_at, spooled, transfers_of
from workers.forward import forward_transfer, send_claimed
from workers.group import group_arrivals
from workers.rooms import Rooms

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

        assert _states(rooms) == {"pending": 3}
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
    peer.service.negotiate = lambda request, _address: [  # type: ignore[method-assign]
        type(decision)(decision.context_id, decision.result.__class__(3))
        for decision in MemoryService.negotiate(peer.service, request, "")
    ]

    forward_transfer(rooms, transfer)

    (row,) = rooms.ledger.needs_attention()
    assert row.reason == "the peer does not accept CT Image Storage in Explicit VR Little Endian"


@pytest.mark.parametrize("result", [1, 2])
@pytest.mark.parametrize("job_id", ["", "job-1"])
def test_a_rejection_is_tried_again(rooms: Rooms, peer: Running, result: int, job_id: str) -> None:
    """A permanent one too: an administrator mends it there, and nobody has to do anything here."""
    peer.service.rejection = AssociateReject(result, 1, 1)
    spooled(rooms, "1.2.3.4", job_id=job_id, send_to=("pacs",) if job_id else ())
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    forward_transfer(rooms, transfer)

    assert not rooms.ledger.needs_attention()
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
    assert "cannot be read" in row.reason


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

"""Counters, statuses and the list of failures of a retrieve."""

from __future__ import annotations

import pytest

from dicomrelay.dicom.status import Outcome
from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.identifier import decode_identifier, failed_instances
from dicomrelay.dimse.messages import CGetRequest, CGetResponse, CMoveRequest, CMoveResponse
from scp_gateway.retrieve.counting import Counting

EXPLICIT = "1.2.840.10008.1.2.1"
MOVE = CMoveRequest(7, "1.2.840.10008.5.1.4.1.2.2.2", "PACS")
D, W, F, R = Outcome.DELIVERED, Outcome.WARNING, Outcome.RETRY, Outcome.REFUSED


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], 0x0000),
        ([D, D], 0x0000),
        ([D, F], 0xB000),
        ([D, W], 0xB000),
        ([W, W], 0xB000),
        ([W, R], 0xB000),
        ([F], 0xA702),
        ([F, R], 0xA702),
    ],
)
def test_the_last_status_says_how_it_ended(outcomes: list[Outcome], status: int) -> None:
    """PS3.4 Section C.4.2.2.1."""
    counting = Counting(MOVE, len(outcomes))
    for number, outcome in enumerate(outcomes):
        counting.add(f"1.{number}", outcome, "why")
    answer = counting.last(EXPLICIT)
    assert answer.response.status == status
    assert isinstance(answer.response, CMoveResponse)
    assert answer.response.remaining is None
    failed = [f"1.{number}" for number, outcome in enumerate(outcomes) if outcome in (F, R)]
    if failed:
        assert answer.identifier is not None
        assert failed_instances(decode_identifier(answer.identifier, EXPLICIT)) == failed
        assert answer.response.error_comment == "why"
    else:
        assert answer.identifier is None
    assert encode_message(answer.response, has_data_set=bool(failed))


def test_what_is_cancelled_tells_what_remains() -> None:
    """FE00; but one that had nothing left to do has ended by itself."""
    counting = Counting(MOVE, 5)
    counting.add("1.1", D, "")
    counting.add("1.2", F, "why")
    response = counting.last(EXPLICIT, is_cancelled=True).response
    assert isinstance(response, CMoveResponse)
    assert (response.status, response.remaining, response.completed, response.failed) == (0xFE00, 3, 1, 1)
    over = Counting(MOVE, 1)
    over.add("1.1", D, "")
    assert over.last(EXPLICIT, is_cancelled=True).response.status == 0


def test_numbers_that_a_counter_cannot_hold() -> None:
    """More than 65,535 sub-operations, and more failed UIDs than UI can have in explicit VR."""
    total = 70_000
    counting = Counting(CGetRequest(1, "1.2.3"), total)
    assert isinstance(counting.pending(), CGetResponse)
    assert counting.pending().remaining == 0xFFFF
    for number in range(total):
        counting.add(f"1.2.826.0.1.3680043.10.7.{number}", F, "x" * 80)
    answer = counting.last(EXPLICIT)
    assert isinstance(answer.response, CGetResponse)
    assert (answer.response.failed, counting.failed, counting.remaining) == (0xFFFF, total, 0)
    assert len(answer.response.error_comment) == 64
    assert answer.identifier is not None
    uids = failed_instances(decode_identifier(answer.identifier, EXPLICIT))
    assert uids[:2] == ["1.2.826.0.1.3680043.10.7.0", "1.2.826.0.1.3680043.10.7.1"]
    assert 60_000 < len("\\".join(uids)) <= 0xFFFE

"""The outcome table: whole, without doubles, and of one mind with the errors' `retryable`."""

from __future__ import annotations

import errno
import inspect
from collections.abc import Iterator

import pytest

from dicomrelay import errors
from dicomrelay.dicom.status import STATUSES, Outcome, status_row
from dicomrelay.errors import AssociationAborted, AssociationRejected, AssociationTimeout, RelayError
from dicomrelay.net import outcomes
from dicomrelay.net.outcomes import TABLE, judge
from dicomrelay.net.service import StoreReply
from tests.support import outcomes_page

DELIVERED, WARNING, RETRY, REFUSED = Outcome.DELIVERED, Outcome.WARNING, Outcome.RETRY, Outcome.REFUSED


def _expected(status: int) -> Outcome:
    """PS3.4 Table B.2-1 and PS3.7 Annex C, written down a second time and not as a table."""
    if status == 0:
        return DELIVERED
    if 0xB000 <= status <= 0xBFFF or status in {0x0001, 0x0107, 0x0116}:
        return WARNING
    if 0xA700 <= status <= 0xA7FF or status in {0x0110, 0x0213, 0xFE00}:
        return RETRY
    return REFUSED


def test_every_status_there_can_be_has_its_outcome() -> None:
    """All 65,536; only 0000 is delivered, and what the standard does not know is no success."""
    wrong = [
        f"{status:04X}"
        for status in range(0x10000)
        if judge(StoreReply(status)).outcome is not _expected(status)
    ]
    assert not wrong


@pytest.mark.parametrize("status", [-1, 0x10000, 0x1B000])
def test_a_number_that_is_no_status_is_no_success(status: int) -> None:
    """A codec that went wrong must not look like delivery."""
    assert status_row(status) is STATUSES[-1]


def test_every_row_of_statuses_is_reached_by_some_status() -> None:
    """None is hidden behind the rows above it."""
    assert {id(status_row(status)) for status in range(0x10000)} == {id(row) for row in STATUSES}


def test_the_words_of_a_peer_are_not_the_name() -> None:
    """They may hold a name of a patient, and the name is logged."""
    assert judge(StoreReply(0xA700, "CANARY^NAME")) == judge(StoreReply(0xA700))
    assert judge(StoreReply(0xA701)).status == 0xA701


@pytest.mark.parametrize("result", range(256))
def test_a_rejection_is_judged_by_its_result(result: int) -> None:
    """Every source and reason there can be (PS3.8 Table 9-21); the error itself says the same."""
    for source in range(256):
        for reason in (0, 1, 2, 3, 4, 7, 8, 255):
            error = AssociationRejected("no", result=result, source=source, reason=reason)
            assert judge(error).outcome is (RETRY if result == 2 else REFUSED)
            assert error.retryable == (result == 2)


def test_every_defined_rejection_has_a_row_of_its_own() -> None:
    """Result, source and reason of Table 9-21 are told apart."""
    defined = [(1, 1), (1, 2), (1, 3), (1, 7), (2, 1), (2, 2), (3, 1), (3, 2)]
    assert list(outcomes.REJECTIONS) == [(result, *pair) for result in (1, 2) for pair in defined]
    for result, source, reason in outcomes.REJECTIONS:
        verdict = judge(AssociationRejected("no", result=result, source=source, reason=reason))
        assert verdict.name.startswith("rejected for good" if result == 1 else "rejected for now")
    assert judge(AssociationRejected("no", result=1, source=1, reason=3)).name.endswith(
        "calling AE title not recognized"
    )
    assert judge(AssociationRejected("no", result=1, source=1, reason=10)).name.endswith("unknown reason")


def test_every_abort_is_tried_again() -> None:
    """PS3.8 Table 9-26 has no word for never; source 0 gives no reason; no source at all is a lost connection."""
    for source in range(256):
        for reason in range(256):
            assert judge(AssociationAborted("gone", source=source, reason=reason)).outcome is RETRY
    assert judge(AssociationAborted("gone", source=0, reason=5)).name == "aborted by the service user"
    assert (
        judge(AssociationAborted("gone", source=2, reason=2)).name
        == "aborted by the service provider: unexpected PDU"
    )
    assert judge(AssociationAborted("gone", source=2, reason=3)).name == "aborted: unknown reason"
    assert judge(AssociationAborted("gone", source=1, reason=0)).name == "aborted: unknown reason"
    assert judge(AssociationAborted("gone")).name == "the connection was lost"


@pytest.mark.parametrize("timer", ["association", "response", "PDU", "any timer to come"])
def test_every_deadline_is_tried_again(timer: str) -> None:
    """With words of its own where the timer is known."""
    verdict = judge(AssociationTimeout("late", timer=timer))
    assert verdict.outcome is RETRY
    assert (verdict.name == "a deadline passed") == (timer not in outcomes.TIMEOUTS)


def test_a_local_file_that_cannot_be_read_is_of_the_moment() -> None:
    """A mount, a permission, a descriptor; nothing is lost by trying again."""
    for number in errno.errorcode:
        assert judge(OSError(number, "x")).outcome is RETRY
    assert judge(OSError("without a number")).outcome is RETRY
    assert judge(FileNotFoundError(errno.ENOENT, "x")).name == "the file is not there"


def _every_error(base: type[RelayError] = RelayError) -> Iterator[RelayError]:
    """One of each class in the tree."""
    names = {"result": 2, "source": 3, "reason": 2, "number": 1, "count": 1}
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            wanted = [
                each
                for each in inspect.signature(child.__init__).parameters.values()
                if each.kind is each.KEYWORD_ONLY and each.default is each.empty
            ]
            yield child("words", **{each.name: names.get(each.name, "x") for each in wanted})
            yield from _every_error(child)


@pytest.mark.parametrize("error", list(_every_error()), ids=lambda error: type(error).__name__)
def test_errors_and_table_say_the_same_of_another_try(error: RelayError) -> None:
    """One truth: `retryable` is what the table says, for every class of error there is."""
    assert (judge(error).outcome is RETRY) == error.retryable


def test_every_row_has_words_and_advice() -> None:
    """And each fault stands in the table once."""
    faults = [row.fault for row in TABLE]
    assert len(faults) == len(set(faults))
    for row in TABLE:
        assert row.name
        assert row.advice[-1] in ".?"
        assert row.outcome in {RETRY, REFUSED}
    for status in STATUSES:
        assert status.name
        assert status.advice[-1:] in set(".?") or status.outcome is DELIVERED


def test_the_page_says_what_the_table_says() -> None:
    """The page is what the table gives; `python -m tests.support.outcomes_page` writes it anew."""
    assert outcomes_page.render() == outcomes_page.PAGE.read_text("utf-8")

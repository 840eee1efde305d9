"""What a store response says of each instance, without a socket."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomrelay.dicom.status import Outcome
from dicomrelay.web.store_response import parse, told
from tests.support.web_service import stored

DELIVERED, WARNING, RETRY, REFUSED = Outcome.DELIVERED, Outcome.WARNING, Outcome.RETRY, Outcome.REFUSED


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (0xA700, RETRY),
        (0x0110, RETRY),
        (0xA900, REFUSED),
        (0xC000, REFUSED),
        (0xC122, REFUSED),
        (0x0122, REFUSED),
        (0x0124, REFUSED),
        (0x0111, REFUSED),
        (45070, REFUSED),
        (0x0000, REFUSED),
        (0xB000, REFUSED),
        (0xFFFF, REFUSED),
        (None, REFUSED),
    ],
)
def test_a_failure_is_never_a_delivery(reason: int | None, outcome: Outcome) -> None:
    """PS3.18 Table I.2-2; also where its number is one of success or of a warning."""
    response = parse(stored("1.2.1", failed={"1.2.2": reason}).body)
    assert response is not None
    found = told(response)
    assert (found["1.2.1"].outcome, found["1.2.1"].status) == (DELIVERED, 0)
    assert (found["1.2.2"].outcome, found["1.2.2"].status) == (outcome, reason)


@pytest.mark.parametrize("reason", [0x0111, 45070])
def test_duplicates_are_delivered_where_the_settings_take_its_word(reason: int) -> None:
    """What is sent at least once may be there already."""
    response = parse(stored(failed={"1.2.2": reason}).body)
    assert response is not None
    assert told(response, duplicates_are_delivered=True)["1.2.2"].outcome is WARNING


def test_a_warning_is_a_delivery_with_its_status() -> None:
    """Warning Reason (0008,1196); 0 is none."""
    response = parse(stored(warned={"1.2.2": 0xB006, "1.2.3": 0}).body)
    assert response is not None
    found = told(response)
    assert (found["1.2.2"].outcome, found["1.2.2"].status) == (WARNING, 0xB006)
    assert (found["1.2.3"].outcome, found["1.2.3"].status) == (DELIVERED, 0)


def test_what_is_in_both_sequences_has_failed() -> None:
    """Who contradicts himself has not said that it is stored."""
    response = parse(stored("1.2.1", failed={"1.2.1": 0x0110}).body)
    assert response is not None
    assert told(response)["1.2.1"].outcome is RETRY


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"<html>",
        b'{"00081199"',
        b'{"00081190": {"vr": "UR"}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_store_response(body: bytes) -> None:
    """Then nothing is known of any instance."""
    assert parse(body) is None


def test_a_wrapped_response_and_numbers_as_text_are_read() -> None:
    """Some services write them so."""
    item = {
        "00081155": {"Value": ["1.2.3\0"]},
        "00081197": {"Value": ["42752"]},
        "00000902": {"Value": ["no\nroom"]},
    }
    response = parse(json.dumps([{"00081198": {"vr": "SQ", "Value": [item]}}]).encode())
    assert response is not None
    found = told(response)["1.2.3"]
    assert (found.outcome, found.status) == (RETRY, 0xA700)
    assert "\n" not in found.comment
    assert found.comment.startswith("no")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["00081199", "00081198", "00081155", "00081196", "00081197", "Value", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(_JSON)
def test_any_json_is_read_or_is_none(content: object) -> None:
    """Nothing that a service says is an error of ours."""
    response = parse(json.dumps(content).encode())
    if response is not None:
        for found in told(response).values():
            assert found.status is None or 0 <= found.status <= 0xFFFF

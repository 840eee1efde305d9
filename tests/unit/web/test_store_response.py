"""What a store response says of each instance, without a socket."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomrelay.dicom.status import Outcome
from dicomrelay.web.store_response import Told, parse
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
    found = response.named
    assert (found["1.2.1"].outcome, found["1.2.1"].status) == (DELIVERED, 0)
    assert (found["1.2.2"].outcome, found["1.2.2"].status) == (outcome, reason)


@pytest.mark.parametrize("reason", [0x0111, 45070])
def test_duplicates_are_delivered_where_the_settings_take_its_word(reason: int) -> None:
    """What is sent at least once may be there already."""
    response = parse(stored(failed={"1.2.2": reason}).body, duplicates_are_delivered=True)
    assert response is not None
    assert response.named["1.2.2"].outcome is WARNING


def test_a_warning_is_a_delivery_with_its_status() -> None:
    """Warning Reason (0008,1196); 0 is none."""
    response = parse(stored(warned={"1.2.2": 0xB006, "1.2.3": 0}).body)
    assert response is not None
    found = response.named
    assert (found["1.2.2"].outcome, found["1.2.2"].status) == (WARNING, 0xB006)
    assert (found["1.2.3"].outcome, found["1.2.3"].status) == (DELIVERED, 0)


def test_what_is_in_both_sequences_has_failed() -> None:
    """Who contradicts himself has not said that it is stored."""
    response = parse(stored("1.2.1", failed={"1.2.1": 0x0110}).body)
    assert response is not None
    assert response.named["1.2.1"].outcome is RETRY


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
        b'{"00081199": {"vr": "SQ"}}',
        b'{"00081199": {"vr": "SQ", "Value": []}, "00081198": {"vr": "SQ", "Value": [{}]}}',
        b'{"0008119A": {"vr": "SQ", "Value": []}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_store_response(body: bytes) -> None:
    """Then nothing is known of any instance."""
    assert parse(body) is None


def _others(*reasons: object) -> bytes:
    items = [{"00081197": {"vr": "US", "Value": [reason]}} for reason in reasons]
    return json.dumps({"0008119A": {"vr": "SQ", "Value": items}}).encode()


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        ([0xA700], Told(RETRY, 0xA700)),
        ([0xC122], Told(REFUSED, 0xC122)),
        ([0xC122, 0x0110, 0xA700], Told(RETRY, 0x0110)),
        ([0], Told(REFUSED, 0, "failed with 0x0000, which is no number of a failure")),
        ([None], Told(REFUSED, None, "failed, and the store response gives no reason")),
    ],
)
def test_what_failed_without_a_name_has_its_reason(reasons: list[object], told: Told) -> None:
    """Other Failures Sequence (PS3.18 Table I.1-1); of several reasons one that may pass, and what is named has its own."""
    response = parse(_others(*reasons))
    assert response is not None
    assert response.named == {}
    assert response.of("1.2.3") == told
    both = parse(b"%s,%s" % (stored("1.2.1").body[:-1], _others(*reasons)[1:]))
    assert both is not None
    assert both.of("1.2.1") == Told(DELIVERED, 0)
    assert both.of("1.2.3") == told


def test_a_duplicate_that_is_not_named_is_no_delivery() -> None:
    """Whichever it is: only what is named is there."""
    response = parse(_others(0x0111), duplicates_are_delivered=True)
    assert response is not None
    assert response.others is not None
    assert response.others.outcome is REFUSED


@pytest.mark.parametrize("reason", ["42752", 42752.0])
def test_a_wrapped_response_and_odd_numbers_are_read(reason: object) -> None:
    """Some services write them so."""
    item = {
        "00081155": {"Value": ["1.2.3\0"]},
        "00081197": {"Value": [reason]},
        "00000902": {"Value": ["no\nroom"]},
    }
    response = parse(json.dumps([{"00081198": {"vr": "SQ", "Value": [item]}}]).encode())
    assert response is not None
    found = response.named["1.2.3"]
    assert (found.outcome, found.status) == (RETRY, 0xA700)
    assert "\n" not in found.comment
    assert found.comment.startswith("no")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["00081199", "00081198", "0008119A", "00081155", "00081196", "00081197", "Value", "x"]
            ),
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
        for found in (*response.named.values(), *filter(None, [response.others])):
            assert found.status is None or 0 <= found.status <= 0xFFFF

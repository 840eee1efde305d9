"""The templates of C-STORE give what the general codec gives, for whatever they take on."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomrelay.dimse.codec import decode_message, encode_message
from dicomrelay.dimse.messages import CStoreRequest, CStoreResponse
from dicomrelay.dimse.store_codec import StoreRequestReader, encode_store_request, encode_store_response
from dicomrelay.errors import LocalProtocolError, RemoteProtocolError

BRISK = settings(max_examples=300, deadline=None)
uids = st.text("0123456789.", min_size=1, max_size=64)
# What no decent caller gives, among what is decent.
any_uid = uids | st.text(max_size=70)
any_number = st.integers(0, 65_535) | st.integers(-2, 70_000)
requests = st.builds(
    CStoreRequest,
    st.integers(0, 65_535),
    uids,
    uids,
    st.integers(0, 2),
    st.text("ABC", max_size=16),
    st.none() | st.integers(0, 65_535),
)


def _encoded(message: CStoreRequest | CStoreResponse, *, has_data_set: bool) -> bytes | None:
    try:
        return encode_message(message, has_data_set=has_data_set)
    except LocalProtocolError:
        return None


@BRISK
@given(any_number, any_uid, any_uid)
def test_a_request_by_template_is_the_request(message_id: int, sop_class: str, instance: str) -> None:
    """Byte for byte, and refused where the codec refuses."""
    wanted = _encoded(CStoreRequest(message_id, sop_class, instance), has_data_set=True)
    try:
        found = encode_store_request(message_id, sop_class, instance)
    except LocalProtocolError:
        found = None
    assert found == wanted


@BRISK
@given(any_number, uids, uids, st.text("AB -_", max_size=18), any_number)
def test_a_request_of_a_move_by_template_is_the_request(
    message_id: int, sop_class: str, instance: str, ae_title: str, originator_id: int
) -> None:
    """With who asked for the move behind it."""
    request = CStoreRequest(
        message_id,
        sop_class,
        instance,
        move_originator_ae_title=ae_title,
        move_originator_message_id=originator_id,
    )
    wanted = _encoded(request, has_data_set=True)
    try:
        found = encode_store_request(message_id, sop_class, instance, (ae_title, originator_id))
    except LocalProtocolError:
        found = None
    assert found == wanted


@BRISK
@given(any_number, any_number, any_uid, any_uid)
def test_a_response_by_template_is_the_response(
    message_id: int, status: int, sop_class: str, instance: str
) -> None:
    """Byte for byte, and refused where the codec refuses."""
    wanted = _encoded(CStoreResponse(message_id, status, sop_class, instance), has_data_set=False)
    try:
        found = encode_store_response(message_id, status, sop_class, instance)
    except LocalProtocolError:
        found = None
    assert found == wanted


@BRISK
@given(requests, requests)
def test_a_request_is_read_as_the_codec_reads_it(first: CStoreRequest, second: CStoreRequest) -> None:
    """After one of the same kind it is read by template, and in any case read the same or left to the codec."""
    reader = StoreRequestReader()
    raw = encode_message(first, has_data_set=True)
    assert reader.read(raw) is None
    reader.learn(raw, first)
    alike = CStoreRequest(
        second.message_id,
        first.sop_class_uid,
        second.sop_instance_uid,
        first.priority,
        first.move_originator_ae_title,
        first.move_originator_message_id,
    )
    taken_on = first.move_originator_ae_title == "" and first.move_originator_message_id is None
    assert reader.read(encode_message(alike, has_data_set=True)) == (alike if taken_on else None)
    assert reader.read(encode_message(second, has_data_set=True)) in (None, second)


@BRISK
@given(requests, st.data())
def test_whatever_is_changed_in_a_request_it_is_read_as_the_codec_reads_it(
    first: CStoreRequest, data: st.DataObject
) -> None:
    """Any byte replaced, any cut, anything behind: the same value, or left to the codec."""
    reader = StoreRequestReader()
    raw = encode_message(first, has_data_set=True)
    reader.learn(raw, first)
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(max(0, len(raw) - 70), len(raw)))
    for candidate in (bytes(changed), raw[:cut], raw + data.draw(st.binary(min_size=1, max_size=12))):
        found = reader.read(candidate)
        if found is not None:
            assert decode_message(candidate) == (found, True)


def test_a_request_in_another_order_is_left_to_the_codec() -> None:
    """The instance UID must stand last, and no element twice."""
    raw = encode_message(CStoreRequest(1, "1.2", "1.3"), has_data_set=True)
    reader = StoreRequestReader()
    for unusual in (
        raw + struct.pack("<HHI", 0, 0x1031, 2) + b"\1\0",
        raw + struct.pack("<HHI", 0, 0x1000, 2) + b"1\0",
        raw[12:],
    ):
        message, follows = decode_message(unusual)
        assert follows
        assert isinstance(message, CStoreRequest)
        reader.learn(unusual, message)
        assert reader.read(unusual) is None


def test_an_empty_instance_uid_is_refused_as_ever() -> None:
    """The template does not take it on; the codec says that it is missing."""
    raw = encode_message(CStoreRequest(1, "1.2", "1.3"), has_data_set=True)
    reader = StoreRequestReader()
    reader.learn(raw, CStoreRequest(1, "1.2", "1.3"))
    empty = raw[:-8] + struct.pack("<I", 0)
    assert reader.read(empty) is None
    with pytest.raises(RemoteProtocolError, match=r"\(0000,1000\) is missing"):
        decode_message(empty)

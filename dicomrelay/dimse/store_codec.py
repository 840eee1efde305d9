"""C-STORE command sets by template: what the sender writes and the acceptor answers, thousands of times over.

Between two requests of an association only the message id and the SOP Instance UID differ. These functions splice them
into what the general codec made once, and read them out of what it has read once. They give what `codec` gives, or
None where they do not apply; `tests/property/test_store_codec.py` holds them to that.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.command_set import encode_element
from dicomrelay.dimse.messages import CStoreRequest, CStoreResponse

_GROUP_LENGTH = struct.Struct("<HHII")
_US = struct.Struct("<H")
_UL = struct.Struct("<I")
_ELEMENT = struct.Struct("<HHI")
_GROUP_LENGTH_BYTES: Final = 12
_HEADER_BYTES: Final = 8
_MAX_UID_BYTES: Final = 64
_MESSAGE_ID: Final = 0x0110
_SOP_INSTANCE_UID: Final = 0x1000
_MOVE_ORIGINATOR_AE_TITLE: Final = 0x1030
_MOVE_ORIGINATOR_MESSAGE_ID: Final = 0x1031


def encode_store_request(
    message_id: int, sop_class_uid: str, sop_instance_uid: str, originator: tuple[str, int] | None = None
) -> bytes:
    """The command set of a C-STORE-RQ of medium priority, a data set following.

    Parameters
    ----------
    originator : tuple of (str, int), optional
        AE title and message id of the C-MOVE that it is sent for.

    Raises
    ------
    LocalProtocolError
        A UID or a message id that does not fit.
    """
    raw = _uid_bytes(sop_instance_uid)
    ae_title, its_message_id = originator or ("", None)
    if raw is None or not 0 <= message_id <= 0xFFFF:
        request = CStoreRequest(
            message_id,
            sop_class_uid,
            sop_instance_uid,
            move_originator_ae_title=ae_title,
            move_originator_message_id=its_message_id,
        )
        return encode_message(request, has_data_set=True)
    before, between = _request_parts(sop_class_uid)
    behind = _originator_parts(ae_title, its_message_id) if its_message_id is not None else b""
    body_bytes = len(before) + 2 + len(between) + 4 + len(raw) + len(behind)
    return b"%b%b%b%b%b%b%b" % (
        _GROUP_LENGTH.pack(0, 0, 4, body_bytes),
        before,
        _US.pack(message_id),
        between,
        _UL.pack(len(raw)),
        raw,
        behind,
    )


def encode_store_response(message_id: int, status: int, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """The command set of a C-STORE-RSP without an error comment.

    Raises
    ------
    LocalProtocolError
        A UID, a message id or a status that does not fit.
    """
    raw = _uid_bytes(sop_instance_uid)
    if raw is None or not sop_class_uid or not 0 <= message_id <= 0xFFFF:
        response = CStoreResponse(message_id, status, sop_class_uid, sop_instance_uid)
        return encode_message(response, has_data_set=False)
    before, between = _response_parts(sop_class_uid, status)
    body_bytes = len(before) + 2 + len(between) + 4 + len(raw)
    return b"%b%b%b%b%b%b" % (
        _GROUP_LENGTH.pack(0, 0, 4, body_bytes),
        before,
        _US.pack(message_id),
        between,
        _UL.pack(len(raw)),
        raw,
    )


def _uid_bytes(uid: str) -> bytes | None:
    if not 0 < len(uid) <= _MAX_UID_BYTES or not uid.isascii():
        return None
    return uid.encode("ascii") + b"\0" * (len(uid) & 1)


@lru_cache(maxsize=256)
def _request_parts(sop_class_uid: str) -> tuple[bytes, bytes]:
    whole = encode_message(CStoreRequest(0, sop_class_uid, "1"), has_data_set=True)
    # (0000,0002), then (0000,0100) of 10 bytes, then the header of (0000,0110)
    return _parts(whole, _length_of_first(whole) + 10 + _HEADER_BYTES)


@lru_cache(maxsize=64)
def _originator_parts(ae_title: str, message_id: int) -> bytes:
    """Both stand behind the SOP Instance UID, in ascending order (PS3.7 Section 6.3.1)."""
    title = encode_element(_MOVE_ORIGINATOR_AE_TITLE, ae_title) if ae_title else b""
    return title + encode_element(_MOVE_ORIGINATOR_MESSAGE_ID, message_id)


@lru_cache(maxsize=256)
def _response_parts(sop_class_uid: str, status: int) -> tuple[bytes, bytes]:
    whole = encode_message(CStoreResponse(0, status, sop_class_uid, "1"), has_data_set=False)
    # (0000,0002), then (0000,0100) of 10 bytes, then the header of (0000,0120)
    return _parts(whole, _length_of_first(whole) + 10 + _HEADER_BYTES)


def _length_of_first(whole: bytes) -> int:
    return _HEADER_BYTES + int(_UL.unpack_from(whole, _GROUP_LENGTH_BYTES + 4)[0])


def _parts(whole: bytes, at: int) -> tuple[bytes, bytes]:
    """What stands before the message id, and between it and the length of the last element, whose value is "1\\0"."""
    body = whole[_GROUP_LENGTH_BYTES:]
    return body[:at], body[at + 2 : -6]


class StoreRequestReader:
    """Reads a C-STORE-RQ that differs from the one before it in message id and SOP Instance UID only."""

    __slots__ = ("_before", "_between", "_instance_at", "_known", "_message_id_at")

    def __init__(self) -> None:
        self._known: CStoreRequest | None = None
        self._before = self._between = b""
        self._message_id_at = self._instance_at = 0

    def read(self, raw: bytes) -> CStoreRequest | None:
        """The request; None when only the general codec can tell."""
        known = self._known
        at, end = self._message_id_at, self._instance_at
        if known is None or raw[_GROUP_LENGTH_BYTES:at] != self._before or raw[at + 2 : end] != self._between:
            return None
        value = raw[end + 4 :]
        uid = value.strip(b"\0 ")
        if (
            raw[:8] != b"\0\0\0\0\4\0\0\0"
            or not value
            or len(value) != _UL.unpack_from(raw, end)[0]
            or len(uid) > _MAX_UID_BYTES
            or not uid.isascii()
        ):
            return None
        return CStoreRequest(
            raw[at] | raw[at + 1] << 8,
            known.sop_class_uid,
            uid.decode("ascii"),
            known.priority,
            known.move_originator_ae_title,
            known.move_originator_message_id,
        )

    def learn(self, raw: bytes, request: CStoreRequest) -> None:
        """Remember the layout of a request that the general codec has read, when it is the usual one."""
        self._known = None
        places: dict[int, int] = {}
        position = element = length = 0
        while position < len(raw):
            _, element, length = _ELEMENT.unpack_from(raw, position)
            if element in places:
                return
            places[element] = position + _HEADER_BYTES
            position += _HEADER_BYTES + length
        if places.get(0) != _HEADER_BYTES or element != _SOP_INSTANCE_UID or length == 0:
            return
        self._message_id_at = at = places[_MESSAGE_ID]
        self._instance_at = end = places[_SOP_INSTANCE_UID] - 4
        self._before, self._between = raw[_GROUP_LENGTH_BYTES:at], raw[at + 2 : end]
        self._known = request

"""The user information item of A-ASSOCIATE-RQ and -AC, both ways (PS3.8 Annex D.1, PS3.7 Annex D.3.3)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from dicomrelay.errors import RemoteProtocolError
from dicomrelay.ul.pdu import (
    AbortReason,
    AsynchronousOperations,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    RoleSelection,
    UserIdentity,
    UserInformation,
)

_ITEM_HEADER = struct.Struct(">BxH")
_LENGTH = struct.Struct(">H")


def read_uid(raw: bytes, field: str) -> str:
    """A UID as it came, without padding; at most 64 characters of ASCII.

    Whether it is a UID at all is left to whoever knows what it is for: an odd abstract syntax is a context to
    refuse, not an association to abort.
    """
    text = raw.rstrip(b"\0 ")
    if len(text) > 64 or not text.isascii():
        raise _invalid(f"the {field} is no UID: {len(text)} bytes", "PS3.8 Annex F")
    return text.decode("ascii")


def item(item_type: int, value: bytes) -> bytes:
    """An item or sub-item: type, reserved, length, value."""
    return _ITEM_HEADER.pack(item_type, len(value)) + value


def read_user_information(raw: bytes) -> UserInformation:
    """The value of a user information item (0x50). Sub-items that are not known are skipped."""
    found: dict[str, Any] = {}
    repeated: dict[str, list[Any]] = {name: [] for name in _REPEATED}
    position = 0
    while position < len(raw):
        if len(raw) - position < 4:
            raise _invalid("a user information sub-item is cut off", "PS3.8 Annex D.1")
        item_type, length = _ITEM_HEADER.unpack_from(raw, position)
        position += 4
        if position + length > len(raw):
            raise _invalid(
                f"user information sub-item 0x{item_type:02X} claims {length} bytes and {len(raw) - position} are left",
                "PS3.8 Annex D.1",
            )
        known = _READERS.get(item_type)
        if known is not None:
            name, read = known
            value = read(_Fields(raw[position : position + length], name))
            if name in _REPEATED:
                repeated[name].append(value)
            else:
                found[name] = value
        position += length
    found.update({name: tuple(values) for name, values in repeated.items()})
    return UserInformation(**found)


def write_user_information(information: UserInformation) -> bytes:
    """The whole item, header too; sub-items in ascending order, as PS3.7 Annex D.3.3 lists them."""
    parts = [item(0x51, struct.pack(">I", information.maximum_length))]
    parts.append(item(0x52, information.implementation_class_uid.encode("ascii")))
    window = information.asynchronous_operations
    if window is not None:
        parts.append(item(0x53, struct.pack(">HH", window.invoked, window.performed)))
    parts += [
        item(0x54, _counted(role.sop_class_uid.encode("ascii")) + bytes([role.scu, role.scp]))
        for role in information.roles
    ]
    if information.implementation_version_name:
        parts.append(item(0x55, information.implementation_version_name.encode("latin-1")))
    parts += [
        item(0x56, _counted(each.sop_class_uid.encode("ascii")) + each.application_information)
        for each in information.extended
    ]
    parts += [item(0x57, _common_extended(each)) for each in information.common_extended]
    identity = information.user_identity
    if identity is not None:
        head = bytes([identity.identity_type, identity.response_requested])
        parts.append(item(0x58, head + _counted(identity.primary_field) + _counted(identity.secondary_field)))
    if information.user_identity_response is not None:
        parts.append(item(0x59, _counted(information.user_identity_response)))
    return item(0x50, b"".join(parts))


class _Fields:
    """Takes the fields of one sub-item from front to back."""

    __slots__ = ("_name", "_position", "_raw")

    def __init__(self, raw: bytes, name: str) -> None:
        self._raw = raw
        self._name = name
        self._position = 0

    @property
    def is_exhausted(self) -> bool:
        return self._position >= len(self._raw)

    def take(self, count: int) -> bytes:
        begin, self._position = self._position, self._position + count
        if self._position > len(self._raw):
            raise _invalid(f"the sub-item for {self._name} is cut off", "PS3.7 Annex D.3.3")
        return self._raw[begin : self._position]

    def rest(self) -> bytes:
        return self.take(len(self._raw) - self._position)

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def counted(self) -> bytes:
        return self.take(self.number(2))

    def uid(self) -> str:
        return read_uid(self.counted(), self._name)


def _read_name(fields: _Fields) -> str:
    text = fields.rest().rstrip(b"\0 ").decode("latin-1")
    if len(text) > 64 or not text.isprintable():
        raise _invalid("the implementation version name is no name", "PS3.7 Annex D.3.3.2.3")
    return text


def _read_common_extended(fields: _Fields) -> CommonExtendedNegotiation:
    sop_class_uid, service_class_uid = fields.uid(), fields.uid()
    related = _Fields(fields.counted(), "common_extended")
    uids: list[str] = []
    while not related.is_exhausted:
        uids.append(related.uid())
    return CommonExtendedNegotiation(sop_class_uid, service_class_uid, tuple(uids))


def _read_identity(fields: _Fields) -> UserIdentity:
    return UserIdentity(fields.number(1), fields.number(1) == 1, fields.counted(), fields.counted())


_READERS: Final[dict[int, tuple[str, Callable[[_Fields], Any]]]] = {
    0x51: ("maximum_length", lambda fields: fields.number(4)),
    0x52: ("implementation_class_uid", lambda fields: read_uid(fields.rest(), "implementation class UID")),
    0x53: (
        "asynchronous_operations",
        lambda fields: AsynchronousOperations(fields.number(2), fields.number(2)),
    ),
    0x54: ("roles", lambda fields: RoleSelection(fields.uid(), fields.number(1) == 1, fields.number(1) == 1)),
    0x55: ("implementation_version_name", _read_name),
    0x56: ("extended", lambda fields: ExtendedNegotiation(fields.uid(), fields.rest())),
    0x57: ("common_extended", _read_common_extended),
    0x58: ("user_identity", _read_identity),
    0x59: ("user_identity_response", lambda fields: fields.counted()),
}


_REPEATED: Final = frozenset({"roles", "extended", "common_extended"})


def _counted(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _common_extended(each: CommonExtendedNegotiation) -> bytes:
    related = b"".join(_counted(uid.encode("ascii")) for uid in each.related_general_sop_class_uids)
    head = _counted(each.sop_class_uid.encode("ascii")) + _counted(each.service_class_uid.encode("ascii"))
    return head + _counted(related)


def _invalid(message: str, section: str) -> RemoteProtocolError:
    return RemoteProtocolError(message, section=section, abort_reason=AbortReason.INVALID_PARAMETER_VALUE)

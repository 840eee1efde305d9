"""The file meta information of a DICOM file (PS3.10 Section 7.1): written strictly, read leniently.

Knows bytes, not files: the caller hands in the head of a file and reads on from `FileMeta.data_set_offset`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from typing import Final

from dicomrelay.dicom.elements import (
    KNOWN_VRS,
    SHORT_VRS,
    UNDEFINED_LENGTH,
    has_long_form,
    looks_like_vr,
    text,
)
from dicomrelay.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from dicomrelay.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicomrelay.errors import MalformedDataSet, NotDicom

MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"
# Enough of a file to find its data set, unless its meta holds an unusual amount of private information.
HEAD_BYTES: Final = 65_536

_PREAMBLE_BYTES: Final = 128
_PREFIX: Final = b"DICM"
_META_OFFSET: Final = _PREAMBLE_BYTES + len(_PREFIX)
_GROUP_LENGTH, _PRIVATE_INFORMATION = 0x0000, 0x0102
# Element numbers of group 0002 that are kept, with the field of FileMeta that keeps them.
_FIELDS: Final = {
    0x0002: "sop_class_uid",
    0x0003: "sop_instance_uid",
    0x0010: "transfer_syntax_uid",
    0x0012: "implementation_class_uid",
    0x0013: "implementation_version_name",
    0x0016: "source_ae_title",
    0x0017: "sending_ae_title",
    0x0018: "receiving_ae_title",
    0x0100: "private_information_creator_uid",
}
_VRS: Final = {0x0013: b"SH", 0x0016: b"AE", 0x0017: b"AE", 0x0018: b"AE"}
_MAX_VALUE_BYTES: Final = 256
_QUICK_FIELDS: Final = frozenset({0x0002, 0x0003, 0x0010})
# Prefix and (0002,0000), of VR UL and four bytes.
_USUAL_BEGINNING: Final = _PREFIX + b"\2\0\0\0UL\4\0"
_SHORT_HEAD: Final = struct.Struct("<HH2sH").unpack_from
_U32: Final = struct.Struct("<I").unpack_from
# Groups that a file without preamble and prefix begins with: its meta, or a data set.
_FIRST_GROUPS: Final = frozenset({0x0002, 0x0008, 0x0010})


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What the file meta says; "" for what it leaves out.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid : str
        Media Storage SOP Class and Instance UID.
    transfer_syntax_uid : str
        What the data set is in; where the file does not say, what its first bytes look like.
    private_information : bytes
        (0002,0102), as it stands.
    data_set_offset : int
        Where the data set begins, in bytes from the start of the file.
    """

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    transfer_syntax_uid: str = ""
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    source_ae_title: str = ""
    sending_ae_title: str = ""
    receiving_ae_title: str = ""
    private_information_creator_uid: str = ""
    private_information: bytes = b""
    data_set_offset: int = 0

    @property
    def is_directory(self) -> bool:
        """Whether the file is a DICOMDIR and no instance to send."""
        return self.sop_class_uid == MEDIA_STORAGE_DIRECTORY


def encode_file_meta(meta: FileMeta) -> bytes:
    """A zero preamble, the prefix and group 0002, as the standard wants them.

    The implementation's identification is ours whatever `meta` says, and `data_set_offset` is not looked at: the
    data set begins at the end of what is returned. Private information of odd length is padded with a zero.
    """
    values = {number: getattr(meta, name).encode("ascii", "replace") for number, name in _FIELDS.items()}
    values[0x0012] = IMPLEMENTATION_CLASS_UID.encode("ascii")
    values[0x0013] = IMPLEMENTATION_VERSION_NAME.encode("ascii")
    parts = [_long(0x0001, b"\0\1")]
    for number, value in values.items():
        if value:
            vr = _VRS.get(number, b"UI")
            padded = value + (b"\0" if vr == b"UI" else b" ") * (len(value) & 1)
            parts.append(struct.pack("<HH2sH", 0x0002, number, vr, len(padded)) + padded)
    if meta.private_information:
        parts.append(_long(_PRIVATE_INFORMATION, meta.private_information))
    group = b"".join(parts)
    length = struct.pack("<HH2sHI", 0x0002, _GROUP_LENGTH, b"UL", 4, len(group))
    return bytes(_PREAMBLE_BYTES) + _PREFIX + length + group


def _long(number: int, value: bytes) -> bytes:
    padded = value + b"\0" * (len(value) & 1)
    return struct.pack("<HH2sHI", 0x0002, number, b"OB", 0, len(padded)) + padded


def parse_file_meta(head: bytes) -> FileMeta:
    """Read the file meta of anybody's file.

    Group length missing or wrong, no preamble, VRs left out, no meta at all before a data set that is
    plausible: all are taken.

    Parameters
    ----------
    head : bytes
        The first `HEAD_BYTES` of the file, or all of it.

    Raises
    ------
    NotDicom
        It is something else.
    MalformedDataSet
        It is DICOM, but the meta cannot be read to its end.
    """
    start = _start(head)
    group, element = struct.unpack_from("<HH", head, start) if len(head) - start >= 4 else (0, 0)
    if group != 0x0002:
        if start and len(head) == start:
            raise MalformedDataSet("the file ends after its prefix", offset=start)
        return FileMeta(transfer_syntax_uid=_guess_transfer_syntax(head, start), data_set_offset=start)
    found: dict[int, bytes] = {}
    pos = start
    while len(head) - pos >= 8 and head[pos : pos + 2] == b"\2\0":
        element, value, length = _element(head, pos)
        following = value + length
        if length == UNDEFINED_LENGTH or following > len(head):
            raise MalformedDataSet(
                f"file meta: (0002,{element:04X}) at byte {pos} goes beyond the {len(head)} bytes at hand",
                offset=pos,
            )
        found.setdefault(element, head[value:following])
        pos = following
    return _as_meta(head, pos, found)


def quick_file_meta(head: bytes) -> FileMeta | None:
    """What `parse_file_meta` reads of a file written as the standard wants it, or None: then that one must look.

    Only the UIDs and `data_set_offset` are read.
    """
    if head[_PREAMBLE_BYTES : _META_OFFSET + 8] != _USUAL_BEGINNING or _is_data_set(head):
        return None
    (length,) = _U32(head, _META_OFFSET + 8)
    pos, end = _META_OFFSET + 12, _META_OFFSET + 12 + length
    found: dict[int, str] = {}
    if end + 2 > len(head) or head[end : end + 2] == b"\2\0":
        return None
    while pos < end:
        group, element, vr, size = _SHORT_HEAD(head, pos)
        if group != 0x0002:
            return None
        if vr == b"UI":
            pos += 8
            if size > _MAX_VALUE_BYTES:
                return None
            if element in _QUICK_FIELDS:
                found.setdefault(element, text(head[pos : pos + size]))
        elif vr in SHORT_VRS:
            pos += 8
            if element in _QUICK_FIELDS or (element in _FIELDS and size > _MAX_VALUE_BYTES):
                return None
        elif vr == b"OB" and element not in _FIELDS:
            (size,) = _U32(head, pos + 8)
            pos += 12
        else:
            return None
        pos += size
    if pos != end or not found.get(0x0010):
        return None
    return FileMeta(
        sop_class_uid=found.get(0x0002, ""),
        sop_instance_uid=found.get(0x0003, ""),
        transfer_syntax_uid=found[0x0010],
        data_set_offset=end,
    )


def _start(head: bytes) -> int:
    """Where group 0002, or a data set without one, begins."""
    if head[_PREAMBLE_BYTES:_META_OFFSET] == _PREFIX and not _is_data_set(head):
        return _META_OFFSET
    if head[:4] == _PREFIX:
        return 4
    if _is_data_set(head):
        return 0
    raise NotDicom("not a DICOM file: no DICM prefix at byte 128, and no data set that begins at byte 0")


def _is_data_set(head: bytes) -> bool:
    """Whether bytes without a prefix begin with an element that one would expect there."""
    if len(head) < 8:
        return False
    order = ">" if head[0] == 0 else "<"
    group: int
    element: int
    group, element, vr, short = struct.unpack_from(order + "HH2sH", head)
    if group not in _FIRST_GROUPS:
        return False
    if vr in KNOWN_VRS:
        return element <= 0x1000 and int(short) <= len(head)
    (length,) = struct.unpack_from("<I", head, 4)
    # An implicit one is believed only if another element follows where it ends.
    return element <= 0x0020 and 8 + length + 4 <= len(head) and head[8 + length + 1] == 0 and length <= 1024


def _element(head: bytes, pos: int) -> tuple[int, int, int]:
    """Element number, where the value begins, and its length."""
    _, element, vr, short = struct.unpack_from("<HH2sH", head, pos)
    if not looks_like_vr(vr):
        return element, pos + 8, struct.unpack_from("<I", head, pos + 4)[0]
    if not has_long_form(vr, head[pos + 6 : pos + 8]):
        return element, pos + 8, short
    if len(head) - pos < 12:
        raise MalformedDataSet(f"file meta: truncated at byte {len(head)}", offset=pos)
    return element, pos + 12, struct.unpack_from("<I", head, pos + 8)[0]


def _as_meta(head: bytes, offset: int, found: dict[int, bytes]) -> FileMeta:
    for number, name in _FIELDS.items():
        if len(found.get(number, b"")) > _MAX_VALUE_BYTES:
            raise MalformedDataSet(
                f"file meta: {name} (0002,{number:04X}) has {len(found[number])} bytes", offset=0
            )
    values = {name: text(found[number]) for number, name in _FIELDS.items() if number in found}
    values["transfer_syntax_uid"] = values.get("transfer_syntax_uid") or _guess_transfer_syntax(head, offset)
    return FileMeta(
        **values, private_information=found.get(_PRIVATE_INFORMATION, b""), data_set_offset=offset
    )


def _guess_transfer_syntax(head: bytes, offset: int) -> str:
    """By the looks of the first element, for a file that does not say."""
    if not looks_like_vr(head[offset + 4 : offset + 6]):
        return IMPLICIT_VR_LITTLE_ENDIAN
    return EXPLICIT_VR_BIG_ENDIAN if head[offset : offset + 1] == b"\0" else EXPLICIT_VR_LITTLE_ENDIAN


def describe(meta: FileMeta) -> dict[str, str]:
    """The meta for people and JSON: what is said, without the private information."""
    names = (field.name for field in fields(meta))
    return {
        name: str(getattr(meta, name))
        for name in names
        if name != "private_information" and getattr(meta, name)
    }

"""What the spool knows about an item, and how that stands in its file."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, fields
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from typing import Any, Final

from dicomrelay.dicom.part10 import FileMeta, encode_file_meta, parse_file_meta
from dicomrelay.errors import DataSetError, SpoolCorrupt, SpoolError

# Names the layout of our private information, for whoever finds it in a file (PS3.10 Section 7.1).
RECORD_CREATOR_UID: Final = "2.25.199272540067046529134536731888475314995.1"
_FORMAT: Final = 1
PAGE_BYTES: Final = 4096
# What is known only at the end: digest, size, three UIDs and a modality, each as long as a scan lets it be, and
# escaped as badly as JSON can.
_ROOM_FOR_THE_END: Final = 2600
# As long as those of any item.
_ANY_ID: Final = "0" * 28
_ANY_TIME_MS: Final = 10**13 - 1
# Media Storage SOP Instance UID (0002,0003), the only element of the head but the record that no two items share.
_INSTANCE_UID_HEAD: Final = b"\2\0\3\0UI"
_CRC_KEY: Final = b',"crc":"'


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an instance came from.

    Attributes
    ----------
    received_at_ms : int
        Milliseconds since the epoch, by the clock of this machine.
    job_id : str
        The job of `dicomrelay send` that it belongs to, or "".
    protocol : str
        How it came, where that was not DIMSE: "STOW-RS". Then `association_id` is the request's.
    user : str
        Who brought it over that protocol, as far as that was asked.
    """

    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    association_id: str
    received_at_ms: int
    job_id: str = ""
    protocol: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class SpoolRecord:
    """An item of the spool.

    Attributes
    ----------
    id : str
        Ours, and its name on disk.
    study_instance_uid, series_instance_uid : str
        Of the data set, or derived from the SOP Instance UID where it has none.
    data_set_offset, data_set_bytes : int
        Where the data set stands in the item's file, or in `source_path`.
    digest : str
        SHA-256 of the data set as received, hexadecimal.
    source_path : str
        The file, where it is read where it lies; "" for a file of the spool.
    send_to : tuple of str
        Destinations that a job asks for, by name or as `AET@host:port`; empty for those of the rules.
    """

    id: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    data_set_offset: int
    data_set_bytes: int
    digest: str
    provenance: Provenance
    source_path: str = ""
    send_to: tuple[str, ...] = ()


_RECORD_NAMES: Final = tuple(field.name for field in fields(SpoolRecord))
# Written only where they say something: a version that does not know them reads all other records.
_RARE_NAMES: Final = ("protocol", "user")
_PROVENANCE_NAMES: Final = tuple(field.name for field in fields(Provenance) if field.name not in _RARE_NAMES)
_record_values: Final = attrgetter(*_RECORD_NAMES)
_provenance_values: Final = attrgetter(*_PROVENANCE_NAMES)


def _form(names: tuple[str, ...], first: str = "") -> str:
    return "{" + first + ",".join(f'"{name}":%s' for name in names) + "}"


_RECORD_FORM: Final = _form(_RECORD_NAMES, f'"v":{_FORMAT},')
_PROVENANCE_FORM: Final = _form(_PROVENANCE_NAMES)


def encode_record(record: SpoolRecord) -> bytes:
    """JSON with a CRC-32 of itself as its last key."""
    # The layout is fixed, so only the values are left to `json`: its encoder took three times as long.
    values = tuple([_json(value) for value in _record_values(record)])
    body = (_RECORD_FORM % values).encode("ascii")
    return body[:-1] + _CRC_KEY + b'%08x"}' % zlib.crc32(body)


def _json(value: object) -> str:
    if type(value) is str:
        return encode_basestring_ascii(value)
    if value == ():
        return "[]"
    if isinstance(value, Provenance):
        return _provenance(value)
    return str(value) if type(value) is int else json.dumps(value, separators=(",", ":"))


def _provenance(origin: Provenance) -> str:
    common = _PROVENANCE_FORM % tuple([_json(each) for each in _provenance_values(origin)])
    if not (origin.protocol or origin.user):
        return common
    return f'{common[:-1]},"protocol":{_json(origin.protocol)},"user":{_json(origin.user)}}}'


def decode_record(encoded: bytes, *, origin: str) -> SpoolRecord:
    """The record again.

    Raises
    ------
    SpoolCorrupt
        CRC, layout or format is wrong; `origin` names the file.
    """
    encoded = encoded.rstrip(b" \0")
    body, key, crc = encoded.rpartition(_CRC_KEY)
    if not key or crc != b'%08x"}' % zlib.crc32(body + b"}"):
        raise SpoolCorrupt(f"{origin}: the record's CRC is wrong")
    try:
        values: dict[str, Any] = json.loads(body + b"}")
        if values.pop("v") != _FORMAT:
            raise SpoolCorrupt(f"{origin}: the record is of a format that this version does not know")
        provenance = Provenance(**values.pop("provenance"))
        send_to = tuple(values.pop("send_to"))
        return SpoolRecord(**values, provenance=provenance, send_to=send_to)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpoolCorrupt(f"{origin}: the record cannot be read: {error}") from error


def head_bytes(first: SpoolRecord) -> int:
    """Where the data set will begin, from a record that lacks what is known at the end: a multiple of 4096."""
    uid, origin = first.sop_instance_uid, first.provenance
    if not uid.isascii() or not uid.isprintable() or '"' in uid or "\\" in uid:
        return _head_bytes(first)  # not as long in JSON as it is
    if origin.protocol or origin.user:
        return _head_bytes(first)
    # Between two instances of an association nothing else changes that has a length.
    return _usual_head_bytes(
        len(uid),
        first.sop_class_uid,
        first.transfer_syntax_uid,
        origin.calling_ae_title,
        origin.called_ae_title,
        origin.peer_address,
        origin.association_id,
        origin.job_id,
        first.send_to,
    )


@lru_cache(maxsize=1024)
def _usual_head_bytes(  # noqa: PLR0913, PLR0917 - all that the length depends on
    uid_characters: int,
    sop_class_uid: str,
    transfer_syntax_uid: str,
    calling_ae_title: str,
    called_ae_title: str,
    peer_address: str,
    association_id: str,
    job_id: str,
    send_to: tuple[str, ...],
) -> int:
    origin = Provenance(calling_ae_title, called_ae_title, peer_address, association_id, _ANY_TIME_MS, job_id)
    uid = "0" * uid_characters
    return _head_bytes(
        SpoolRecord(
            _ANY_ID, sop_class_uid, uid, "", "", transfer_syntax_uid, "", 0, 0, "", origin, "", send_to
        )
    )


def _head_bytes(first: SpoolRecord) -> int:
    needed = len(_head(first, encode_record(first))) + _ROOM_FOR_THE_END
    return -(-needed // PAGE_BYTES) * PAGE_BYTES


def encode_head(record: SpoolRecord) -> bytes:
    """File meta with the record in it, exactly `record.data_set_offset` long.

    Raises
    ------
    SpoolError
        The record does not fit.
    """
    origin, uid = record.provenance, record.sop_instance_uid.encode("ascii", "replace")
    before, between, room = _head_parts(
        record.sop_class_uid,
        len(uid),
        record.transfer_syntax_uid,
        origin.calling_ae_title,
        origin.called_ae_title,
        record.data_set_offset,
    )
    encoded = encode_record(record)
    if len(encoded) > room:
        raise SpoolError(
            f"{record.id}: the record takes {len(encoded)} bytes and does not fit before the data set"
        )
    return b"%b%b%b%b" % (before, uid, between, encoded.ljust(room))


@lru_cache(maxsize=1024)
def _head_parts(
    sop_class_uid: str, uid_bytes: int, transfer_syntax_uid: str, calling: str, called: str, offset: int
) -> tuple[bytes, bytes, int]:
    """What stands before the SOP Instance UID and between it and the record, and the room for that."""
    origin = Provenance(calling, called, "", "", 0)
    record = SpoolRecord(
        "", sop_class_uid, "0" * uid_bytes, "", "", transfer_syntax_uid, "", offset, 0, "", origin
    )
    room = offset - (len(_head(record, b"  ")) - 2)
    if room <= 0:
        return b"", b"", 0
    head = _head(record, b" " * room)
    at = head.index(_INSTANCE_UID_HEAD) + len(_INSTANCE_UID_HEAD) + 2  # and the two bytes of its length
    return head[:at], head[at + uid_bytes : offset - room], room


def _head(record: SpoolRecord, private_information: bytes) -> bytes:
    return encode_file_meta(
        FileMeta(
            sop_class_uid=record.sop_class_uid,
            sop_instance_uid=record.sop_instance_uid,
            transfer_syntax_uid=record.transfer_syntax_uid,
            source_ae_title=record.provenance.calling_ae_title,
            sending_ae_title=record.provenance.calling_ae_title,
            receiving_ae_title=record.provenance.called_ae_title,
            private_information_creator_uid=RECORD_CREATOR_UID,
            private_information=private_information,
        )
    )


def decode_head(head: bytes, *, origin: str) -> SpoolRecord:
    """The record in the head of an item's file.

    Raises
    ------
    SpoolCorrupt
        There is none, or it is damaged.
    """
    try:
        meta = parse_file_meta(head)
    except DataSetError as error:
        raise SpoolCorrupt(f"{origin}: {error}") from error
    if meta.private_information_creator_uid != RECORD_CREATOR_UID:
        raise SpoolCorrupt(f"{origin}: no record of ours in the file meta")
    record = decode_record(meta.private_information, origin=origin)
    if record.data_set_offset != meta.data_set_offset:
        raise SpoolCorrupt(f"{origin}: the record places the data set elsewhere than the file meta does")
    return record

"""Values to the bytes of a PDU (PS3.8 Section 9.3), header too.

A value that has no bytes (a title of 17 characters, an even context id) is our own mistake: LocalProtocolError.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from dicomrelay.errors import LocalProtocolError
from dicomrelay.ul.pdu import (
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextDecision,
    PDataTf,
    Pdu,
    PduType,
    ProposedContext,
    ReleaseRequest,
    ReleaseResponse,
)
from dicomrelay.ul.user_information import item, write_user_information

_HEADER = struct.Struct(">BBI")
# PDU type, reserved, PDU length, item length, context id, message control header
_P_DATA_HEADER = struct.Struct(">BxIIBB")
# item length 4 + context id 1 + control header 1: what a PDV adds to its data inside the PDU's variable field
PDV_OVERHEAD_BYTES: Final = 6


def encode(pdu: Pdu) -> bytes:
    """The bytes of any PDU."""
    if isinstance(pdu, PDataTf):
        return _p_data(pdu)
    if isinstance(pdu, AssociateRequest):
        return _associate(PduType.ASSOCIATE_RQ, pdu, [_proposed(context) for context in pdu.contexts])
    if isinstance(pdu, AssociateAccept):
        return _associate(PduType.ASSOCIATE_AC, pdu, [_decision(context) for context in pdu.contexts])
    if isinstance(pdu, AssociateReject):
        return _short(PduType.ASSOCIATE_RJ, 0, pdu.result, pdu.source, pdu.reason)
    if isinstance(pdu, ReleaseRequest):
        return _short(PduType.RELEASE_RQ, 0, 0, 0, 0)
    if isinstance(pdu, ReleaseResponse):
        return _short(PduType.RELEASE_RP, 0, 0, 0, 0)
    return _short(PduType.ABORT, 0, 0, pdu.source, pdu.reason)


def p_data_header(context_id: int, data_bytes: int, *, is_command: bool, is_last: bool) -> bytes:
    """The twelve bytes before the data of a P-DATA-TF PDU with one PDV; the data follows by other means."""
    control = (1 if is_command else 0) | (2 if is_last else 0)
    return _P_DATA_HEADER.pack(PduType.P_DATA_TF, data_bytes + 6, data_bytes + 2, context_id, control)


def _p_data(pdu: PDataTf) -> bytes:
    parts: list[bytes | memoryview] = []
    total = 0
    for context_id, is_command, is_last, data in pdu.pdvs:
        control = (1 if is_command else 0) | (2 if is_last else 0)
        parts += (struct.pack(">IBB", len(data) + 2, context_id, control), data)
        total += len(data) + PDV_OVERHEAD_BYTES
    return b"".join((_HEADER.pack(PduType.P_DATA_TF, 0, total), *parts))


def _associate(
    pdu_type: PduType, pdu: AssociateRequest | AssociateAccept, contexts: Sequence[bytes]
) -> bytes:
    body = b"".join(
        (
            struct.pack(">Hxx", pdu.protocol_version),
            _title(pdu.called_ae_title),
            _title(pdu.calling_ae_title),
            bytes(32),
            _uid_item(0x10, pdu.application_context),
            *contexts,
            write_user_information(pdu.user_information),
        )
    )
    return _HEADER.pack(pdu_type, 0, len(body)) + body


def _proposed(context: ProposedContext) -> bytes:
    syntaxes = _syntax_items(context.abstract_syntax, context.transfer_syntaxes)
    return item(0x20, _context_head(context.context_id, 0) + syntaxes)


# A requestor proposes the same contexts at every association, 128 perhaps.
@lru_cache(maxsize=2048)
def _syntax_items(abstract_syntax: str, transfer_syntaxes: tuple[str, ...]) -> bytes:
    return _uid_item(0x30, abstract_syntax) + b"".join([_uid_item(0x40, uid) for uid in transfer_syntaxes])


def _decision(context: ContextDecision) -> bytes:
    head = _context_head(context.context_id, context.result)
    return item(0x21, head + _uid_item(0x40, context.transfer_syntax))


def _context_head(context_id: int, result: int) -> bytes:
    if context_id & 1 == 0 or not 0 < context_id < 256:
        raise LocalProtocolError(
            f"presentation context id {context_id} is not odd or not in 1 to 255",
            section="PS3.8 Section 9.3.2.2",
        )
    return bytes((context_id, 0, result, 0))


@lru_cache(maxsize=512)
def _uid_item(item_type: int, uid: str) -> bytes:
    try:
        return item(item_type, uid.encode("ascii"))
    except UnicodeEncodeError:
        raise LocalProtocolError(f"{uid!r} is no UID", section="PS3.8 Annex F") from None


def _title(title: str) -> bytes:
    try:
        raw = title.encode("latin-1")
    except UnicodeEncodeError:
        raise LocalProtocolError(f"AE title {title!r} is not ASCII", section="PS3.8 Section 9.3.2") from None
    if len(raw) > 16:
        raise LocalProtocolError(
            f"AE title {title!r} has {len(raw)} characters, at most 16 fit", section="PS3.8 Section 9.3.2"
        )
    return raw.ljust(16)


def _short(pdu_type: PduType, first: int, second: int, third: int, fourth: int) -> bytes:
    return _HEADER.pack(pdu_type, 0, 4) + bytes((first, second, third, fourth))

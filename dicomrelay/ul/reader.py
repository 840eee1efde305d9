"""Bytes of a PDU to its value (PS3.8 Section 9.3).

Every function takes what follows the six header bytes and answers with a value, or raises RemoteProtocolError that
names the field. Items and sub-items that we do not know are skipped, as PS3.8 Section 9.3.1 and Annex D.2 ask.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

from dicomrelay.errors import RemoteProtocolError
from dicomrelay.ul.pdu import (
    Abort,
    AbortReason,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextDecision,
    PDataTf,
    Pdu,
    PduType,
    Pdv,
    ProposedContext,
    ReleaseRequest,
    ReleaseResponse,
    UserInformation,
)
from dicomrelay.ul.user_information import read_uid, read_user_information

# item length 4 + presentation context id 1 + message control header 1 (PS3.8 Section 9.3.5.1, Annex E.2)
PDV_HEADER_BYTES: Final = 6
_PDV_HEADER = struct.Struct(">IBB")
_ITEM_HEADER = struct.Struct(">BxH")
# version 2 + reserved 2 + called 16 + calling 16 + reserved 32 (PS3.8 Tables 9-11 and 9-17)
_FIXED_BYTES: Final = 68
MAX_CONTEXTS: Final = 128  # odd ids, 1 to 255
_MAX_KEPT_BYTES: Final = 512
_MAX_KEPT_RUN_BYTES: Final = 16_384


def decode_p_data(body: memoryview) -> PDataTf:
    """P-DATA-TF; the PDVs' data are views of `body`."""
    end = len(body)
    if end >= PDV_HEADER_BYTES:  # one PDV that fills its PDU, as nearly always: without a list and a loop
        length, context_id, control = _PDV_HEADER.unpack_from(body)
        if length == end - 4:
            return PDataTf((Pdv(context_id, control & 1 == 1, control & 2 == 2, body[PDV_HEADER_BYTES:]),))
    pdvs: list[Pdv] = []
    position = 0
    while position < end:
        if end - position < PDV_HEADER_BYTES:
            raise _invalid("a PDV item is cut off", "PS3.8 Section 9.3.5.1")
        length, context_id, control = _PDV_HEADER.unpack_from(body, position)
        after = position + 4 + length
        if length < 2 or after > end:
            raise _invalid(f"a PDV item length of {length} does not fit its PDU", "PS3.8 Section 9.3.5.1")
        pdvs.append(Pdv(context_id, control & 1 == 1, control & 2 == 2, body[position + 6 : after]))
        position = after
    if not pdvs:
        raise _invalid("a P-DATA-TF PDU without a PDV", "PS3.8 Section 9.3.5")
    return PDataTf(tuple(pdvs))


def decode_associate_request(body: memoryview) -> AssociateRequest:
    """A-ASSOCIATE-RQ."""
    raw = bytes(body)
    version, called, calling = _fixed_fields(raw)
    application_context = ""
    contexts: list[ProposedContext] = []
    information = UserInformation()
    for item_type, value in _items(raw, _FIXED_BYTES):
        if item_type == 0x20:
            if len(contexts) == MAX_CONTEXTS:
                raise _invalid(f"more than {MAX_CONTEXTS} presentation contexts", "PS3.8 Section 9.3.2.2")
            contexts.append(_proposed_context(value))
        elif item_type == 0x10:
            application_context = read_uid(value, "application context name")
        elif item_type == 0x50:
            information = read_user_information(value)
    if not contexts:
        raise _invalid("no presentation context is proposed", "PS3.8 Section 9.3.2")
    _distinct([context.context_id for context in contexts])
    return AssociateRequest(called, calling, application_context, tuple(contexts), information, version)


def decode_associate_accept(body: memoryview) -> AssociateAccept:
    """A-ASSOCIATE-AC."""
    raw = bytes(body)
    version, called, calling = _fixed_fields(raw)
    application_context = ""
    contexts: list[ContextDecision] = []
    information = UserInformation()
    begin, end = _run(raw, 0x21)
    if begin < end <= begin + _MAX_KEPT_RUN_BYTES:
        contexts += _usual_decisions(raw[begin:end])
        raw = raw[:begin] + raw[end:]
    for item_type, value in _items(raw, _FIXED_BYTES):
        if item_type == 0x21:
            _add_decision(contexts, value)
        elif item_type == 0x10:
            application_context = read_uid(value, "application context name")
        elif item_type == 0x50:
            information = read_user_information(value)
    _distinct([context.context_id for context in contexts])
    return AssociateAccept(called, calling, application_context, tuple(contexts), information, version)


def decode_associate_reject(body: memoryview) -> AssociateReject:
    """A-ASSOCIATE-RJ."""
    _exactly_four(body, "A-ASSOCIATE-RJ")
    return AssociateReject(result=body[1], source=body[2], reason=body[3])


def decode_release_request(body: memoryview) -> ReleaseRequest:
    """A-RELEASE-RQ."""
    _exactly_four(body, "A-RELEASE-RQ")
    return ReleaseRequest()


def decode_release_response(body: memoryview) -> ReleaseResponse:
    """A-RELEASE-RP."""
    _exactly_four(body, "A-RELEASE-RP")
    return ReleaseResponse()


def decode_abort(body: memoryview) -> Abort:
    """A-ABORT."""
    _exactly_four(body, "A-ABORT")
    return Abort(source=body[2], reason=body[3])


DECODERS: Final[dict[int, Callable[[memoryview], Pdu]]] = {
    PduType.ASSOCIATE_RQ: decode_associate_request,
    PduType.ASSOCIATE_AC: decode_associate_accept,
    PduType.ASSOCIATE_RJ: decode_associate_reject,
    PduType.P_DATA_TF: decode_p_data,
    PduType.RELEASE_RQ: decode_release_request,
    PduType.RELEASE_RP: decode_release_response,
    PduType.ABORT: decode_abort,
}


def _fixed_fields(raw: bytes) -> tuple[int, str, str]:
    if len(raw) < _FIXED_BYTES:
        raise _invalid(f"an A-ASSOCIATE PDU of {len(raw)} bytes is cut off", "PS3.8 Section 9.3.2")
    version = int.from_bytes(raw[:2], "big")
    return version, _ae_title(raw[4:20], "called"), _ae_title(raw[20:36], "calling")


def _ae_title(raw: bytes, which: str) -> str:
    # Latin-1 keeps every byte, because the acceptance sends the titles back as they came.
    title = raw.rstrip(b"\0 ").lstrip(b" ").decode("latin-1")
    if not title.isprintable():
        raise _invalid(f"the {which} AE title holds control characters", "PS3.8 Section 9.3.2")
    return title


def _items(raw: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    end = len(raw)
    while position < end:
        if end - position < 4:
            raise _invalid("an item of an A-ASSOCIATE PDU is cut off", "PS3.8 Section 9.3.2")
        item_type, length = _ITEM_HEADER.unpack_from(raw, position)
        position += 4
        if position + length > end:
            raise _invalid(
                f"item 0x{item_type:02X} claims {length} bytes and {end - position} are left",
                "PS3.8 Section 9.3.2",
            )
        yield item_type, raw[position : position + length]
        position += length


def _proposed_context(raw: bytes) -> ProposedContext:
    return _usual_proposed_context(raw) if len(raw) <= _MAX_KEPT_BYTES else _read_proposed_context(raw)


def _read_proposed_context(raw: bytes) -> ProposedContext:
    context_id = _context_id(raw)
    abstract_syntax = ""
    transfer_syntaxes: list[str] = []
    for item_type, value in _items(raw, 4):
        if item_type == 0x40:
            transfer_syntaxes.append(read_uid(value, "transfer syntax"))
        elif item_type == 0x30:
            abstract_syntax = read_uid(value, "abstract syntax")
    if not abstract_syntax or not transfer_syntaxes:
        raise _invalid(
            f"presentation context {context_id} lacks its abstract or its transfer syntax",
            "PS3.8 Section 9.3.2.2",
        )
    return ProposedContext(context_id, abstract_syntax, tuple(transfer_syntaxes))


def _run(raw: bytes, item_type: int) -> tuple[int, int]:
    """Where the first items of that type stand that follow each other, as nearly always all of them do."""
    end = len(raw)
    begin = _FIXED_BYTES
    while begin + 4 <= end and raw[begin] != item_type:
        begin += 4 + (raw[begin + 2] << 8 | raw[begin + 3])
    position = begin
    while position + 4 <= end and raw[position] == item_type:
        following = position + 4 + (raw[position + 2] << 8 | raw[position + 3])
        if following > end:
            break
        position = following
    return begin, position


def _read_decisions(run: bytes) -> tuple[ContextDecision, ...]:
    contexts: list[ContextDecision] = []
    for _, value in _items(run, 0):
        _add_decision(contexts, value)
    return tuple(contexts)


def _add_decision(contexts: list[ContextDecision], value: bytes) -> None:
    if len(contexts) == MAX_CONTEXTS:
        raise _invalid(f"more than {MAX_CONTEXTS} presentation contexts", "PS3.8 Section 9.3.3.2")
    contexts.append(_decision(value))


def _decision(raw: bytes) -> ContextDecision:
    return _usual_decision(raw) if len(raw) <= _MAX_KEPT_BYTES else _read_decision(raw)


def _read_decision(raw: bytes) -> ContextDecision:
    context_id = _context_id(raw)
    result = raw[2]
    # Not significant unless accepted (PS3.8 Section 9.3.3.2), and then some send rubbish in it: not read.
    syntaxes = [] if result else [read_uid(v, "transfer syntax") for t, v in _items(raw, 4) if t == 0x40]
    if result == 0 and len(syntaxes) != 1:
        raise _invalid(
            f"accepted presentation context {context_id} names {len(syntaxes)} transfer syntaxes in place of one",
            "PS3.8 Section 9.3.3.2",
        )
    return ContextDecision(context_id, result, syntaxes[0] if syntaxes else "")


# Peers propose the same contexts at every association, 128 perhaps: reading one again takes three times as long as
# looking it up. What is kept is bounded, in number and in length.
_usual_proposed_context = lru_cache(maxsize=2048)(_read_proposed_context)
_usual_decision = lru_cache(maxsize=2048)(_read_decision)
# And a peer that is called again and again answers all of them with the same bytes.
_usual_decisions = lru_cache(maxsize=64)(_read_decisions)


def _context_id(raw: bytes) -> int:
    if len(raw) < 4:
        raise _invalid("a presentation context item is cut off", "PS3.8 Section 9.3.2.2")
    if raw[0] & 1 == 0:
        raise _invalid(f"presentation context id {raw[0]} is not odd", "PS3.8 Section 9.3.2.2")
    return raw[0]


def _distinct(ids: list[int]) -> None:
    if len(set(ids)) != len(ids):
        raise _invalid("a presentation context id is used twice", "PS3.8 Section 9.3.2.2")


def _exactly_four(body: memoryview, name: str) -> None:
    if len(body) != 4:
        raise _invalid(f"{name} of {len(body)} bytes in place of 4", "PS3.8 Section 9.3")


def _invalid(message: str, section: str) -> RemoteProtocolError:
    return RemoteProtocolError(message, section=section, abort_reason=AbortReason.INVALID_PARAMETER_VALUE)

"""What inputs are made from: valid PDU sequences of either role, command sets, and files."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from chaos.instances import CT_IMAGE_STORAGE, encode_data_set
from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import APPLICATION_CONTEXT_NAME, VERIFICATION
from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.command_set import encode_command_set
from dicomrelay.dimse.messages import (
    CEchoRequest,
    CEchoResponse,
    CStoreRequest,
    CStoreResponse,
    NActionResponse,
    NEventReportRequest,
    NEventReportResponse,
)
from dicomrelay.ul.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    AsynchronousOperations,
    CommonExtendedNegotiation,
    ContextDecision,
    ExtendedNegotiation,
    PDataTf,
    Pdv,
    ProposedContext,
    ReleaseRequest,
    ReleaseResponse,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from dicomrelay.ul.writer import encode

_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_LARGEST_FILE_BYTES: Final = 65_536
_MOST_FILES: Final = 400


@dataclass(frozen=True, slots=True)
class Samples:
    """One kind each.

    Attributes
    ----------
    to_acceptor, to_requestor : tuple of tuple of bytes
        Sequences of PDUs as the peer in that role would get them.
    """

    to_acceptor: tuple[tuple[bytes, ...], ...]
    to_requestor: tuple[tuple[bytes, ...], ...]
    commands: tuple[bytes, ...]
    files: tuple[bytes, ...]


def make_samples(corpus: Path | None = None) -> Samples:
    """The samples of this module, and the small real files below `corpus`."""
    return Samples(tuple(_to_acceptor()), tuple(_to_requestor()), commands(), tuple(_files(corpus)))


def default_corpus() -> Path | None:
    """The real files that the tests use too, where they are."""
    root = Path(os.environ.get("RELAY_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
    return root if root.is_dir() else None


REQUEST: Final = AssociateRequest(
    "DICOMRELAY",
    "FUZZ",
    APPLICATION_CONTEXT_NAME,
    (
        ProposedContext(1, CT_IMAGE_STORAGE, (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)),
        ProposedContext(3, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,)),
        ProposedContext(5, CT_IMAGE_STORAGE, (_DEFLATED,)),
    ),
    UserInformation(16_384, "1.2.3", "FUZZ"),
)
RICH: Final = AssociateRequest(
    "DICOMRELAY",
    "FUZZ",
    APPLICATION_CONTEXT_NAME,
    tuple(ProposedContext(2 * n + 1, f"1.2.840.10008.5.1.4.1.1.{n}", (EXPLICIT_VR_LITTLE_ENDIAN,)) for n in range(128)),
    UserInformation(
        0,
        "1.2.3",
        "FUZZ",
        AsynchronousOperations(4, 4),
        (RoleSelection(CT_IMAGE_STORAGE, True, True),),
        (ExtendedNegotiation(CT_IMAGE_STORAGE, b"\2\0\1\0\1\0"),),
        (CommonExtendedNegotiation(CT_IMAGE_STORAGE, "1.2.840.10008.4.2", ("1.2.3",)),),
        UserIdentity(2, True, b"user", b"passcode"),
    ),
)  # fmt: skip
# Requests that do not wait for answers: commits run beside the association's thread.
WINDOWED: Final = replace(
    REQUEST, user_information=UserInformation(16_384, "1.2.3", "FUZZ", AsynchronousOperations(4, 1))
)
_ACCEPT: Final = AssociateAccept(
    "DICOMRELAY",
    "FUZZ",
    APPLICATION_CONTEXT_NAME,
    (
        ContextDecision(1, 0, EXPLICIT_VR_LITTLE_ENDIAN),
        ContextDecision(3, 0, IMPLICIT_VR_LITTLE_ENDIAN),
        ContextDecision(5, 3),
    ),
    UserInformation(32_768, "1.2.3", "FUZZ", AsynchronousOperations(1, 1)),
)


def commands() -> tuple[bytes, ...]:
    """Command sets of every service, ours and others."""
    known = (
        (CStoreRequest(1, CT_IMAGE_STORAGE, "1.2.3.4", 0, "MOVER", 7), True),
        (CStoreResponse(1, 0xA700, CT_IMAGE_STORAGE, "1.2.3.4", "no room"), False),
        (CEchoRequest(2, VERIFICATION), False),
        (CEchoResponse(2, 0, VERIFICATION), False),
        (NActionResponse(5, 0, "1.2", "1.3", 1), False),
        (NEventReportRequest(6, "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1", 2), True),
        (NEventReportResponse(6, 0x0115, "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1", 2), False),
    )
    others = (
        {0x0002: "1.2.840.10008.5.1.4.1.2.2.1", 0x0100: 0x0020, 0x0110: 3, 0x0700: 0, 0x0800: 0},
        {0x0002: "1.2.3", 0x0100: 0x0021, 0x0110: 4, 0x0600: "DEST", 0x0700: 0, 0x0800: 0},
        {0x0002: "1.2.3", 0x0100: 0x8021, 0x0120: 4, 0x0800: 0x0101, 0x0900: 0xFF00, 0x1020: 5, 0x1021: 1},
        {0x0100: 0x0FFF, 0x0120: 4, 0x0800: 0x0101},
        {0x0003: "1.2", 0x0100: 0x0110, 0x0110: 5, 0x0800: 0x0101, 0x1001: "1.3", 0x1005: (0x00100010, 0x00100020)},
        {0x0003: "1.2", 0x0100: 0x0130, 0x0110: 5, 0x0800: 0, 0x1001: "1.3", 0x1008: 1},
        {0x0002: "1.2", 0x0100: 0x0140, 0x0110: 5, 0x0800: 0, 0x1000: "1.3"},
    )  # fmt: skip
    return (
        *(encode_message(message, has_data_set=follows) for message, follows in known),
        *(encode_command_set(elements) for elements in others),
    )


def _data(context_id: int, data: bytes, *, is_command: bool = False, step: int = 1 << 16) -> list[bytes]:
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    return [encode(PDataTf((Pdv(context_id, is_command, piece is pieces[-1], piece),))) for piece in pieces]


def _to_acceptor() -> Iterator[tuple[bytes, ...]]:
    begin, end = encode(REQUEST), encode(ReleaseRequest())
    echo = _data(3, encode_message(CEchoRequest(1, VERIFICATION), has_data_set=False), is_command=True)
    yield (begin, *echo, end)
    yield (begin, *echo, *echo, encode(Abort()))
    yield (encode(RICH), end)
    for number, (context_id, syntax) in enumerate(((1, ""), (5, _DEFLATED))):
        uid = f"1.2.3.{number + 1}"
        plain = encode_data_set(uid, "1.2.3", bytes(range(256)) * 8)
        data = _deflated(plain) if syntax else plain
        command = encode_message(CStoreRequest(1, CT_IMAGE_STORAGE, uid), has_data_set=True)
        for step in (1 << 16, 300):
            yield (
                begin,
                *_data(context_id, command, is_command=True),
                *_data(context_id, data, step=step),
                end,
            )
        both = PDataTf((Pdv(context_id, True, True, command), Pdv(context_id, False, True, data)))
        yield (begin, encode(both), encode(both), end)
    stores: list[bytes] = []
    for number in range(6):  # two more than the window
        request = CStoreRequest(number, CT_IMAGE_STORAGE, f"1.2.3.{number + 1}")
        stores += _data(1, encode_message(request, has_data_set=True), is_command=True)
        stores += _data(1, encode_data_set(f"1.2.3.{number + 1}", "1.2.3", bytes(200)))
    yield (encode(WINDOWED), *stores, end)
    yield (encode(WINDOWED), *stores, encode(Abort()))
    for each in commands()[4:]:
        yield (begin, *_data(1, each, is_command=True), *_data(1, b"\x10\0\x10\0\0\0\0\0"), *echo, end)


def _to_requestor() -> Iterator[tuple[bytes, ...]]:
    accept, released = encode(_ACCEPT), encode(ReleaseResponse())
    yield (encode(AssociateReject(1, 1, 3)),)
    yield (encode(Abort(2, 1)),)
    for command in commands():
        yield (accept, *_data(1, command, is_command=True), released)
    yield (accept, *_data(1, commands()[1], is_command=True, step=10), encode(ReleaseRequest()), released)
    yield (accept, encode(Abort(0, 0)))


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(data) + packer.flush()
    return packed + b"\0" * (len(packed) & 1)


def _files(corpus: Path | None) -> Iterator[bytes]:
    data = encode_data_set("1.2.3.1", "1.2.3", bytes(500))
    for syntax, body in (
        (EXPLICIT_VR_LITTLE_ENDIAN, data),
        (_DEFLATED, _deflated(data)),
        (_DEFLATED, _deflated(data + bytes(4 << 20))),
    ):
        yield encode_file_meta(FileMeta(CT_IMAGE_STORAGE, "1.2.3.1", syntax)) + body
    yield data
    if corpus is not None:
        found = sorted(
            path
            for path in corpus.rglob("*")
            if path.is_file() and 0 < path.stat().st_size <= _LARGEST_FILE_BYTES
        )
        step = max(1, len(found) // _MOST_FILES)
        yield from (path.read_bytes() for path in found[::step])

"""What gets the inputs in this process: upper layer, DIMSE codec, file meta and header scan.

Each target makes one input from its chance and tries it. What it raises is a fault; what is documented it catches.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Final, Protocol

from chaos.fuzz_mutate import Mutator
from chaos.fuzz_samples import REQUEST, Samples
from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.dicom.scan import Header, HeaderScanner, ScanLimits
from dicomrelay.dimse.codec import decode_message, encode_message, encode_unsupported_response
from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived, MessageAssembler
from dicomrelay.dimse.messages import CStoreRequest, Message, UnsupportedRequest, UnsupportedResponse
from dicomrelay.dimse.store_codec import StoreRequestReader
from dicomrelay.errors import LocalProtocolError, MalformedDataSet, NotDicom, RemoteProtocolError
from dicomrelay.ul.connection import MAX_ASSOCIATE_BYTES, Connection, ConnectionClosed
from dicomrelay.ul.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextDecision,
    PDataTf,
    Pdu,
    ReleaseRequest,
    ReleaseResponse,
    UserInformation,
)
from dicomrelay.ul.reader import DECODERS
from dicomrelay.ul.state import State
from dicomrelay.ul.writer import encode

_MAX_PDU_BYTES: Final = 16_384
_CONTEXT_IDS: Final = (1, 3, 5)


class Fault(AssertionError):
    """An invariant that does not hold."""


class Target(Protocol):
    """Takes inputs."""

    name: str

    def make(self, chance: random.Random) -> bytes:
        """One input; its first byte chooses how it is delivered."""

    def attempt(self, data: bytes) -> bool:
        """Try it: whether it was accepted. Whatever this raises is a fault."""


def require(condition: bool, words: str) -> None:
    """An invariant."""
    if not condition:
        raise Fault(words)


class PduTarget:
    """PDU sequences to a `Connection` in either role."""

    name = "pdu"

    def __init__(self, samples: Samples) -> None:
        self._roles = (samples.to_acceptor, samples.to_requestor)
        self._pdus = [pdu for role in self._roles for sequence in role for pdu in sequence]

    def make(self, chance: random.Random) -> bytes:
        """Role and cutting in the first byte."""
        first = chance.randrange(256)
        sequence = chance.choice(self._roles[first & 1])
        return bytes([first]) + Mutator(chance, self._pdus).mutate_sequence(sequence)

    def attempt(self, data: bytes) -> bool:
        """Whole and in pieces; both must come to the same."""
        is_requestor, stream = bool(data[0] & 1), data[1:]
        whole = _converse(is_requestor, [stream])
        pieces = _converse(is_requestor, _pieces(stream, data[0]))
        require(whole == pieces, f"whole: {whole[-2:]}, in pieces: {pieces[-2:]}")
        return not any(each.startswith("refused") for each in whole)


def _pieces(data: bytes, seed: int) -> list[bytes]:
    mutator = Mutator(random.Random(seed), [b""])
    cuts = [0, *mutator.cuts(len(data)), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(cuts)]


def _converse(is_requestor: bool, pieces: Sequence[bytes]) -> list[str]:
    """What a connection makes of a stream, as words that can be compared."""
    connection = Connection(max_pdu_bytes=_MAX_PDU_BYTES, receive_buffer_bytes=65_536)
    said: list[str] = []
    if is_requestor:
        connection.associate(REQUEST)
        connection.transport_connected()
    else:
        connection.transport_accepted()
    assembler = MessageAssembler(_CONTEXT_IDS)
    for piece in [*pieces, b""]:
        if piece:
            connection.receive(piece)
        else:
            connection.received(0)
        require(len(connection.receive_buffer()) > 0, "no room in the receive buffer")
        _bounded(connection)
        while True:
            try:
                event = connection.next_event()
                if event is None:
                    break
                said += _react(connection, assembler, event)
            except RemoteProtocolError as error:
                said.append(f"refused: {error}")
                _aborted(connection)
                _abandon(connection)
        connection.take_output()
    require(connection.state is State.STA1_IDLE, f"left in {connection.state} at the end of the stream")
    return said


def _react(connection: Connection, assembler: MessageAssembler, event: Pdu | ConnectionClosed) -> list[str]:
    """Do what a decent user does, so that the conversation goes on."""
    if isinstance(event, AssociateRequest):
        _same_again(event)
        decisions = tuple(
            ContextDecision(each.context_id, 0, each.transfer_syntaxes[0]) for each in event.contexts
        )
        titles = event.called_ae_title, event.calling_ae_title, event.application_context
        connection.send(AssociateAccept(*titles, decisions, UserInformation(_MAX_PDU_BYTES)))
    elif isinstance(event, PDataTf):
        _same_again(event)
        return [_part(part) for part in assembler.feed(event.pdvs)]
    elif isinstance(event, ReleaseRequest):
        connection.send(ReleaseResponse())
    elif isinstance(event, AssociateAccept | AssociateReject | Abort):
        _same_again(event)
    return [type(event).__name__]


def _part(part: CommandReceived | DataSetReceived) -> str:
    require(part.context_id in _CONTEXT_IDS, f"presentation context {part.context_id} was not accepted")
    if isinstance(part, CommandReceived):
        return repr(part)
    return f"data {[bytes(each) for each in part.fragments]}"


def _same_again(pdu: Pdu) -> None:
    """What was read can be written and read again, or is refused by name."""
    try:
        raw = encode(pdu)
    except LocalProtocolError:
        return
    again = DECODERS[raw[0]](memoryview(raw)[6:])
    require(again == pdu, f"written and read again, {pdu!r:.300} is {again!r:.300}")


def _aborted(connection: Connection) -> None:
    """A violation is answered by an A-ABORT of the provider, or by nothing when the last word was said."""
    output = connection.take_output()
    require(output == b"" or (output[:1] == b"\7" and len(output) == 10), f"answered by {output[:20]!r}")


def _abandon(connection: Connection) -> None:
    """What a driver does after a violation that `dimse` found: it aborts."""
    if connection.state is not State.STA1_IDLE:
        connection.request_abort(Abort(2, 6))
        connection.take_output()


def _bounded(connection: Connection) -> None:
    held = len(connection._buffer._bytes)  # noqa: SLF001 - there is no other way to see it
    require(held <= MAX_ASSOCIATE_BYTES + 6, f"the receive buffer has {held} bytes")


class CommandTarget:
    """Command sets to the DIMSE codec."""

    name = "command"

    def __init__(self, samples: Samples) -> None:
        self._commands = samples.commands

    def make(self, chance: random.Random) -> bytes:
        """A changed command set."""
        return Mutator(chance, self._commands).mutate(chance.choice(self._commands))

    def attempt(self, data: bytes) -> bool:
        """Read; what was read can be written and read again."""
        try:
            message, follows = decode_message(data)
        except RemoteProtocolError:
            return False
        try:
            raw = _encoded(message, follows)
        except LocalProtocolError:
            return True
        if raw is not None:
            try:
                again = decode_message(raw)
            except RemoteProtocolError:  # a mandatory value of blanks only is left out
                return True
            require(again == (message, follows), f"written and read again, {message!r} is {again!r}")
        return True


def _encoded(message: Message, follows: bool) -> bytes | None:
    if isinstance(message, UnsupportedResponse):
        return None
    if isinstance(message, UnsupportedRequest):
        response, _ = decode_message(encode_unsupported_response(message, 0x0211))
        answered = getattr(response, "message_id_being_responded_to", None)
        require(answered == message.message_id, f"{message!r} is answered by {response!r}")
        return None
    return encode_message(message, has_data_set=follows)


class StoreRequestTarget:
    """Command sets to the fast reader of C-STORE requests, which must read them as the codec does or not at all."""

    name = "store"

    def __init__(self, samples: Samples) -> None:
        # One that the reader does not take on (it has a Move Originator), and the usual ones.
        self._commands = [raw for raw in samples.commands if isinstance(_message(raw), CStoreRequest)]
        for number, uid in enumerate(("1.2.3.4", "1.2.3.40", "1." + "9" * 62)):
            self._commands.append(encode_message(CStoreRequest(number, "1.2.3", uid), has_data_set=True))

    def make(self, chance: random.Random) -> bytes:
        """A request to learn from in the first byte, a changed one behind it: changed much, or in one byte only."""
        first = chance.randrange(256)
        command = chance.choice(self._commands)
        if chance.randrange(2):
            return bytes([first]) + Mutator(chance, self._commands).mutate(command)
        # Most of what a reader trusts are lengths, and one byte of one is what tells.
        changed, place = bytearray(command), chance.randrange(len(command))
        changed[place] = (changed[place] + chance.choice((1, 2, 254, 255))) & 255
        return bytes([first, *changed])

    def attempt(self, data: bytes) -> bool:
        """Whether it was read at all, by either."""
        known, raw = self._commands[data[0] % len(self._commands)], data[1:]
        slow = _message(raw)
        for learned in (known, raw):
            reader = StoreRequestReader()
            request = _message(learned)
            if isinstance(request, CStoreRequest):
                reader.learn(learned, request)
            fast = reader.read(raw)
            require(fast is None or fast == slow, f"the fast reader makes {fast!r} of what is {slow!r}")
        return slow is not None


def _message(raw: bytes) -> Message | None:
    """What the codec makes of a command set that announces a data set as a store request must."""
    try:
        message, follows = decode_message(raw)
    except RemoteProtocolError:
        return None
    return message if follows or not isinstance(message, CStoreRequest) else None


class FileTarget:
    """Files to the readers of file meta and header."""

    name = "file"
    limits = ScanLimits(max_bytes=8 << 20, max_elements=50_000, max_depth=64)

    def __init__(self, samples: Samples) -> None:
        self._files = samples.files

    def make(self, chance: random.Random) -> bytes:
        """The cutting in the first byte, a changed file behind it."""
        return chance.randbytes(1) + Mutator(chance, self._files).mutate(chance.choice(self._files))

    def attempt(self, data: bytes) -> bool:
        """Whole scans and short ones, in one piece and in many: the same header or the same refusal."""
        file = data[1:]
        try:
            meta = parse_file_meta(file[:HEAD_BYTES])
        except (NotDicom, MalformedDataSet):
            return False
        require(
            meta.data_set_offset <= len(file), f"a data set at byte {meta.data_set_offset} of {len(file)}"
        )
        data_set = file[meta.data_set_offset :]
        accepted = True
        for whole in (False, True):
            one = self._scan(meta.transfer_syntax_uid, [data_set], whole=whole)
            many = self._scan(meta.transfer_syntax_uid, _pieces(data_set, data[0]), whole=whole)
            require(one == many, f"in one piece {one}, in many {many}")
            accepted = one is not None
        return accepted

    def _scan(self, syntax: str, pieces: Sequence[bytes], *, whole: bool) -> Header | None:
        scanner = HeaderScanner(syntax, limits=self.limits, whole=whole)
        try:
            for piece in pieces:
                scanner.feed(memoryview(piece))
                carried = len(scanner._carry)  # noqa: SLF001 - there is no other way to see it
                require(carried <= 1024, f"a carry of {carried} bytes")
            return scanner.finish()
        except MalformedDataSet:
            return None

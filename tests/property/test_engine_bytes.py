"""Properties of the engine's codecs: any chunking, any bytes, any value."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomrelay.dimse.codec import decode_message, encode_message
from dicomrelay.dimse.command_set import ELEMENTS, decode_command_set, encode_command_set
from dicomrelay.dimse.fragments import MessageAssembler
from dicomrelay.dimse.messages import CStoreRequest, CStoreResponse
from dicomrelay.errors import RemoteProtocolError
from dicomrelay.ul import pdu
from dicomrelay.ul.connection import Connection, ConnectionClosed
from dicomrelay.ul.reader import DECODERS
from dicomrelay.ul.writer import encode
from tests.support.association_pair import ACCEPT, REQUEST

MAX_PDU_BYTES = 4096
BRISK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

uids = st.from_regex(r"(0|[1-9][0-9]{0,4})(\.(0|[1-9][0-9]{0,4})){0,8}", fullmatch=True)
titles = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=16)
byte = st.integers(0, 255)
blobs = st.binary(max_size=40)
context_ids = st.integers(0, 127).map(lambda n: 2 * n + 1)
information = st.builds(
    pdu.UserInformation,
    maximum_length=st.integers(0, 2**32 - 1),
    implementation_class_uid=uids,
    implementation_version_name=titles,
    asynchronous_operations=st.none() | st.builds(pdu.AsynchronousOperations, st.integers(0, 65_535), st.integers(0, 65_535)),
    roles=st.lists(st.builds(pdu.RoleSelection, uids, st.booleans(), st.booleans()), max_size=3).map(tuple),
    extended=st.lists(st.builds(pdu.ExtendedNegotiation, uids, blobs), max_size=3).map(tuple),
    common_extended=st.lists(
        st.builds(pdu.CommonExtendedNegotiation, uids, uids, st.lists(uids, max_size=3).map(tuple)), max_size=2
    ).map(tuple),
    user_identity=st.none() | st.builds(pdu.UserIdentity, byte, st.booleans(), blobs, blobs),
    user_identity_response=st.none() | blobs,
)  # fmt: skip
proposed = st.lists(
    st.builds(pdu.ProposedContext, context_ids, uids, st.lists(uids, min_size=1, max_size=4).map(tuple)),
    min_size=1,
    max_size=8,
    unique_by=lambda context: context.context_id,
).map(tuple)
decisions = st.lists(
    st.builds(pdu.ContextDecision, context_ids, st.just(0), uids)
    | st.builds(pdu.ContextDecision, context_ids, st.integers(1, 4)),
    max_size=8,
    unique_by=lambda context: context.context_id,
).map(tuple)
pdvs = st.lists(
    st.builds(pdu.Pdv, context_ids, st.booleans(), st.booleans(), blobs), min_size=1, max_size=5
).map(tuple)
pdus = st.one_of(
    st.builds(pdu.AssociateRequest, titles, titles, uids, proposed, information, st.integers(0, 65_535)),
    st.builds(pdu.AssociateAccept, titles, titles, uids, decisions, information, st.integers(0, 65_535)),
    st.builds(pdu.AssociateReject, byte, byte, byte),
    st.builds(pdu.PDataTf, pdvs),
    st.just(pdu.ReleaseRequest()),
    st.just(pdu.ReleaseResponse()),
    st.builds(pdu.Abort, byte, byte),
)


@BRISK
@given(pdus)
def test_a_serialized_pdu_always_deserializes_to_itself(value: pdu.Pdu) -> None:
    """Write, read, compare: nothing is lost, nothing is added."""
    raw = encode(value)
    assert len(raw) == 6 + int.from_bytes(raw[2:6], "big")
    assert DECODERS[raw[0]](memoryview(raw)[6:]) == value


@BRISK
@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=300))
def test_any_body_is_a_value_or_a_protocol_error(pdu_type: int, body: bytes) -> None:
    """No other exception, whatever comes; and what was read can be written and read again."""
    try:
        value = DECODERS[pdu_type](memoryview(body))
    except RemoteProtocolError:
        return
    assert DECODERS[pdu_type](memoryview(encode(value))[6:]) == value


@BRISK
@given(st.data())
def test_a_damaged_pdu_is_a_value_or_a_protocol_error(data: st.DataObject) -> None:
    """A few bytes of a good association request are changed: closer to the edge than noise gets."""
    raw = bytearray(encode(data.draw(pdus)))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(byte)
    connection = Connection(max_pdu_bytes=MAX_PDU_BYTES)
    connection.transport_accepted()
    connection.receive(bytes(raw))
    with contextlib.suppress(RemoteProtocolError):
        connection.next_event()


def _frozen(event: Any) -> Any:
    """The event with its views as bytes: they are void after the next receive."""
    if isinstance(event, pdu.PDataTf):
        return [pdv._replace(data=bytes(pdv.data)) for pdv in event.pdvs]
    return event


def _events(raw: bytes, cuts: list[int], *, at_end: bool = True) -> list[Any]:
    """What an established acceptor makes of `raw`, received in the pieces that `cuts` makes."""
    connection = Connection(max_pdu_bytes=MAX_PDU_BYTES, receive_buffer_bytes=MAX_PDU_BYTES + 6)
    connection.transport_accepted()
    connection.receive(encode(REQUEST))
    connection.next_event()
    connection.send(ACCEPT)
    seen: list[Any] = []
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    for begin, end in itertools.pairwise(edges):
        piece = memoryview(raw)[begin:end]
        while piece:
            space = connection.receive_buffer()
            assert len(space) > 0
            count = min(len(space), len(piece))
            space[:count] = piece[:count]
            connection.received(count)
            piece = piece[count:]
            seen += _drain(connection)
    if at_end:
        connection.received(0)
        seen += _drain(connection)
    return [*seen, connection.take_output()[:10]]


def _drain(connection: Connection) -> list[Any]:
    seen: list[Any] = []
    while True:
        try:
            event = connection.next_event()
        except RemoteProtocolError as error:
            seen.append(str(error))
            continue
        if event is None:
            return seen
        seen.append(_frozen(event))


streams = st.lists(
    st.builds(pdu.PDataTf, pdvs).map(encode) | pdus.map(encode) | st.binary(max_size=30), max_size=6
).map(b"".join)


@BRISK
@given(streams, st.lists(st.integers(0, 10_000), max_size=12))
def test_any_chunking_of_the_bytes_gives_the_same_events(raw: bytes, cuts: list[int]) -> None:
    """Whole, or in pieces, or byte by byte: the same events, the same error, the same answer."""
    whole = _events(raw, [])
    assert _events(raw, cuts) == whole
    if len(raw) < 400:
        assert _events(raw, list(range(len(raw)))) == whole


@BRISK
@given(st.binary(max_size=600))
def test_any_bytes_end_in_events_or_one_protocol_error(raw: bytes) -> None:
    """Noise never raises anything else; at the end the connection is closed, and the loop has ended."""
    seen = _events(raw, [])
    assert sum(isinstance(event, str) for event in seen) <= 1
    assert isinstance(seen[-2], ConnectionClosed | pdu.Abort)


@BRISK
@given(
    st.lists(
        st.lists(st.builds(pdu.Pdv, st.sampled_from([1, 3, 5]), st.booleans(), st.booleans(), blobs)),
        max_size=8,
    )
)
def test_any_pdvs_are_messages_or_a_protocol_error(fed: list[list[pdu.Pdv]]) -> None:
    """The assembler holds at most a command set, and raises nothing but RemoteProtocolError."""
    assembler = MessageAssembler({1, 3})
    with contextlib.suppress(RemoteProtocolError):
        for each in fed:
            assembler.feed(each)


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "US": st.integers(0, 65_535),
    "UL": st.integers(0, 2**32 - 1),
    "UI": uids,
    "AE": titles,
    "LO": st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64),
    "AT": st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4).map(tuple),
}
command_sets = st.fixed_dictionaries(
    {}, optional={element: _VALUES[vr] for element, (vr, _) in ELEMENTS.items() if element}
)


@BRISK
@given(command_sets)
def test_every_command_set_comes_back_as_it_went(elements: dict[int, Any]) -> None:
    """With its group length in front, which counts everything behind itself."""
    raw = encode_command_set(elements)
    assert decode_command_set(raw) == {0: len(raw) - 12, **elements}


@BRISK
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(raw: bytes) -> None:
    """A command set from the wire raises nothing else."""
    with contextlib.suppress(RemoteProtocolError):
        decode_message(raw)


@BRISK
@given(
    st.builds(
        CStoreRequest, st.integers(0, 65_535), uids, uids, st.integers(0, 2), titles, st.integers(0, 65_535)
    )
    | st.builds(CStoreResponse, st.integers(0, 65_535), st.integers(0, 65_535), uids, uids, _VALUES["LO"]),
    st.booleans(),
)
def test_every_message_comes_back_as_it_went(
    message: CStoreRequest | CStoreResponse, has_data_set: bool
) -> None:
    """Message to bytes to message."""
    assert decode_message(encode_message(message, has_data_set=has_data_set)) == (message, has_data_set)

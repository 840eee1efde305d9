"""Peers that are slow, silent, broken or many: deadlines hold, threads end, others are served."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest

from dicomrelay.errors import AssociationAborted, AssociationTimeout, PeerBrokeProtocol
from dicomrelay.net.acceptor import Acceptor, listen
from dicomrelay.net.limits import AcceptorLimits
from dicomrelay.net.requestor import Association, RemoteAe, Timeouts
from dicomrelay.net.service import Admission, EndingKind
from dicomrelay.ul.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    ContextDecision,
    PDataTf,
    Pdv,
    ReleaseRequest,
    UserInformation,
)
from dicomrelay.ul.writer import encode
from tests.support.engine import (
    CT_IMAGE_STORAGE,
    EXPLICIT_VR_LITTLE_ENDIAN,
    MemoryService,
    running_acceptor,
    store_item,
)
from tests.support.wire import (
    REQUEST,
    associate,
    data_pdu,
    read_pdu,
    scripted_acceptor,
    seconds_until_closed,
    store_command,
)

HASTY = AcceptorLimits(association_timeout_s=0.6, pdu_timeout_s=0.4, idle_timeout_s=0.8, linger_s=0.1)
IMPATIENT = Timeouts(connect_s=2, association_s=0.4, response_s=0.4, pdu_s=0.4, release_s=0.4)
ACCEPT = AssociateAccept(
    "RELAY",
    "WIRE",
    "1.2.840.10008.3.1.1.1",
    (ContextDecision(1, 0, EXPLICIT_VR_LITTLE_ENDIAN),),
    UserInformation(16_384),
)


def _drip(sock: socket.socket, raw: bytes, pause_s: float) -> None:
    """One byte after the other, until the other side has had enough."""
    try:
        for value in raw:
            sock.sendall(bytes([value]))
            sleep(pause_s)
    except OSError:
        pass


@pytest.mark.parametrize("sent", [b"", b"\x01", encode(REQUEST)[:5], encode(REQUEST)[:-1]], ids=len)
def test_a_peer_that_never_asks_is_gone_after_artim(sent: bytes) -> None:
    """From the connection on, whatever it has sent of its request; nothing is said, the user knows of nothing."""
    began = monotonic()
    with running_acceptor(limits=HASTY) as running, running.connect() as sock:
        sock.sendall(sent)
        seconds_until_closed(sock)
        assert 0.3 < monotonic() - began < 10
        _until(lambda: running.acceptor.open_associations == 0)
    assert not running.service.infos
    assert not running.service.endings


def test_a_request_that_drips_in_is_gone_after_artim() -> None:
    """A byte now and then buys no time."""
    with running_acceptor(limits=HASTY) as running, running.connect() as sock:
        began = monotonic()
        threading.Thread(target=_drip, args=(sock, encode(REQUEST), 0.05), daemon=True).start()
        seconds_until_closed(sock)
        assert monotonic() - began < 6  # the whole of it would take longer


@pytest.mark.parametrize(
    "service", [MemoryService(), MemoryService(admits=Admission.REFUSED)], ids=["served", "refused"]
)
def test_an_unknown_protocol_version_is_rejected_at_once(service: MemoryService) -> None:
    """AE-6: the provider's own (1, 2, 2), with a thread and without one, long before ARTIM ends."""
    with running_acceptor(service) as running, running.connect() as sock:
        sock.settimeout(1)
        assert associate(sock, replace(REQUEST, protocol_version=2)) == AssociateReject(1, 2, 2)
        sock.close()
        _until(lambda: running.acceptor.open_associations == 0)
    assert not service.requests


@pytest.mark.parametrize("version", [1, 2])
def test_an_abort_that_nobody_waits_for_ends_the_thread(version: int) -> None:
    """AA-2 in Sta2 and in Sta13: nothing is indicated, and the connection is closed at once."""
    patient = AcceptorLimits(association_timeout_s=30, linger_s=0.1)
    with running_acceptor(limits=patient) as running, running.connect() as sock:
        if version == 2:
            associate(sock, replace(REQUEST, protocol_version=2))
        sock.sendall(encode(Abort(0, 0)))
        assert seconds_until_closed(sock) < 10
        sock.close()
        _until(lambda: running.acceptor.open_associations == 0)


def test_a_pdu_that_drips_in_ends_at_its_deadline() -> None:
    """Established, in the middle of a data set: A-ABORT by the provider, the sink abandoned."""
    with running_acceptor(limits=HASTY) as running, running.connect() as sock:
        associate(sock)
        sock.sendall(store_command(uid="1.7"))
        began = monotonic()
        threading.Thread(
            target=_drip, args=(sock, data_pdu(bytes(500), is_last=True), 0.05), daemon=True
        ).start()
        assert read_pdu(sock) == Abort(2, 0)
        assert 0.3 < monotonic() - began < 10
        ending = running.service.wait_ending()
        assert (ending.kind, running.service.abandoned) == (EndingKind.TIMED_OUT, ["1.7"])
        assert "a PDU was not whole within 0.4 s" in ending.reason


def test_a_long_transfer_of_prompt_pdus_outlives_the_time_of_one() -> None:
    """The deadline is of a PDU: each begins with the end of the one before it, so every read ends inside one."""
    with running_acceptor(limits=HASTY) as running, running.connect() as sock:
        associate(sock)
        stream = store_command() + data_pdu(bytes(1000), is_last=False) * 10 + data_pdu(b"ab", is_last=True)
        cut = len(store_command()) + 500
        sock.sendall(stream[:cut])
        while cut < len(stream):
            sleep(0.1)
            sock.sendall(stream[cut : cut + 1012])
            cut += 1012
        assert isinstance(read_pdu(sock), PDataTf)
        assert len(running.service.stored[0].data_set) == 10_002


def test_a_data_set_that_stops_between_pdus_ends() -> None:
    """Within a message the next PDU has the time of a PDU, not of an idle association."""
    with running_acceptor(limits=HASTY) as running, running.connect() as sock:
        associate(sock)
        sock.sendall(store_command() + data_pdu(b"ab", is_last=False))
        assert read_pdu(sock) == Abort(2, 0)
        assert "message" in running.service.wait_ending().reason


def test_an_idle_association_ends() -> None:
    """After the idle time, by A-ABORT."""
    with running_acceptor(limits=HASTY) as running, running.connect() as sock:
        began = monotonic()
        associate(sock)
        assert read_pdu(sock) == Abort(2, 0)
        assert 0.7 < monotonic() - began < 10
        assert "idle" in running.service.wait_ending().reason


def test_a_half_open_peer_after_the_last_word_does_not_hold_the_thread() -> None:
    """It never closes, we do after the linger time."""
    with running_acceptor(limits=HASTY) as running, running.connect() as sock:
        associate(sock)
        sock.sendall(encode(ReleaseRequest()))
        assert read_pdu(sock) is not None
        assert running.service.wait_ending(timeout_s=3).kind is EndingKind.RELEASED
        _until(lambda: running.acceptor.open_associations == 0)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x04\0\xff\xff\xff\xff", 6),  # 4 GiB of P-DATA
        (b"\x01\0\xff\xff\xff\xff", 6),  # 4 GiB of request
        (b"\x07\0\0\0\x00\x05", 6),  # A-ABORT of five bytes
        (b"\x99\0\0\0\0\4abcd", 1),  # no such PDU
        (encode(REQUEST), 2),  # a second request
        (b"\x04\0\0\0\0\x06\0\0\0\x09\x01\x03", 6),  # a PDV beyond its PDU
        (encode(PDataTf((Pdv(9, True, True, b"ab"),))), 6),  # a context that was not accepted
        (data_pdu(b"ab", is_last=True), 6),  # data without a command
        (encode(PDataTf((Pdv(3, True, True, b"\1"),))), 6),  # no command set
    ],
)
def test_a_protocol_error_is_answered_by_an_abort(raw: bytes, reason: int) -> None:
    """Source 2, with the reason of PS3.8 Table 9-26, at once; the service learns why."""
    with running_acceptor(limits=HASTY) as running, running.connect() as sock:
        associate(sock)
        sock.sendall(raw)
        assert read_pdu(sock) == Abort(2, reason)
        sock.close()
        ending = running.service.wait_ending()
        assert ending.kind is EndingKind.ABORTED_BY_US
        assert "PS3." in ending.reason


def test_an_abort_overtakes_a_stream_that_goes_on() -> None:
    """The peer hears the A-ABORT even while it pours out what it claimed: we read on for a moment before closing."""
    with running_acceptor(limits=HASTY) as running, running.connect() as sock:
        associate(sock)
        sock.sendall(b"\x04\0\xff\xff\xff\xff" + bytes(2_000_000))
        assert read_pdu(sock) == Abort(2, 6)


def test_a_reset_in_the_middle_leaves_nothing_behind() -> None:
    """The sink is abandoned, the ending says lost, the thread is gone."""
    with running_acceptor(limits=HASTY) as running:
        sock = running.connect()
        associate(sock)
        sock.sendall(store_command(uid="1.8") + data_pdu(bytes(1000), is_last=False))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
        ending = running.service.wait_ending()
        assert (ending.kind, running.service.abandoned) == (EndingKind.CONNECTION_LOST, ["1.8"])


def test_an_unknown_operation_is_answered_0211() -> None:
    """N-DELETE with a data set: the data set is read and thrown away, the response says unrecognised operation."""
    from dicomrelay.dimse.codec import decode_message  # noqa: PLC0415
    from dicomrelay.dimse.command_set import encode_command_set  # noqa: PLC0415
    from dicomrelay.dimse.messages import UnsupportedResponse  # noqa: PLC0415

    command = encode_command_set({0x0003: "1.2", 0x0100: 0x0150, 0x0110: 5, 0x0800: 0, 0x1001: "1.3"})
    with running_acceptor(limits=HASTY) as running, running.connect() as sock:
        associate(sock)
        for _ in range(2):
            sock.sendall(encode(PDataTf((Pdv(1, True, True, command),))) + data_pdu(b"ab", is_last=True))
            answer = read_pdu(sock)
            assert isinstance(answer, PDataTf)
            assert decode_message(bytes(answer.pdvs[0].data)) == (
                UnsupportedResponse(0x8150, 5, 0x0211),
                False,
            )


def test_a_silent_flood_costs_no_threads_and_others_are_served(tmp_path: Path) -> None:
    """Over the limit, silent connections wait without a thread, a bounded number; the rest is closed unheard."""
    limits = AcceptorLimits(
        max_associations=4, max_refusals=3, association_timeout_s=0.8, pdu_timeout_s=0.4, linger_s=0.1
    )
    with running_acceptor(limits=limits) as running:
        before = threading.active_count()
        flood = [running.connect() for _ in range(40)]
        _until(lambda: running.acceptor.open_associations == 4)
        assert threading.active_count() <= before + 4
        assert len(running.acceptor._refusals) <= 3
        _until(lambda: running.acceptor.open_associations == 0)
        contexts = [(CT_IMAGE_STORAGE, (EXPLICIT_VR_LITTLE_ENDIAN,))]
        with Association.request(running.remote, calling_ae_title="GOOD", contexts=contexts) as association:
            assert association.store(store_item(tmp_path / "x", bytes(1000))).status == 0
        _until(lambda: len(running.acceptor._refusals) == 0)
        for sock in flood:
            sock.close()


def test_stop_lets_a_running_transfer_finish_within_the_grace() -> None:
    """No new association, the old one goes on to its release."""
    with running_acceptor(limits=HASTY) as running, running.connect() as sock:
        associate(sock)
        stopper = threading.Thread(target=running.acceptor.stop, args=(5,))
        stopper.start()
        _until(lambda: not running.thread.is_alive())
        sock.sendall(store_command() + data_pdu(b"abcd", is_last=True))
        assert isinstance(read_pdu(sock), PDataTf)
        with pytest.raises(ConnectionError):
            running.connect()
        sock.sendall(encode(ReleaseRequest()))
        read_pdu(sock)
        sock.close()
        began = monotonic()
        stopper.join(5)
        assert monotonic() - began < 4
        assert running.service.wait_ending().kind is EndingKind.RELEASED


def test_stop_before_serving_closes_the_listener() -> None:
    """Nobody can connect any more, and `serve` returns at once."""
    listener = listen("127.0.0.1", 0)
    acceptor = Acceptor(listener, MemoryService(), HASTY)
    acceptor.stop(0)
    assert listener.fileno() == -1
    acceptor.serve()
    acceptor.stop(0)


def test_stop_may_come_at_any_moment_of_the_beginning() -> None:
    """Both threads start together, many times: none fails, none hangs."""
    for _ in range(200):
        acceptor = Acceptor(listen("127.0.0.1", 0), MemoryService(), HASTY)
        together = threading.Barrier(2)
        failures: list[BaseException] = []

        def serve(acceptor: Acceptor, together: threading.Barrier, failures: list[BaseException]) -> None:
            together.wait()
            try:
                acceptor.serve()
            except BaseException as error:
                failures.append(error)
                raise

        thread = threading.Thread(target=serve, args=(acceptor, together, failures))
        thread.start()
        together.wait()
        acceptor.stop(0)
        thread.join(5)
        assert not thread.is_alive()
        assert not failures


def test_stop_aborts_what_is_open_when_the_grace_is_over() -> None:
    """An idle association hears A-ABORT by the user, source 0, and the thread is gone when `stop` returns."""
    limits = AcceptorLimits(linger_s=0.1)
    with running_acceptor(limits=limits) as running, running.connect() as sock:
        associate(sock)
        began = monotonic()
        running.acceptor.stop(0.3)
        assert 0.25 < monotonic() - began < 10
        assert running.acceptor.open_associations == 0
        assert read_pdu(sock) == Abort(0, 0)
        assert running.service.wait_ending().kind is EndingKind.STOPPED


# ---- as requestor


def _request(port: int) -> Association:
    return Association.request(
        RemoteAe("RELAY", "127.0.0.1", port),
        calling_ae_title="WIRE",
        contexts=[(CT_IMAGE_STORAGE, (EXPLICIT_VR_LITTLE_ENDIAN,))],
        timeouts=IMPATIENT,
    )


def test_an_acceptor_that_does_not_answer_the_request_is_given_up() -> None:
    """AssociationTimeout names the timer."""
    with scripted_acceptor(seconds_until_closed) as port:  # type: ignore[arg-type]
        with pytest.raises(AssociationTimeout) as caught:
            _request(port)
        assert caught.value.timer == "association"


def test_an_acceptor_that_closes_or_aborts_is_an_aborted_association() -> None:
    """With source and reason when there were any."""
    with scripted_acceptor(lambda sock: None) as port, pytest.raises(AssociationAborted) as caught:
        _request(port)
    assert caught.value.source is None

    def abort(sock: socket.socket) -> None:
        read_pdu(sock)
        sock.sendall(encode(Abort(2, 1)))

    with (
        scripted_acceptor(abort) as port,
        pytest.raises(AssociationAborted, match="source 2, reason 1") as caught,
    ):
        _request(port)
    assert (caught.value.source, caught.value.reason) == (2, 1)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"\x02\0\xff\xff\xff\xff", "claims 4294967295 bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "PDU type 0x48 is not one of 0x01 to 0x07: an HTTP service"),
        (encode(ACCEPT).replace(b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2"), "was not proposed so"),
        (encode(REQUEST), "AssociateRequest is not expected in Sta5"),
    ],
)
def test_an_acceptor_that_breaks_the_protocol_is_aborted(answer: bytes, words: str) -> None:
    """The words say what it did; it hears A-ABORT by the provider."""
    heard: list[object] = []

    def script(sock: socket.socket) -> None:
        read_pdu(sock)
        sock.sendall(answer)
        heard.append(read_pdu(sock))

    with scripted_acceptor(script) as port, pytest.raises(PeerBrokeProtocol, match=words):
        _request(port)
    assert isinstance(heard[0], Abort)
    assert heard[0].source == 2


def test_a_store_without_a_response_is_given_up_and_aborted(tmp_path: Path) -> None:
    """Whether it was kept is not known: never a success."""
    heard: list[object] = []

    def script(sock: socket.socket) -> None:
        read_pdu(sock)
        sock.sendall(encode(ACCEPT))
        while (pdu := read_pdu(sock)) is not None:
            heard.append(pdu)

    with scripted_acceptor(script) as port:
        association = _request(port)
        with pytest.raises(AssociationTimeout) as caught:
            association.store(store_item(tmp_path / "x", bytes(100)))
        assert caught.value.timer == "response"
        assert not association.is_open
        association.release()
    assert isinstance(heard[-1], Abort)


def test_a_peer_that_stops_reading_is_given_up(tmp_path: Path) -> None:
    """Its window fills, our send makes no headway, and the time for a PDU passes."""
    done = threading.Event()

    def script(sock: socket.socket) -> None:
        read_pdu(sock)
        sock.sendall(encode(ACCEPT))
        done.wait(10)

    with scripted_acceptor(script) as port:
        association = _request(port)
        began = monotonic()
        with pytest.raises(AssociationTimeout, match=r"took no PDU within 0\.4 s"):
            association.store(store_item(tmp_path / "x", bytes(50_000_000)))
        assert monotonic() - began < 8
        done.set()


def test_the_last_word_of_a_peer_that_aborts_while_we_send_is_heard(tmp_path: Path) -> None:
    """It aborts and closes in the middle of the data set: its source and reason are in the error."""

    def script(sock: socket.socket) -> None:
        read_pdu(sock)
        sock.sendall(encode(ACCEPT))
        read_pdu(sock)
        sock.sendall(encode(Abort(2, 4)))
        sock.shutdown(socket.SHUT_WR)
        seconds_until_closed(sock)

    with scripted_acceptor(script) as port:
        association = _request(port)
        with pytest.raises(AssociationAborted) as caught:
            association.store(store_item(tmp_path / "x", bytes(1_000_000)))
        assert (caught.value.source, caught.value.reason) == (2, 4)


@pytest.mark.parametrize("answer", [encode(AssociateReject(2, 3, 2)), b"garbage", b""])
def test_a_release_that_is_not_answered_properly_ends_all_the_same(answer: bytes) -> None:
    """Every response is in by then; `release` raises nothing and does not wait longer than its time."""

    def script(sock: socket.socket) -> None:
        read_pdu(sock)
        sock.sendall(encode(ACCEPT))
        read_pdu(sock)
        sock.sendall(answer)
        seconds_until_closed(sock)

    with scripted_acceptor(script) as port:
        association = _request(port)
        began = monotonic()
        association.release()
        assert monotonic() - began < 10
        assert not association.is_open


def _until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 10
    while not condition():
        assert monotonic() < deadline, "it did not come to pass"
        sleep(0.01)

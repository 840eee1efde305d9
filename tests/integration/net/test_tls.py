"""TLS in both roles, ours against ours and against hand-written peers (docs/design/tls.md)."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from dicomrelay.errors import AssociationAborted, AssociationTimeout, TlsFailed, TlsFault
from dicomrelay.net.limits import AcceptorLimits
from dicomrelay.net.requestor import Association, RemoteAe, Timeouts
from dicomrelay.net.service import Admission, EndingKind
from dicomrelay.net.tls import acceptor_context, door, requestor_context
from dicomrelay.settings import DestinationTlsSettings, TlsSettings
from dicomrelay.ul.writer import encode
from tests.support.certificates import Authority
from tests.support.engine import (
    CT_IMAGE_STORAGE,
    EXPLICIT_VR_LITTLE_ENDIAN,
    MemoryService,
    Running,
    running_acceptor,
    store_item,
)
from tests.support.wire import REQUEST, seconds_until_closed

CT = (CT_IMAGE_STORAGE, (EXPLICIT_VR_LITTLE_ENDIAN,))
HASTY = AcceptorLimits(association_timeout_s=0.8, pdu_timeout_s=0.4, idle_timeout_s=0.8, linger_s=0.1)
IMPATIENT = Timeouts(connect_s=2, association_s=0.6, response_s=0.6, pdu_s=0.6, release_s=0.6)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def call(running: Running, tls: DestinationTlsSettings | None, **more: object) -> Association:
    """An association to it, with TLS or without."""
    context = requestor_context(tls) if tls is not None else None
    return Association.request(running.remote, calling_ae_title="TEST", contexts=[CT], tls=context, **more)  # type: ignore[arg-type]


def fault_of(running: Running, tls: DestinationTlsSettings | None) -> tuple[TlsFault, str]:
    """What a call ends with."""
    with pytest.raises(TlsFailed) as caught:
        call(running, tls).release()
    return caught.value.fault, str(caught.value)


def until(holds: Callable[[], bool], seconds: float = 5) -> None:
    deadline = monotonic() + seconds
    while not holds():
        assert monotonic() < deadline
        sleep(0.02)


@pytest.mark.parametrize("minimum", ["1.2", "1.3"])
@pytest.mark.parametrize("size", [2, 16_384, 3_000_000])
def test_instances_arrive_byte_for_byte(
    authority: Authority, tmp_path: Path, minimum: str, size: int
) -> None:
    """Small and large, with mutual authentication; both ends know what was agreed on."""
    data = os.urandom(size)
    settings = authority.acceptor(authority.issue("gate"), mutual=True)
    ours = authority.requestor(
        authority.issue("modality", "ct1.example", common_name="CT 1"), minimum=minimum
    )
    with running_acceptor(tls=door(settings)) as running:
        with call(running, ours) as association:
            for number in range(3):
                item = store_item(tmp_path / "x.dcm", data, f"1.2.{number}", offset=132)
                assert association.store(item).status == 0
            assert association.tls is not None
            assert association.tls.version == "TLSv1.3"
        assert running.service.wait_ending().kind is EndingKind.RELEASED
    assert [each.data_set for each in running.service.stored] == [data] * 3
    facts = running.service.infos[0].tls
    assert facts is not None
    assert facts.cipher == "TLS_AES_256_GCM_SHA384"
    assert facts.certificate_subject.startswith("CN=CT 1,")
    assert facts.certificate_names == ("CT 1", "ct1.example")
    assert len(facts.certificate_sha256) == 64


def test_tls_1_2_is_taken_with_the_profile_s_suites_only(authority: Authority, tmp_path: Path) -> None:
    """ECDHE with AES-GCM (RFC 9325 Section 4.2); CBC and TLS 1.1 find nothing in common."""
    data = os.urandom(200_000)
    with running_acceptor(tls=door(authority.acceptor(authority.issue("gate")))) as running:
        context = _client(authority)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        item = store_item(tmp_path / "x.dcm", data)
        with Association.request(
            running.remote, calling_ae_title="T", contexts=[CT], tls=context
        ) as association:
            assert association.store(item).status == 0
            assert association.tls is not None
            assert (association.tls.version, association.tls.cipher) == (
                "TLSv1.2",
                "ECDHE-ECDSA-AES256-GCM-SHA384",
            )
        context.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
        with pytest.raises(TlsFailed) as caught:
            Association.request(running.remote, calling_ae_title="T", contexts=[CT], tls=context)
        assert caught.value.fault is TlsFault.NOTHING_IN_COMMON
    assert running.service.stored[0].data_set == data


def test_a_gateway_of_tls_1_3_refuses_1_2(authority: Authority) -> None:
    """`minimum`."""
    settings = authority.acceptor(authority.issue("gate"), minimum="1.3")
    with running_acceptor(tls=door(settings)) as running:
        context = _client(authority)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(TlsFailed, match="no version of TLS") as caught:
            Association.request(running.remote, calling_ae_title="T", contexts=[CT], tls=context)
    assert caught.value.fault is TlsFault.NOTHING_IN_COMMON


# ---- certificates that do not hold


def test_certificates_that_do_not_hold(authority: Authority, tmp_path: Path) -> None:
    """Each fault has its own word, names the peer, says what to do, and is not worth a hot retry."""
    stranger = Authority(tmp_path, "stranger")
    cases = [
        (authority.issue("old", days=-1), authority.requestor(), TlsFault.EXPIRED, "expired"),
        (authority.issue("early", days=500), authority.requestor(), TlsFault.EXPIRED, "not valid yet"),
        (
            authority.issue("other", "pacs.example"),
            authority.requestor(),
            TlsFault.WRONG_HOST,
            "another address",
        ),
        (authority.issue("good"), stranger.requestor(), TlsFault.UNTRUSTED, "authority"),
        (authority.issue("good"), DestinationTlsSettings(), TlsFault.UNTRUSTED, "authority"),
    ]
    for pair, ours, fault, words in cases:
        with running_acceptor(tls=door(authority.acceptor(pair))) as running:
            found, said = fault_of(running, ours)
            assert found is fault, said
            assert words in said
            assert str(running.remote) in said
            assert "; " in said
    assert not TlsFailed("", fault=TlsFault.EXPIRED).retryable


def test_a_name_that_does_not_match_can_be_let_pass(authority: Authority) -> None:
    """`check_host = false`: the chain is still checked."""
    with running_acceptor(tls=door(authority.acceptor(authority.issue("other", "pacs.example")))) as running:
        call(running, authority.requestor(check_host=False)).release()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_mutual_authentication_refused(authority: Authority, tmp_path: Path, newest: ssl.TLSVersion) -> None:
    """No certificate, one of a stranger, one that has expired: the requestor learns which, in 1.3 only after its handshake."""
    stranger = Authority(tmp_path, "stranger")
    settings = authority.acceptor(authority.issue("gate"), mutual=True)
    with running_acceptor(tls=door(settings)) as running:
        for pair, faults, words in (
            (None, {TlsFault.NO_CERTIFICATE, TlsFault.NOTHING_IN_COMMON}, "certificate"),
            (stranger.issue("foreign"), {TlsFault.REFUSED}, "does not trust the authority"),
            (authority.issue("expired", days=-1), {TlsFault.REFUSED}, "expired"),
        ):
            context = _client(authority)
            context.maximum_version = newest
            if pair is not None:
                context.load_cert_chain(pair.certificate, pair.key)
            with pytest.raises(TlsFailed, match=words) as caught:
                Association.request(running.remote, calling_ae_title="T", contexts=[CT], tls=context)
            assert caught.value.fault in faults
        until(lambda: running.acceptor.open_associations == 0)
    assert not running.service.requests


def test_a_client_may_be_asked_and_not_forced(authority: Authority) -> None:
    """`require_client_certificate = false`: without one it is served and has no subject."""
    settings = authority.acceptor(authority.issue("gate"), mutual=True, require_client_certificate=False)
    with running_acceptor(tls=door(settings)) as running:
        call(running, authority.requestor()).release()
        call(running, authority.requestor(authority.issue("ct", common_name="CT"))).release()
        running.service.wait_ending(2)
    subjects = [info.tls.certificate_subject for info in running.service.infos if info.tls]
    assert subjects[0] == ""
    assert subjects[1].startswith("CN=CT,")


# ---- plain here, TLS there


def test_a_plain_requestor_at_a_tls_port(authority: Authority) -> None:
    """It is told by an alert, and the acceptor serves on."""
    with running_acceptor(tls=door(authority.acceptor(authority.issue("gate")))) as running:
        assert fault_of(running, None)[0] is TlsFault.TLS_PEER
        call(running, authority.requestor()).release()


def test_a_tls_requestor_at_a_plain_port(authority: Authority) -> None:
    """Our acceptor answers a PDU, which is no TLS."""
    with running_acceptor() as running:
        fault, words = fault_of(running, authority.requestor())
        assert fault is TlsFault.PLAIN_PEER
        assert "plain DICOM" in words


def test_a_tls_requestor_at_a_port_that_closes_without_a_word(authority: Authority) -> None:
    """A guess, said as one; worth another try."""
    with _closing_listener() as remote, pytest.raises(AssociationAborted, match="plain DICOM may do so"):
        Association.request(
            remote, calling_ae_title="T", contexts=[CT], tls=requestor_context(authority.requestor())
        )


def test_a_plain_requestor_at_a_port_that_closes_without_a_word() -> None:
    """OpenSSL's own servers do so."""
    with _closing_listener() as remote, pytest.raises(AssociationAborted, match="speaks TLS may do so"):
        Association.request(remote, calling_ae_title="T", contexts=[CT])


def test_both_on_one_port(authority: Authority) -> None:
    """`allow_plain`: each is served, and the service knows which is which."""
    settings = authority.acceptor(authority.issue("gate"), allow_plain=True)
    with running_acceptor(tls=door(settings)) as running:
        call(running, authority.requestor()).release()
        call(running, None).release()
        running.service.wait_ending(2)
    assert [info.tls is None for info in running.service.infos] == [False, True]


def test_something_else_at_a_tls_port(authority: Authority) -> None:
    """A fatal alert, and the thread is gone."""
    with running_acceptor(tls=door(authority.acceptor(authority.issue("gate")))) as running:
        with running.connect() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert sock.recv(16) == bytes((0x15, 3, 3, 0, 2, 2, 10))
        until(lambda: running.acceptor.open_associations == 0)


# ---- peers that are slow, silent or many


def test_two_hundred_silent_clients_hinder_nobody(authority: Authority, tmp_path: Path) -> None:
    """They connect and never shake hands: a sender stores meanwhile, and the threads come back to where they were."""
    before = threading.active_count()
    limits = AcceptorLimits(
        max_associations=300,
        max_associations_per_peer=300,
        reserved_associations=0,
        association_timeout_s=5,
        pdu_timeout_s=2,
        linger_s=0.1,
    )
    tls = door(authority.acceptor(authority.issue("gate")))
    with running_acceptor(limits=limits, tls=tls) as running, ExitStack() as silent:
        for number in range(200):
            sock = silent.enter_context(running.connect())
            if number % 2:
                sock.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
        until(lambda: running.acceptor.open_associations == 200)
        with call(running, authority.requestor()) as association:
            assert association.store(store_item(tmp_path / "x.dcm", os.urandom(500_000))).status == 0
        assert running.acceptor.open_associations >= 200  # they are still there, and hindered nobody
        until(lambda: running.acceptor.open_associations == 0, 12)
    until(lambda: threading.active_count() <= before)


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], ids=len)
def test_half_a_handshake_is_gone_after_artim(authority: Authority, sent: bytes) -> None:
    """However far it came."""
    with (
        running_acceptor(limits=HASTY, tls=door(authority.acceptor(authority.issue("gate")))) as running,
        running.connect() as sock,
    ):
        sock.sendall(sent)
        assert 0.5 < seconds_until_closed(sock) < 3
        until(lambda: running.acceptor.open_associations == 0)


def test_a_handshake_that_drips_in_is_gone_after_artim(authority: Authority) -> None:
    """A byte now and then buys no time."""
    hello = _client_hello(authority)

    def drip(sock: socket.socket) -> None:
        try:
            for value in hello:
                sock.sendall(bytes([value]))
                sleep(0.05)
        except OSError:
            pass

    with (
        running_acceptor(limits=HASTY, tls=door(authority.acceptor(authority.issue("gate")))) as running,
        running.connect() as sock,
    ):
        began = monotonic()
        thread = threading.Thread(target=drip, args=(sock,))
        thread.start()
        seconds_until_closed(sock)
        assert monotonic() - began < 3
        thread.join()


def test_a_handshake_without_a_request_is_gone_after_artim(authority: Authority) -> None:
    """One deadline for both, from the TCP connection on."""
    with (
        running_acceptor(limits=HASTY, tls=door(authority.acceptor(authority.issue("gate")))) as running,
        running.connect() as raw,
        _client(authority).wrap_socket(raw, server_hostname="localhost") as sock,
    ):
        assert 0.4 < seconds_until_closed(sock) < 3


def test_a_record_that_drips_in_ends_at_the_deadline(authority: Authority) -> None:
    """Established, then ciphertext byte by byte that never becomes a record: idle is idle."""
    with (
        running_acceptor(limits=HASTY, tls=door(authority.acceptor(authority.issue("gate")))) as running,
        running.connect() as raw,
    ):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = _client(authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
        _shake(tls, incoming, outgoing, raw)
        tls.write(encode(REQUEST))
        raw.sendall(outgoing.read())
        running_until = monotonic() + 5
        while not running.service.infos and monotonic() < running_until:
            sleep(0.01)
        tls.write(bytes(16_000))
        began = monotonic()
        try:
            for value in outgoing.read():
                raw.sendall(bytes([value]))
                sleep(0.05)
        except OSError:
            pass
        assert monotonic() - began < 4
        assert running.service.wait_ending().kind is EndingKind.TIMED_OUT


def test_a_peer_that_takes_nothing_ends_our_sending(authority: Authority, tmp_path: Path) -> None:
    """The time of a PDU holds under TLS too, with megabytes of ciphertext waiting."""
    release = threading.Event()
    service = MemoryService(on_write=lambda: release.wait(10) and None)
    limits = AcceptorLimits(association_timeout_s=5, pdu_timeout_s=20, linger_s=0.1, max_pdu_bytes=8 << 20)
    with running_acceptor(service, limits, tls=door(authority.acceptor(authority.issue("gate")))) as running:
        association = call(running, authority.requestor(), timeouts=IMPATIENT)
        began = monotonic()
        with pytest.raises(AssociationTimeout) as caught:
            association.store(store_item(tmp_path / "x.dcm", bytes(40_000_000)))
        release.set()
        assert caught.value.timer == "PDU"
        assert monotonic() - began < 5


def test_a_silent_tls_acceptor_ends_our_call(authority: Authority) -> None:
    """It takes the connection and never shakes hands."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        remote = RemoteAe("SILENT", "127.0.0.1", listener.getsockname()[1])
        began = monotonic()
        with pytest.raises(AssociationTimeout) as caught:
            Association.request(
                remote,
                calling_ae_title="T",
                contexts=[CT],
                tls=requestor_context(authority.requestor()),
                timeouts=IMPATIENT,
            )
        assert caught.value.timer == "association"
        assert monotonic() - began < 3


def test_stopping_does_not_wait_for_a_handshake(authority: Authority) -> None:
    """Half a handshake is interrupted when the grace is over."""
    patient = AcceptorLimits(association_timeout_s=60, linger_s=0.1)
    with (
        running_acceptor(limits=patient, tls=door(authority.acceptor(authority.issue("gate")))) as running,
        running.connect() as sock,
    ):
        sock.sendall(b"\x16\x03\x01")
        until(lambda: running.acceptor.open_associations == 1)
        began = monotonic()
        running.acceptor.stop(0)
        assert monotonic() - began < 5


# ---- refused in the accept loop


def test_refusals_reach_a_tls_client_as_alerts(authority: Authority) -> None:
    """Without a handshake: for good, and for now, which is worth another try."""
    gate = authority.issue("gate")
    refusing = MemoryService(admits=Admission.REFUSED)
    with running_acceptor(refusing, tls=door(authority.acceptor(gate))) as running:
        assert fault_of(running, authority.requestor())[0] is TlsFault.REFUSED
    one = AcceptorLimits(max_associations=1, reserved_associations=0, linger_s=0.1)
    with running_acceptor(limits=one, tls=door(authority.acceptor(gate))) as running:
        first = call(running, authority.requestor())
        with pytest.raises(TlsFailed) as caught:
            call(running, authority.requestor())
        assert caught.value.fault is TlsFault.PEER_TROUBLE
        assert caught.value.retryable
        first.release()


# ---- certificates are renewed


def test_a_renewed_certificate_is_taken_without_a_restart(authority: Authority) -> None:
    """The next association sees it; files that do not fit leave the pair before them in use."""
    pair = authority.issue("gate", common_name="old")
    tls = door(authority.acceptor(pair))
    with running_acceptor(tls=tls) as running:
        assert _common_name(running, authority) == "old"
        fresh = authority.issue("fresh", common_name="new")
        fresh.certificate.replace(pair.certificate)
        assert _common_name(running, authority) == "old"  # its key is not there yet
        fresh.key.replace(pair.key)
        assert _common_name(running, authority) == "new"
        pair.certificate.unlink()
        assert _common_name(running, authority) == "new"


def test_our_own_certificate_toward_a_destination_is_renewed_too(authority: Authority) -> None:
    """As requestor, from one association to the next."""
    ours = authority.issue("ours", common_name="old")
    with running_acceptor(tls=door(authority.acceptor(authority.issue("gate"), mutual=True))) as running:
        call(running, authority.requestor(ours)).release()
        fresh = authority.issue("fresh", common_name="new")
        fresh.certificate.replace(ours.certificate)
        fresh.key.replace(ours.key)
        call(running, authority.requestor(ours)).release()
        running.service.wait_ending(2)
    subjects = [info.tls.certificate_subject.split(",")[0] for info in running.service.infos if info.tls]
    assert subjects == ["CN=old", "CN=new"]


# ---- helpers


def _client(authority: Authority) -> ssl.SSLContext:
    """A client that is not ours, and allows everything that OpenSSL has."""
    return ssl.create_default_context(cafile=str(authority.path))


def _client_hello(authority: Authority) -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = _client(authority).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def _shake(tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, sock: socket.socket) -> None:
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(65_536))
        else:
            sock.sendall(outgoing.read())
            return


def _common_name(running: Running, authority: Authority) -> str:
    with running.connect() as raw, _client(authority).wrap_socket(raw, server_hostname="localhost") as sock:
        found = sock.getpeercert() or {}
        return next(str(value) for ((key, value),) in found["subject"] if key == "commonName")  # type: ignore[misc]


@contextmanager
def _closing_listener() -> Iterator[RemoteAe]:
    """Takes a connection, waits for its first bytes, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(65_536)

        thread = threading.Thread(target=serve)
        thread.start()
        yield RemoteAe("CLOSES", "127.0.0.1", listener.getsockname()[1])
        thread.join()


def test_the_context_of_the_listener_asks_for_certificates_only_with_an_authority(
    authority: Authority,
) -> None:
    """`ca` decides, `require_client_certificate` how strictly."""
    pair = authority.issue("gate")
    modes = [
        acceptor_context(settings).verify_mode
        for settings in (
            authority.acceptor(pair),
            authority.acceptor(pair, mutual=True),
            authority.acceptor(pair, mutual=True, require_client_certificate=False),
        )
    ]
    assert modes == [ssl.CERT_NONE, ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL]
    assert TlsSettings(certificate=pair.certificate).require_client_certificate

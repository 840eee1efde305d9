"""What a TLS association fails of: certificates, plain peers, refusals (docs/design/tls.md)."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicomrelay.errors import AssociationAborted, TlsFailed, TlsFault
from dicomrelay.net.limits import AcceptorLimits
from dicomrelay.net.requestor import Association, RemoteAe
from dicomrelay.net.service import Admission
from dicomrelay.net.tls import door, requestor_context
from dicomrelay.settings import DestinationTlsSettings
from tests.support.certificates import Authority
from tests.support.engine import (
    MemoryService,
    running_acceptor,
)
from tests.support.tls import CT, call, client, fault_of, until


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


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
            (authority.issue("expired", days=-1), {TlsFault.OURS_IS_OVER}, "renew our certificate"),
        ):
            context = client(authority)
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

"""TLS in both roles, ours against ours: what is agreed on, and certificates that are renewed (docs/design/tls.md)."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from dicomrelay.errors import TlsFailed, TlsFault
from dicomrelay.net.requestor import Association
from dicomrelay.net.service import EndingKind
from dicomrelay.net.tls import acceptor_context, door
from dicomrelay.settings import TlsSettings
from tests.support.certificates import Authority
from tests.support.engine import (
    Running,
    running_acceptor,
    store_item,
)
from tests.support.tls import CT, call, client


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


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
        context = client(authority)
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
        context = client(authority)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(TlsFailed, match="no version of TLS") as caught:
            Association.request(running.remote, calling_ae_title="T", contexts=[CT], tls=context)
    assert caught.value.fault is TlsFault.NOTHING_IN_COMMON


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


def _common_name(running: Running, authority: Authority) -> str:
    with running.connect() as raw, client(authority).wrap_socket(raw, server_hostname="localhost") as sock:
        found = sock.getpeercert() or {}
        return next(str(value) for ((key, value),) in found["subject"] if key == "commonName")  # type: ignore[misc]

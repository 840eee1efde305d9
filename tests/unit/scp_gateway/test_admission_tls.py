"""What [[peers]] may demand of TLS."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dicomrelay.net.service import TlsFacts
from dicomrelay.settings import PeerSettings, Settings
from scp_gateway.admission import Peers

SHOWN = TlsFacts(
    "TLSv1.3",
    "TLS_AES_256_GCM_SHA384",
    certificate_subject="CN=CT 1,O=Clinic",
    certificate_names=("CT 1", "ct1.clinic.example", "10.0.0.7"),
    certificate_sha256="ab" * 32,
)
ANONYMOUS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")


def _admits(shown: TlsFacts | None, **peer: object) -> bool:
    return Peers([PeerSettings.model_validate(peer)]).entry("CT_1", "10.0.0.7", shown) is not None


def test_an_entry_that_says_nothing_takes_both() -> None:
    """As before there was TLS."""
    assert _admits(None)
    assert _admits(ANONYMOUS)


def test_an_entry_may_demand_tls() -> None:
    """Plain DICOM is then no match, whoever calls."""
    assert not _admits(None, tls=True)
    assert _admits(ANONYMOUS, tls=True)


@pytest.mark.parametrize(
    "certificate",
    [
        "CN=CT 1,O=Clinic",
        "cn=ct 1,*",
        "CT 1",
        "CT1.Clinic.Example",
        "*.clinic.example",
        "10.0.0.7",
        "AB" * 32,
        ":".join(["AB"] * 32),
    ],
)
def test_a_certificate_is_known_by_any_of_its_names(certificate: str) -> None:
    """Subject, common name, DNS name, address, fingerprint; and TLS is implied."""
    assert _admits(SHOWN, certificate=certificate)
    assert not _admits(ANONYMOUS, certificate=certificate)
    assert not _admits(None, certificate=certificate)


def test_any_certificate_is_not_none() -> None:
    """* takes whoever shows one that holds."""
    assert _admits(SHOWN, certificate="*")
    assert not _admits(ANONYMOUS, certificate="*")


@pytest.mark.parametrize("certificate", ["CN=CT 2,O=Clinic", "CT", "clinic.example", "O=Clinic", "cd" * 32])
def test_another_certificate_is_another_peer(certificate: str) -> None:
    """Whole names, no parts."""
    assert not _admits(SHOWN, certificate=certificate)


def _named(subject: str, *names: str) -> TlsFacts:
    return TlsFacts("TLSv1.3", "x", subject, names, "cd" * 32)


def test_a_name_that_reads_like_a_fingerprint_or_a_subject_is_a_name() -> None:
    """An authority signs what common name it is asked for: the pin of another kind is not met by it."""
    fingerprint = "ab" * 32
    assert not _admits(_named(f"CN={fingerprint}", fingerprint), certificate=fingerprint)
    assert not _admits(_named(r"CN=CN=CT 1\,O=Clinic", "CN=CT 1,O=Clinic"), certificate="CN=CT 1,O=Clinic")
    assert not _admits(_named("ct1.clinic.example"), certificate="ct1.clinic.example")


def test_a_comma_within_a_name_parts_no_subject() -> None:
    """CN=EVIL\\,O=Clinic is one name; with the comma escaped it may be asked for, and a * stands for it too."""
    evil = _named(r"CN=EVIL\,O=Clinic,O=Elsewhere")
    assert not _admits(evil, certificate="CN=*,O=Clinic*")
    assert _admits(evil, certificate=r"CN=EVIL\,O=Clinic,O=Elsewhere")
    assert _admits(evil, certificate="CN=*,O=Elsewhere")


def test_any_certificate_may_have_no_name_at_all() -> None:
    """* asks for a certificate, not for a name."""
    assert _admits(_named(""), certificate="*")
    assert not _admits(_named(""), certificate="?*")


def test_what_the_listener_cannot_give_is_told_at_start() -> None:
    """TLS without [gateway.tls], certificates without an authority."""
    for peer, gateway, words in (
        ({"tls": True}, {}, "gateway speaks none"),
        ({"certificate": "CT"}, {"tls": {"certificate": "/x.pem"}}, "gateway.tls.ca"),
    ):
        with pytest.raises(ValidationError, match=words):
            Settings.model_validate({"peers": [peer], "gateway": gateway})


def test_a_destination_s_tls_is_a_switch_or_a_table() -> None:
    """`tls = true`, `tls = false`, `tls = {...}`; a key without a certificate is none."""
    base = {"name": "pacs", "ae_title": "PACS", "host": "pacs.example"}

    def tls_of(value: object) -> object:
        return Settings.model_validate({"destinations": [{**base, "tls": value}]}).destinations[0].tls

    assert tls_of(True) == tls_of({})
    assert tls_of(True) is not None
    assert tls_of(False) is None
    with pytest.raises(ValidationError, match="key says nothing without certificate"):
        tls_of({"key": "/k.pem"})

"""Contexts from the settings: every file that does not fit is told by name; and what OpenSSL says becomes a fault."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from dicomrelay.errors import ConfigurationError, TlsFault
from dicomrelay.net import tls_faults
from dicomrelay.net.certificates import out_of_date, read_certificates
from dicomrelay.net.tls import acceptor_context, check, requestor_context
from dicomrelay.settings import DestinationTlsSettings, Settings, TlsSettings
from tests.support.certificates import Authority, Pair


def test_a_certificate_of_ours_that_is_over_is_used_and_told(authority: Authority) -> None:
    """In words for a person, and as a warning of the log; a good one is not mentioned."""
    over, good = authority.issue("over", days=-1), authority.issue("good")
    with structlog.testing.capture_logs() as logs:
        acceptor_context(authority.acceptor(good))
        acceptor_context(authority.acceptor(over))
    (warning,) = [each for each in logs if each.get("action") == "tls.out-of-date"]
    assert (warning["log_level"], warning["setting"]) == ("warning", "gateway.tls.certificate")
    assert "expired on" in warning["reason"]
    assert out_of_date(good.certificate) == ""
    assert "not valid before" in out_of_date(good.certificate, datetime(2000, 1, 1, tzinfo=UTC))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _encrypt(pair: Pair) -> None:
    key = load_pem_private_key(pair.key.read_bytes(), None)
    pair.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda pair: pair.certificate.unlink(),
            r"a\.pem: cannot be read: No such file .* \(gateway.tls.certificate\)",
        ),
        (lambda pair: pair.key.unlink(), r"a\.key: cannot be read: No such file .* \(gateway.tls.key\)"),
        (lambda pair: pair.certificate.write_text("x"), r"a\.pem: holds no certificate"),
        (lambda pair: pair.key.write_text("x"), r"a\.key: holds no private key"),
        (_encrypt, r"a\.key: the private key has a password"),
        (
            lambda pair: pair.certificate.write_text(
                "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n"
            ),
            r"a\.pem: cannot be used",
        ),
    ],
    ids=["no certificate", "no key", "text", "text as key", "password", "damaged"],
)
def test_files_that_do_not_fit_are_named(
    authority: Authority, spoil: Callable[[Pair], object], words: str
) -> None:
    """File, setting, what to do."""
    pair = authority.issue("a")
    spoil(pair)
    with pytest.raises(ConfigurationError, match=words):
        acceptor_context(authority.acceptor(pair))


def test_a_key_of_another_certificate_is_told(authority: Authority) -> None:
    """In both roles, with the setting's name."""
    one, other = authority.issue("one"), authority.issue("other")
    mixed = Pair(one.certificate, other.key)
    with pytest.raises(ConfigurationError, match=r"other\.key: the key does not belong to .*one\.pem"):
        acceptor_context(authority.acceptor(mixed))
    with pytest.raises(ConfigurationError, match=r"destinations\.pacs\.tls\.certificate"):
        requestor_context(authority.requestor(mixed), where="destinations.pacs.tls")


def test_the_start_looks_at_every_file(authority: Authority, tmp_path: Path) -> None:
    """Before the first peer does; a destination's too."""
    destination = {"name": "pacs", "ae_title": "PACS", "host": "h", "tls": {"ca": str(tmp_path / "none.pem")}}
    settings = Settings.model_validate({"destinations": [destination]})
    with pytest.raises(ConfigurationError, match=r"none\.pem: cannot be read.*destinations\.pacs\.tls\.ca"):
        check(settings)
    gateway = {"tls": {"certificate": str(tmp_path / "none.pem")}}
    with pytest.raises(ConfigurationError, match=r"gateway\.tls\.certificate"):
        check(Settings.model_validate({"gateway": gateway}))


def test_nothing_old_can_be_negotiated(authority: Authority) -> None:
    """PS3.15 Annex B.12 with RFC 9325: versions, suites, and what is off."""
    for context in (
        acceptor_context(authority.acceptor(authority.issue("a"))),
        requestor_context(authority.requestor()),
        requestor_context(DestinationTlsSettings()),
    ):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        old = [each["name"] for each in context.get_ciphers() if each["protocol"] == "TLSv1.2"]
        assert sorted(old) == sorted(
            f"ECDHE-{key}-{suite}"
            for key in ("ECDSA", "RSA")
            for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384")
        )
        for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_TICKET):
            assert context.options & option


def test_a_requestor_always_checks_the_chain(authority: Authority) -> None:
    """`check_host` is about the name only."""
    context = requestor_context(authority.requestor(check_host=False))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)
    assert requestor_context(DestinationTlsSettings()).check_hostname


def test_a_context_is_made_once_while_its_files_stay(authority: Authority) -> None:
    """And anew when one is touched."""
    pair = authority.issue("a")
    settings = authority.requestor(pair)
    first = requestor_context(settings)
    assert requestor_context(settings) is first
    pair.certificate.write_bytes(pair.certificate.read_bytes() + b"\n")
    assert requestor_context(settings) is not first


def test_a_fault_is_told_of_the_destination_that_has_it(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two destinations may share their files; the words name the one that is asked for."""
    pair = authority.issue("a")
    settings = authority.requestor(pair)
    first = requestor_context(settings, where="destinations.first.tls")
    second = requestor_context(settings, where="destinations.second.tls")
    pair.certificate.write_bytes(b"none any more")
    assert requestor_context(settings, where="destinations.second.tls") is second
    said = "".join(capsys.readouterr())
    assert "destinations.second.tls.certificate" in said
    assert "destinations.first.tls" not in said
    assert requestor_context(settings, where="destinations.first.tls") is first
    assert "destinations.first.tls.certificate" in "".join(capsys.readouterr())


def test_key_and_certificate_may_share_a_file(authority: Authority) -> None:
    """`key` left out."""
    pair = authority.issue("a")
    pair.certificate.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    acceptor_context(TlsSettings(certificate=pair.certificate))


def test_certificates_are_read_for_people(authority: Authority, tmp_path: Path) -> None:
    """Subject and end, of each in the file."""
    late, soon = authority.issue("late", days=300, common_name="LATE"), authority.issue("soon", days=10)
    both = tmp_path / "both.pem"
    both.write_bytes(late.certificate.read_bytes() + soon.certificate.read_bytes())
    first, second = read_certificates(both)
    assert "CN=LATE" in first.subject
    assert second.ends < first.ends
    with pytest.raises(ConfigurationError, match="holds no certificate"):
        read_certificates(late.key)


def test_every_fault_has_words_and_advice() -> None:
    """For the table of outcomes and for errors."""
    assert set(tls_faults.ADVICE) == set(tls_faults.WORDS) == set(TlsFault)


def test_an_unknown_word_of_openssl_is_said_as_it_is() -> None:
    """Nothing is hidden that is not known here."""
    error = ssl.SSLError(1, "x")
    error.reason = "SOME_NEW_REASON"
    found = tls_faults.explain(error, "PACS")
    assert (found.fault, found.retryable) == (TlsFault.OTHER, False)
    assert "some new reason" in str(found)


def test_a_comma_in_a_subject_makes_no_second_name() -> None:
    """An authority may put anything into a name; only a real common name counts as one."""
    from dicomrelay.net.tls_transport import _names, _subject  # noqa: PLC0415

    shown = {"subject": ((("organizationName", "x,CN=CT 1"),), (("commonName", "a\\b\n"),))}
    assert _subject(shown) == "CN=a\\\\b\N{REPLACEMENT CHARACTER},O=x\\,CN=CT 1"
    assert list(_names(shown)) == ["a\\b\n"]

"""URLs of other people's servers: their password from a file, and TLS that checks chain and name."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from dicomrelay.errors import ConfigurationError
from dicomrelay.runtime import servers
from dicomrelay.settings import BrokerSettings, DatabaseSettings, ServiceTlsSettings


def _broker(url: str, **more: object) -> BrokerSettings:
    return BrokerSettings(url=SecretStr(url), **more)  # type: ignore[arg-type]


def _database(url: str, **more: object) -> DatabaseSettings:
    return DatabaseSettings(url=SecretStr(url), **more)  # type: ignore[arg-type]


def test_a_password_from_a_file_is_quoted_into_the_url(tmp_path: Path) -> None:
    """Its first line, whatever characters are in it; the user's name stays as it was."""
    path = tmp_path / "password"
    path.write_text("p@ss/w:rd%41 ü\r\nnot this\n", "utf-8")

    url = servers.database_url(
        _database("postgresql://relay@db:5432/relay?application_name=x", password_file=path)
    )
    parsed = make_url(url)
    assert (parsed.username, parsed.password) == ("relay", "p@ss/w:rd%41 ü")
    assert (parsed.host, parsed.port, parsed.database) == ("db", 5432, "relay")
    assert parsed.query == {"application_name": "x"}

    assert servers.broker_url(_broker("rediss://h:6379/0", password_file=path)).startswith("rediss://:p%40ss")


@pytest.mark.parametrize(
    ("content", "words"), [(b"\n", "empty"), (b"\xff\xfe", "no text"), (None, "No such file")]
)
def test_a_file_without_a_password_is_an_error_that_names_it(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    """And the key that it stands under."""
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"broker\.password_file: .*{words}"):
        servers.broker_url(_broker("redis://h", password_file=path))


def test_tls_to_the_database_checks_chain_and_name(tmp_path: Path) -> None:
    """`verify-full` does; without a file the system's authorities are asked, and never nobody."""
    own = {"certificate": tmp_path / "c.pem", "key": tmp_path / "c.key"}
    for path in (tmp_path / "ca.pem", *own.values()):
        path.touch()
    url = servers.database_url(
        _database("postgresql://h/x", tls=ServiceTlsSettings(ca=tmp_path / "ca.pem", **own))
    )
    assert parse_qs(urlsplit(url).query) == {
        "sslmode": ["verify-full"],
        "sslrootcert": [str(tmp_path / "ca.pem")],
        "sslcert": [str(tmp_path / "c.pem")],
        "sslkey": [str(tmp_path / "c.key")],
    }
    plain = servers.database_url(_database("postgresql://h/x", tls=ServiceTlsSettings()))
    assert plain == "postgresql://h/x?sslmode=verify-full&sslrootcert=system"
    assert servers.database_url(_database("postgresql://h/x")) == "postgresql://h/x"


_CA = Path(__file__)  # any file that is there


@pytest.mark.parametrize("tls", [None, ServiceTlsSettings(), ServiceTlsSettings(ca=_CA)])
def test_tls_to_a_broker_is_never_without_a_check(tls: ServiceTlsSettings | None) -> None:
    """py-amqp checks a name only when it is given one."""
    redis = servers.broker_tls(_broker("rediss://h", tls=tls))
    amqp = servers.broker_tls(_broker("amqps://u@rabbit.example/x", tls=tls))
    assert redis is not None
    assert amqp is not None
    assert redis["ssl_cert_reqs"] == amqp["cert_reqs"] == ssl.CERT_REQUIRED
    assert redis["ssl_check_hostname"] is True
    assert amqp["server_hostname"] == "rabbit.example"
    if tls is not None and tls.ca is not None:
        assert redis["ssl_ca_certs"] == amqp["ca_certs"] == str(_CA)


def test_a_file_of_tls_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The server is not away, whatever the library makes of it."""
    tls = ServiceTlsSettings(ca=_CA, certificate=tmp_path / "none.pem")
    for asks, where in (
        (lambda: servers.broker_tls(_broker("rediss://h", tls=tls)), "broker"),
        (lambda: servers.database_url(_database("postgresql://h/x", tls=tls)), "database"),
    ):
        with pytest.raises(ConfigurationError, match=rf"{where}\.tls\.certificate: .*none.pem: No such file"):
            asks()


@pytest.mark.parametrize("url", ["redis://h", "amqp://h", "embedded"])
def test_a_url_without_tls_has_none(url: str) -> None:
    """It is not turned on behind anybody's back."""
    assert servers.broker_tls(_broker(url)) is None


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("embedded", False),
        ("redis://10.0.0.1/0", True),
        ("redis://127.0.0.1/0", False),
        ("rediss://redis.example/0", False),
        ("amqp://u@rabbit", True),
        ("redis+socket:///run/x.sock", False),
        ("postgresql://db/relay", True),
        ("postgresql://db/relay?sslmode=require", True),
        ("postgresql://db/relay?sslmode=verify-full", False),
        ("postgresql:///relay?host=/run/postgresql", False),
    ],
)
def test_what_goes_over_a_network_without_a_check_is_known(url: str, plain: bool) -> None:
    """`doctor` says so; encryption that anybody could end is none."""
    assert servers.is_plain_to_another_host(url) is plain

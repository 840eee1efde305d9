"""URLs of servers that are not ours, with what stands elsewhere: a password from its file, and TLS (docs/design/hosts.md)."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import is_loopback
from dicomrelay.settings.services import BrokerSettings, DatabaseSettings, ServiceTlsSettings

# A password is no file of images: what is longer is another file.
_MOST_BYTES: Final = 4096
_REDIS_TLS: Final = "rediss"
_AMQP_TLS: Final = "amqps"


def broker_url(broker: BrokerSettings) -> str:
    """The URL of an external broker, its password in it. Raises ConfigurationError when that cannot be read."""
    return _with_password(broker.url.get_secret_value(), broker.password_file, "broker.password_file")


def database_url(database: DatabaseSettings) -> str:
    """The URL of an external database, with its password, and with what libpq is to do about TLS.

    Raises ConfigurationError when a file of it cannot be read.

    References
    ----------
    PostgreSQL, 34.19 SSL Support: `verify-full` is the one mode that checks chain and name.
    """
    url = _with_password(database.url.get_secret_value(), database.password_file, "database.password_file")
    tls = database.tls
    if tls is None:
        return url
    _require_files(tls, "database.tls")
    words = {"sslmode": "verify-full", "sslrootcert": "system" if tls.ca is None else str(tls.ca)}
    if tls.certificate is not None:
        words |= {"sslcert": str(tls.certificate), "sslkey": str(tls.key or tls.certificate)}
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(words)}"


def broker_tls(broker: BrokerSettings) -> dict[str, Any] | None:
    """What kombu's transport is told about TLS; None where there is none to be.

    Chain and name are checked in any case: py-amqp checks a name only when it is given one, and redis-py when it is told so.

    Raises
    ------
    ConfigurationError
        A file of broker.tls cannot be read.
    """
    scheme = urlsplit(broker.url.get_secret_value()).scheme
    tls = broker.tls or ServiceTlsSettings()
    _require_files(tls, "broker.tls")
    if scheme == _REDIS_TLS:
        found = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
        return found | _files(tls, "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
    if scheme == _AMQP_TLS:
        host = urlsplit(broker.url.get_secret_value()).hostname
        asked = {
            "cert_reqs": ssl.CERT_REQUIRED,
            "server_hostname": host,
            "ca_certs": ssl.get_default_verify_paths().cafile,
        }
        return asked | _files(tls, "ca_certs", "certfile", "keyfile")
    return None


def is_plain_to_another_host(url: str) -> bool:
    """Whether what is said to a server goes over a network without TLS that checks it.

    A database's URL says so itself (`sslmode=verify-full`, `verify-ca`); a socket and loopback are no network.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme in {"rediss", "amqps", "redis+socket", ""} or not host or is_loopback(host):
        return False
    return not set(parse_qs(parts.query).get("sslmode", ())) & {"verify-full", "verify-ca"}


def _files(tls: ServiceTlsSettings, ca: str, certificate: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if tls.ca is not None:
        found[ca] = str(tls.ca)
    if tls.certificate is not None:
        found |= {certificate: str(tls.certificate), key: str(tls.key or tls.certificate)}
    return found


def _require_files(tls: ServiceTlsSettings, where: str) -> None:
    """Each can be read. The libraries say no more than that something is not there, or take the server to be away."""
    for name, path in (("ca", tls.ca), ("certificate", tls.certificate), ("key", tls.key)):
        if path is not None:
            try:
                path.open("rb").close()
            except OSError as error:
                raise ConfigurationError(f"{where}.{name}: {path}: {error.strerror}") from error


def _with_password(url: str, path: Path | None, where: str) -> str:
    if path is None:
        return url
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(_first_line(path, where), safe='')}@{host}").geturl()


def _first_line(path: Path, where: str) -> str:
    try:
        with path.expanduser().open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{where}: {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{where}: {path}: is no text") from None
    line = text.partition("\n")[0].rstrip("\r")
    if not line:
        raise ConfigurationError(f"{where}: {path}: its first line is empty, and should be the password")
    return line

"""TLS toward every server that we call: one of another name, one whose time is over, one of an authority nobody trusts.

The servers go as far as the handshake: nothing of ours may be said to one before its certificate was found to be right.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from archive.storage.opening import open_storage
from dicomrelay.alerts.channels import post as tell_webhook
from dicomrelay.alerts.channels import send_mail
from dicomrelay.alerts.message import trial
from dicomrelay.audit.repository import Connection as Repository
from dicomrelay.ledger.engine import open_engine
from dicomrelay.net.requestor import Association, RemoteAe
from dicomrelay.net.tls import requestor_context
from dicomrelay.runtime import servers
from dicomrelay.runtime.queue import build_celery
from dicomrelay.settings import DestinationTlsSettings, Settings
from dicomrelay.settings.alerts import MailSettings, WebhookSettings
from dicomrelay.settings.audit import AuditSyslogSettings
from dicomrelay.settings.storage import StorageSettings
from dicomrelay.settings.traces import TraceSettings
from dicomrelay.traces.tracing import post as send_spans
from dicomrelay.web.http import HttpClient
from tests.support.certificates import Authority, Pair

_WAIT_S: Final = 5.0
_RIGHT: Final = "the right one"
_POSTGRESQL_ASKS: Final = bytes((0, 0, 0, 8, 4, 210, 22, 47))  # SSLRequest
_TELLING: Final = trial("ab" * 16, "relay-1-00000001", 1_780_000_000_000)


@dataclass
class Heard:
    """What a server heard behind the handshake, and why there was none."""

    said: bytes = b""
    errors: list[str] = field(default_factory=list)


Caller = Callable[[int, Path, Path], object]


def _dicom(port: int, ca: Path, _folder: Path) -> None:
    context = requestor_context(DestinationTlsSettings(ca=ca))
    Association.request(
        RemoteAe(ae_title="X", host="127.0.0.1", port=port),
        calling_ae_title="T",
        contexts=[("1.2.840.10008.1.1", ("1.2.840.10008.1.2",))],
        tls=context,
    )


def _stow(port: int, ca: Path, _folder: Path) -> None:
    url = f"https://127.0.0.1:{port}"
    context = requestor_context(DestinationTlsSettings(ca=ca))
    with HttpClient(url, tls=context, connect_s=_WAIT_S, response_s=_WAIT_S) as client:
        client.request("GET", f"{url}/studies", {}, limit=100)


def _broker(scheme: str) -> Caller:
    def call(port: int, ca: Path, folder: Path) -> None:
        settings = Settings.model_validate(
            {
                "home": folder,
                "broker": {
                    "url": f"{scheme}://u:PASSWORD@127.0.0.1:{port}//",
                    "tls": {"ca": ca},
                    "timeout_s": 2,
                },
            }
        )
        with build_celery(settings).connection_for_write() as connection:
            connection.connect()
            connection.default_channel  # noqa: B018 - Redis connects with it

    return call


def _database(port: int, ca: Path, folder: Path) -> None:
    settings = Settings.model_validate(
        {
            "home": folder,
            "database": {"url": f"postgresql://u:PASSWORD@127.0.0.1:{port}/x", "tls": {"ca": ca}},
        }
    )
    with open_engine(servers.database_url(settings.database)).connect():
        pass


def _bucket(port: int, ca: Path, folder: Path) -> None:
    storage = open_storage(
        StorageSettings(
            url="s3://bucket/prefix",
            endpoint=f"https://127.0.0.1:{port}",
            access_key_id="A" * 16,
            secret_access_key="PASSWORD",
            ca=ca,
            timeout_s=2,
        ),
        folder,
    )
    assert storage is not None
    storage.stat("key")


def _syslog(port: int, ca: Path, _folder: Path) -> None:
    tls = DestinationTlsSettings(ca=ca)
    repository = Repository(AuditSyslogSettings(host="127.0.0.1", port=port, tls=tls, timeout_s=_WAIT_S))
    try:
        repository.send(b"8 PASSWORD")
    finally:
        repository.close()


def _mail(tls: str) -> Caller:
    def call(port: int, ca: Path, _folder: Path) -> None:
        send_mail(
            MailSettings.model_validate(
                {
                    "host": "127.0.0.1",
                    "port": port,
                    "tls": tls,
                    "ca": ca,
                    "sender": "a@b",
                    "recipients": ["c@d"],
                    "timeout_s": _WAIT_S,
                    "user": "u",
                    "password": "PASSWORD",
                }
            ),
            _TELLING,
        )

    return call


def _webhook(port: int, ca: Path, _folder: Path) -> None:
    tell_webhook(
        WebhookSettings(name="x", url=f"https://127.0.0.1:{port}/PASSWORD", ca=ca, timeout_s=_WAIT_S),
        _TELLING,
    )


def _spans(port: int, ca: Path, _folder: Path) -> None:
    send_spans(
        TraceSettings.model_validate(
            {"endpoint": f"https://127.0.0.1:{port}/v1", "ca": ca, "token": "PASSWORD"}
        ),
        b"{}",
    )


CALLERS: Final[dict[str, Caller]] = {
    "DICOM": _dicom,
    "DICOMweb": _stow,
    "Redis": _broker("rediss"),
    "RabbitMQ": _broker("amqps"),
    "PostgreSQL": _database,
    "S3": _bucket,
    "syslog": _syslog,
    "SMTP, TLS": _mail("tls"),
    "SMTP, STARTTLS": _mail("starttls"),
    "webhook": _webhook,
    "OTLP": _spans,
}


def _before_tls(sock: socket.socket, name: str) -> None:
    if name == "PostgreSQL":
        assert sock.recv(8) == _POSTGRESQL_ASKS
        sock.sendall(b"S")
    elif name == "SMTP, STARTTLS":
        sock.sendall(b"220 x\r\n")
        sock.recv(1000)
        sock.sendall(b"250-x\r\n250 STARTTLS\r\n")
        sock.recv(1000)
        sock.sendall(b"220 go\r\n")


@contextmanager
def _server(pair: Pair, name: str) -> Iterator[tuple[int, Heard]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    heard = Heard()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            plain.settimeout(_WAIT_S)
            try:
                _before_tls(plain, name)
                with context.wrap_socket(plain, server_side=True) as sock:
                    if name.startswith("SMTP, T"):
                        sock.sendall(b"220 x\r\n")
                    heard.said += sock.recv(4096)
            except (OSError, AssertionError) as error:
                heard.errors.append(str(error))
            finally:
                with suppress(OSError):
                    plain.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, dict[str, Pair]]:
    folder = tmp_path_factory.mktemp("tls")
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    return ours, {
        _RIGHT: ours.issue("right"),
        "of another name": ours.issue("name", "other.example"),
        "over": ours.issue("over", days=-1),
        "of another authority": theirs.issue("authority"),
    }


@pytest.mark.parametrize("name", CALLERS)
def test_a_server_that_is_not_the_one_is_told_nothing(
    issued: tuple[Authority, dict[str, Pair]], name: str, tmp_path: Path
) -> None:
    """The right one is, which is the control: then something of ours arrives."""
    authority, pairs = issued
    for which, pair in pairs.items():
        error: Exception | None = None
        with _server(pair, name) as (port, heard):
            try:
                CALLERS[name](port, authority.path, tmp_path)
            except Exception as caught:
                error = caught
        if which == _RIGHT:
            assert heard.said, (name, error, heard)
        else:
            assert error is not None, (name, which)
            assert heard.said == b"", (name, which, heard)
            assert "PASSWORD" not in str(error)

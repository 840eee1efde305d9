"""What a webhook and a mail server get, what they can check, and what is said of those that do not take it."""

from __future__ import annotations

import base64
import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dicomrelay.alerts.channels import channels_of, post, send_mail
from dicomrelay.alerts.message import signature, trial
from dicomrelay.errors import ConfigurationError, ServiceUnavailable
from dicomrelay.settings.alerts import AlertSettings, MailSettings, WebhookSettings
from tests.support.certificates import Authority

SECRET = "0123456789abcdef"
TELLING = trial("ab" * 16, "relay-1-00000001", 1_780_000_000_000)


class Hook(BaseHTTPRequestHandler):
    """Keeps what it is sent, and answers as the server says."""

    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def served(server: socketserver.BaseServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]  # type: ignore[index, misc]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def hook(status: int = 204, context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[Any]]]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.got, server.status = [], status
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with served(server) as port:
        yield port, server.got


def webhook(port: int, scheme: str = "http", **more: object) -> WebhookSettings:
    url = f"{scheme}://127.0.0.1:{port}/hook?of=relay"
    return WebhookSettings.model_validate({"name": "duty", "url": url, "timeout_s": 5, **more})


def test_a_webhook_gets_json_that_it_can_check() -> None:
    """The signature is of timestamp and body with the secret, and of no other."""
    with hook() as (port, got):
        post(webhook(port, secret=SECRET), TELLING, now=lambda: 1_780_000_001.5)

    ((headers, body),) = got
    assert json.loads(body) == {
        "id": "ab" * 16,
        "what": "test",
        "kind": "attention",
        "subject": "test",
        "severity": "warning",
        "words": TELLING.words,
        "do": "nothing",
        "began_at": "2026-05-28T20:26:40Z",
        "ended_at": None,
        "host": "relay-1-00000001",
    }
    assert headers["X-Dicomrelay-Message"] == TELLING.id
    assert headers["X-Dicomrelay-Timestamp"] == "1780000001"
    assert headers["X-Dicomrelay-Signature"] == signature(SECRET, "1780000001", body)
    assert signature(SECRET, "1780000002", body) != signature(SECRET, "1780000001", body)
    # By another's hand: printf %s '1.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
    assert (
        signature(SECRET, "1", b"{}") == "v1=2af693cb56b22c16912222aeefdc75a01de562bf70ee2015f41ecea48382997f"
    )


@pytest.mark.parametrize("status", [301, 404, 500])
def test_another_answer_than_2xx_is_no_taking(status: int) -> None:
    """A redirection is not followed."""
    with hook(status) as (port, got), pytest.raises(ServiceUnavailable, match=str(status)):
        post(webhook(port), TELLING)
    assert len(got) == 1


def test_a_webhook_under_tls_must_have_a_certificate_of_its_authority(tmp_path: Path) -> None:
    """The system's authorities do not know ours; the setting does."""
    authority = Authority(tmp_path)
    pair = authority.issue("hook")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with hook(context=context) as (port, got):
        with pytest.raises(ServiceUnavailable, match="certificate is not accepted"):
            post(webhook(port, "https"), TELLING)
        post(webhook(port, "https", ca=authority.path), TELLING)
    assert len(got) == 1


def test_nobody_there_is_said_without_the_address() -> None:
    """A URL may hold a key."""
    with hook() as (port, _):
        pass
    with pytest.raises(ServiceUnavailable) as said:
        post(webhook(port), TELLING)
    assert "hook" not in str(said.value)
    assert str(port) not in str(said.value)


class Smtp(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as one mail needs."""

    def handle(self) -> None:
        server: Any = self.server
        self._say("220 test")
        while line := self.rfile.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                self._say("354 go on")
                lines = []
                while (text := self.rfile.readline()) != b".\r\n":
                    lines.append(text)
                server.got.append(b"".join(lines))
            if word == b"QUIT":
                self._say("221 bye")
                return
            refused = word == b"RCPT" and b"nobody@" in line
            self._say("550 DOE^JANE is unknown" if refused else "250 fine")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def smtp(handler: type[socketserver.StreamRequestHandler] = Smtp) -> Iterator[tuple[int, list[bytes]]]:
    server: Any = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
    server.got = []
    with served(server) as port:
        yield port, server.got


def mail(port: int, *recipients: str, **more: object) -> MailSettings:
    values = {"host": "127.0.0.1", "port": port, "tls": "none", "sender": "relay@example.org", "timeout_s": 5}
    return MailSettings.model_validate(
        {**values, "recipients": list(recipients) or ["a@example.org"], **more}
    )


def test_a_mail_says_what_is_so_and_what_to_do() -> None:
    """With an id that is the same for each attempt."""
    with smtp() as (port, got):
        send_mail(mail(port, "a@example.org", "b@example.org"), TELLING)

    (said,) = (each.decode() for each in got)
    assert f"Message-ID: <{TELLING.id}@example.org>" in said
    assert "To: a@example.org, b@example.org" in said
    assert "Auto-Submitted: auto-generated" in said
    assert "Subject: [dicomrelay relay-1-00000001] test: somebody tries" in said
    assert "next      nothing" in said


def test_recipients_that_are_refused_are_counted_and_the_server_is_not_quoted() -> None:
    """What it says may hold anything. Who has the mail does not get it again with each attempt for the others."""
    with smtp() as (port, got):
        said_of_it = send_mail(mail(port, "a@example.org", "nobody@example.org"), TELLING)
        assert said_of_it == "the server refused 1 of 2 recipients"
        assert len(got) == 1
        with pytest.raises(ServiceUnavailable) as said:
            send_mail(mail(port, "nobody@example.org"), TELLING)
        assert "DOE" not in str(said.value)
        # A server without STARTTLS is not spoken to in clear.
        with pytest.raises(ServiceUnavailable, match="SMTPNotSupportedError"):
            send_mail(mail(port, tls="starttls"), TELLING)


def test_many_alerts_are_one_mail_whose_id_is_of_them() -> None:
    """The same for each attempt, and another for others."""
    second = replace(
        TELLING, id="cd" * 16, what="resolved", words="pacs is silent", ended_at="2026-05-28T21:00:00Z"
    )
    with smtp() as (port, got):
        for _ in range(2):
            send_mail(mail(port), TELLING, second)
        send_mail(mail(port), second, TELLING)

    first, again, other = (
        next(line for line in each.decode().splitlines() if "Message-ID" in line) for each in got
    )
    assert first == again != other
    assert "Subject: [dicomrelay relay-1-00000001] 2 alerts: 1 resolved, 1 test" in got[0].decode()
    assert "test: somebody tries" in got[0].decode()
    assert "over: pacs is silent" in got[0].decode()


class Login(Smtp):
    """Takes PLAIN with one name and password, in UTF-8 (RFC 4616), and says so."""

    def handle(self) -> None:
        self._say("220 test")
        while line := self.rfile.readline():
            word, _, rest = line.decode().strip().partition(" ")
            word = word.upper()
            if word == "EHLO":
                self._say("250-test\r\n250 AUTH LOGIN PLAIN")
            elif word == "AUTH":
                self.server.got.append(base64.b64decode(rest.partition(" ")[2]))  # type: ignore[attr-defined]
                self._say(
                    "235 come in" if b"pass\xc3\xa4" in self.server.got[-1] else "535 DOE^JANE is unknown"
                )  # type: ignore[attr-defined]
            elif word == "DATA":
                self._say("354 go on")
                while self.rfile.readline() != b".\r\n":
                    pass
                self._say("250 fine")
            else:
                self._say("221 bye" if word == "QUIT" else "250 fine")


def test_a_password_with_an_umlaut_is_shown_in_utf_8() -> None:
    """smtplib cannot, and raised what nobody caught."""
    with smtp(Login) as (port, got):
        send_mail(mail(port, user="müller", password="passä"), TELLING)
        with pytest.raises(ServiceUnavailable, match=r"SMTPAuthenticationError \(535\)"):
            send_mail(mail(port, user="müller", password="passö"), TELLING)

    assert got[0] == "\0müller\0passä".encode()


@pytest.mark.parametrize("url", ["https://a..b/", "http://127.0.0.1:9/ä"])
def test_what_no_protocol_can_hold_is_said_and_ends_nothing(url: str) -> None:
    """It is a ValueError of the standard library, and no word of it is told: it may quote."""
    with pytest.raises(ServiceUnavailable, match="cannot be told with these settings"):
        post(WebhookSettings(name="duty", url=url), TELLING)


def test_who_answers_a_byte_at_a_time_has_the_time_of_an_attempt() -> None:
    """The time of a socket is for each byte."""

    class Drips(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drips)
    server.daemon_threads = True
    began = time.monotonic()
    with served(server) as port, pytest.raises(ServiceUnavailable, match=r"not done within 0\.3 s"):
        post(webhook(port, timeout_s=0.3), TELLING)
    assert time.monotonic() - began < 5


def test_a_secret_that_cannot_be_read_is_named_and_not_shown(tmp_path: Path) -> None:
    """And what it signs is not sent without it."""
    with (
        hook() as (port, got),
        pytest.raises(ConfigurationError, match=r"alerts\.webhooks\.duty\.secret_file"),
    ):
        post(webhook(port, secret_file=tmp_path / "gone"), TELLING)
    assert not got


@pytest.mark.parametrize(
    "section",
    [
        {"webhooks": [{"name": "a", "url": "http://10.0.0.1/"}]},
        {"webhooks": [{"name": "a", "url": "https://user:pass@h/"}]},
        {"webhooks": [{"name": "a", "url": "https://h:99999/"}]},
        {"webhooks": [{"name": "mail", "url": "https://h/"}]},
        {"webhooks": [{"name": "a", "url": "https://h/"}] * 2},
        {"webhooks": [{"name": "a", "url": "https://h/", "secret": "short"}]},
        {"mail": {"host": "h", "tls": "none", "sender": "a@b", "recipients": ["a@b"]}},
        {"mail": {"host": "h", "user": "u", "sender": "a@b", "recipients": ["a@b"]}},
        {"mail": {"host": "h", "sender": "a@b", "recipients": ["a@b\nBcc: x@y"]}},
    ],
)
def test_settings_that_are_not_safe_are_refused(section: dict[str, object]) -> None:
    """In clear over a network, a password in a URL, a name twice, a header in an address; no secret is quoted."""
    with pytest.raises(ValidationError) as said:
        AlertSettings.model_validate(section)
    assert "user:pass" not in str(said.value.errors(include_input=False))


def test_channels_have_the_names_of_the_settings() -> None:
    """And the mail its own."""
    settings = AlertSettings(webhooks=[webhook(1)], mail=mail(1))
    assert list(channels_of(settings)) == ["duty", "mail"]

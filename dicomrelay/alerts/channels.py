"""How a channel is told: a webhook by POST, mail by SMTP. Each attempt has its time, and says why it failed in words of ours."""

from __future__ import annotations

import base64
import http.client
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from dicomrelay.alerts.message import Telling, mail_of, signature
from dicomrelay.errors import ConfigurationError, ServiceUnavailable
from dicomrelay.settings.alerts import AlertSettings, MailSettings, WebhookSettings

MAIL: Final = "mail"
_MOST_ANSWER_BYTES: Final = 4096
_MOST_IN_A_MAIL: Final = 100
# A mail is a dozen steps, each with its time.
_STEPS: Final = 6
_LOGGED_IN: Final = {235, 503}


@dataclass(frozen=True, slots=True)
class Channel:
    """Who is told.

    Attributes
    ----------
    tell : callable
        Tells, and returns what did not go all the same, or ""; raises ServiceUnavailable or ConfigurationError.
    most : int
        How many messages it takes at once.
    """

    tell: Callable[[Sequence[Telling]], str]
    most: int = 1


def channels_of(settings: AlertSettings) -> dict[str, Channel]:
    """By name."""
    found = {each.name: _hook(each) for each in settings.webhooks}
    mail = settings.mail
    if mail is not None:
        found[MAIL] = Channel(lambda tellings: send_mail(mail, *tellings), most=_MOST_IN_A_MAIL)
    return found


def _hook(webhook: WebhookSettings) -> Channel:
    def tell(tellings: Sequence[Telling]) -> str:
        for telling in tellings:
            post(webhook, telling)
        return ""

    return Channel(tell)


def post(webhook: WebhookSettings, telling: Telling, *, now: Callable[[], float] = time.time) -> None:
    """POST it.

    Raises
    ------
    ServiceUnavailable
        It was not taken: no connection, no answer in time, or another one than 2xx.
    ConfigurationError
        The secret or the authority cannot be read.
    """
    body = telling.json()
    stamp = str(int(now()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "dicomrelay",
        "X-Dicomrelay-Message": telling.id,
        "X-Dicomrelay-Timestamp": stamp,
    }
    secret = _secret(webhook.secret, webhook.secret_file, f"alerts.webhooks.{webhook.name}.secret_file")
    if secret:
        headers["X-Dicomrelay-Signature"] = signature(secret, stamp, body)
    url = urlsplit(webhook.url)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    host = url.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, url.port, timeout=webhook.timeout_s, context=_context(webhook.ca))
        if url.scheme == "https"
        else http.client.HTTPConnection(host, url.port, timeout=webhook.timeout_s)
    )
    with _in_our_words(), _within(webhook.timeout_s, lambda: connection.sock):
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read(_MOST_ANSWER_BYTES)
        finally:
            connection.close()
    if not 200 <= answer.status < 300:
        raise ServiceUnavailable(f"was answered {answer.status}")


def send_mail(mail: MailSettings, *tellings: Telling) -> str:
    """Hand one mail about all of them to the server; what it said of recipients that it does not take.

    Raises
    ------
    ServiceUnavailable
        The server does not answer, or takes it for no recipient.
    ConfigurationError
        The password or the authority cannot be read.
    """
    password = _secret(mail.password, mail.password_file, "alerts.mail.password_file")
    message = mail_of(tellings, mail.sender, mail.recipients)
    context = None if mail.tls == "none" else _context(mail.ca)
    with (
        _in_our_words(),
        _server(mail, context) as server,
        _within(_STEPS * mail.timeout_s, lambda: server.sock),
    ):
        if mail.user is not None:
            _log_in(server, mail.user, password)
        refused = server.send_message(message)
    # Those that have it would get it again with each attempt.
    return f"the server refused {len(refused)} of {len(mail.recipients)} recipients" if refused else ""


def _log_in(server: smtplib.SMTP, user: str, password: str) -> None:
    """As smtplib does; what is not ASCII by PLAIN, in UTF-8 (RFC 4616 Section 2), which smtplib cannot."""
    server.ehlo_or_helo_if_needed()
    if (user + password).isascii() or "PLAIN" not in server.esmtp_features.get("auth", "").upper().split():
        server.login(user, password)
        return
    shown = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    code, words = server.docmd("AUTH", f"PLAIN {shown}")
    if code not in _LOGGED_IN:
        raise smtplib.SMTPAuthenticationError(code, words)


def _server(mail: MailSettings, context: ssl.SSLContext | None) -> smtplib.SMTP:
    if mail.tls == "tls":
        return smtplib.SMTP_SSL(mail.host, mail.port, timeout=mail.timeout_s, context=context)
    server = smtplib.SMTP(mail.host, mail.port, timeout=mail.timeout_s)
    if mail.tls == "starttls":
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca.expanduser()))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"{ca}: cannot be used as an authority: {type(error).__name__}") from error


def _secret(value: SecretStr | None, path: Path | None, setting: str) -> str:
    if value is not None:
        return value.get_secret_value()
    if path is None:
        return ""
    try:
        return path.expanduser().read_text("utf-8").splitlines()[0].strip()
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise ConfigurationError(f"{setting}: {path}: cannot be read ({type(error).__name__})") from error


@contextmanager
def _within(seconds: float, of: Callable[[], socket.socket | None]) -> Iterator[None]:
    """The time of all steps together: who sends a byte now and then would hold us for ever."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        used = of()
        if used is not None:
            with suppress(OSError):
                socket.socket.shutdown(used, socket.SHUT_RDWR)  # a TLS socket's own would forget its state

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException, smtplib.SMTPException) as error:
        if late.is_set():
            raise ServiceUnavailable(f"was not done within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()


@contextmanager
def _in_our_words() -> Iterator[None]:
    """What a server says may hold anything: its kind is told, and an SMTP code."""
    try:
        yield
    except smtplib.SMTPResponseException as error:
        raise ServiceUnavailable(f"{type(error).__name__} ({error.smtp_code})") from error
    except ssl.SSLCertVerificationError as error:
        raise ServiceUnavailable(f"its certificate is not accepted: {error.verify_message}") from error
    except (OSError, http.client.HTTPException, smtplib.SMTPException) as error:
        raise ServiceUnavailable(f"does not answer ({type(error).__name__})") from error
    except ValueError as error:  # a name that is none, letters that have no place in a protocol
        raise ServiceUnavailable(
            f"cannot be told with these settings ({type(error).__name__}): host, user, password or address"
        ) from error

"""How a channel is told: a webhook by POST, mail by SMTP. Each attempt has its time, and says why it failed in words of ours."""

from __future__ import annotations

import http.client
import smtplib
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from dicomrelay.alerts.message import Telling, signature
from dicomrelay.errors import ConfigurationError, ServiceUnavailable
from dicomrelay.settings.alerts import AlertSettings, MailSettings, WebhookSettings

MAIL: Final = "mail"
_MOST_ANSWER_BYTES: Final = 4096

# Tells, or raises ServiceUnavailable or ConfigurationError.
Channel = Callable[[Telling], None]


def channels_of(settings: AlertSettings) -> dict[str, Channel]:
    """By name."""
    found: dict[str, Channel] = {
        each.name: lambda telling, to=each: post(to, telling)  # type: ignore[misc]
        for each in settings.webhooks
    }
    mail = settings.mail
    if mail is not None:
        found[MAIL] = lambda telling: send_mail(mail, telling)
    return found


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
    with _in_our_words():
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read(_MOST_ANSWER_BYTES)
        finally:
            connection.close()
    if not 200 <= answer.status < 300:
        raise ServiceUnavailable(f"was answered {answer.status}")


def send_mail(mail: MailSettings, telling: Telling) -> None:
    """Hand it to the server.

    Raises
    ------
    ServiceUnavailable
        The server does not answer, or does not take it for all recipients.
    ConfigurationError
        The password or the authority cannot be read.
    """
    password = _secret(mail.password, mail.password_file, "alerts.mail.password_file")
    message = telling.mail(mail.sender, mail.recipients)
    context = None if mail.tls == "none" else _context(mail.ca)
    with _in_our_words(), _server(mail, context) as server:
        if mail.user is not None:
            server.login(mail.user, password)
        refused = server.send_message(message)
    if refused:
        raise ServiceUnavailable(f"the server refused {len(refused)} of {len(mail.recipients)} recipients")


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

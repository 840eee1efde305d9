"""A message as a webhook and a mail have it. No I/O."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Final

from dicomrelay.ledger.values_alerts import Alert, AlertKind, AlertMessage, Severity, Told

TEST: Final = "test"
# The scope of what is the ledger's, and of no host.
LEDGER: Final = "ledger"
_SAID: Final = {Told.FIRING: "", Told.LASTING: "still: ", Told.RESOLVED: "over: "}


@dataclass(frozen=True, slots=True)
class Telling:
    """What is said to a channel.

    Attributes
    ----------
    id : str
        The same for each attempt.
    what : str
        firing, lasting, resolved or test.
    host : str
        The name of the spool that it is of; of the ledger's that of who tells.
    """

    id: str
    what: str
    kind: str
    subject: str
    severity: str
    words: str
    do: str
    began_at: str
    ended_at: str | None
    host: str

    def json(self) -> bytes:
        """The body of a webhook."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields, ensure_ascii=False).encode()

    @property
    def head(self) -> str:
        """What is so, in one line."""
        return f"{_SAID.get(Told(self.what), '') if self.what != TEST else 'test: '}{self.words}"

    @property
    def lines(self) -> str:
        """All of it, for a mail."""
        ended = f"ended     {self.ended_at}\n" if self.ended_at else ""
        return (
            f"{self.head}\n\nwhat      {self.kind} {self.subject} ({self.severity})\nhost      {self.host}\n"
            f"began     {self.began_at}\n{ended}next      {self.do}\n"
        )


def mail_of(tellings: Sequence[Telling], sender: str, recipients: list[str]) -> EmailMessage:
    """One mail about all of them, with an id that is the same whenever it is about the same."""
    first = tellings[0]
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = _one_line(f"[dicomrelay {first.host}] {_heads(tellings)}")[:200]
    message["Message-ID"] = f"<{_id_of(tellings)}@{sender.rpartition('@')[2]}>"
    message["Date"] = datetime.now(UTC)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 Section 5
    message.set_content("\n\n".join(each.lines for each in tellings))
    return message


def _heads(tellings: Sequence[Telling]) -> str:
    if len(tellings) == 1:
        return tellings[0].head
    counts = Counter(each.what for each in tellings)
    return f"{len(tellings)} alerts: {', '.join(f'{count} {what}' for what, count in sorted(counts.items()))}"


def _id_of(tellings: Sequence[Telling]) -> str:
    if len(tellings) == 1:
        return tellings[0].id
    return hashlib.sha256("".join(each.id for each in tellings).encode()).hexdigest()[:32]


def telling_of(message: AlertMessage, host: str) -> Telling:
    """What a channel is told of an alert; `host` is who tells."""
    alert = message.alert
    return Telling(
        id=message.id,
        what=message.told.value,
        kind=alert.kind.value,
        subject=alert.subject,
        severity=alert.severity.value,
        words=alert.words,
        do=alert.do,
        began_at=_time(alert.began_at_ms),
        ended_at=None if alert.ended_at_ms is None else _time(alert.ended_at_ms),
        host=host if alert.scope == LEDGER else alert.scope,
    )


def trial(message_id: str, host: str, now_ms: int) -> Telling:
    """What `dicomrelay alerts test` tells."""
    return Telling(
        id=message_id,
        what=TEST,
        kind=AlertKind.ATTENTION.value,
        subject=TEST,
        severity=Severity.WARNING.value,
        words="somebody tries whether alerts arrive; nothing is wrong",
        do="nothing",
        began_at=_time(now_ms),
        ended_at=None,
        host=host,
    )


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """X-Dicomrelay-Signature: of the timestamp too, so that an old one cannot be said again."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"v1={digest}"


def as_json(alert: Alert) -> dict[str, object]:
    """An alert for machines."""
    return {
        "id": alert.id,
        "scope": alert.scope,
        "kind": alert.kind.value,
        "subject": alert.subject,
        "severity": alert.severity.value,
        "words": alert.words,
        "do": alert.do,
        "began_at": _time(alert.began_at_ms),
        "seen_at": _time(alert.seen_at_ms),
        "ended_at": None if alert.ended_at_ms is None else _time(alert.ended_at_ms),
    }


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _one_line(text: str) -> str:
    return " ".join(text.split())

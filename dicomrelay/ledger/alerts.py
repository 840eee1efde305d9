"""The ledger's room for alerts: which last, and whom they are still to be told (docs/design/alerts.md)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update

from dicomrelay.ledger.engine import AnyRow, Database, Work
from dicomrelay.ledger.ids import new_id
from dicomrelay.ledger.schema import alert_messages, alerts
from dicomrelay.ledger.values_alerts import Alert, AlertKind, AlertMessage, Condition, Severity, Told

# What comes and goes within this stays one alert.
RESOLVED_AFTER_MS: Final = 120_000
_OPEN: Final = alerts.c.ended_at.is_(None)
_DUE, _SENT, _GIVEN_UP = "due", "sent", "given-up"


class Alerts:
    """One transaction a call. Raises ServiceUnavailable as `Ledger` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def saw(
        self, scope: str, conditions: Sequence[Condition], *, channels: Collection[str], repeat_ms: int | None
    ) -> list[Alert]:
        """Begin, go on with and end alerts of a scope by what is so now; write a message for each channel where one is wanted.

        Parameters
        ----------
        conditions : sequence of Condition
            All that is so, of this scope.
        repeat_ms : int, optional
            Tell again after so long; None never.

        Returns
        -------
        list of Alert
            Those that last, or began.
        """

        def look(work: Work) -> list[Alert]:
            rows = work.connection.execute(
                select(alerts).where(_OPEN, alerts.c.scope == scope).with_for_update()
            )
            open_ones = {(row.kind, row.subject): row for row in rows}
            for condition in conditions:
                row = open_ones.pop((condition.kind.value, condition.subject), None)
                if row is None:
                    _begin(work, scope, condition, channels)
                else:
                    _go_on(work, row, condition, channels, repeat_ms)
            for row in open_ones.values():
                if work.now - row.seen_at >= RESOLVED_AFTER_MS:
                    work.connection.execute(
                        update(alerts).where(alerts.c.id == row.id).values(ended_at=work.now)
                    )
                    _write(work, row.id, channels, Told.RESOLVED)
            return _open_of(work, scope)

        return self._database.transact(look)

    def listed(self, *, ended: bool = False, limit: int = 1000) -> list[Alert]:
        """Those that last, newest first; with `ended` the others too."""
        query = select(alerts).order_by(alerts.c.began_at.desc(), alerts.c.id).limit(limit)
        with self._database.read() as work:
            rows = work.connection.execute(query if ended else query.where(_OPEN))
            return [_alert(row) for row in rows]

    def untold(self) -> list[AlertMessage]:
        """Messages that are still to be told, and those that were given up."""
        with self._database.read() as work:
            return _messages(work, alert_messages.c.state != _SENT)

    def due(self, channel: str, most: int = 1) -> list[AlertMessage]:
        """The first so many messages that a channel has not been told, in their order, when the first one's time has come."""
        with self._database.read() as work:
            mine = alert_messages.c.channel == channel, alert_messages.c.state == _DUE
            first = select(func.min(alert_messages.c.id)).where(*mine).scalar_subquery()
            is_time = select(alert_messages.c.id).where(
                alert_messages.c.id == first, alert_messages.c.due_at <= work.now
            )
            if work.connection.execute(is_time).first() is None:
                return []
            ids = select(alert_messages.c.id).where(*mine).order_by(alert_messages.c.id).limit(most)
            return _messages(work, alert_messages.c.id.in_(ids))

    def told(self, *message_ids: str) -> None:
        """A channel has taken messages."""
        mine = alert_messages.c.id.in_(message_ids)
        self._database.transact(
            lambda work: work.connection.execute(
                update(alert_messages).where(mine).values(state=_SENT, last_error="")
            )
        )

    def not_told(self, message_id: str, *, why: str, again_in_ms: int | None) -> None:
        """It was not taken: again after so long, or never."""

        def change(work: Work) -> None:
            values: dict[str, Any] = {"attempts": alert_messages.c.attempts + 1, "last_error": why[:200]}
            later = {"state": _GIVEN_UP} if again_in_ms is None else {"due_at": work.now + again_in_ms}
            work.connection.execute(
                update(alert_messages).where(alert_messages.c.id == message_id).values(**values, **later)
            )

        self._database.transact(change)

    def prune(self, *, keep_ms: int, channels: Collection[str]) -> None:
        """Forget alerts that were over for so long, and messages of channels that are no more."""

        def prune(work: Work) -> None:
            old = select(alerts.c.id).where(alerts.c.ended_at <= work.now - keep_ms)
            gone = alert_messages.c.channel.not_in(list(channels))
            work.connection.execute(delete(alert_messages).where(alert_messages.c.alert_id.in_(old) | gone))
            work.connection.execute(delete(alerts).where(alerts.c.ended_at <= work.now - keep_ms))

        self._database.transact(prune)


def _begin(work: Work, scope: str, condition: Condition, channels: Collection[str]) -> None:
    alert_id = new_id()
    work.connection.execute(
        insert(alerts).values(
            id=alert_id,
            scope=scope,
            kind=condition.kind.value,
            subject=condition.subject,
            began_at=work.now,
            told_at=work.now,
            **_said(work, condition),
        )
    )
    _write(work, alert_id, channels, Told.FIRING)


def _go_on(
    work: Work, row: AnyRow, condition: Condition, channels: Collection[str], repeat_ms: int | None
) -> None:
    is_time = repeat_ms is not None and work.now - row.told_at >= repeat_ms
    graver = condition.severity is Severity.CRITICAL and row.severity != Severity.CRITICAL.value
    told = {"told_at": work.now} if is_time or graver else {}
    work.connection.execute(
        update(alerts).where(alerts.c.id == row.id).values(**_said(work, condition), **told)
    )
    if told:
        _write(work, row.id, channels, Told.LASTING)


def _said(work: Work, condition: Condition) -> dict[str, Any]:
    return {
        "severity": condition.severity.value,
        "words": condition.words,
        "advice": condition.do,
        "seen_at": work.now,
    }


def _write(work: Work, alert_id: str, channels: Collection[str], told: Told) -> None:
    for channel in sorted(channels):
        work.connection.execute(
            insert(alert_messages).values(
                id=new_id(),
                alert_id=alert_id,
                channel=channel,
                told=told.value,
                state=_DUE,
                attempts=0,
                written_at=work.now,
                due_at=work.now,
                last_error="",
            )
        )


def _open_of(work: Work, scope: str) -> list[Alert]:
    rows = work.connection.execute(select(alerts).where(_OPEN, alerts.c.scope == scope).order_by(alerts.c.id))
    return [_alert(row) for row in rows]


def _messages(work: Work, *conditions: Any) -> list[AlertMessage]:
    query = (
        select(alert_messages, *(column.label(f"of_{column.name}") for column in alerts.c))
        .join(alerts, alerts.c.id == alert_messages.c.alert_id)
        .where(*conditions)
        .order_by(alert_messages.c.id)
    )
    return [
        AlertMessage(
            id=row.id,
            alert=_alert(row, "of_"),
            channel=row.channel,
            told=Told(row.told),
            attempts=row.attempts,
            first_ms=work.now - row.written_at,
            last_error=row.last_error,
            state=row.state,
        )
        for row in work.connection.execute(query)
    ]


def _alert(row: AnyRow, prefix: str = "") -> Alert:
    def of(name: str) -> Any:
        return getattr(row, prefix + name)

    return Alert(
        id=of("id"),
        scope=of("scope"),
        kind=AlertKind(of("kind")),
        subject=of("subject"),
        severity=Severity(of("severity")),
        words=of("words"),
        do=of("advice"),
        began_at_ms=of("began_at"),
        seen_at_ms=of("seen_at"),
        told_at_ms=of("told_at"),
        ended_at_ms=of("ended_at"),
    )

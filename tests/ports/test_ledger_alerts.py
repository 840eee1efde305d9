"""Alerts in the ledger: told once when they begin and when they end, whoever is killed in between."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from dicomrelay.ledger import Ledger
from dicomrelay.ledger.alerts import RESOLVED_AFTER_MS
from dicomrelay.ledger.values_alerts import AlertKind, Condition, Severity, Told

DAY_MS = 86_400_000
DOWN = Condition(AlertKind.DESTINATION, "pacs", Severity.CRITICAL, "pacs is silent", "echo")
ENDS = Condition(AlertKind.CERTIFICATE, "gateway", Severity.WARNING, "expires", "renew")
ENDED = Condition(AlertKind.CERTIFICATE, "gateway", Severity.CRITICAL, "expired", "renew")


def see(
    ledger: Ledger, *conditions: Condition, scope: str = "ledger", channels: Sequence[str] = ("duty",)
) -> None:
    ledger.alerts.saw(scope, conditions, channels=channels, repeat_ms=DAY_MS)


def tell(ledger: Ledger, channel: str = "duty") -> list[tuple[Told, str]]:
    """All that is due, taken."""
    told = []
    while found := ledger.alerts.due(channel):
        told += [(message.told, message.alert.subject) for message in found]
        ledger.alerts.told(*[message.id for message in found])
    return told


def later(ledger: Ledger, ms: int) -> None:
    """As if so much time had gone by."""
    for column in ("began_at", "seen_at", "told_at", "ended_at"):
        statement = text(f"UPDATE alerts SET {column} = {column} - {ms}")
        ledger._database.transact(lambda work, s=statement: work.connection.execute(s))  # type: ignore[misc]
    for column in ("written_at", "due_at"):
        statement = text(f"UPDATE alert_messages SET {column} = {column} - {ms}")
        ledger._database.transact(lambda work, s=statement: work.connection.execute(s))  # type: ignore[misc]


def test_an_alert_is_told_once_when_it_begins_and_once_when_it_is_over(ledger: Ledger) -> None:
    """However often it is seen; what comes back within two minutes is the same one."""
    for _ in range(3):
        see(ledger, DOWN)
    assert tell(ledger) == [(Told.FIRING, "pacs")]
    see(ledger)
    see(ledger, DOWN)
    later(ledger, RESOLVED_AFTER_MS - 10_000)
    see(ledger, DOWN)
    assert tell(ledger) == []

    later(ledger, RESOLVED_AFTER_MS)
    see(ledger)

    assert tell(ledger) == [(Told.RESOLVED, "pacs")]
    assert ledger.alerts.listed() == []
    (over,) = ledger.alerts.listed(ended=True)
    assert over.ended_at_ms is not None
    see(ledger, DOWN)
    assert tell(ledger) == [(Told.FIRING, "pacs")]


def test_what_lasts_is_told_again_after_a_day_and_when_it_becomes_graver(ledger: Ledger) -> None:
    """And not when only its words change."""
    see(ledger, ENDS)
    tell(ledger)
    later(ledger, DAY_MS)
    see(ledger, ENDS)
    see(ledger, ENDS)
    assert tell(ledger) == [(Told.LASTING, "gateway")]

    see(ledger, ENDED)
    see(ledger, ENDED)

    assert tell(ledger) == [(Told.LASTING, "gateway")]
    assert [each.words for each in ledger.alerts.listed()] == ["expired"]


def test_a_message_is_told_to_each_channel_in_its_order_and_tried_again(ledger: Ledger) -> None:
    """A channel that is away holds up no other, and hears of the end after the beginning."""
    see(ledger, DOWN, channels=("duty", "mail"))
    assert tell(ledger, "mail") == [(Told.FIRING, "pacs")]
    (first,) = ledger.alerts.due("duty")
    ledger.alerts.not_told(first.id, why="does not answer", again_in_ms=60_000)
    later(ledger, RESOLVED_AFTER_MS - 50_000)
    see(ledger, channels=("duty", "mail"))
    assert [each.id for each in ledger.alerts.due("duty")] == [first.id]
    ledger.alerts.not_told(first.id, why="does not answer", again_in_ms=600_000)
    later(ledger, RESOLVED_AFTER_MS)
    see(ledger, channels=("duty", "mail"))

    assert tell(ledger, "mail") == [(Told.RESOLVED, "pacs")]
    assert ledger.alerts.due("duty") == []
    assert [(each.told, each.attempts) for each in ledger.alerts.untold()] == [
        (Told.FIRING, 2),
        (Told.RESOLVED, 0),
    ]
    ledger.alerts.not_told(first.id, why="does not answer", again_in_ms=None)
    assert tell(ledger) == [(Told.RESOLVED, "pacs")]
    assert [each.state for each in ledger.alerts.untold()] == ["given-up"]


def test_one_host_does_not_end_what_another_sees(ledger: Ledger) -> None:
    """Nor begin it twice: each has its scope."""
    disk = Condition(AlertKind.DISK, "spool", Severity.CRITICAL, "full", "make room")
    see(ledger, disk, scope="a-00000001")
    see(ledger, disk, scope="b-00000002")
    later(ledger, RESOLVED_AFTER_MS)
    see(ledger, scope="b-00000002")

    assert [each.scope for each in ledger.alerts.listed()] == ["a-00000001"]
    assert len(tell(ledger)) == 3


def test_what_is_long_over_is_forgotten_and_so_is_a_channel_that_is_no_more(ledger: Ledger) -> None:
    """What lasts stays, however old."""
    see(ledger, DOWN, ENDS, channels=("duty", "old"))
    later(ledger, RESOLVED_AFTER_MS)
    see(ledger, ENDS)
    later(ledger, DAY_MS)
    ledger.alerts.prune(keep_ms=DAY_MS, channels=["duty"])

    assert [each.subject for each in ledger.alerts.listed(ended=True)] == ["gateway"]
    assert {each.channel for each in ledger.alerts.untold()} == {"duty"}

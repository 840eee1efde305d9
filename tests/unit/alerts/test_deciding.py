"""What is worth telling, and for how long it has to be so first."""

from __future__ import annotations

from dataclasses import replace

from dicomrelay.alerts.deciding import Patience, of_certificates, of_disks, of_the_ledger, span
from dicomrelay.ledger.figures import Figures
from dicomrelay.ledger.flow_summary import DestinationFlow
from dicomrelay.ledger.values_alerts import AlertKind, Severity
from dicomrelay.settings.alerts import AlertSettings

FLOW = DestinationFlow(
    **dict.fromkeys(DestinationFlow.__match_args__, 0),  # type: ignore[arg-type]
)
FLOW = replace(
    FLOW, name="pacs", breaker="open", open_for_ms=660_000, instances=1200, last_error="DOE^JANE said"
)


def test_a_destination_is_told_of_when_it_was_silent_for_long_enough() -> None:
    """And not while its breaker is closed, whatever happened before; what it said is not repeated."""
    flows = [
        FLOW,
        replace(FLOW, name="new", open_for_ms=599_000),
        replace(FLOW, name="well", breaker="closed", open_for_ms=None),
        replace(FLOW, name="trying", breaker="half_open"),
    ]

    found = of_the_ledger(Figures(tuple(flows), {}, {}), AlertSettings())

    assert [(each.kind, each.subject) for each in found] == [
        (AlertKind.DESTINATION, "pacs"),
        (AlertKind.DESTINATION, "trying"),
    ]
    assert found[0].words == "pacs has not answered for 11 minutes; 1200 instance(s) wait for it"
    assert not any("DOE" in each.words + each.do for each in found)


def test_what_needs_attention_is_told_by_why() -> None:
    """With how many; the ledger counts to a thousand."""
    found = of_the_ledger(Figures((), {"refused": 2, "conflict": 1000}, {}), AlertSettings())

    assert [each.words.split()[0:3] for each in found] == [
        ["1000", "or", "more"],
        ["2", "instance(s)", "were"],
    ]


def test_a_disk_is_told_of_under_the_mark() -> None:
    """And one that is as large as the mark is not."""
    assert [each.subject for each in of_disks({"spool": 9, "home": 10}, low_bytes=10)] == ["spool"]


def test_a_certificate_is_told_of_before_it_ends_and_gravely_after() -> None:
    """In days, by whose it is."""
    day = 86_400.0
    found = of_certificates({"gateway": 13 * day, "old": -day, "fine": 15 * day}, 0.0, days=14)

    assert [(each.subject, each.severity) for each in found] == [
        ("gateway", Severity.WARNING),
        ("old", Severity.CRITICAL),
    ]
    assert found[0].words.endswith("expires in 13 days")
    assert found[1].words.endswith("expired 1 day ago")


def test_what_comes_and_goes_is_not_told() -> None:
    """Patience begins anew each time; other kinds pass."""
    now = [0.0]
    patience = Patience(AlertKind.ATTENTION, 60, clock=lambda: now[0])
    one = of_the_ledger(Figures((FLOW,), {"refused": 1}, {}), AlertSettings())

    assert [each.kind for each in patience.let(one)] == [AlertKind.DESTINATION]
    now[0] = 59
    assert len(patience.let([])) == 0
    now[0] = 61
    assert len(patience.let(one)) == 1
    now[0] = 121
    assert len(patience.let(one)) == 2


def test_a_span_is_in_one_unit() -> None:
    """For people."""
    assert [span(each) for each in (5, 60, 7199, 7200, 86_400, 200_000)] == [
        "less than a minute",
        "1 minute",
        "1 hour",
        "2 hours",
        "1 day",
        "2 days",
    ]

"""Names as Prometheus wants them, closed lists as the code gives them, and no family that nobody writes."""

from __future__ import annotations

import re

import pytest

from dicomrelay.ledger.breaker import BreakerState
from dicomrelay.ledger.values import AttentionKind, DeliveryState, Stage, TransferState, Verdict
from dicomrelay.ledger.values_alerts import AlertKind
from dicomrelay.metrics import catalogue
from dicomrelay.metrics.families import Family, Kind
from dicomrelay.net.service import EndingKind
from dicomrelay.runtime.queue import Queue, Task
from tests.support.markdown import ROOT

FAMILIES = list(catalogue.FAMILIES.values())
CODE = [
    path
    for package in ("dicomrelay", "scp_gateway", "workers", "archive", "streamer", "monitor")
    for path in (ROOT / package).rglob("*.py")
    if path.name != "catalogue.py"
]
UNITS = ("_seconds", "_bytes", "_info", "_per_second")
COUNTS = re.compile(
    r"_(instances|transfers|items|open|messages|processes|places|taken|limit|held|up|breaker|attention)$"
)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_name_says_what_it_is(family: Family) -> None:
    """https://prometheus.io/docs/practices/naming/: a unit at the end, and `_total` of a counter and of nothing else."""
    assert re.fullmatch(r"dicomrelay_[a-z_]+", family.name)
    assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
    if family.kind is not Kind.COUNTER:
        assert family.name.endswith(UNITS) or COUNTS.search(family.name), family.name
    assert family.help.endswith((".", ")."))
    assert family.by
    assert list(family.buckets) == sorted(set(family.buckets))
    assert bool(family.buckets) == (family.kind is Kind.HISTOGRAM)
    assert set(family.values) <= set(family.labels)
    assert "le" not in family.labels


def test_no_label_can_be_of_a_patient_or_without_bound() -> None:
    """What they may be is a closed list of names, and each of them bounded by the settings, the code or the recorder."""
    labels = {label for family in FAMILIES for label in family.labels}

    assert labels == {
        "source", "protocol", "status", "ending", "why", "task", "verdict", "stage", "outcome", "seen", "destination", "state",
        "queue", "kind", "folder", "place", "of", "channel", "route", "service", "version",
    }  # fmt: skip


def test_closed_lists_are_those_of_the_code() -> None:
    """A value that the code gives and the catalogue does not know would be missing from page and rules."""
    assert set(catalogue.QUEUES) == {queue.value for queue in Queue}
    assert catalogue.HERE not in catalogue.QUEUES
    assert set(catalogue.TASKS) == {task.value.removeprefix("dicomrelay.") for task in Task}
    assert set(catalogue.STAGES) == {stage.value for stage in Stage}
    assert set(catalogue.BREAKERS) == {state.value for state in BreakerState}
    assert set(catalogue.ATTENTION) == {kind.value for kind in AttentionKind}
    assert set(catalogue.ALERTS.values["kind"]) == {kind.value for kind in AlertKind}
    assert set(catalogue.GROUPED.values["verdict"]) == {verdict.value for verdict in Verdict}
    assert set(catalogue.TRANSFERS.values["state"]) == {state.value for state in TransferState}
    endings = {kind.name.lower().replace("_", "-") for kind in EndingKind}
    assert set(catalogue.ASSOCIATIONS.values["ending"]) == endings
    told = {state.value for state in DeliveryState} - {"pending", "cancelled"}
    assert set(catalogue.OUTCOMES.values["outcome"]) == told


def test_every_family_is_written_by_some_code() -> None:
    """Its constant is used outside of the catalogue; a figure that nobody writes would be an empty panel for ever."""
    said = {word for path in CODE for word in re.findall(r"\b[A-Z][A-Z_]{3,}\b", path.read_text("utf-8"))}

    assert not {name for name, value in vars(catalogue).items() if isinstance(value, Family)} - said

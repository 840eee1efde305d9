"""What `trace` says comes next: for every way a delivery can stand, what happens by itself or what to type."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dicomrelay.cli.tracing.places import places
from dicomrelay.ledger.journey import Step, TracedDelivery, TracedInstance
from dicomrelay.telling.coming import comes_next
from dicomrelay.telling.journey import line, merged, standing

DELIVERY = TracedDelivery(
    instance_id="i1",
    sop_instance_uid="1.2.3",
    destination="pacs",
    job_id="",
    priority="normal",
    state="pending",
    attempts=0,
    status=None,
    association_id="",
    sent_bytes=0,
    verification="",
    transfer_id="t1",
    transfer_state="ready",
    transfer_attempt=2,
    due_in_ms=-5,
    advice="",
    breaker="closed",
    probe_in_ms=None,
    destination_held=False,
)
INSTANCE = TracedInstance(
    instance_id="i1",
    state="kept",
    sop_instance_uid="1.2.3",
    series_instance_uid="1.2",
    study_instance_uid="1",
    sop_class_uid="",
    transfer_syntax_uid="",
    digest="",
    data_set_bytes=1,
    calling_ae_title="",
    called_ae_title="",
    peer_address="",
    association_id="",
    received_at=1,
    registered_at=1,
    host="here",
    spool_id="f" * 28,
    released_at=None,
    from_file=False,
    archived_as="",
    archiving="done",
    framing="done",
    frames=1,
)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"state": "delivered"}, ""),
        ({"state": "warning", "verification": "verified"}, ""),
        ({"state": "delivered", "verification": "pending"}, "is asked whether it has it"),
        ({"transfer_id": "", "transfer_state": ""}, "when its study is complete or a batch is full"),
        ({}, "sent as soon as pacs has a free place"),
        ({"transfer_state": "running", "due_in_ms": 20_000}, "under way, attempt 2"),
        ({"transfer_state": "running", "due_in_ms": -1}, "sent as soon as"),
        ({"state": "failed", "transfer_state": "waiting", "due_in_ms": 90_000}, "tried again in 90 s"),
        ({"transfer_state": "waiting", "due_in_ms": 600_000}, "tried again in 10 min"),
        ({"transfer_state": "waiting", "due_in_ms": 90_000, "advice": "renew it"}, "(renew it)"),
        ({"breaker": "open", "probe_in_ms": 12_000}, "pacs does not answer: it is called in 12 s,"),
        ({"breaker": "half_open", "probe_in_ms": -1}, "it is called now"),
        ({"outside_of_windows": True}, "outside of its time windows"),
        ({"destination_held": True}, "`dicomrelay destinations release pacs`"),
        ({"transfer_state": "held", "due_in_ms": None}, "`dicomrelay jobs release t1`"),
        ({"transfer_state": "needs_attention", "due_in_ms": None}, "`dicomrelay jobs retry t1`"),
        ({"state": "refused"}, "not by itself"),
        ({"state": "cancelled"}, "`dicomrelay jobs replay`"),
    ],
)
def test_every_way_a_delivery_stands_has_its_next(changes: dict[str, object], says: str) -> None:
    """Nothing is open only where the peer has it, and was not to be asked about it."""
    said = comes_next(replace(DELIVERY, **changes))  # type: ignore[arg-type]
    assert says in said
    assert bool(said) == bool(says)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"released_at": 5, "archived_as": "1/1.2/1.2.3.dcm"}, ["archive: data/*/1/1.2/1.2.3.dcm"]),
        ({"host": "there"}, [f"spool of there: item {'f' * 28}"]),
        (
            {"from_file": True},
            [f"the file that was submitted, read where it lies; its record is spool item {'f' * 28}"],
        ),
        ({}, [f"spool: item {'f' * 28} is not where it should be: see `dicomrelay check`"]),
        ({"released_at": 5}, ["nowhere in this house: it was given up here after every destination had it"]),
    ],
)
def test_every_place_has_its_words(tmp_path: Path, changes: dict[str, object], said: list[str]) -> None:
    """No path of a submitted file: its name may be a patient's."""
    assert places(replace(INSTANCE, **changes), home=tmp_path, host="here") == said  # type: ignore[arg-type]


def test_steps_that_interleave_are_told_once_each() -> None:
    """Two destinations that take turns make two lines, with the time of the first and the last."""
    steps = [
        Step(
            1000 + n,
            "sent",
            n + 1,
            "1",
            f"i{n // 2}",
            ("pacs", "backup")[n % 2],
            "",
            "t",
            {"state": "delivered", "status": 0, "bytes": 500},
        )
        for n in range(8)
    ]
    assert [line(told) for told in merged(steps)] == [
        f"1970-01-01 00:00:01.00{n}Z  sent {to}: 4 instances, 2.0 kB, delivered 0000 Success, transfer t, "
        f"until 1970-01-01 00:00:01.00{n + 6}Z"
        for n, to in enumerate(("pacs", "backup"))
    ]


def test_what_others_made_up_does_not_drive_a_terminal() -> None:
    """An AE title is what a peer says."""
    step = Step(1, "received", 1, "1", "i", "", "", "", {"calling_ae_title": "\x1b[2J", "address": "h"})
    assert "\x1b" not in line(merged([step])[0])
    assert "\x1b" not in "".join(standing([replace(DELIVERY, destination="\x1b[2J@h:1")]))


def test_only_neighbours_are_told_together() -> None:
    """Oldest first: what happened again after something else is told again."""
    told = merged(
        Step(1000 + n, kind, 0, "1", "", "pacs", "", "t", {})
        for n, kind in enumerate(["transfer_claimed", "transfer_handed_back"] * 2 + ["transfer_claimed"] * 2)
    )
    assert [(each.first.at, each.first.kind.removeprefix("transfer_"), each.count) for each in told] == [
        (1000, "claimed", 1),
        (1001, "handed_back", 1),
        (1002, "claimed", 1),
        (1003, "handed_back", 1),
        (1004, "claimed", 2),
    ]

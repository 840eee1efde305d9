"""Several hosts at one ledger: who may claim what, transfers of one spool each, and leases with a name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from dicomrelay.ledger import Arrival, Ledger, Stage, StageResult
from dicomrelay.ledger.completion import CompletionPolicy
from dicomrelay.ledger.handing_back import Signal
from dicomrelay.ledger.named_leases import HEARD_MS
from dicomrelay.ledger.values import Priority
from tests.support.ledger import MINUTE_MS, arrival

_APART = CompletionPolicy(0, 0, 200, 10**9, by_host=True)
_TOGETHER = CompletionPolicy(0, 0, 200, 10**9)


def _arrive(ledger: Ledger, *arrivals: Arrival, policy: CompletionPolicy = _APART) -> int:
    ledger.register(list(arrivals))
    return ledger.completion.complete(policy, limit=100).transfers


def _archive(ledger: Ledger, host: str) -> None:
    claim = ledger.claim_instances(Stage.ARCHIVE, host=host, owner="w", limit=100, lease_ms=MINUTE_MS)
    assert claim is not None
    done = [
        StageResult(item.instance.instance_id, done=True, archive_path=f"{item.instance.spool_id}.dcm")
        for item in claim.items
    ]
    assert ledger.finish_stage(claim, done) == len(done)


def _next(ledger: Ledger, host: str) -> str | None:
    claimed = ledger.claim_next_transfer("pacs", owner=f"{host}/w", lease_ms=MINUTE_MS, host=host)
    return None if claimed is None else claimed.id


def test_what_is_in_a_spool_alone_only_its_host_claims(ledger: Ledger) -> None:
    """Nobody else could read it; "" is the host that is alone, and reads everything."""
    _arrive(ledger, arrival(1))
    assert _next(ledger, "worker-1") is None
    assert _next(ledger, "gateway-1") is not None


def test_what_is_archived_anybody_claims(ledger: Ledger) -> None:
    """And the transfers of a batch's studies that have become so are named, to be said."""
    _arrive(
        ledger,
        arrival(1),
        arrival(2, study_instance_uid="1.2.2", series_instance_uid="1.2.2.1", host="gateway-2"),
    )
    both = ["1.2.1", "1.2.2"]
    assert ledger.flow.readable_anywhere(both, limit=9) == []
    _archive(ledger, "gateway-1")
    (found,) = ledger.flow.readable_anywhere(both, limit=9)
    assert _next(ledger, "worker-1") == found.id
    assert _next(ledger, "worker-1") is None
    assert ledger.flow.readable_anywhere(both, limit=9) == []  # it runs


def test_a_claim_by_id_is_held_to_the_same(ledger: Ledger) -> None:
    """Whoever asks."""
    _arrive(ledger, arrival(1))
    (due,) = ledger.due(limit=9).transfers
    assert ledger.claim_transfer(due.id, owner="w", lease_ms=MINUTE_MS, host="worker-1") is None
    assert ledger.claim_transfer(due.id, owner="w", lease_ms=MINUTE_MS, host="gateway-1") is not None


def test_a_transfer_holds_instances_of_one_spool(ledger: Ledger) -> None:
    """A study that came by two gateways goes in two parts: one that is lost keeps back its own."""
    assert _arrive(ledger, *(arrival(number, host=f"gateway-{number % 2 + 1}") for number in range(6))) == 2
    claimed = ledger.claim_next_transfer("pacs", owner="w", lease_ms=MINUTE_MS, host="gateway-2")
    assert claimed is not None
    assert {each.instance.host for each in claimed.deliveries} == {"gateway-2"}
    assert len(claimed.deliveries) == 3


def test_with_one_host_nobody_asks_for_it(ledger: Ledger) -> None:
    """A spool that got another name makes no more transfers than before."""
    arrivals = [arrival(number, host=f"gateway-{number % 2 + 1}") for number in range(6)]
    assert _arrive(ledger, *arrivals, policy=_TOGETHER) == 1


def test_what_is_urgent_in_a_lost_spool_holds_up_nobody(ledger: Ledger) -> None:
    """It is due, and goes first, and cannot be read: the others pass it, and who runs does not make room for it."""
    urgent = arrival(
        1, host="lost", priority=Priority.URGENT, study_instance_uid="1.2.9", series_instance_uid="1.2.9.1"
    )
    _arrive(ledger, urgent, arrival(2), arrival(3, study_instance_uid="1.2.2", series_instance_uid="1.2.2.1"))
    first = ledger.claim_next_transfer("pacs", owner="w", lease_ms=MINUTE_MS, host="gateway-1")
    assert first is not None
    assert first.priority is Priority.NORMAL
    assert _next(ledger, "gateway-1") is not None
    assert ledger.flow.signal(first) is Signal.GO_ON
    # Where it can be read it comes first, as ever.
    assert ledger.flow.signal(replace(first, host="lost")) is Signal.GIVE_WAY


def test_what_a_host_cannot_read_is_not_wanted_there(ledger: Ledger) -> None:
    """Neither its priority nor its time counts: a place would be kept for nothing."""
    _arrive(ledger, arrival(1, host="lost", priority=Priority.URGENT))
    assert ledger.flow.wanted(host="gateway-1") == []
    _arrive(ledger, arrival(2, study_instance_uid="1.2.2", series_instance_uid="1.2.2.1"))
    (wanted,) = ledger.flow.wanted(host="gateway-1")
    assert wanted.priority is Priority.NORMAL
    (wanted,) = ledger.flow.wanted(host="lost")
    assert wanted.priority is Priority.URGENT
    assert ledger.flow.wanted() == [wanted]


def test_a_lease_with_a_name_has_one_owner_and_a_fence_that_rises(ledger: Ledger) -> None:
    """It is held longer by who has it, and taken by another when its time is over, or it is given up."""
    leases = ledger.named_leases
    assert leases.take("x", owner="a", lease_ms=MINUTE_MS) == 1
    assert leases.take("x", owner="a", lease_ms=MINUTE_MS) == 1
    assert leases.take("x", owner="b", lease_ms=MINUTE_MS) is None
    assert not leases.give_up("x", owner="b")
    assert leases.give_up("x", owner="a")
    assert leases.take("x", owner="b", lease_ms=-1) == 2
    assert leases.take("x", owner="a", lease_ms=MINUTE_MS) == 3
    (held,) = leases.all()
    assert (held.owner, held.fence, held.spool) == ("a", 3, "")
    assert 0 < held.left_ms <= MINUTE_MS


def test_nobody_waits_for_the_lease_of_the_dead(ledger: Ledger) -> None:
    """Where it can be told that they are."""
    leases = ledger.named_leases
    leases.take("x", owner="dead", lease_ms=MINUTE_MS)
    assert leases.take("x", owner="b", lease_ms=MINUTE_MS, is_gone=lambda owner: owner == "dead") == 2


def test_a_lease_that_is_over_can_be_forgotten(ledger: Ledger) -> None:
    """A spool that is no more is no row for ever."""
    leases = ledger.named_leases
    leases.take("spool/one", owner="a", lease_ms=MINUTE_MS)
    assert not leases.forget("spool/one")
    leases.give_up("spool/one", owner="a")
    assert leases.forget("spool/one")
    assert leases.all() == []


@pytest.mark.parametrize("owners", [8])
def test_of_many_that_ask_at_once_one_has_it(ledger: Ledger, owners: int) -> None:
    """The row is made by one, and the others wait for it."""
    with ThreadPoolExecutor(owners) as pool:
        fences = list(
            pool.map(
                lambda n: ledger.named_leases.take("x", owner=f"o{n}", lease_ms=MINUTE_MS), range(owners)
            )
        )
    assert [fence for fence in fences if fence is not None] == [1]


def test_the_hosts_are_those_that_speak_and_those_that_have_something(ledger: Ledger) -> None:
    """Who is away and has what nobody else has is what a person has to know."""
    assert ledger.hosts() == []
    _arrive(ledger, arrival(1), arrival(2, host="gateway-2"))
    leases = ledger.named_leases
    leases.take("scheduler", owner="a", lease_ms=MINUTE_MS)
    leases.take("spool/gateway-1", owner="a", lease_ms=HEARD_MS)
    leases.take("spool/worker-1", owner="b", lease_ms=0)
    first, second, third = ledger.hosts()
    assert (first.spool, first.is_heard, first.leads, first.only_there) == ("gateway-1", True, True, 1)
    assert (second.spool, second.heard_ms_ago, second.leads, second.only_there) == (
        "gateway-2",
        None,
        False,
        1,
    )
    assert (third.spool, third.is_heard, third.leads, third.only_there) == ("worker-1", False, False, 0)
    _archive(ledger, "gateway-2")
    assert [host.spool for host in ledger.hosts()] == ["gateway-1", "worker-1"]

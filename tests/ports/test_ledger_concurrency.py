"""Many processes at one ledger: nothing is claimed twice, nothing is registered twice, nobody is locked out."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from typing import Any

import pytest

from dicomrelay.ledger import DeliveryState, DestinationInfo, Ledger, Verdict, grouping
from tests.support.ledger import (
    MINUTE_MS,
    archive_all,
    arrival,
    claim,
    claim_all,
    claim_stages,
    due_ids,
    group,
    outcomes,
    register_many,
)

PROCESSES = 4


def in_processes(work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Call it once with each arguments, in processes of their own."""
    with ProcessPoolExecutor(len(arguments), mp_context=multiprocessing.get_context("spawn")) as pool:
        return [future.result() for future in [pool.submit(work, *given) for given in arguments]]


@pytest.fixture
def many_transfers(ledger: Ledger) -> list[str]:
    """Forty transfers to a destination that allows them all at once."""
    ledger.sync_destinations([DestinationInfo("pacs", "PACS", "h", 104, associations=64)])
    ledger.register([arrival(number, study_instance_uid=f"1.2.{number}") for number in range(40)])
    group(ledger)
    return due_ids(ledger)


def test_processes_that_register_at_once_are_never_locked_out(ledger: Ledger, ledger_url: str) -> None:
    """Read, then write, four at a time: with deferred transactions most of these fail with "database is locked"."""
    new = in_processes(register_many, [(ledger_url, 1000 * number, 15, 20) for number in range(PROCESSES)])
    assert new == [300] * PROCESSES
    assert sum(study.instances for study in ledger.studies()) == 300 * PROCESSES
    assert group(ledger) > 0


def test_the_same_instances_registered_by_all_at_once_are_new_once(ledger: Ledger, ledger_url: str) -> None:
    """Two gateways' groups meet on the same batch: each instance is new for exactly one of them."""
    new = in_processes(register_many, [(ledger_url, 0, 15, 20)] * PROCESSES)
    assert sum(new) == 300
    assert sum(study.instances for study in ledger.studies()) == 300


def test_a_transfer_is_claimed_by_one_process_only(ledger_url: str, many_transfers: list[str]) -> None:
    """Invariant 5, with every process after every transfer."""
    claimed = in_processes(
        claim_all, [(ledger_url, many_transfers, f"runner-{number}") for number in range(PROCESSES)]
    )
    everything = [transfer_id for part in claimed for transfer_id in part]
    assert sorted(everything) == sorted(many_transfers)


def test_an_instance_is_archived_by_one_process_only(
    ledger_url: str, ledger: Ledger, many_transfers: list[str]
) -> None:
    """The same for stages, in small batches."""
    claimed = in_processes(claim_stages, [(ledger_url, f"runner-{number}") for number in range(PROCESSES)])
    everything = [instance_id for part in claimed for instance_id in part]
    assert len(everything) == len(set(everything)) == len(many_transfers)


def test_threads_never_run_more_transfers_than_a_destination_allows(
    ledger: Ledger, many_transfers: list[str]
) -> None:
    """The count of live leases and the claim are one step."""
    ledger.sync_destinations([DestinationInfo("pacs", "PACS", "h", 104, associations=3)])
    with ThreadPoolExecutor(8) as pool:
        claimed = list(
            pool.map(
                lambda transfer_id: ledger.claim_transfer(transfer_id, owner="t", lease_ms=MINUTE_MS),
                many_transfers,
            )
        )
    assert sum(transfer is not None for transfer in claimed) == 3


def test_threads_that_finish_the_same_instances_do_not_block_each_other(ledger: Ledger) -> None:
    """One study to eight destinations, archived meanwhile: rows are locked in one order, and every delivery is counted."""
    names = tuple(f"peer-{number}" for number in range(8))
    ledger.register([arrival(number, destinations=names) for number in range(100)])
    group(ledger)

    def send(transfer_id: str) -> None:
        claimed = claim(ledger, transfer_id)
        everything = outcomes(claimed, DeliveryState.DELIVERED)
        for start in range(0, 100, 10):
            # Each thread in another order.
            part = sorted(everything, key=lambda outcome: hash((transfer_id, outcome.instance_id)))
            assert ledger.record_outcomes(transfer_id, claimed.fence, part[start : start + 10])
        ledger.finish_transfer(transfer_id, claimed.fence, retry_in_ms=None)

    transfers = due_ids(ledger)
    assert len(transfers) == 8
    with ThreadPoolExecutor(9) as pool:
        futures = [pool.submit(send, transfer_id) for transfer_id in transfers]
        futures.append(pool.submit(archive_all, ledger))  # type: ignore[arg-type]
        for future in futures:
            future.result()
    assert len(ledger.releasable(host="gateway-1", limit=1000)) == 100


def test_who_groups_has_the_study_for_himself(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one makes the transfers of a study, another neither makes them too nor adds an instance unseen.

    The first stops after it has read what waits. The second sweeper and an arrival then come; they may pass or wait.
    """
    has_read, go_on = threading.Event(), threading.Event()
    plan = grouping._plan

    def stop_then_plan(*given: Any, **options: Any) -> None:
        if not has_read.is_set():
            has_read.set()
            assert go_on.wait(20)
        plan(*given, **options)

    monkeypatch.setattr(grouping, "_plan", stop_then_plan)
    ledger.register([arrival(1)])
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(group, ledger)
        assert has_read.wait(20)
        second = pool.submit(group, ledger)
        late = pool.submit(ledger.register, [arrival(2)])
        wait({second}, timeout=0.3)
        wait({late}, timeout=0.3)
        go_on.set()
        late.result()
        assert first.result() == 1
        made = second.result() + group(ledger)
    assert made == 1
    taken = [len(claim(ledger, transfer_id).deliveries) for transfer_id in due_ids(ledger)]
    assert taken == [1, 1]


def test_a_study_that_receives_while_it_is_grouped_loses_nothing(ledger: Ledger) -> None:
    """Two threads group, two register: in the end every delivery is in exactly one transfer."""
    ledger.sync_destinations([DestinationInfo("pacs", "PACS", "h", 104, associations=64)])

    def register(first: int) -> None:
        for number in range(first, first + 100, 5):
            results = ledger.register([arrival(n) for n in range(number, number + 5)])
            assert {result.verdict for result in results} == {Verdict.NEW}

    def regroup(_: int) -> None:
        for _ in range(15):
            group(ledger, batch_instances=30)

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(register, 0), pool.submit(register, 100)]
        futures += [pool.submit(regroup, number) for number in range(2)]
        for future in futures:
            future.result()
    group(ledger)
    taken: list[str] = []
    while transfers := due_ids(ledger):
        for transfer_id in transfers:
            claimed = claim(ledger, transfer_id)
            taken += [delivery.instance.sop_instance_uid for delivery in claimed.deliveries]
            ledger.record_outcomes(transfer_id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
            ledger.finish_transfer(transfer_id, claimed.fence, retry_in_ms=None)
    assert sorted(taken) == sorted(f"1.2.3.{number}" for number in range(200))

"""Arrivals, and walks through the ledger that many tests begin with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from dicomrelay.ledger import (
    Arrival,
    ClaimedTransfer,
    DeliveryOutcome,
    DeliveryState,
    DestinationInfo,
    Ledger,
    Stage,
    StageClaim,
    StageResult,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
PACS = DestinationInfo("pacs", "PACS", "10.0.0.9", 104, associations=2)
MINUTE_MS = 60_000


def arrival(number: int, **changes: object) -> Arrival:
    """The arrival of instance `number` of study 1.2.1, for the destination pacs, unless changed."""
    plain = Arrival(
        spool_id=f"spool-{number:06}",
        host="gateway-1",
        sop_class_uid=CT,
        sop_instance_uid=f"1.2.3.{number}",
        study_instance_uid="1.2.1",
        series_instance_uid="1.2.1.1",
        transfer_syntax_uid=EXPLICIT,
        modality="CT",
        data_set_offset=900,
        data_set_bytes=1000,
        digest=f"{number:064x}",
        calling_ae_title="CT_1",
        called_ae_title="DICOMRELAY",
        peer_address="10.0.0.1",
        association_id="a1",
        received_at_ms=1_700_000_000_000,
        destinations=("pacs",),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def group(ledger: Ledger, *, quiet_ms: int = 0, batch_instances: int = 200, batch_bytes: int = 10**9) -> int:
    """Make transfers of everything that waits for one."""
    return ledger.complete_quiet_studies(
        quiet_ms=quiet_ms, batch_instances=batch_instances, batch_bytes=batch_bytes, limit=100
    )


def due_ids(ledger: Ledger) -> list[str]:
    """The transfers to wake up."""
    return [transfer.id for transfer in ledger.due(limit=1000).transfers]


def claim(ledger: Ledger, transfer_id: str, *, lease_ms: int = MINUTE_MS) -> ClaimedTransfer:
    """Claim a transfer that must be free."""
    claimed = ledger.claim_transfer(transfer_id, owner="runner", lease_ms=lease_ms)
    assert claimed is not None
    return claimed


def claimed_transfer(
    ledger: Ledger, arrivals: Iterable[Arrival], *, lease_ms: int = MINUTE_MS
) -> ClaimedTransfer:
    """Register arrivals that make one transfer, and claim it."""
    ledger.register(list(arrivals))
    assert group(ledger) == 1
    (transfer_id,) = due_ids(ledger)
    return claim(ledger, transfer_id, lease_ms=lease_ms)


def outcomes(claimed: ClaimedTransfer, *states: DeliveryState) -> list[DeliveryOutcome]:
    """An outcome for each delivery in order; a state for each, or one for all."""
    wanted: Sequence[DeliveryState] = states if len(states) > 1 else states * len(claimed.deliveries)
    return [
        DeliveryOutcome(
            delivery.instance.instance_id,
            state,
            status=_STATUS[state],
            association_id="out-1",
            sent_bytes=delivery.instance.data_set_bytes,
        )
        for delivery, state in zip(claimed.deliveries, wanted, strict=True)
    ]


_STATUS = {
    DeliveryState.DELIVERED: 0x0000,
    DeliveryState.WARNING: 0xB000,
    DeliveryState.FAILED: 0xA700,
    DeliveryState.REFUSED: 0xC000,
}


def archive_all(ledger: Ledger) -> StageClaim | None:
    """Archive everything that is due on gateway-1."""
    claimed = ledger.claim_instances(
        Stage.ARCHIVE, host="gateway-1", owner="runner", limit=1000, lease_ms=MINUTE_MS
    )
    if claimed is not None:
        results = [
            StageResult(
                item.instance.instance_id, done=True, archive_path=f"{item.instance.sop_instance_uid}.dcm"
            )
            for item in claimed.items
        ]
        assert ledger.finish_stage(claimed, results) == len(results)
    return claimed


def register_many(url: str, first: int, batches: int, size: int) -> int:
    """In a process of its own: register batches of instances; how many were new."""
    ledger = Ledger.open(url)
    try:
        new = 0
        for batch in range(batches):
            start = first + batch * size
            registered = ledger.register(
                [
                    arrival(number, study_instance_uid=f"1.2.{number % 3}")
                    for number in range(start, start + size)
                ]
            )
            new += sum(result.verdict.value == "new" for result in registered)
        return new
    finally:
        ledger.dispose()


def claim_all(url: str, transfer_ids: Sequence[str], owner: str) -> list[str]:
    """In a process of its own: claim what can be claimed, and say which that was."""
    ledger = Ledger.open(url)
    try:
        return [
            transfer_id
            for transfer_id in transfer_ids
            if ledger.claim_transfer(transfer_id, owner=owner, lease_ms=MINUTE_MS) is not None
        ]
    finally:
        ledger.dispose()


def claim_stages(url: str, owner: str) -> list[str]:
    """In a process of its own: claim archive work in small batches until there is none."""
    ledger = Ledger.open(url)
    taken: list[str] = []
    try:
        while claimed := ledger.claim_instances(
            Stage.ARCHIVE, host="gateway-1", owner=owner, limit=7, lease_ms=MINUTE_MS
        ):
            taken.extend(item.instance.instance_id for item in claimed.items)
        return taken
    finally:
        ledger.dispose()

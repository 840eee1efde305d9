"""A claimed transfer without a ledger."""

from __future__ import annotations

from dicomrelay.ledger.values import (
    ClaimedTransfer,
    DestinationInfo,
    InstanceFacts,
    PendingDelivery,
    Priority,
)


def claimed_of(instances: int, *, fence: int) -> ClaimedTransfer:
    """Of so many instances, i0 to the last."""
    pending = tuple(
        PendingDelivery(
            InstanceFacts(
                f"i{number}", f"s{number}", "host", "1.2.840.10008.5.1.4.1.1.2", f"1.2.3.{number}", "1.2.1",
                "1.2.1.1", "1.2.840.10008.1.2.1", "CT", f"{number:064x}", 0, 1000, "", "", released=False,
            ),
            0,
        )
        for number in range(instances)
    )  # fmt: skip
    address = DestinationInfo("pacs", "PACS", "h", 104)
    return ClaimedTransfer("t" * 32, fence, "pacs", address, "1.2.1", Priority.NORMAL, "", fence, pending)

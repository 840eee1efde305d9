"""The ledger: the index of the record in SQL (docs/design/ledger.md).

`dicomrelay.ledger.migrate.migrate(url)` once, then `Ledger.open(url)`; everything else here is a value that goes in or
comes out. `Ledger` alone brings SQLAlchemy with it, when it is first asked for: commands that send need the values only.
"""

from typing import TYPE_CHECKING

from dicomrelay.ledger.values import (
    Arrival,
    Attention,
    AttentionKind,
    ClaimedTransfer,
    DeliveryOutcome,
    DeliveryState,
    DestinationInfo,
    DestinationKind,
    DestinationSummary,
    Due,
    DueTransfer,
    InstanceFacts,
    InstanceState,
    JobInstance,
    JobProgress,
    PendingDelivery,
    Priority,
    Registered,
    Stage,
    StageClaim,
    StageItem,
    StageResult,
    StageState,
    StudySummary,
    TransferState,
    Verdict,
    Waiting,
)

if TYPE_CHECKING:
    from dicomrelay.ledger.ledger import Ledger

__all__ = [
    "Arrival",
    "Attention",
    "AttentionKind",
    "ClaimedTransfer",
    "DeliveryOutcome",
    "DeliveryState",
    "DestinationInfo",
    "DestinationKind",
    "DestinationSummary",
    "Due",
    "DueTransfer",
    "InstanceFacts",
    "InstanceState",
    "JobInstance",
    "JobProgress",
    "Ledger",
    "PendingDelivery",
    "Priority",
    "Registered",
    "Stage",
    "StageClaim",
    "StageItem",
    "StageResult",
    "StageState",
    "StudySummary",
    "TransferState",
    "Verdict",
    "Waiting",
]


def __getattr__(name: str) -> object:
    if name == "Ledger":
        from dicomrelay.ledger.ledger import Ledger  # noqa: PLC0415

        globals()[name] = Ledger
        return Ledger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

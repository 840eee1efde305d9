"""The archive: every instance under one path, an index to find it by, and its frames prepared for the streamer."""

from archive.archive import Archive
from archive.values import FrameSummary, Policy, StoredInstance, StoreOutcome, StoreRequest, StoreResult

__all__ = [
    "Archive",
    "FrameSummary",
    "Policy",
    "StoreOutcome",
    "StoreRequest",
    "StoreResult",
    "StoredInstance",
]

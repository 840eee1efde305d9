"""Which instances share a request. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from dicomrelay.delivery.preparing import Wanted
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.web.values import WebPolicy


@dataclass(frozen=True, slots=True)
class Ready:
    """An instance that can be sent: `item` is it, or a copy."""

    wanted: Wanted
    item: StoreItem


Batch: TypeAlias = tuple[Ready, ...]


def fits(batch: Sequence[Ready], another: Ready, policy: WebPolicy) -> bool:
    """Whether a batch may have another instance; an empty one takes any."""
    if not batch:
        return True
    total = another.item.data_set_bytes + sum(each.item.data_set_bytes for each in batch)
    return len(batch) < policy.batch_instances and total <= policy.batch_bytes


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """Of two or more, in their order."""
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]

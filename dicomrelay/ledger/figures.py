"""The ledger in numbers, of one moment: what metrics show and alerts are decided by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from dicomrelay.ledger.attention import needs_attention
from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.flow_summary import DestinationFlow, destinations_flow
from dicomrelay.ledger.schema import DUE, stages
from dicomrelay.ledger.values import Stage

# Counting more costs time and tells a person nothing more.
MOST_ATTENTION: Final = 1000
MOST_WAITING: Final = 100_000


@dataclass(frozen=True, slots=True)
class Figures:
    """One moment.

    Attributes
    ----------
    attention : mapping
        Rows that need a person, by the kind's name; those that there are none of are not in it. 1,000 of a kind at most.
    stages : mapping
        Instances that wait for a stage, by its name; 100,000 at most.
    """

    destinations: tuple[DestinationFlow, ...]
    attention: Mapping[str, int]
    stages: Mapping[str, int]


def figures(work: Work) -> Figures:
    """See `Ledger.figures`."""
    rows = needs_attention(work, limit=MOST_ATTENTION)
    return Figures(
        destinations=destinations_flow(work, None),
        attention=Counter(row.kind.value for row in rows),
        stages={stage.value: _waiting(work, stage) for stage in Stage},
    )


def _waiting(work: Work, stage: Stage) -> int:
    some = (
        select(stages.c.instance_id).where(stages.c.stage == stage.value, DUE).limit(MOST_WAITING).subquery()
    )
    return int(work.connection.execute(select(func.count()).select_from(some)).scalar_one())

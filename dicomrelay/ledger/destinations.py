"""Destinations as rows, so that a worker finds an address that its settings do not hold."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.facts import destination_info
from dicomrelay.ledger.schema import destinations
from dicomrelay.ledger.values import DestinationInfo, DestinationKind


def sync(work: Work, known: Sequence[DestinationInfo]) -> None:
    """See `Ledger.sync_destinations`."""
    if not known:
        return
    upsert = work.insert(destinations)
    work.connection.execute(
        upsert.on_conflict_do_update(
            index_elements=[destinations.c.name],
            set_={
                column: upsert.excluded[column]
                for column in (
                    "kind",
                    "ae_title",
                    "host",
                    "port",
                    "associations",
                    "calling_ae_title",
                    "verification",
                )
            },
        ),
        [
            {
                "name": info.name,
                "kind": info.kind.value,
                "ae_title": info.ae_title,
                "host": info.host,
                "port": info.port,
                "associations": info.associations,
                "calling_ae_title": info.calling_ae_title,
                "verification": info.verification,
            }
            for info in sorted({info.name: info for info in known}.values(), key=lambda info: info.name)
        ],
    )


def let_be(work: Work, names: Sequence[str]) -> None:
    """Rows for names in order, without an address, where there is none: nothing is refused for want of one."""
    work.insert_missing(
        destinations,
        [
            {
                "name": name,
                "kind": DestinationKind.UNKNOWN.value,
                "ae_title": "",
                "host": "",
                "port": 0,
                "associations": 1,
                "calling_ae_title": "",
            }
            for name in names
        ],
    )


def find(work: Work, name: str) -> DestinationInfo | None:
    """See `Ledger.destination`."""
    row = work.connection.execute(select(destinations).where(destinations.c.name == name)).one_or_none()
    return None if row is None else destination_info(row)

"""What modalities said of the studies that are traced: their performed procedure steps, and what of theirs is not here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import bindparam, text

from dicomrelay.cli.operating.words import counted
from dicomrelay.errors import LedgerError
from dicomrelay.ledger.engine import Database, chunks
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.text import shown

# In words, for what reads those tables brings pydicom with it, and a trace should be quick.
_STEPS: Final = text(
    "SELECT s.sop_instance_uid, s.state, s.station_ae_title, s.started, s.ended, s.series, s.instances, "
    "(SELECT count(*) FROM performed_references r WHERE r.sop_instance_uid = s.sop_instance_uid AND NOT EXISTS "
    "(SELECT 1 FROM instances i WHERE i.sop_instance_uid = r.referenced_sop_instance_uid AND i.state = 'kept')) "
    "FROM performed_steps s WHERE s.sop_instance_uid IN "
    "(SELECT t.sop_instance_uid FROM performed_step_studies t WHERE t.study_instance_uid IN :uids) "
    "ORDER BY s.created_at"
).bindparams(bindparam("uids", expanding=True))


@dataclasses.dataclass(frozen=True, slots=True)
class PerformedStep:
    """A step; `missing` is how many of its instances have not arrived."""

    sop_instance_uid: str
    state: str
    station_ae_title: str
    started: str
    ended: str
    series: int
    instances: int
    missing: int


def performed_steps(settings: Settings, study_instance_uids: Sequence[str]) -> list[PerformedStep]:
    """Those of these studies, the oldest first; none in a ledger that has no such table yet.

    Raises
    ------
    ServiceUnavailable
        The ledger does not answer.
    """
    database = Database(home.ledger_url(settings))
    try:
        with database.read() as work:
            return [
                PerformedStep(*row)
                for part in chunks(study_instance_uids)
                for row in work.connection.execute(_STEPS, {"uids": list(part)})
            ]
    except LedgerError:
        return []
    finally:
        database.dispose()


def performed_lines(steps: Sequence[PerformedStep]) -> Iterator[str]:
    """Each in a line."""
    for each in steps:
        made = f"{counted(each.instances, 'instance')} in {each.series} series"
        missing = f", {each.missing} of them not here" if each.missing else ""
        until = f" to {shown(each.ended)}" if each.ended else ""
        yield (
            f"performed step {each.sop_instance_uid}: {each.state} at {shown(each.station_ae_title)}, "
            f"{shown(each.started)}{until}, {made}{missing}"
        )

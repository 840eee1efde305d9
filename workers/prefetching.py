"""What rules have fetched: relevant priors, ordered as soon as a rule with `prefetch` has matched.

An order that is lost with its process is not made again: it saves somebody a wait, and no image hangs on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from dicomrelay.errors import RelayError, SpoolError
from dicomrelay.log import get_logger
from dicomrelay.routing.pulls import PriorsWanted, order_priors
from dicomrelay.spool import SpoolRecord
from workers.asking import Asked
from workers.attributes import read_attributes
from workers.rooms import Rooms

_log = get_logger("dicomrelay.rules")
_PATIENT_ID: Final = 0x00100020
_ISSUER: Final = 0x00100021
_BODY_PART: Final = 0x00180015


@dataclass(frozen=True, slots=True)
class Wish:
    """Something to fetch for a study, and an instance that says whose study it is."""

    name: str
    study_instance_uid: str
    modality: str
    path: Path
    data_set_offset: int
    transfer_syntax_uid: str


def of_arrivals(rooms: Rooms, arrived: Iterable[tuple[SpoolRecord, Asked]]) -> None:
    """Order what the rules want for instances that are registered; each once for each study."""
    first: dict[tuple[str, str], SpoolRecord] = {}
    for record, asked in arrived:
        for name in () if record.send_to else asked.decision.prefetch:
            first.setdefault((name, record.study_instance_uid), record)
    for (name, study), record in first.items():
        try:
            path = Path(record.source_path) if record.source_path else rooms.spool.locate(record.id)
        except SpoolError:  # gone, or put away: the next instance has it done
            continue
        offset, syntax = record.data_set_offset, record.transfer_syntax_uid
        order(rooms, [Wish(name, study, record.modality, path, offset, syntax)])


def order(rooms: Rooms, wishes: Iterable[Wish]) -> None:
    """Order priors; trouble is logged, and stops nothing."""
    for wish in wishes:
        try:
            _order(rooms, wish)
        except RelayError as error:
            _log.warning(
                "priors not ordered",
                action="rules.prefetch",
                study_instance_uid=wish.study_instance_uid,
                pull=wish.name,
                reason=str(error),
            )


def _order(rooms: Rooms, wish: Wish) -> None:
    found = read_attributes(
        wish.path,
        data_set_offset=wish.data_set_offset,
        transfer_syntax_uid=wish.transfer_syntax_uid,
        tags=(_PATIENT_ID, _ISSUER, _BODY_PART),
    )
    patient_id, issuer, body_part = (next(iter(found[tag]), "") for tag in (_PATIENT_ID, _ISSUER, _BODY_PART))
    wanted = PriorsWanted(
        study_instance_uid=wish.study_instance_uid,
        patient_id=patient_id,
        issuer=issuer,
        modality=wish.modality,
        body_part=body_part,
    )
    today = datetime.now().astimezone().date()
    pull = order_priors(rooms.ledger.pulls, rooms.settings, wish.name, wanted, today)
    if pull:
        _log.info(
            "priors ordered",
            action="rules.prefetch",
            study_instance_uid=wish.study_instance_uid,
            pull=wish.name,
            job=pull,
        )

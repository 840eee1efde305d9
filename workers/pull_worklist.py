"""Priors for who is expected: the steps of the worklist that start soon, each study once (docs/design/pulls.md)."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import islice
from typing import Final

from dicomrelay.errors import ConfigurationError
from dicomrelay.log import get_logger
from dicomrelay.routing.pulls import PriorsWanted, check_entry, order_priors
from dicomrelay.scheduling.opening import opened_worklist
from dicomrelay.scheduling.worklist_attributes import STEPS, json_tag
from dicomrelay.scheduling.worklist_item import JsonItem, values_of
from dicomrelay.scheduling.worklist_query import Conditions, Keys, Question
from dicomrelay.scheduling.worklist_status import ENDED, StepStatus
from dicomrelay.settings import PullSettings, Settings
from workers.rooms import Rooms

_log = get_logger("dicomrelay.pull")
# Of one look; those that start later have their turn at a later one.
_ITEMS: Final = 1000
# Who is being examined already, or is gone, waits for no priors.
_TOO_LATE: Final = (StepStatus.STARTED, *ENDED)


def usable(settings: Settings) -> list[PullSettings]:
    """The entries that can be asked; what is wrong with another is told, and keeps none of these."""
    found = []
    for entry in settings.pulls:
        try:
            check_entry(settings, entry)
        except ConfigurationError as error:
            _log.error("it is not pulled", name=entry.name, reason=str(error))
        else:
            found.append(entry)
    return found


class Expected:
    """Orders priors for what is scheduled; remembers what it ordered, so that it is asked of the ledger once."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._entries = [
            entry
            for entry in usable(rooms.settings)
            if entry.priors is not None and entry.priors.worklist_days is not None
        ]
        self._ordered: dict[str, set[PriorsWanted]] = {}

    def order(self, today: date) -> int:
        """Order what is not ordered yet; how many pulls.

        Raises
        ------
        ServiceUnavailable
            The ledger does not answer.
        """
        return sum(self._order(entry, today) for entry in self._entries)

    def _order(self, entry: PullSettings, today: date) -> int:
        assert entry.priors is not None  # noqa: S101 - only those are here
        until = today + timedelta(days=entry.priors.worklist_days or 0)
        asked = Conditions(first_date=f"{today:%Y%m%d}", last_date=f"{until:%Y%m%d}")
        known = self._ordered.get(entry.name, set())
        expected: set[PriorsWanted] = set()
        with opened_worklist(self._rooms.settings) as worklist:
            found = worklist.find(Question(Keys(()), asked), hidden=_TOO_LATE)
            for item, _ in islice(found, _ITEMS):
                wanted = wanted_for(item.data_set)
                if wanted.study_instance_uid:
                    expected.add(wanted)
        count = 0
        for wanted in sorted(expected - known, key=lambda each: each.study_instance_uid):
            pull_id = order_priors(self._rooms.ledger.pulls, self._rooms.settings, entry.name, wanted, today)
            count += pull_id is not None
        # What is not expected any more need not be remembered: the ledger knows it by its `only_once`.
        self._ordered[entry.name] = expected
        if count:
            _log.info("priors ordered for the worklist", name=entry.name, pulls=count)
        return count


def wanted_for(item: JsonItem) -> PriorsWanted:
    """What an item of the worklist says of the study that it is for."""
    step: JsonItem = next(iter(item.get(json_tag(STEPS), {}).get("Value") or ()), {})
    return PriorsWanted(
        study_instance_uid=_first(item, "StudyInstanceUID"),
        patient_id=_first(item, "PatientID"),
        issuer=_first(item, "IssuerOfPatientID"),
        modality=_first(step, "Modality"),
    )


def _first(item: JsonItem, keyword: str) -> str:
    return next(iter(values_of(item, keyword)), "").strip()

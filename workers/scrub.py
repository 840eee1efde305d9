"""The scrub in the scheduler's process (docs/design/archive-storage.md): what it finds is logged, and listed by a check."""

from __future__ import annotations

import threading
from typing import Final

from archive.scrub import Rate, Scrub, Step
from dicomrelay import metrics
from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from dicomrelay.metrics.catalogue import DIGEST_FAILURES
from workers.rooms import Rooms

_log = get_logger("dicomrelay.scrub")
_FIRST_AFTER_S: Final = 60.0
_AGAIN_S: Final = 60.0
# However long there is nothing to do: settings and clocks change.
_LONGEST_WAIT_S: Final = 3600.0


def scrub_until(rooms: Rooms, stop: threading.Event, *, first_after_s: float = _FIRST_AFTER_S) -> None:
    """Go round the archive until `stop` is set; trouble is logged once, and the next look tries again."""
    settings = rooms.settings.archive.scrub
    if not (settings.enabled and rooms.settings.archive.enabled):
        return
    scrub = Scrub(
        rooms.archive.health,
        rooms.archive.storage,
        rate=Rate(settings.round_days, settings.bytes_per_s),
        owner=rooms.owner,
        pause=stop.wait,
    )
    wait_s = first_after_s
    troubled = ""
    while not stop.wait(wait_s):
        try:
            step = scrub.step()
        except RelayError as error:
            wait_s = _AGAIN_S
            if str(error) != troubled:
                _log.warning("cannot look at the archive's files, trying again", reason=str(error))
            troubled = str(error)
            continue
        troubled = ""
        wait_s = min(step.wait_s, _LONGEST_WAIT_S)
        _tell(step)


def _tell(step: Step) -> None:
    for found in step.found:
        metrics.add(DIGEST_FAILURES, "scrub")
        _log.error(
            "damaged in the archive: `dicomrelay repair` puts it back where the spool has it, else send it again",
            action="archive.damage",
            sop_instance_uid=found.sop_instance_uid,
            study_instance_uid=found.study_instance_uid,
            damage=found.damage.value,
            reason=found.words,
        )
    for uid in step.mended:
        _log.info("no longer damaged", action="archive.mended", sop_instance_uid=uid)
    if step.is_over:
        position = step.position
        _log.info(
            "once round the archive",
            action="archive.scrubbed",
            round=position.round,
            files=position.files,
            bytes=position.bytes,
            damaged=position.damaged,
        )

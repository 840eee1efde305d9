"""The sweeper's process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from dicomrelay.errors import RelayError, ServiceUnavailable
from dicomrelay.ledger.migrate import migrate
from dicomrelay.log import get_logger
from dicomrelay.routing.destinations import configured
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.transcode import sweep as sweep_copies
from workers import answers
from workers.alerting import alert_until
from workers.archive_retention import retain_until
from workers.commit_reports import report_until
from workers.complete import complete_until
from workers.count import ask_until
from workers.identity_watch import IdentityWatch
from workers.leading import Reign, lead
from workers.levels import show_until
from workers.performed import perform_until
from workers.prune import prune_until
from workers.rates import roll_up_until
from workers.reconcile import reconcile
from workers.rooms import Rooms
from workers.scrub import scrub_until
from workers.sweep import Sweeper

_log = get_logger("dicomrelay.scheduler")
_RECONCILE_AGAIN_S = 10.0
_GIVE_UP_S = 3.0
# What one scheduler of all does, each in a thread of its own until it is told to stop.
_DUTIES: Final = (
    complete_until,
    ask_until,
    prune_until,
    report_until,
    perform_until,
    scrub_until,
    retain_until,
    roll_up_until,
)


def run(settings: Settings, *, ready: Callable[[], None], stop: threading.Event) -> None:
    """Sweep every `worker.sweep_seconds` until `stop` is set; trouble is logged and the next look tries again.

    Raises
    ------
    ServiceUnavailable
        The ledger's file was removed or replaced: whoever starts this again gets a ledger that is made and filled anew.
    """
    migrate(home.ledger_url(settings))
    rooms = Rooms.open(settings)
    rooms.rules()  # what is wrong with them is said before anything is begun
    rooms.ledger.sync_destinations(configured(settings.destinations))
    if removed := sweep_copies(home.copies_folder(settings)):
        _log.info("removed what dead processes left", folders=removed)
    answers.sweep(home.answers_folder(settings))
    sweeper = Sweeper(rooms)
    identity = IdentityWatch(rooms)
    # Beside the sweeping: what is new does not wait for what is old.
    threading.Thread(target=_reconcile, args=(rooms, stop), name="reconcile", daemon=True).start()
    leader = lead(rooms, Reign([partial(duty, rooms) for duty in _DUTIES]), stop)
    figures = partial(show_until, leads=lambda: leader.leads)
    threading.Thread(target=figures, args=(rooms, stop), name="figures", daemon=True).start()
    alerts = partial(alert_until, leads=lambda: leader.leads)
    threading.Thread(target=alerts, args=(rooms, stop), name="alerts", daemon=True).start()
    ready()
    troubled = ""
    while not stop.wait(settings.worker.sweep_seconds):
        identity.look()
        rooms.rules()  # a file that changed is taken, or refused, also while nothing arrives
        try:
            swept = sweeper.sweep(leads=leader.leads)
        except RelayError as error:
            _end_without_its_ledger(rooms)
            trouble = f"{type(error).__name__}: {error}"
            if trouble != troubled:  # once, not every second of an outage
                _log.warning("cannot sweep", reason=trouble)
            troubled = trouble
            continue
        _end_without_its_ledger(rooms)
        if troubled:
            _log.info("sweeping again")
            troubled = ""
        if swept.transfers_made:
            _log.info("studies complete", transfers=swept.transfers_made)
    leader.given_up.wait(_GIVE_UP_S)
    rooms.close()


def _end_without_its_ledger(rooms: Rooms) -> None:
    """The others go on with the new file once it is there; that it is made and filled is the matter of a start."""
    if rooms.ledger.was_replaced:
        words = (
            "the ledger's file was removed or replaced under the relay: ends, to be started again, make the ledger and "
            "fill it from the spool; what only the archive has is known again after `dicomrelay repair`"
        )
        _log.error(words, action="ledger.replaced")
        raise ServiceUnavailable(words)


def _reconcile(rooms: Rooms, stop: threading.Event) -> None:
    """Once, and again until it has gone through."""
    while True:
        try:
            reconcile(rooms, stop=stop)
        except RelayError as error:
            _log.warning("cannot hold the spool against the ledger, trying again", reason=str(error))
        else:
            return
        if stop.wait(_RECONCILE_AGAIN_S):
            return

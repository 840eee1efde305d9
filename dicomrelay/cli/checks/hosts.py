"""Several hosts: whether a scheduler looks after each spool that holds something (docs/design/hosts.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dicomrelay.cli.checks.finding import Finding, failed, ok, warning
from dicomrelay.cli.ledgers import has_run, opened_ledger
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger.hosts import HostFound
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.spool import Spool


def check_hosts(settings: Settings) -> Iterator[Finding]:
    """Where the ledger is a server's; with one host there is nothing to say."""
    if not home.is_shared(settings) or not has_run(settings):
        return
    try:
        with opened_ledger(settings) as ledger:
            found = ledger.hosts()
    except ServiceUnavailable:  # the ledger's own check says so
        return
    waiting = 0
    if settings.path("spool").is_dir():
        with Spool(settings.path("spool")) as spool:
            waiting = spool.usage().new
    yield from of_hosts(found, home.known_spool_name(settings), waiting)


def of_hosts(found: Sequence[HostFound], own: str, waiting: int) -> Iterator[Finding]:
    """What there is to say of them.

    Parameters
    ----------
    own : str
        The name of this host's spool.
    waiting : int
        Instances in it that the ledger does not know yet.
    """
    if waiting and not any(each.spool == own and each.is_heard for each in found):
        yield failed(
            "hosts",
            f"{waiting} instances wait in the spool of this host, and no scheduler runs for it",
            "start `dicomrelay scheduler` and `dicomrelay worker --queues group,archive,maintenance` here",
        )
    for each in found:
        if each.only_there and not each.is_heard:
            yield warning(
                "hosts",
                f"{each.spool} is not heard of, and {each.only_there} instances are in its spool and not in the archive",
                "start it again, or put its disk into another host and start the same home there",
            )
    heard = [each for each in found if each.is_heard]
    leading = next((each.spool for each in heard if each.leads), None)
    if leading is None:
        yield warning(
            "hosts",
            "no scheduler leads: no new transfers are made of complete studies",
            "start `dicomrelay scheduler` on a host; where one was started just now, wait 12 s",
        )
    else:
        yield ok("hosts", f"{len(heard)} schedulers are heard of, {leading} leads")

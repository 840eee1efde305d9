"""Whether an archive is a relay's, and who says what of it is still to be delivered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from archive import Archive, StoredInstance
from archive.retention import Deliveries, Stays
from archive.root import read_facts
from archive.values import Selection
from dicomrelay.cli.archiving.opening import place_of
from dicomrelay.cli.archiving.words import many
from dicomrelay.cli.ledgers import has_run, opened_ledger
from dicomrelay.cli.options import Invocation
from dicomrelay.errors import ConfigurationError, RelayError
from workers.archive_retention import LedgerDeliveries

_TOGETHER: Final = 500
_NAME_IT: Final = "name the relay with --home or --config"


class _NobodyKnows:
    """An archive that is none of a relay: no ledger says what was delivered."""

    def needed(self, stored: Sequence[StoredInstance]) -> Mapping[str, Stays]:
        return dict.fromkeys((each.sop_instance_uid for each in stored), Stays.UNDOCUMENTED)


@contextmanager
def deliveries_of(invocation: Invocation, folder: Path | None) -> Iterator[Deliveries]:
    """Who knows what is still needed: the ledger, of the home's archive.

    Raises
    ------
    ConfigurationError
        It is the archive of a relay that the settings are not of: whatever the options say, its ledger is to be asked.
    ServiceUnavailable
        The ledger does not answer.
    """
    place = place_of(invocation, folder)
    if place.storage is not None:
        with opened_ledger(invocation.settings) as ledger:
            yield LedgerDeliveries(ledger)
        return
    if is_of_a_relay(place.root):
        raise ConfigurationError(
            f"{place.root}: is the archive of a relay, whose ledger knows what of it is still to be delivered: {_NAME_IT}"
        )
    yield _NobodyKnows()


def is_of_a_relay(root: Path) -> bool:
    """Whether a relay has had it open, by its own word, or by where it lies: no relay may have run since it says so."""
    facts = read_facts(root)
    if facts is not None and facts.of_a_relay:
        return True
    home = root.resolve().parent
    return (home / "spool" / "identity").is_file() and (home / "db").is_dir()


def undelivered(
    invocation: Invocation, folder: Path | None, archive: Archive, selection: Selection
) -> int | None:
    """How many of a selection are not delivered wherever they are to go; None when that cannot be known here."""
    place = place_of(invocation, folder)
    if place.storage is None or not has_run(invocation.settings):
        return None if is_of_a_relay(place.root) else 0
    count = 0
    try:
        with opened_ledger(invocation.settings) as ledger:
            known = LedgerDeliveries(ledger)
            rows = archive.select(selection)
            while some := list(islice(rows, _TOGETHER)):
                count += sum(why is Stays.UNDELIVERED for why in known.needed(some).values())
    except RelayError:
        return None
    return count


def warning_of(count: int | None) -> str:
    """What is to be said before these go; "" when nothing."""
    if count is None:
        return f"the archive is a relay's, and what of this is still to be delivered is not known here: {_NAME_IT}"
    if not count:
        return ""
    are = "is" if count == 1 else "are"
    return (
        f"{many(count, 'instance')} of this {are} not delivered everywhere: "
        "what the spool does not hold any more can be sent to nobody then"
    )
